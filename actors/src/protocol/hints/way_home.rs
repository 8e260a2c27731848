//! One generation on its way home: what is read next, what was sent, and whether it may be deleted.

use crate::protocol::digest::{Digest, ItemPosition, ItemRange, Summary};

/// A generation on its way home. It takes no more writes, so its pages are read once, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayHome {
    /// What was not read yet; `None` when everything was.
    rest: Option<ItemRange>,
    /// Pages read so far.
    sequence: u64,
    /// Sums over what was sent, as it was sent: what the other side must have received.
    sent: Digest,
}

impl Default for WayHome {
    fn default() -> Self {
        Self { rest: Some(ItemRange::all()), sequence: 0, sent: Digest::default() }
    }
}

impl WayHome {
    /// The range to read a page of; `None` when everything was read.
    #[must_use]
    pub fn rest(&self) -> Option<&ItemRange> {
        self.rest.as_ref()
    }

    /// How many pages were read.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// A page of [`WayHome::rest`] was read, up to `until` (`None`: to its end). `sum_up` adds its items to
    /// the sums of what was sent. Returns the page's number.
    pub fn page_read(
        &mut self,
        until: Option<ItemPosition>,
        sum_up: impl FnOnce(&mut Digest),
    ) -> u64 {
        sum_up(&mut self.sent);
        let end = self.rest.take().and_then(|range| range.until);
        self.rest = until.map(|after| ItemRange { after: Some(after), until: end });
        self.sequence += 1;
        self.sequence
    }

    /// Reads nothing more.
    #[cfg(tanodb_mutants)]
    pub fn forget_rest(&mut self) {
        self.rest = None;
    }

    /// What the other side must confirm: the number of the last page and the sums over all of them.
    #[must_use]
    pub fn fence(&self) -> (u64, Summary) {
        (self.sequence, self.sent.summary())
    }

    /// Whether the generation may be deleted, now that its owner has confirmed everything up to a fence.
    #[must_use]
    pub fn is_home(&self, confirmed: u64) -> bool {
        self.rest.is_none() && confirmed == self.sequence
    }
}
