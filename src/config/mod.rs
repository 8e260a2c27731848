//! A node's settings: flags over environment variables over a file over defaults.
//!
//! [`NodeSettings`] are settings as written, each legal by itself; [`NodeConfig`] are settings that
//! hold together. Keys, defaults and help stand in one table, [`setting`]. What the settings do is said
//! by those who use them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tanodb_actors::protocol::hash::RingSize;
use tanodb_actors::protocol::id::NodeName;

pub mod address;
mod error;
mod file;
pub mod setting;
pub mod units;

pub use error::ConfigError;

use address::HostPort;
use setting::{Origin, Setting, VARIABLE_PREFIX, Written};

/// Most transfers at once in one direction. Each holds a connection and about 1 MiB.
pub const TRANSFER_LIMIT_MAX: u16 = 256;

/// Shortest `hinted_idle`. Below it a stand-in would try to bring data home between two writes.
pub const HINTED_IDLE_MIN: Duration = Duration::from_millis(100);

/// Longest `hinted_idle`. Data that stays away from home for more than a day is as good as lost.
pub const HINTED_IDLE_MAX: Duration = Duration::from_secs(86_400);

/// The folder that holds a folder for each node, unless `data_dir` says otherwise.
pub const DATA_ROOT: &str = "tanodb-data";

/// A node's settings as written. Each is legal by itself; [`NodeConfig::check`] looks at them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// The node's identity.
    pub name: NodeName,
    /// Where it listens. Port 0: a free one.
    pub listen: HostPort,
    /// Where others reach it; `None`: where it listens.
    pub advertise: Option<HostPort>,
    /// Where it keeps its files.
    pub data_dir: PathBuf,
    /// Partitions of a new ring. A node that finds a ring in `data_dir` keeps that one's.
    pub ring_size: RingSize,
    /// Partitions sent at once, and as many received. At most [`TRANSFER_LIMIT_MAX`].
    pub transfer_limit: NonZeroU16,
    /// How long a stand-in waits after its last write before it brings the data home, from
    /// [`HINTED_IDLE_MIN`] to [`HINTED_IDLE_MAX`].
    pub hinted_idle: Duration,
    /// Whether it may listen beyond this machine.
    pub insecure_open: bool,
    /// Whether it ends when standard input closes: so the program that started it leaves none behind.
    pub stdin_guard: bool,
}

/// [`NodeSettings`] that hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig(NodeSettings);

impl NodeConfig {
    /// Checks what no single setting can say.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the settings that contradict each other.
    pub fn check(settings: NodeSettings) -> Result<Self, ConfigError> {
        if !settings.listen.is_loopback() && !settings.insecure_open {
            return Err(ConfigError::OpenWithoutConsent { listen: settings.listen });
        }
        match &settings.advertise {
            None if settings.listen.is_unspecified() => {
                return Err(ConfigError::NotReachable { listen: settings.listen });
            }
            Some(advertise) if advertise.is_unspecified() || advertise.port() == 0 => {
                return Err(ConfigError::BadAdvertise { advertise: advertise.clone() });
            }
            Some(_) | None => {}
        }
        Ok(Self(settings))
    }

    /// Reads and checks a node's settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the place of the value that is wrong.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        Self::check(NodeSettings::read(&Values::collect(sources)?)?)
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &NodeSettings {
        &self.0
    }
}

