//! The key/value store: a vnode type like any embedder's, over the public API of `tanodb-actors`.
//!
//! A value belongs to a bucket and a key. The last write wins: each carries the stamp and the dot that its
//! coordinator minted, and wherever two copies of a key meet, the higher (stamp, dot) is kept. Deletes
//! are writes too and leave a tombstone, so that an older copy cannot bring the value back. A replica that holds
//! something newer does not take a write for stored: its coordinator stamps it anew, so that a write that is
//! acknowledged wins over all that were acknowledged before it began, whatever the clocks say.
//!
//! This module runs in the simulator: it reads no clock, draws no random number and iterates no hashed map.

mod command;
mod item_key;
mod record;
mod vnode;

pub use command::{KvCommand, KvReply};
pub use item_key::{LimitError, NAME_BYTES_MAX, VALUE_BYTES_MAX, item_key, shown, split};
pub use record::{Content, Record, RecordError};
pub use vnode::{KvVnode, VNODE_TYPE, vnode_type};
