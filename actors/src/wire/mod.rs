//! Bytes: frames, messages and pages, with plain encode and decode on buffers. Unstable.
