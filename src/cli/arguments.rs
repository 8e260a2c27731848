//! The words of the command line, nothing else.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tanodb_actors::protocol::hash::RingSize;
use tanodb_actors::protocol::id::{NameError, NodeName};
use tanodb_actors::protocol::plan::PlanId;

use super::node_flags::NodeFlags;
use crate::config::address::{HostPort, HostPortError};
use crate::config::units::parse_duration;
use crate::contact::DEFAULT_ADDRESS;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed (nothing changed), 2 usage, \
                          3 outcome unknown";

/// A masterless key/value cluster: run nodes, and see and steer what they do.
#[derive(Debug, Parser)]
#[command(name = "tanodb", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Every command")]
pub(super) struct Common {
    /// Whom to ask: a node's name, or where it listens
    #[arg(long, global = true, value_name = "NAME|HOST:PORT", default_value = DEFAULT_ADDRESS)]
    pub(super) node: Target,
    /// The folder of the development nodes
    #[arg(long, global = true, value_name = "DIR", default_value = "./devrel")]
    pub(super) dir: PathBuf,
    /// How to print what was asked for; docs/json.md describes the JSON
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
    /// How long to wait for an answer
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub(super) timeout: Duration,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    // For people.
    Table,
    // For programs: see docs/json.md. Comments here would double the length of every help text.
    Json,
}

/// A node, by name or by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Name(NodeName),
    Address(HostPort),
}

/// Why a text is neither.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Address(#[from] HostPortError),
    #[error("write a node's name (tanodb1@127.0.0.1) or where it listens (127.0.0.1:7650)")]
    Neither,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.contains('@') {
            Ok(Self::Name(NodeName::new(text)?))
        } else if text.contains(':') {
            Ok(Self::Address(text.parse()?))
        } else {
            Err(TargetError::Neither)
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a node and run it until it is told to stop
    Node(NodeArguments),
    /// Show the tutorial: three nodes, a hundred values, a join, the transfers
    Demo(DemoArguments),
    /// Run development nodes in the background
    #[command(subcommand)]
    Devrel(Devrel),
    /// What is asked of a node
    #[command(flatten)]
    Ask(Ask),
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// Store a value
    Put(PutArguments),
    /// Print a value
    Get(GetArguments),
    /// Delete a value
    Delete(DeleteArguments),
    /// Ask a node who it is
    Ping,
    /// Stage changes of the membership, look at the plan, decide
    #[command(subcommand)]
    Cluster(Cluster),
    /// Show the members and their shares of the ring
    MemberStatus,
    /// Show the ring, what has yet to move, and who cannot be reached
    RingStatus,
    /// Show what every node holds of every partition
    Partitions,
    /// Show what moves, what waits and why
    Transfers,
}

#[derive(Debug, Args)]
pub(super) struct NodeArguments {
    /// A TOML file with settings in a table [node]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) flags: NodeFlags,
}

#[derive(Debug, Clone, Args)]
pub(super) struct DemoArguments {
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=16))]
    pub(super) nodes: u8,
    /// Partitions of the ring
    #[arg(long, value_name = "PARTITIONS", default_value = "64", value_parser = ring_size)]
    pub(super) ring_size: RingSize,
    /// Buckets to fill
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) buckets: u16,
    /// Keys in each bucket
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) keys: u16,
}

#[derive(Debug, Subcommand)]
pub(super) enum Devrel {
    /// Start the first N nodes that do not run yet
    Start {
        /// How many nodes there are to be
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
        count: u8,
        /// Partitions of the ring of new nodes
        #[arg(long, value_name = "PARTITIONS", value_parser = ring_size)]
        ring_size: Option<RingSize>,
    },
    /// Stage the joins of all nodes that run and are not members
    Join,
    /// Show the nodes, their processes and their logs
    Status,
    /// Print the end of a node's log
    Logs {
        /// Its name, or what stands before the @
        #[arg(value_name = "NODE")]
        which: String,
        /// How many lines
        #[arg(long, default_value_t = 40)]
        lines: usize,
    },
    /// Stop all nodes
    Stop,
    /// Remove what stopped nodes left behind, their data included
    Clean,
}

/// Which key, of how many replicas.
#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    /// The bucket
    pub(super) bucket: String,
    /// The key in the bucket
    pub(super) key: String,
    /// Replicas of the key
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) n: Option<u8>,
}

#[derive(Debug, Args)]
pub(super) struct PutArguments {
    #[command(flatten)]
    pub(super) key: KeyArguments,
    /// The value; - reads it from standard input
    pub(super) value: String,
    /// Replicas that must have stored it [default: a majority]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) w: Option<u8>,
}

#[derive(Debug, Args)]
pub(super) struct GetArguments {
    #[command(flatten)]
    pub(super) key: KeyArguments,
    /// Replicas that must answer [default: a majority]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) r: Option<u8>,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArguments {
    #[command(flatten)]
    pub(super) key: KeyArguments,
    /// Replicas that must have deleted it [default: a majority]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) w: Option<u8>,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Cluster {
    /// Stage the join of the asked node (--node) to the cluster of NODE
    Join {
        /// A member: its name, or where it listens
        #[arg(value_name = "NODE")]
        contact: Target,
    },
    /// Show what a commit would do; nothing moves
    Plan,
    /// Decide the plan that was shown
    Commit {
        /// Its id; refused if anything has changed since [default: the plan the node showed last]
        #[arg(long, value_name = "ID")]
        plan: Option<PlanId>,
    },
    /// Drop the staged changes
    Clear,
}

fn ring_size(text: &str) -> Result<RingSize, String> {
    let size = text.parse().map_err(|_| format!("'{text}' is not a whole number"))?;
    RingSize::new(size).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Arguments::command().debug_assert();
        for words in [
            "node",
            "demo",
            "devrel start 3",
            "devrel join",
            "devrel status",
            "devrel logs tanodb1",
            "devrel stop",
            "devrel clean",
            "put b k v",
            "get b k",
            "delete b k",
            "ping",
            "cluster join tanodb1@127.0.0.1",
            "cluster plan",
            "cluster commit",
            "cluster clear",
            "member-status",
            "ring-status",
            "partitions",
            "transfers",
            "completions bash",
        ] {
            let words = ["tanodb"].into_iter().chain(words.split(' '));
            assert!(Arguments::try_parse_from(words.clone()).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn what_has_an_at_is_a_name_and_what_has_a_port_an_address() {
        assert!(matches!("tanodb1@127.0.0.1".parse(), Ok(Target::Name(_))));
        assert!(matches!("127.0.0.1:7650".parse(), Ok(Target::Address(_))));
        assert!("tanodb1".parse::<Target>().is_err());
        assert!("@".parse::<Target>().is_err());
    }
}
