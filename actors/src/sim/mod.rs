//! The simulated cluster: the actors of [`crate::runtime`], unchanged, many nodes on one thread, in virtual
//! time, from a seed.
//!
//! Owns: the world around the nodes (network, disks, clocks, the order of polls), what clients were told, and
//! the search for the smallest run that fails. It implements no actor: what runs here is what runs in a
//! process.

pub mod cluster;
pub mod disk;
pub mod driver;
pub mod failure;
pub mod harness;
pub mod history;
pub mod invariant;
pub mod kit;
pub mod network;
mod panics;
pub mod shrink;
pub mod trace;
mod watch;
