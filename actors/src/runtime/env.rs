//! All that a node takes from the world outside, in one value.
//!
//! No actor touches sockets, files, threads, clocks or randomness directly: it is given an [`Env`]. A
//! real node's is made of TCP, a folder and the system's clock; the simulator's of its own parts.

mod process;

use std::sync::Arc;

use super::arbiters::Arbiters;
use super::clock::Clock;
use super::disk::Disk;
use super::observe::Watched;
use super::rng::Rng;
use super::transport::Transport;
use crate::protocol::id::NodeName;

/// The world as one node sees it. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Env {
    /// Who this node is.
    pub node: NodeName,
    /// How it reaches others and is reached.
    pub transport: Arc<dyn Transport>,
    /// Where its actors start.
    pub arbiters: Arbiters,
    /// Its randomness.
    pub rng: Rng,
    /// Its time.
    pub clock: Clock,
    /// What it keeps over a restart.
    pub disk: Arc<dyn Disk>,
    /// Who is told what it does.
    pub watched: Watched,
}

#[cfg(test)]
pub(crate) mod testing {
    //! An environment for tests of one node's parts.

    use super::*;
    use crate::runtime::disk::MemoryDisk;
    use crate::runtime::tcp::Tcp;

    /// Everything on this thread and in memory; only the network would be real. Must be made inside the
    /// runtime, whose clock it follows.
    pub(crate) fn env(node: &str, seed: u64) -> Env {
        Env {
            node: NodeName::new(node).unwrap(),
            transport: Arc::new(Tcp),
            arbiters: Arbiters::Here,
            rng: Rng::seeded(seed),
            clock: Clock::starting_at(1_700_000_000_000),
            disk: Arc::new(MemoryDisk::default()),
            watched: Watched::by_nobody(),
        }
    }
}
