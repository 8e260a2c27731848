//! Pages: many items in one run of bytes, written once and read without a copy.
//!
//! A page is what a fold reads, a frame carries and an engine stores from. Each item is
//! `key length u32, value length u32, key, value`, big-endian, one after the other, with nothing before,
//! between or after them; so two pages in a row are a page. The order of the items is the writer's.
//! Ordered changes have the same form in [`super::delta`]; how a page rides in a frame is [`super::bin`].

use bytes::{BufMut, Bytes, BytesMut};

/// Most bytes one item's key and value have together.
///
/// Half of [`super::frame::FRAME_BYTES_MAX`]: a page with a single item fits into a frame, with room for
/// whatever stands beside it.
pub const ITEM_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of an item in a page beside its key and value.
pub const ITEM_OVERHEAD_BYTES: usize = 8;

/// Why bytes are no page, or an item does not go into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The item is longer than any node accepts. Nothing of it was written; store it in pieces.
    #[error("an item of {bytes} bytes is over the limit of {ITEM_BYTES_MAX}")]
    ItemTooLong {
        /// Bytes of key and value.
        bytes: usize,
    },
    /// The page ends within an item. The items before it are whole, but say nothing about the range.
    #[error("a page ends at byte {have} within an item that ends at {need}")]
    Truncated {
        /// Bytes from the start of the item to its end.
        need: usize,
        /// Bytes from the start of the item to the end of the page.
        have: usize,
    },
    /// A change is neither a put nor a remove. The writer knows a kind of change this node does not.
    #[error("a change has the unknown tag {tag}")]
    UnknownChange {
        /// The tag that was read.
        tag: u8,
    },
}

/// One item in the form it has in a page: what an engine keeps, so that a fold only copies.
///
/// Key and value lie in one allocation that is shared with nobody until a slice of it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PageItem(Bytes);

impl PageItem {
    /// An item with copies of `key` and `value`.
    ///
    /// # Errors
    ///
    /// [`PageError::ItemTooLong`].
    pub fn new(key: &[u8], value: &[u8]) -> Result<Self, PageError> {
        let (key_bytes, value_bytes) = item_lengths(key, value)?;
        // Exactly as long as needed: then turning it into `Bytes` allocates and copies nothing.
        let mut item = Vec::with_capacity(ITEM_OVERHEAD_BYTES + key.len() + value.len());
        item.extend_from_slice(&key_bytes.to_be_bytes());
        item.extend_from_slice(&value_bytes.to_be_bytes());
        item.extend_from_slice(key);
        item.extend_from_slice(value);
        Ok(Self(item.into()))
    }

    /// The item as it lies in a page.
    #[must_use]
    pub fn encoded(&self) -> &Bytes {
        &self.0
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.0.get(ITEM_OVERHEAD_BYTES..self.value_at()).unwrap_or_default()
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.0.get(self.value_at()..).unwrap_or_default()
    }

    /// Its value, sharing the item's memory.
    #[must_use]
    pub fn shared_value(&self) -> Bytes {
        self.0.slice(self.value_at().min(self.0.len())..)
    }

    fn value_at(&self) -> usize {
        let key_bytes = self.0.first_chunk::<4>().map_or(0, |field| u32::from_be_bytes(*field));
        ITEM_OVERHEAD_BYTES + key_bytes as usize
    }
}

/// Writes a page, item by item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageBuilder {
    page: BytesMut,
    count: usize,
}

impl PageBuilder {
    /// An empty page with room for `bytes`, so that filling it so far allocates once.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { page: BytesMut::with_capacity(bytes), count: 0 }
    }

    /// Appends one item.
    ///
    /// # Errors
    ///
    /// [`PageError::ItemTooLong`]; the page is as it was.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), PageError> {
        push_item(&mut self.page, key, value)?;
        self.count += 1;
        Ok(())
    }

    /// Appends an item that already has the form it needs.
    pub fn push_item(&mut self, item: &PageItem) {
        self.page.extend_from_slice(&item.0);
        self.count += 1;
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.page.len()
    }

    /// Items written so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.page.freeze()
    }
}

