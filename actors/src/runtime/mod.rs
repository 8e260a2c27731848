//! Actors: they carry out what `protocol` decides.
//!
//! What a node takes from outside comes through one [`env::Env`]; nothing here is global, so that many
//! nodes can live in one process and in one simulated run.

pub mod arbiters;
pub mod chapter;
pub mod clock;
pub mod codec;
pub mod coordinator;
pub mod disk;
mod encoding;
pub mod env;
pub mod gossiper;
pub mod handoff_receiver;
pub mod handoff_sender;
pub mod items;
mod latest;
pub mod message;
pub mod network;
pub mod node;
pub mod observe;
pub mod proposer;
pub mod records;
pub mod reply;
pub mod ring_manager;
pub mod rng;
pub mod router;
pub mod tcp;
pub mod timers;
pub mod transfer;
pub mod transport;
pub mod vnode;
pub mod vnode_host;
pub mod workers;
