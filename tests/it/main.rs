//! Whole programs and whole clusters.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

mod command_line;
mod demo;
mod devrel;
