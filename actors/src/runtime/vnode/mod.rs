//! What the author of a vnode writes: [`Vnode`] over [`Items`], or [`raw::RawVnode`] over a state of their
//! own.
//!
//! The runtime owns the items, so it knows every change: it ships after-images to the target of a
//! handoff, keeps the digest that proves both sides equal, and decides when what was moved may be
//! deleted. No acknowledged write is lost whatever the author's code does with its commands.
//!
//! The callbacks keep the tutorial's names and order: `handoff_starting` -> `is_empty` -> the fold, item
//! by item through `encode_handoff_item` -> `handle_handoff_data` on the other side ->
//! `handoff_finished` -> `delete`; `handoff_cancelled` on any way back.

pub mod actor;
mod commands;
pub(crate) mod hints;
pub mod kind;
pub mod message;
pub mod op_table;
pub mod over_items;
pub mod raw;
pub mod record;
pub mod settings;
mod source;
mod target;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::hash::RingHash;
use crate::protocol::id::{Dot, NodeId, OpId, Partition, Stamp};
pub use crate::runtime::vnode::over_items::Items;

/// How the replicas of a vnode type relate to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// One copy, no fallbacks, no hints. Each command executes exactly once: its reply is stored with its
    /// effect and moves with it.
    Single,
    /// Any number of replicas. [`Vnode::merge`] is a commutative, associative, idempotent join, used
    /// wherever two copies of an item meet.
    Merged,
}

/// What the coordinator minted for this operation. Every replica, retry and forward sees the same, except that
/// all are asked again with a higher stamp after [`Answer::Overtaken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandContext {
    /// The client's operation.
    pub op: OpId,
    /// When the coordinator saw it, or higher if something newer was stored by then.
    pub stamp: Stamp,
    /// Names the write, for ever.
    pub dot: Dot,
    /// The partition it runs in.
    pub partition: Partition,
}

/// What a vnode answers to a command.
pub enum Answer<Reply, Command> {
    /// The command is done; this is the reply.
    Reply(Reply),
    /// The command is done; the caller gets an empty reply.
    NoReply,
    /// Runs `work` off the arbiter, on a bounded pool. It cannot touch the items; the command it returns
    /// is admitted and executed like any other, and *its* answer goes to the caller.
    Async(Work<Command>),
    /// Not executed: under this stamp something is stored that is newer than the command. Changes made by this
    /// command are dropped. While its caller waits, the coordinator mints a higher stamp for it and asks all
    /// replicas again, so that a write which is acknowledged is newer than all that were acknowledged
    /// before it began. Do not answer this to a write that is stored here itself: one of the same dot.
    Overtaken(Stamp),
    /// Stops the vnode: the caller is told the reason, a running transfer is cancelled, changes made by
    /// this command are dropped, and the host starts the vnode again, with its items, after a backoff.
    Stop(String),
}

/// Work that a vnode hands to the pool.
pub type Work<Command> = Box<dyn FnOnce() -> Command + Send>;

/// What to do with a command that arrives while the vnode's partition is on its way to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoffChoice {
    /// Execute it here; its effect is shipped to the target. The default.
    Handle,
    /// Park it and execute it at the new owner, before anything newer; when the handoff is cancelled it
    /// executes here. Commands that are handled overtake parked ones.
    Forward,
    /// Do not execute it; the caller gets a retryable error.
    Drop,
}

/// How an incoming copy of an item joins the one that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// What is there already contains it.
    Keep,
    /// Store this instead.
    Take(Bytes),
}

/// An item cannot be read. The transfer stops and names it; nothing is deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("item {key} is corrupt: {detail}")]
pub struct CorruptItem {
    /// The key, as the vnode describes it.
    pub key: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A vnode over items that the runtime keeps.
///
/// All methods are called on the arbiter of the vnode's partition, one at a time, and must not block.
pub trait Vnode: Sized + Send + 'static {
    /// What clients ask.
    type Command: Serialize + DeserializeOwned;
    /// What they are told.
    type Reply: Serialize + DeserializeOwned;

    /// How replicas relate.
    const CLASS: Class;

    /// A vnode for a partition. Called for each start and restart; items of a restart are kept.
    fn start(partition: Partition) -> Self;

    /// Executes a command. Changes go through `items` and become visible, together with the reply, when
    /// this returns [`Answer::Reply`] or [`Answer::NoReply`]; they are dropped on a panic, on
    /// [`Answer::Overtaken`], [`Answer::Stop`] and [`Answer::Async`].
    fn handle_command(
        &mut self,
        command: Self::Command,
        context: &CommandContext,
        items: &mut Items<'_>,
    ) -> Answer<Self::Reply, Self::Command>;

    /// Chooses what happens to a command during a handoff.
    fn handle_handoff_command(&mut self, _command: &Self::Command) -> HandoffChoice {
        HandoffChoice::Handle
    }

    /// A handoff to `target` is about to start. False cancels it; it is tried again after a backoff.
    fn handoff_starting(&mut self, _target: &NodeId) -> bool {
        true
    }

    /// Whether there is nothing to fold. True skips the fold, not the handoff.
    fn is_empty(&mut self, items: &Items<'_>) -> bool {
        items.is_empty()
    }

    /// Encodes an item for the way. `None` sends the stored bytes as they are.
    ///
    /// # Errors
    ///
    /// [`CorruptItem`] stops the transfer; nothing is deleted.
    fn encode_handoff_item(
        &mut self,
        _key: &[u8],
        _value: &[u8],
    ) -> Result<Option<Bytes>, CorruptItem> {
        Ok(None)
    }

    /// Turns what [`Vnode::encode_handoff_item`] made back into the stored bytes, on the other side.
    /// `None` stores `data` as it came. The stored bytes must equal the source's: the fence compares them.
    ///
    /// # Errors
    ///
    /// [`CorruptItem`] stops the transfer; the source keeps everything.
    fn handle_handoff_data(
        &mut self,
        _key: &[u8],
        _data: &[u8],
    ) -> Result<Option<Bytes>, CorruptItem> {
        Ok(None)
    }

    /// The target owns the partition now.
    fn handoff_finished(&mut self, _target: &NodeId) {}

    /// The handoff ended on the way; this vnode stays the owner.
    fn handoff_cancelled(&mut self) {}

    /// The items are about to be deleted here: the new owner has proved that it holds them.
    fn delete(&mut self) {}

    /// Where an item belongs on the ring.
    fn ring_hash(key: &[u8]) -> RingHash;

    /// Joins two copies of an item. Only called for [`Class::Merged`].
    fn merge(_key: &[u8], mine: Option<&[u8]>, theirs: &[u8]) -> Merged {
        match mine {
            Some(mine) if mine >= theirs => Merged::Keep,
            Some(_) | None => Merged::Take(Bytes::copy_from_slice(theirs)),
        }
    }

    /// Makes one reply of the replies of a quorum. Never called with an empty list; `None` keeps the first.
    fn combine(_replies: Vec<Self::Reply>) -> Option<Self::Reply> {
        None
    }

    /// Whether a reply tells what is stored, rather than that something was stored. Such a reply of a stand-in
    /// counts towards a quorum only when no owner that is up is waited for: a stand-in knows nothing but
    /// what was written while it stood in.
    fn is_read(_reply: &Self::Reply) -> bool {
        false
    }

    /// An item's key as logs print it.
    fn describe_key(key: &[u8]) -> String {
        String::from_utf8_lossy(key).into_owned()
    }
}
