//! [`RawVnode`]: a vnode with a state of its own, and what the runtime asks of it.
//!
//! [`super::over_items::OverItems`] turns every [`super::Vnode`] into one. One value is one container: the
//! owned items, what is staged by a transfer, or one generation of hints.

use bytes::Bytes;

use super::{CommandContext, CorruptItem, HandoffChoice, Work};
use crate::protocol::digest::{Digest, ItemPosition, ItemRange};
use crate::protocol::id::{NodeId, Stamp};
pub use crate::runtime::items::PageLimits;
pub use crate::wire::delta::Change;

/// Everything one command changed, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Single items.
    pub items: Vec<Change>,
    /// Whole ranges whose content changed; a running fold goes back to the lowest.
    pub ranges: Vec<ItemRange>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.ranges.is_empty()
    }
}

/// What a raw vnode answers.
pub enum RawAnswer {
    /// Done: the encoded reply and what changed.
    Reply(Bytes, Changes),
    /// Done without a reply.
    NoReply(Changes),
    /// Off the arbiter; yields the follow-up command, encoded.
    Async(Work<Bytes>),
    /// Something newer is stored, under this stamp; nothing was changed. See [`super::Answer::Overtaken`].
    Overtaken(Stamp),
    /// Stop and restart; nothing was changed.
    Stop(String),
    /// The command could not be decoded, or may not run; nothing was changed.
    Refused(String),
}

/// The complete content of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPage {
    /// The items, encoded for the way, as [`crate::wire::page`] lays them out.
    pub items: Bytes,
    /// How many.
    pub count: u64,
    /// How far the page covers the range that was asked for; `None`: to its end.
    pub until: Option<ItemPosition>,
}

/// Why a container could not do what was asked. Its content is unchanged unless stated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// One item cannot be read.
    #[error(transparent)]
    Corrupt(#[from] CorruptItem),
    /// What arrived is not a page, or not in order.
    #[error("the page is malformed: {0}")]
    Malformed(String),
    /// The storage engine failed; the change may be partly applied and the transfer must start again.
    #[error("storage failed: {0}")]
    Storage(String),
    /// This kind of vnode cannot do it.
    #[error("{0}")]
    Unsupported(String),
}

/// A vnode over a state of its own. For authors whose state does not fit [`super::Items`].
///
/// The contract: every change that a command makes is in its [`Changes`]; [`RawVnode::page`] gives items in
/// the order of [`ItemPosition`]; [`RawVnode::digest`] covers every item. The fence compares the digests of
/// both sides and refuses the cutover on a difference, so a broken contract costs a transfer, not data.
pub trait RawVnode: Send + 'static {
    /// Executes an encoded command.
    fn handle_command(&mut self, command: &Bytes, context: &CommandContext) -> RawAnswer;

    /// Chooses what happens to a command during a handoff.
    fn handle_handoff_command(&mut self, command: &Bytes) -> HandoffChoice;

    /// See [`super::Vnode::handoff_starting`].
    fn handoff_starting(&mut self, target: &NodeId) -> bool;

    /// Whether there is nothing to fold.
    fn is_empty(&mut self) -> bool;

    /// The first page of a range.
    ///
    /// # Errors
    ///
    /// [`ContainerError`] stops the transfer; nothing is deleted.
    fn page(&mut self, range: &ItemRange, limits: PageLimits) -> Result<RawPage, ContainerError>;

    /// Makes a page the complete content of a range. Returns the number of items in it.
    ///
    /// # Errors
    ///
    /// [`ContainerError`]; the container may be partly changed and must not be granted.
    fn replace_range(&mut self, range: &ItemRange, items: &Bytes) -> Result<u64, ContainerError>;

    /// Applies changes in order.
    ///
    /// # Errors
    ///
    /// [`ContainerError`]; the container may be partly changed and must not be granted.
    fn apply(&mut self, changes: &[Change]) -> Result<(), ContainerError>;

    /// Joins items of a page into the content, and returns what changed. For hints.
    ///
    /// # Errors
    ///
    /// [`ContainerError`]; what was merged before the error stays, which is harmless: merging is
    /// idempotent.
    fn merge(&mut self, items: &Bytes) -> Result<Changes, ContainerError>;

    /// Count, bytes and content hash of everything held, kept at every change.
    fn digest(&self) -> &Digest;

    /// Ships only what differs when the fence finds a difference. False: a difference cancels.
    fn repairs(&self) -> bool {
        false
    }

    /// The target owns the partition now.
    fn handoff_finished(&mut self, target: &NodeId);

    /// The handoff ended on the way.
    fn handoff_cancelled(&mut self);

    /// Deletes everything, a bounded amount per call. True when nothing is left.
    fn delete(&mut self) -> bool;

    /// An item's key as logs print it.
    fn describe_key(&self, key: &[u8]) -> String;
}
