//! Why a node's settings are not usable, and what to do about it.

use std::path::PathBuf;

use super::address::HostPort;
use super::setting::{ADVERTISE, INSECURE_OPEN, Origin};

/// Why a node was not configured. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// In the words of the system.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{origin}: not TOML: {reason}")]
    NotToml {
        /// File and line.
        origin: Origin,
        /// In the words of the parser.
        reason: String,
    },
    /// Nobody would read this value.
    #[error("{origin}: unknown key '{key}'; the nearest known key is '{nearest}'")]
    UnknownKey {
        /// As it was written.
        key: String,
        /// Where.
        origin: Origin,
        /// What may have been meant.
        nearest: String,
    },
    /// A value that is not legal by itself.
    #[error("{origin}: {key}: {reason}")]
    BadValue {
        /// The setting.
        key: String,
        /// Where the value stands.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// `listen` goes beyond this machine, and `insecure_open` is off.
    #[error(
        "listening on {listen} lets anybody on the network read and change everything: \
         this version has neither encryption nor login"
    )]
    OpenWithoutConsent {
        /// Where it would have listened.
        listen: HostPort,
    },
    /// `listen` names every address of the machine and `advertise` none that others could use.
    #[error("listening on {listen} needs an address that other nodes can connect to")]
    NotReachable {
        /// Where it would have listened.
        listen: HostPort,
    },
    /// `advertise` is not an address that others could use.
    #[error("other nodes cannot connect to the advertised address {advertise}")]
    BadAdvertise {
        /// What would have been announced.
        advertise: HostPort,
    },
}

impl ConfigError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } => {
                "name a readable file with --config, or leave it out".to_owned()
            }
            Self::NotToml { .. } => "mend that line".to_owned(),
            Self::UnknownKey { nearest, .. } => format!("write '{nearest}', or remove the key"),
            Self::BadValue { .. } => "change that value".to_owned(),
            Self::OpenWithoutConsent { .. } => format!(
                "listen on 127.0.0.1, or add --{} where only trusted machines can connect",
                INSECURE_OPEN.flag()
            ),
            Self::NotReachable { .. } | Self::BadAdvertise { .. } => {
                format!("add --{} HOST:PORT as other nodes see this machine", ADVERTISE.flag())
            }
        }
    }
}
