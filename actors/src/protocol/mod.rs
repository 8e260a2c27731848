//! Decisions: plain synchronous Rust that takes values and returns values.
//!
//! Nothing in this folder reads a clock, draws a random number, opens a file or a socket, or knows an
//! actor. `cargo build -p tanodb-actors --no-default-features` builds it without actix and tokio.

pub mod agreement;
pub mod claim;
pub mod digest;
pub mod due;
pub mod gossip;
pub mod handoff;
pub mod hash;
pub mod hints;
pub mod id;
pub mod liveness;
#[cfg(tanodb_mutants)]
pub mod mutant;
pub mod pace;
pub mod plan;
pub mod preference;
pub mod quorum;
pub mod receiver;
pub mod request;
pub mod ring;
pub mod rules;
pub mod sender;
pub mod slots;
pub mod stamp;
pub mod stream;
pub mod time;
