//! `NoSilentSkip`: at the fence the target has as many items and bytes as the source.

use std::collections::BTreeMap;

use super::Invariant;
use crate::protocol::digest::Summary;
use crate::protocol::id::TransferId;
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried by every fence around items.
#[derive(Default)]
pub(super) struct NoSilentSkip {
    at_source: BTreeMap<TransferId, Summary>,
    exercised: u64,
}

impl Invariant for NoSilentSkip {
    fn name(&self) -> &'static str {
        "NoSilentSkip"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        if let Observed::FenceSet { transfer, summary, .. } = &seen.event {
            self.at_source.insert(*transfer, *summary);
        }
        let Observed::FenceHeld { vnode, transfer, summary } = &seen.event else { return Ok(()) };
        let theirs = self.at_source.get(transfer);
        let is_whole = theirs
            .is_some_and(|theirs| (theirs.count, theirs.bytes) == (summary.count, summary.bytes));
        if !is_whole {
            return Err(format!(
                "{} confirms the fence of {vnode:?} with {summary}, the source has {theirs:?}",
                seen.node
            ));
        }
        self.exercised += u64::from(summary.count > 0);
        Ok(())
    }

    fn exercised(&self) -> u64 {
        self.exercised
    }
}

#[cfg(test)]
mod tests {
    use super::super::told::*;
    use super::*;

    #[test]
    fn both_sides_have_as_much_at_the_fence() {
        let mut told = Told::to(|_| NoSilentSkip::default());
        told.and("ada", fence_set(items(5))).and("bob", fence_held(items(5)));
        assert_eq!(told.exercised(), 1);
    }

    #[test]
    fn a_target_that_lacks_an_item_or_bytes_is_seen() {
        let fewer_bytes = Summary { bytes: 49, ..items(5) };
        for wrong in [items(4), items(6), fewer_bytes] {
            let mut told = Told::to(|_| NoSilentSkip::default());
            told.and("ada", fence_set(items(5)));
            assert!(told.hears("bob", fence_held(wrong)).is_err());
        }
    }

    #[test]
    fn a_fence_that_nobody_has_set_is_seen() {
        let mut told = Told::to(|_| NoSilentSkip::default());
        assert!(told.hears("bob", fence_held(items(0))).is_err());
    }
}
