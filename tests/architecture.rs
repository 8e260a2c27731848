//! What keeps `ARCHITECTURE.md` true: its tables are those of the machines and constants, and the files,
//! tests, actors, frame kinds and control records it names are those of the source.
//!
//! The tables are made here by walking every state and event through the public `step`. When the source
//! changes, the test that fails prints the table as it is now.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failure here is a failed test"
)]

#[path = "architecture/document.rs"]
mod document;
#[path = "architecture/handoff.rs"]
mod handoff;
#[path = "architecture/limits.rs"]
mod limits;
#[path = "architecture/museum.rs"]
mod museum;
#[path = "architecture/names.rs"]
mod names;
#[path = "architecture/request.rs"]
mod request;
#[path = "architecture/transfer.rs"]
mod transfer;
