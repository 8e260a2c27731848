//! Bytes: frames, messages and pages, with plain encode and decode on buffers. Unstable.

pub mod admin;
pub mod bin;
pub mod delta;
pub mod door;
pub mod frame;
pub mod message;
pub mod offer;
pub mod page;
