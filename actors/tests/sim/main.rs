//! Whole nodes in the simulator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

mod clocks;
mod kit;
mod museum;
#[cfg(tanodb_mutants)]
mod mutants;
#[allow(dead_code, reason = "shared with the stories over loopback")]
#[path = "../cluster/numbers.rs"]
mod numbers;
mod promises;
mod repeatable;
