//! `OneDotPerOp`: a command runs under the one dot that its coordinator gave it, at every replica.

use std::collections::BTreeMap;

use super::Invariant;
use crate::protocol::id::{Dot, OpId};
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried by every execution: at another replica, after another retry, behind a forward.
#[derive(Default)]
pub(super) struct OneDotPerOp {
    /// The dots of operations whose id a client chose. All others are called like their dots.
    chosen: BTreeMap<Dot, OpId>,
    exercised: u64,
}

impl Invariant for OneDotPerOp {
    fn name(&self) -> &'static str {
        "OneDotPerOp"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        if let Observed::Minted { op, dot, is_clients: true } = &seen.event {
            self.chosen.insert(*dot, *op);
        }
        let Observed::Executed { op, dot, vnode, .. } = &seen.event else { return Ok(()) };
        let named_alike = OpId { minter: dot.minter, counter: dot.counter };
        let minted = self.chosen.get(dot).copied().unwrap_or(named_alike);
        if minted != *op {
            let node = &seen.node;
            return Err(format!("{node} executes {op} for {vnode:?} under the dot of {minted}"));
        }
        self.exercised += 1;
        Ok(())
    }

    fn exercised(&self) -> u64 {
        self.exercised
    }
}
