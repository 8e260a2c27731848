//! Whole nodes in one process, over loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

mod answers;
mod broken;
mod choices;
mod clocks;
mod exact;
mod folding;
mod hinted;
mod joining;
mod numbers;
mod roads;
mod stale;
mod town;
mod waiting;
