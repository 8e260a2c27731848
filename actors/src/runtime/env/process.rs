//! The world of a node in an ordinary process: TCP, this thread, the system's clock and randomness.

use std::io;
use std::sync::Arc;

use super::Env;
use crate::protocol::id::NodeName;
use crate::runtime::arbiters::Arbiters;
use crate::runtime::clock::Clock;
use crate::runtime::disk::Disk;
use crate::runtime::observe::Watched;
use crate::runtime::rng::Rng;
use crate::runtime::tcp::Tcp;

impl Env {
    /// The world of a node in an ordinary process. All its actors run on the thread that starts it; replace
    /// [`Env::arbiters`] for more threads.
    ///
    /// A [`FolderDisk`](crate::runtime::disk::FolderDisk) lets the node be the same one after a restart. With a
    /// [`MemoryDisk`](crate::runtime::disk::MemoryDisk) it is a new node at every start.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn for_process(node: NodeName, disk: impl Disk + 'static) -> io::Result<Self> {
        Ok(Self {
            node,
            transport: Arc::new(Tcp),
            arbiters: Arbiters::Here,
            rng: Rng::seeded(getrandom::u64()?),
            clock: Clock::real(),
            disk: Arc::new(disk),
            watched: Watched::by_nobody(),
        })
    }
}