/// The lengths of an item as they are written, or the error if it is too long.
pub(super) fn item_lengths(key: &[u8], value: &[u8]) -> Result<(u32, u32), PageError> {
    let bytes = key.len().saturating_add(value.len());
    match (u32::try_from(key.len()), u32::try_from(value.len())) {
        (Ok(key_bytes), Ok(value_bytes)) if bytes <= ITEM_BYTES_MAX => Ok((key_bytes, value_bytes)),
        (_, _) => Err(PageError::ItemTooLong { bytes }),
    }
}

pub(super) fn push_item(out: &mut BytesMut, key: &[u8], value: &[u8]) -> Result<(), PageError> {
    let (key_bytes, value_bytes) = item_lengths(key, value)?;
    out.reserve(ITEM_OVERHEAD_BYTES + key.len() + value.len());
    out.put_u32(key_bytes);
    out.put_u32(value_bytes);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    Ok(())
}

/// The first `bytes` of `rest`, and what follows them.
pub(super) fn take(rest: &[u8], bytes: usize) -> Result<(&[u8], &[u8]), PageError> {
    rest.split_at_checked(bytes).ok_or(PageError::Truncated { need: bytes, have: rest.len() })
}

/// A length field, compared with [`ITEM_BYTES_MAX`] by the caller, and what follows it.
pub(super) fn take_length(rest: &[u8]) -> Result<(usize, &[u8]), PageError> {
    match rest.split_first_chunk::<4>() {
        Some((field, rest)) => Ok((u32::from_be_bytes(*field) as usize, rest)),
        None => Err(PageError::Truncated { need: 4, have: rest.len() }),
    }
}

/// One item as it lies in a page: key, value, and the bytes after it.
type ItemInPage<'a> = (&'a [u8], &'a [u8], &'a [u8]);

pub(super) fn take_item(rest: &[u8]) -> Result<ItemInPage<'_>, PageError> {
    let (key_bytes, rest) = take_length(rest)?;
    let (value_bytes, rest) = take_length(rest)?;
    let bytes = key_bytes.saturating_add(value_bytes);
    if bytes > ITEM_BYTES_MAX {
        return Err(PageError::ItemTooLong { bytes });
    }
    let (key, rest) = take(rest, key_bytes)?;
    let (value, rest) = take(rest, value_bytes)?;
    Ok((key, value, rest))
}

/// Reads a page as slices of it. After an error it ends.
#[derive(Debug, Clone)]
pub struct PageSlices<'a> {
    rest: &'a [u8],
}

impl<'a> PageSlices<'a> {
    /// Reads `page` from its start.
    #[must_use]
    pub fn new(page: &'a [u8]) -> Self {
        Self { rest: page }
    }

    /// How many items the page has, if every one of them is whole. Looks at the lengths only.
    ///
    /// # Errors
    ///
    /// The first [`PageError`] a reader of the page would meet.
    pub fn check(page: &'a [u8]) -> Result<usize, PageError> {
        Self::new(page).try_fold(0, |count, item| item.map(|_| count + 1))
    }
}

