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
