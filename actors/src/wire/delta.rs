//! Deltas: ordered changes in one run of bytes, as the stream of a transfer carries them.
//!
//! A change is an after-image: the key with what is stored under it now, or with nothing. A put is
//! `1, key length u32, value length u32, key, value`, a remove `2, key length u32, key`, big-endian. The
//! order is the order in which the changes happened, and is never altered; two deltas in a row are a delta.

use bytes::{BufMut, Bytes, BytesMut};

use super::page::{self, ITEM_BYTES_MAX, ITEM_OVERHEAD_BYTES, PageError};

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const REMOVE_OVERHEAD_BYTES: usize = 5;

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// These bytes are stored under the key now.
    Put {
        /// The item's key.
        key: Bytes,
        /// All that is stored.
        value: Bytes,
    },
    /// Nothing is stored under the key now.
    Remove {
        /// The item's key.
        key: Bytes,
    },
}

impl Change {
    /// The key of the item that changed.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Remove { key } => key,
        }
    }
}

/// Writes a delta, change by change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeltaBuilder {
    delta: BytesMut,
    count: usize,
}

impl DeltaBuilder {
    /// An empty delta with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { delta: BytesMut::with_capacity(bytes), count: 0 }
    }

    /// Appends: `value` is stored under `key` now.
    ///
    /// # Errors
    ///
    /// [`PageError::ItemTooLong`]; the delta is as it was.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), PageError> {
        page::item_lengths(key, value)?;
        self.delta.put_u8(PUT);
        page::push_item(&mut self.delta, key, value)?;
        self.count += 1;
        Ok(())
    }

    /// Appends: nothing is stored under `key` now.
    ///
    /// # Errors
    ///
    /// [`PageError::ItemTooLong`]; the delta is as it was.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), PageError> {
        let (key_bytes, _) = page::item_lengths(key, &[])?;
        self.delta.reserve(REMOVE_OVERHEAD_BYTES + key.len());
        self.delta.put_u8(REMOVE);
        self.delta.put_u32(key_bytes);
        self.delta.extend_from_slice(key);
        self.count += 1;
        Ok(())
    }

    /// Appends `change`.
    ///
    /// # Errors
    ///
    /// [`PageError::ItemTooLong`]; the delta is as it was.
    pub fn push(&mut self, change: &Change) -> Result<(), PageError> {
        match change {
            Change::Put { key, value } => self.put(key, value),
            Change::Remove { key } => self.remove(key),
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.delta.len()
    }

    /// Changes written so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The delta.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.delta.freeze()
    }
}

/// Reads a delta in its order, as changes that share its memory. After an error it ends.
#[derive(Debug, Clone)]
pub struct DeltaChanges {
    rest: Bytes,
}

impl DeltaChanges {
    /// Reads `delta` from its start.
    #[must_use]
    pub fn new(delta: Bytes) -> Self {
        Self { rest: delta }
    }

    /// How many changes the delta has, if every one of them is whole.
    ///
    /// # Errors
    ///
    /// The first [`PageError`] a reader of the delta would meet.
    pub fn check(delta: &Bytes) -> Result<usize, PageError> {
        Self::new(delta.clone()).try_fold(0, |count, change| change.map(|_| count + 1))
    }

    fn take_put(&mut self) -> Result<Change, PageError> {
        let (_, item) = page::take(&self.rest, 1)?;
        let (key, value, _) = page::take_item(item)?;
        let (key_bytes, value_bytes) = (key.len(), value.len());
        let mut change = self.rest.split_to(1 + ITEM_OVERHEAD_BYTES + key_bytes + value_bytes);
        let value = change.split_off(1 + ITEM_OVERHEAD_BYTES + key_bytes);
        Ok(Change::Put { key: change.split_off(1 + ITEM_OVERHEAD_BYTES), value })
    }

    fn take_remove(&mut self) -> Result<Change, PageError> {
        let (_, item) = page::take(&self.rest, 1)?;
        let (key_bytes, rest) = page::take_length(item)?;
        if key_bytes > ITEM_BYTES_MAX {
            return Err(PageError::ItemTooLong { bytes: key_bytes });
        }
        page::take(rest, key_bytes)?;
        let mut change = self.rest.split_to(REMOVE_OVERHEAD_BYTES + key_bytes);
        Ok(Change::Remove { key: change.split_off(REMOVE_OVERHEAD_BYTES) })
    }
}

impl Iterator for DeltaChanges {
    type Item = Result<Change, PageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let change = match *self.rest.first()? {
            PUT => self.take_put(),
            REMOVE => self.take_remove(),
            tag => Err(PageError::UnknownChange { tag }),
        };
        if change.is_err() {
            self.rest.clear();
        }
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_changes() -> impl Strategy<Value = Vec<Change>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let change = prop_oneof![
            (bytes(), bytes()).prop_map(|(key, value)| Change::Put { key, value }),
            bytes().prop_map(|key| Change::Remove { key }),
        ];
        prop::collection::vec(change, 0..20)
    }

    fn delta_of(changes: &[Change]) -> Bytes {
        let mut builder = DeltaBuilder::default();
        for change in changes {
            builder.push(change).unwrap();
        }
        assert_eq!(builder.count(), changes.len());
        builder.finish()
    }

    proptest! {
        #[test]
        fn changes_come_out_in_the_order_they_went_in(changes in any_changes()) {
            let delta = delta_of(&changes);
            prop_assert_eq!(DeltaChanges::check(&delta), Ok(changes.len()));
            let read: Result<Vec<Change>, _> = DeltaChanges::new(delta).collect();
            prop_assert_eq!(read.unwrap(), changes);
        }

        #[test]
        fn a_cut_delta_gives_whole_changes_before_its_error(
            changes in any_changes(),
            cut in any::<prop::sample::Index>(),
        ) {
            let delta = delta_of(&changes);
            prop_assume!(!delta.is_empty());
            let cut = delta.slice(..cut.index(delta.len()));
            let whole: Vec<Change> =
                DeltaChanges::new(cut.clone()).map_while(Result::ok).collect();
            prop_assert_eq!(&whole[..], &changes[..whole.len()]);
            prop_assert_eq!(DeltaChanges::check(&cut).is_ok(), cut == delta_of(&whole));
        }

        #[test]
        fn garbage_ends_in_an_error_or_the_end(
            garbage in prop::collection::vec(prop_oneof![0_u8..3, any::<u8>()], 0..100),
        ) {
            let read: Vec<_> = DeltaChanges::new(garbage.into()).collect();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }
    }

    #[test]
    fn an_unknown_change_is_named() {
        let refused = DeltaChanges::check(&Bytes::from_static(&[9, 0, 0]));
        assert_eq!(refused, Err(PageError::UnknownChange { tag: 9 }));
    }

    #[test]
    fn a_change_over_the_limit_leaves_the_delta_as_it_was() {
        let mut builder = DeltaBuilder::default();
        builder.remove(b"k").unwrap();
        let bytes = builder.bytes();
        let long = vec![0; ITEM_BYTES_MAX + 1];
        assert!(builder.put(b"", &long).is_err());
        assert!(builder.remove(&long).is_err());
        assert_eq!((builder.bytes(), builder.count()), (bytes, 1));
    }
}