impl<'a> Iterator for PageSlices<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), PageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match take_item(self.rest) {
            Ok((key, value, rest)) => {
                self.rest = rest;
                Some(Ok((key, value)))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Reads a page as keys and values that share its memory. After an error it ends.
///
/// Each part keeps the whole page's memory alive; what is to outlive the page is copied out.
#[derive(Debug, Clone)]
pub struct PageItems {
    rest: Bytes,
}

impl PageItems {
    /// Reads `page` from its start.
    #[must_use]
    pub fn new(page: Bytes) -> Self {
        Self { rest: page }
    }
}

impl Iterator for PageItems {
    type Item = Result<(Bytes, Bytes), PageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match take_item(&self.rest).map(|(key, value, _)| (key.len(), value.len())) {
            Ok((key_bytes, value_bytes)) => {
                let mut item = self.rest.split_to(ITEM_OVERHEAD_BYTES + key_bytes + value_bytes);
                let value = item.split_off(ITEM_OVERHEAD_BYTES + key_bytes);
                Some(Ok((item.split_off(ITEM_OVERHEAD_BYTES), value)))
            }
            Err(error) => {
                self.rest.clear();
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Items = Vec<(Vec<u8>, Vec<u8>)>;

    fn any_items() -> impl Strategy<Value = Items> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec((bytes(), bytes()), 0..20)
    }

    fn page_of(items: &Items) -> Bytes {
        let mut builder = PageBuilder::default();
        for (key, value) in items {
            builder.push(key, value).unwrap();
        }
        assert_eq!(builder.count(), items.len());
        let bytes = builder.bytes();
        let page = builder.finish();
        assert_eq!(page.len(), bytes);
        page
    }

    proptest! {
        #[test]
        fn items_come_out_as_they_went_in(items in any_items()) {
            let page = page_of(&items);
            let slices: Items = PageSlices::new(&page)
                .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
                .collect();
            let shared: Items = PageItems::new(page.clone())
                .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
                .collect();
            prop_assert_eq!(&slices, &items);
            prop_assert_eq!(&shared, &items);
            prop_assert_eq!(PageSlices::check(&page), Ok(items.len()));
        }

        #[test]
        fn two_pages_in_a_row_are_a_page(first in any_items(), second in any_items()) {
            let joined = [page_of(&first), page_of(&second)].concat();
            prop_assert_eq!(Bytes::from(joined), page_of(&[first, second].concat()));
        }

        #[test]
        fn an_item_of_its_own_has_the_form_it_has_in_a_page(items in any_items()) {
            let mut builder = PageBuilder::default();
            for (key, value) in &items {
                let item = PageItem::new(key, value).unwrap();
                prop_assert_eq!((item.key(), item.value()), (&key[..], &value[..]));
                prop_assert_eq!(&item.shared_value()[..], &value[..]);
                builder.push_item(&item);
            }
            prop_assert_eq!(builder.count(), items.len());
            prop_assert_eq!(builder.finish(), page_of(&items));
        }

        #[test]
        fn a_page_cut_within_an_item_is_refused(items in any_items(), cut in any::<prop::sample::Index>()) {
            let page = page_of(&items);
            prop_assume!(!page.is_empty());
            let cut = cut.index(page.len());
            let mut ends = vec![0];
            for (key, value) in &items {
                ends.push(ends[ends.len() - 1] + ITEM_OVERHEAD_BYTES + key.len() + value.len());
            }
            let whole = ends.iter().position(|end| *end == cut);
            prop_assert_eq!(PageSlices::check(&page[..cut]).ok(), whole);
        }

        #[test]
        fn garbage_ends_in_an_error_or_the_end_of_both_readers_alike(
            garbage in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..100),
        ) {
            let shared = PageItems::new(garbage.clone().into())
                .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())));
            let slices = PageSlices::new(&garbage)
                .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())));
            prop_assert!(shared.eq(slices));
        }
    }

    #[test]
    fn shared_items_lie_in_the_page_itself() {
        let page = page_of(&vec![(b"key".to_vec(), b"value".to_vec())]);
        let (key, value) = PageItems::new(page.clone()).next().unwrap().unwrap();
        assert_eq!(key.as_ptr(), page[8..].as_ptr());
        assert_eq!(value.as_ptr(), page[11..].as_ptr());
    }

    #[test]
    fn an_item_over_the_limit_is_neither_written_nor_read() {
        let mut builder = PageBuilder::default();
        let value = vec![0; ITEM_BYTES_MAX];
        let refused = PageError::ItemTooLong { bytes: ITEM_BYTES_MAX + 1 };
        assert_eq!(builder.push(b"k", &value), Err(refused));
        assert_eq!(builder.bytes(), 0);
        builder.push(b"", &value).unwrap();
        let lengths = [0xff; 8];
        let refused = PageSlices::new(&lengths).next().unwrap();
        assert!(matches!(refused, Err(PageError::ItemTooLong { .. })));
    }
}
