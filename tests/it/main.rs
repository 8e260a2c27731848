//! Whole programs and whole clusters.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

mod bad_input;
mod cluster;
mod command_line;
mod demo;
mod devrel;
mod during_handoff;
mod hints;
mod history;
mod kills;
mod lives;
mod log_lines;
