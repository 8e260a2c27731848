//! How often transfers completed and were cancelled, counted where invariants listen.

use std::cell::Cell;
use std::rc::Rc;

use crate::protocol::handoff::Handoff;
use crate::runtime::observe::Observed;
use crate::sim::invariant::Invariant;
use crate::sim::trace::Seen;

/// Counts that can be read while the run goes on.
#[derive(Clone, Default)]
pub(super) struct Counts(Rc<(Cell<u64>, Cell<u64>)>);

impl Counts {
    pub(super) fn completed(&self) -> u64 {
        self.0.0.get()
    }

    pub(super) fn cancelled(&self) -> u64 {
        self.0.1.get()
    }

    /// Whether this says that a partition is on its way to the node that tells it.
    pub(super) fn is_staging(event: &Observed) -> bool {
        matches!(event, Observed::VnodeMoved { after: Handoff::Staging(_), .. })
    }
}

/// An ear that complains of nothing.
pub(super) struct Transfers(pub(super) Counts);

impl Transfers {
    pub(super) const NAME: &'static str = "transfers are counted";
}

impl Invariant for Transfers {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        let Observed::VnodeMoved { before, after, .. } = &seen.event else { return Ok(()) };
        let counted = match (before, after) {
            (Handoff::Granting { .. }, Handoff::Retired { .. }) => &self.0.0.0,
            (Handoff::Sending(..) | Handoff::Fenced { .. }, Handoff::Owner(_)) => &self.0.0.1,
            (_, _) => return Ok(()),
        };
        counted.set(counted.get() + 1);
        Ok(())
    }

    fn exercised(&self) -> u64 {
        self.0.completed()
    }
}