/// Where settings come from; the first named wins.
#[derive(Debug, Default)]
pub struct Sources {
    /// From the command line.
    pub flags: Vec<(&'static Setting, String)>,
    /// The whole environment; what is not ours is passed over.
    pub variables: Vec<(OsString, OsString)>,
    /// A TOML file.
    pub file: Option<PathBuf>,
}

impl NodeSettings {
    fn read(values: &Values) -> Result<Self, ConfigError> {
        let name = values.need(&setting::NAME, NodeName::new)?;
        let data_dir = values.maybe(&setting::DATA_DIR, folder)?;
        Ok(Self {
            listen: values.need(&setting::LISTEN, str::parse::<HostPort>)?,
            advertise: values.maybe(&setting::ADVERTISE, str::parse::<HostPort>)?,
            data_dir: data_dir.unwrap_or_else(|| Path::new(DATA_ROOT).join(name.as_str())),
            ring_size: values.need(&setting::RING_SIZE, ring_size)?,
            transfer_limit: values.need(&setting::TRANSFER_LIMIT, transfer_limit)?,
            hinted_idle: values.need(&setting::HINTED_IDLE, hinted_idle)?,
            insecure_open: values.need(&setting::INSECURE_OPEN, switch)?,
            stdin_guard: values.need(&setting::STDIN_GUARD, switch)?,
            name,
        })
    }
}

/// The value of each setting that anybody gave.
struct Values(BTreeMap<&'static str, Written>);

impl Values {
    fn collect(sources: Sources) -> Result<Self, ConfigError> {
        let mut values = match &sources.file {
            Some(path) => file::read(path)?,
            None => BTreeMap::new(),
        };
        values.extend(from_variables(sources.variables)?);
        for (setting, text) in sources.flags {
            values.insert(setting.key, Written { text, origin: Origin::Flag(setting.flag()) });
        }
        for setting in setting::SETTINGS {
            if let Some(default) = setting.default {
                let written = Written { text: default.to_owned(), origin: Origin::Default };
                values.entry(setting.key).or_insert(written);
            }
        }
        Ok(Self(values))
    }

    fn maybe<T, E: Display>(
        &self,
        setting: &Setting,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(written) = self.0.get(setting.key) else { return Ok(None) };
        parse(&written.text).map(Some).map_err(|error| ConfigError::BadValue {
            key: setting.dotted(),
            origin: written.origin.clone(),
            reason: error.to_string(),
        })
    }

    /// A setting that has a default.
    fn need<T, E: Display>(
        &self,
        setting: &Setting,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        self.maybe(setting, parse)?.ok_or_else(|| ConfigError::BadValue {
            key: setting.dotted(),
            origin: Origin::Default,
            reason: "a value is needed".to_owned(),
        })
    }
}

fn from_variables(
    variables: Vec<(OsString, OsString)>,
) -> Result<Vec<(&'static str, Written)>, ConfigError> {
    let mut values = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        // Two underscores after our prefix: other programs' variables (`TANODB_PORT`) have none.
        let is_ours = name.strip_prefix(VARIABLE_PREFIX).is_some_and(|rest| rest.contains("__"));
        if !is_ours {
            continue;
        }
        let origin = Origin::Variable(name.to_owned());
        let known = setting::SETTINGS.into_iter().find(|setting| setting.variable() == name);
        let Some(setting) = known else {
            let key = name.trim_start_matches(VARIABLE_PREFIX).replace("__", ".").to_lowercase();
            let nearest = setting::nearest(&key).variable();
            return Err(ConfigError::UnknownKey { key: name.to_owned(), origin, nearest });
        };
        let Ok(text) = value.into_string() else {
            let reason = "not UTF-8".to_owned();
            return Err(ConfigError::BadValue { key: setting.dotted(), origin, reason });
        };
        values.push((setting.key, Written { text, origin }));
    }
    Ok(values)
}

fn ring_size(text: &str) -> Result<RingSize, String> {
    RingSize::new(whole(text)?).map_err(|error| error.to_string())
}

fn transfer_limit(text: &str) -> Result<NonZeroU16, String> {
    let count = whole(text)?;
    u16::try_from(count)
        .ok()
        .filter(|count| *count <= TRANSFER_LIMIT_MAX)
        .and_then(NonZeroU16::new)
        .ok_or_else(|| format!("{count} is not from 1 to {TRANSFER_LIMIT_MAX}"))
}

fn hinted_idle(text: &str) -> Result<Duration, String> {
    let idle = units::parse_duration(text).map_err(|error| error.to_string())?;
    if (HINTED_IDLE_MIN..=HINTED_IDLE_MAX).contains(&idle) {
        Ok(idle)
    } else {
        Err(format!("{text} is not from {HINTED_IDLE_MIN:?} to {HINTED_IDLE_MAX:?}"))
    }
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("'{text}' is not a whole number"))
}

fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("'{text}' is neither true nor false"))
}

fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a folder needs a name".to_owned()) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests;
