//! Whole nodes in the simulator.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

#[path = "../cluster/numbers.rs"]
mod numbers;
mod repeatable;
