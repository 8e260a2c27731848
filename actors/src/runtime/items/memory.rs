//! Items in memory: gone when the process ends.

use bytes::{Bytes, BytesMut};

use super::leaves::{Entry, Leaves};
use super::{CheckedItems, CorruptItem, Engine, EngineError, EnginePage, PageLimits, RemovedItems};
use crate::protocol::digest::{Digest, ItemHash, ItemPosition, ItemRange, KeyOrder, item_order};
use crate::wire::page::{ITEM_OVERHEAD_BYTES, PageBuilder, PageItem, PageSlices};

/// A value up to this long is copied when it is read; of a longer one the reader gets a share.
///
/// Sharing costs an allocation of its own the first time, which then stays with the item.
const COPIED_VALUE_BYTES_MAX: usize = 1024;

/// An [`Engine`] in memory.
///
/// An item takes one allocation of its key, its value and 8 bytes, and 64 to 128 bytes in the table; the
/// digest takes 16 KiB from the first item on. Whatever arrives is copied: an item never keeps the page
/// or the frame alive in which it came. A longer value that was read stays alive with its reader, also
/// after it was replaced here.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    leaves: Leaves,
    digest: Digest,
}

impl MemoryEngine {
    /// An empty engine. It allocates nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes a bit of what is stored under `key` behind the engine's back, as failing memory would:
    /// its hash and the digest stay. Tells whether there is such an item with a value.
    ///
    /// For simulations of damage; [`Engine::check`] and a transfer's proof must find it.
    pub fn damage(&mut self, key: &[u8]) -> bool {
        let Some(entry) = self.leaves.find_mut(item_order(key), key) else { return false };
        let mut value = BytesMut::from(entry.item.value());
        let Some(byte) = value.first_mut() else { return false };
        *byte ^= 1;
        match PageItem::new(key, &value) {
            Ok(damaged) => entry.item = damaged,
            Err(_) => return false,
        }
        true
    }

    fn store(&mut self, entry: Entry) {
        self.digest.add(entry.order, entry.hash, entry.bytes());
        if let Some(replaced) = self.leaves.insert(entry) {
            self.digest.remove(replaced.order, replaced.hash, replaced.bytes());
        }
    }
}

fn entry_of(order: KeyOrder, key: &[u8], value: &[u8]) -> Result<Entry, EngineError> {
    if key.is_empty() {
        return Err(EngineError::EmptyKey);
    }
    let item = PageItem::new(key, value)?;
    // Of the stored bytes, not of those that came in: so a fault in between shows.
    let hash = ItemHash::of_encoded(item.encoded());
    Ok(Entry { order, hash, item })
}

fn position_of(entry: &Entry) -> ItemPosition {
    ItemPosition { order: entry.order, key: Bytes::copy_from_slice(entry.item.key()) }
}

/// The items of a page, checked to be in order and within `range`.
fn entries_of(range: &ItemRange, items: &[u8]) -> Result<Vec<Entry>, EngineError> {
    let mut entries: Vec<Entry> = Vec::new();
    for item in PageSlices::new(items) {
        let (key, value) = item?;
        let order = item_order(key);
        let position = || ItemPosition { order, key: Bytes::copy_from_slice(key) };
        if entries.last().is_some_and(|last| (last.order, last.item.key()) >= (order, key)) {
            return Err(EngineError::OutOfOrder { position: position() });
        }
        if !range.contains(order, key) {
            return Err(EngineError::OutOfRange { position: position() });
        }
        entries.push(entry_of(order, key, value)?);
    }
    Ok(entries)
}

impl Engine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.leaves.find(item_order(key), key);
        Ok(found.map(|entry| match entry.item.value() {
            short if short.len() <= COPIED_VALUE_BYTES_MAX => Bytes::copy_from_slice(short),
            _ => entry.item.shared_value(),
        }))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.store(entry_of(item_order(key), key, value)?);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, EngineError> {
        let removed = self.leaves.remove(item_order(key), key);
        if let Some(entry) = &removed {
            self.digest.remove(entry.order, entry.hash, entry.bytes());
        }
        Ok(removed.is_some())
    }

    fn page(&self, range: &ItemRange, limits: PageLimits) -> Result<EnginePage, EngineError> {
        let encoded_bytes = self.digest.bytes() + self.len() * ITEM_OVERHEAD_BYTES as u64;
        let room = usize::try_from(encoded_bytes).unwrap_or(usize::MAX).min(limits.bytes);
        let mut page = PageBuilder::with_capacity(room);
        let mut last = None;
        let mut complete = true;
        for entry in self.leaves.entries(range) {
            let full = page.count() >= limits.items
                || page.bytes() + entry.item.encoded().len() > limits.bytes;
            if full && last.is_some() {
                complete = false;
                break;
            }
            page.push_item(&entry.item);
            last = Some(entry);
        }
        let count = page.count();
        Ok(EnginePage { items: page.finish(), count, last: last.map(position_of), complete })
    }

    fn replace_range(&mut self, range: &ItemRange, items: &[u8]) -> Result<(), EngineError> {
        let entries = entries_of(range, items)?;
        self.remove_range(range, usize::MAX)?;
        for entry in entries {
            self.store(entry);
        }
        Ok(())
    }

    fn remove_range(
        &mut self,
        range: &ItemRange,
        items_max: usize,
    ) -> Result<RemovedItems, EngineError> {
        let mut count = 0;
        self.leaves.remove_range(range, items_max, |entry| {
            self.digest.remove(entry.order, entry.hash, entry.bytes());
            count += 1;
        });
        let complete = self.leaves.entries(range).next().is_none();
        Ok(RemovedItems { count, complete })
    }

    fn clear(&mut self) -> Result<(), EngineError> {
        self.leaves.clear();
        self.digest = Digest::default();
        Ok(())
    }

    fn digest(&self) -> &Digest {
        &self.digest
    }

    fn check(&self, range: &ItemRange, limits: PageLimits) -> Result<CheckedItems, EngineError> {
        let mut corrupt = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        let mut last = None;
        let mut complete = true;
        for entry in self.leaves.entries(range) {
            let full = count >= limits.items || bytes + entry.item.encoded().len() > limits.bytes;
            if full && last.is_some() {
                complete = false;
                break;
            }
            count += 1;
            bytes += entry.item.encoded().len();
            last = Some(entry);
            if ItemHash::of_encoded(entry.item.encoded()) != entry.hash {
                let position = position_of(entry);
                let (stored_hash, bytes) = (entry.hash, entry.bytes());
                corrupt.push(CorruptItem { position, stored_hash, bytes });
            }
        }
        Ok(CheckedItems { corrupt, count, last: last.map(position_of), complete })
    }
}

#[cfg(test)]
mod tests;
