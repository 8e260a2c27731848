//! The one table of a node's settings: keys, defaults and help. Flags, environment variables, the file
//! and the help text are all made from it.

use std::fmt;
use std::path::PathBuf;

/// The table of the file that holds a node's settings, and the middle of their variables.
pub const SECTION: &str = "node";

/// Every environment variable with this beginning and two underscores further on is meant for us.
pub const VARIABLE_PREFIX: &str = "TANODB_";

/// One setting of a node.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the file, for example `ring_size`.
    pub key: &'static str,
    /// What stands for the value in the help; `None`: a switch, which is on or off.
    pub value_name: Option<&'static str>,
    /// The value when nobody gives one, as it would be written.
    pub default: Option<&'static str>,
    /// One sentence.
    pub help: &'static str,
    /// Not shown in the help: meant for programs that start nodes.
    pub hidden: bool,
}

impl Setting {
    const fn value(key: &'static str, value_name: &'static str, help: &'static str) -> Self {
        Self { key, value_name: Some(value_name), default: None, help, hidden: false }
    }

    const fn switch(key: &'static str, help: &'static str) -> Self {
        Self { key, value_name: None, default: Some("false"), help, hidden: false }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The flag without its dashes: `ring-size`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The environment variable: `TANODB_NODE__RING_SIZE`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{SECTION}__{}", self.key).to_ascii_uppercase()
    }

    /// The key with its table: `node.ring_size`.
    #[must_use]
    pub fn dotted(&self) -> String {
        format!("{SECTION}.{}", self.key)
    }
}

/// The node's name.
pub const NAME: Setting = Setting::value(
    "name",
    "NAME@HOST",
    "The node's name: an identity that stays when the address changes",
)
.or("tanodb1@127.0.0.1");
/// Where it listens.
pub const LISTEN: Setting =
    Setting::value("listen", "HOST:PORT", "Where the node listens; port 0 takes a free one")
        .or("127.0.0.1:7650");
/// Where others reach it.
pub const ADVERTISE: Setting = Setting::value(
    "advertise",
    "HOST:PORT",
    "Where other nodes reach this one [default: where it listens]",
);
/// Where its files are.
pub const DATA_DIR: Setting = Setting::value(
    "data_dir",
    "DIR",
    "Where the node keeps its files [default: ./tanodb-data/NAME]",
);
/// Partitions of the ring.
pub const RING_SIZE: Setting = Setting::value(
    "ring_size",
    "PARTITIONS",
    "Partitions of a new ring; every node of a cluster needs the same",
)
.or("64");
/// Transfers at once.
pub const TRANSFER_LIMIT: Setting =
    Setting::value("transfer_limit", "COUNT", "Partitions sent at once, and as many received")
        .or("2");
/// When hints go home.
pub const HINTED_IDLE: Setting = Setting::value(
    "hinted_idle",
    "DURATION",
    "How long a stand-in waits after its last write before it brings the data home",
)
.or("60s");
/// Consent to be reachable from outside.
pub const INSECURE_OPEN: Setting = Setting::switch(
    "insecure_open",
    "Listen beyond this machine although there is neither encryption nor login",
);
/// A life bound to the starting program.
pub const STDIN_GUARD: Setting =
    Setting { hidden: true, ..Setting::switch("stdin_guard", "End when standard input closes") };

/// All of them, in the order of the help.
pub const SETTINGS: [&Setting; 9] = [
    &NAME,
    &LISTEN,
    &ADVERTISE,
    &DATA_DIR,
    &RING_SIZE,
    &TRANSFER_LIMIT,
    &HINTED_IDLE,
    &INSECURE_OPEN,
    &STDIN_GUARD,
];

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// On the command line.
    Flag(String),
    /// In the environment.
    Variable(String),
    /// In the file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// In the table of this file.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(variable) => write!(f, "environment variable {variable}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as text, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The value.
    pub text: String,
    /// Its place.
    pub origin: Origin,
}

/// The setting of this key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.into_iter().find(|setting| setting.key == key)
}

/// The known setting whose name is nearest to what was written, with or without its table.
#[must_use]
pub fn nearest(written: &str) -> &'static Setting {
    let last = written.rsplit('.').next().unwrap_or(written);
    let distance = |setting: &&'static Setting| {
        let whole = strsim::damerau_levenshtein(&setting.dotted(), written);
        whole.min(strsim::damerau_levenshtein(setting.key, last))
    };
    SETTINGS.into_iter().min_by_key(distance).unwrap_or(&NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_gives_flag_variable_and_place_in_the_file() {
        assert_eq!(RING_SIZE.flag(), "ring-size");
        assert_eq!(RING_SIZE.variable(), "TANODB_NODE__RING_SIZE");
        assert_eq!(RING_SIZE.dotted(), "node.ring_size");
        assert_eq!(find("ring_size"), Some(&RING_SIZE));
        assert_eq!(find("ring-size"), None);
    }

    #[test]
    fn a_typing_error_is_near_what_was_meant() {
        for (written, meant) in [
            ("node.ringsize", &RING_SIZE),
            ("ring_size", &RING_SIZE),
            ("nod.ring_size", &RING_SIZE),
            ("node.transferlimit", &TRANSFER_LIMIT),
            ("node.lisen", &LISTEN),
            ("node.datadir", &DATA_DIR),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
    }
}
