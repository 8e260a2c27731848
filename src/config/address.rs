//! HOST:PORT as operators write it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not HOST:PORT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPortError {
    /// Nothing stands before the port, or there is no port.
    #[error("'{0}' is not an address: write HOST:PORT, for example 127.0.0.1:7650")]
    NotHostPort(String),
    /// What stands behind the last colon is not a port.
    #[error("'{port}' is not a port: write a number from 0 to 65535")]
    BadPort {
        /// What was written.
        port: String,
    },
    /// More than one colon and no brackets.
    #[error("'{0}' is ambiguous: write an IPv6 address in brackets, for example [::1]:7650")]
    Ambiguous(String),
    /// A blank or another character no host has.
    #[error("'{0}' has a character that no host name has")]
    BadHost(String),
}

/// A host, by name or number, and a port. Port 0 asks the system for a free one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// This port of the machine's own address 127.0.0.1.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port }
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only programs on this machine can connect. A name other than `localhost` may lead
    /// anywhere, so it does not count.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(number) => number.is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }

    /// Whether it stands for every address of the machine (`0.0.0.0`, `::`): one can listen on it, but
    /// nobody can connect to it.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|number| number.is_unspecified())
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(HostPortError::NotHostPort(text.to_owned()));
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(number) if number.parse::<Ipv6Addr>().is_ok() => number,
            Some(_) => return Err(HostPortError::BadHost(host.to_owned())),
            None if host.contains(':') => return Err(HostPortError::Ambiguous(text.to_owned())),
            None => host,
        };
        if host.is_empty() {
            return Err(HostPortError::NotHostPort(text.to_owned()));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if !host.chars().all(legal) {
            return Err(HostPortError::BadHost(host.to_owned()));
        }
        // `u16::from_str` would take "+7650".
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if digits => Ok(Self { host: host.to_owned(), port }),
            Ok(_) | Err(_) => Err(HostPortError::BadPort { port: port.to_owned() }),
        }
    }
}

impl TryFrom<String> for HostPort {
    type Error = HostPortError;

    fn try_from(text: String) -> Result<Self, HostPortError> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.to_string()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_as_it_was_written() {
        for text in ["127.0.0.1:7650", "[::1]:0", "db-1.example.org:65535", "localhost:1"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_host_and_port_is_refused() {
        let bad = [
            "",
            ":",
            ":7650",
            "127.0.0.1",
            "127.0.0.1:",
            "h:65536",
            "h:+1",
            "h:-1",
            "::1:7650",
            "[::1]",
            "[::g]:1",
            "a b:1",
            "h/x:1",
            "[]:1",
            "tanodb1@127.0.0.1:7650",
        ];
        for text in bad {
            assert!(text.parse::<HostPort>().is_err(), "{text:?} is no address");
        }
    }

    #[test]
    fn only_this_machine_can_reach_a_loopback_address() {
        let loopback = |text: &str| text.parse::<HostPort>().unwrap().is_loopback();
        assert!(loopback("127.0.0.1:1") && loopback("127.8.0.1:1") && loopback("[::1]:1"));
        assert!(loopback("localhost:1"));
        assert!(!loopback("0.0.0.0:1") && !loopback("[::]:1") && !loopback("10.0.0.1:1"));
        assert!(!loopback("localhost.example.org:1"));
    }
}
