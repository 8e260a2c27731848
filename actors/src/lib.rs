//! The embeddable actor system of TanoDB.
#![deny(missing_docs, unreachable_pub)]

pub mod protocol;
pub mod wire;

#[cfg(feature = "runtime")]
pub mod runtime;
