//! Actors: they carry out what `protocol` decides.
//!
//! What a node takes from outside comes through one [`env::Env`]; nothing here is global, so that many
//! nodes can live in one process and in one simulated run.

pub mod arbiters;
pub mod clock;
pub mod codec;
pub mod disk;
pub mod env;
pub mod gossiper;
pub mod items;
pub mod message;
pub mod network;
pub mod records;
pub mod reply;
pub mod rng;
pub mod tcp;
pub mod timers;
pub mod transport;
