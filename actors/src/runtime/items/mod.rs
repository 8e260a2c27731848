//! Where a vnode's items are kept: the [`Engine`] trait, and [`MemoryEngine`].
//!
//! An engine is a map from keys to bytes in the one order all nodes share ([`crate::protocol::digest`]). It
//! keeps each item's hash beside it and the sums over all of them, and serves a fold page by page. Who may
//! read or write, what is shipped to another node and when an item may go is not decided here: an engine
//! holds one container, and knows neither partitions nor transfers.

pub mod conformance;
mod leaves;
mod memory;

use std::fmt;

use bytes::Bytes;

use crate::protocol::digest::{Digest, ItemHash, ItemPosition, ItemRange};
use crate::wire::page::PageError;

pub use memory::MemoryEngine;

/// How much work one call may do, so that a mailbox turn stays short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageLimits {
    /// Most items. Default 256.
    pub items: usize,
    /// Most bytes, in the form items have in a page. Default 64 KiB. One item is always served, whatever
    /// its length.
    pub bytes: usize,
}

impl Default for PageLimits {
    /// What the memory engine reads in well under 0.1 ms.
    fn default() -> Self {
        Self { items: 256, bytes: 64 * 1024 }
    }
}

impl PageLimits {
    /// The same, with no more bytes than these.
    #[must_use]
    pub fn within(self, bytes_max: u64) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { bytes: self.bytes.min(bytes_max), ..self }
    }
}

/// The items at the start of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnginePage {
    /// The items in their order, as [`crate::wire::page`] writes them.
    pub items: Bytes,
    /// How many.
    pub count: usize,
    /// The position of the last of them; `None` if there is none.
    pub last: Option<ItemPosition>,
    /// Whether nothing of the range is left behind the last of them.
    pub complete: bool,
}

impl EnginePage {
    /// The part of `asked`, the range that was read, of which this page is the complete content.
    #[must_use]
    pub fn covered(&self, asked: &ItemRange) -> ItemRange {
        let until = if self.complete { asked.until.clone() } else { self.last.clone() };
        ItemRange { after: asked.after.clone(), until }
    }

    /// What is left of `asked` to read; `None` if nothing is.
    #[must_use]
    pub fn rest(&self, asked: &ItemRange) -> Option<ItemRange> {
        if self.complete {
            return None;
        }
        Some(ItemRange { after: self.last.clone(), until: asked.until.clone() })
    }
}

/// An item whose bytes are no longer those that were stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorruptItem {
    /// Where it stands.
    pub position: ItemPosition,
    /// The hash it had when it was stored, which the digest still counts.
    pub stored_hash: ItemHash,
    /// Bytes of key and value, as the digest counts them.
    pub bytes: u64,
}

/// What a check of the items at the start of a range found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedItems {
    /// The damaged ones, in their order.
    pub corrupt: Vec<CorruptItem>,
    /// Items looked at.
    pub count: usize,
    /// The position of the last of them; `None` if there is none.
    pub last: Option<ItemPosition>,
    /// Whether nothing of the range is left behind the last of them.
    pub complete: bool,
}

/// How far a removal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedItems {
    /// Items that were removed.
    pub count: usize,
    /// Whether the range is empty now.
    pub complete: bool,
}

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No item has an empty key. Nothing was stored.
    #[error("an item has an empty key")]
    EmptyKey,
    /// The item is too long, or the page cannot be read. Nothing was stored.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The page's items are not in the order of all items, or one comes twice. Nothing was stored: the
    /// page is damaged, or its writer orders differently.
    #[error("item {} of a page does not stand behind the one before it", .position.order.0)]
    OutOfOrder {
        /// The first item that stands wrong.
        position: ItemPosition,
    },
    /// The page has an item outside its range. Nothing was stored.
    #[error("item {} of a page is outside the page's range", .position.order.0)]
    OutOfRange {
        /// The first such item.
        position: ItemPosition,
    },
    /// The store below failed. Whether the change is stored is known only once the store is opened anew;
    /// until then this engine must not be used for anything else.
    #[error("the store failed: {0}")]
    Storage(#[from] std::io::Error),
}

/// A map from keys to bytes, ordered, with proof of what it holds.
///
/// The digest always tells what the engine holds: each method that changes an item changes it too. After
/// an error other than [`EngineError::Storage`] nothing has changed. [`conformance::check_engine`] tries
/// an implementation against a plain map.
///
/// Calls block until they are done, so an engine does no more in a call than its limits allow.
pub trait Engine: fmt::Debug + Send {
    /// What is stored under `key`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Stores `value` under `key`, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`EngineError::EmptyKey`], [`EngineError::Page`] if the item is too long, or
    /// [`EngineError::Storage`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), EngineError>;

    /// Removes what is stored under `key`, and tells whether there was anything.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn remove(&mut self, key: &[u8]) -> Result<bool, EngineError>;

    /// Reads the items at the start of `range`, at least one if it has any.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn page(&self, range: &ItemRange, limits: PageLimits) -> Result<EnginePage, EngineError>;

    /// Makes `items`, a page, the complete content of `range`: what the page does not have is removed.
    ///
    /// Takes time in proportion to the page and to what is in the range, so both should be short.
    ///
    /// # Errors
    ///
    /// [`EngineError`] says what is wrong with the page; all of it is checked before anything is changed.
    fn replace_range(&mut self, range: &ItemRange, items: &[u8]) -> Result<(), EngineError>;

    /// Removes the first `items_max` items of `range`. Called again until it is complete, it empties the
    /// range however large that is, without holding up anything else for long.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn remove_range(
        &mut self,
        range: &ItemRange,
        items_max: usize,
    ) -> Result<RemovedItems, EngineError>;

    /// Removes everything. Takes time in proportion to it; see [`Engine::remove_range`].
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn clear(&mut self) -> Result<(), EngineError>;

    /// The sums over all items, as they were when stored.
    fn digest(&self) -> &Digest;

    /// Computes the hashes of the items at the start of `range` again, and lists those that differ.
    ///
    /// # Errors
    ///
    /// [`EngineError::Storage`].
    fn check(&self, range: &ItemRange, limits: PageLimits) -> Result<CheckedItems, EngineError>;

    /// How many items there are.
    fn len(&self) -> u64 {
        self.digest().count()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
