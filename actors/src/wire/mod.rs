//! Bytes: frames, messages and pages, with plain encode and decode on buffers. Unstable.

pub mod bin;
pub mod delta;
pub mod frame;
pub mod page;
