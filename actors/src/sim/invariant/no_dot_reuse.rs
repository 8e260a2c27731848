//! `NoDotReuse`: no dot is given twice.

use std::collections::BTreeMap;

use super::Invariant;
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried by every dot after a minter's first, and by every minter that follows an earlier life.
#[derive(Default)]
pub(super) struct NoDotReuse {
    /// The highest counter of each minter: they only rise.
    newest: BTreeMap<u64, u64>,
    exercised: u64,
}

impl Invariant for NoDotReuse {
    fn name(&self) -> &'static str {
        "NoDotReuse"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        let Observed::Minted { op, dot, .. } = &seen.event else { return Ok(()) };
        let newest = self.newest.insert(dot.minter, dot.counter);
        if newest.is_some_and(|newest| newest >= dot.counter) {
            let node = &seen.node;
            return Err(format!("{node} gives {dot:?} to {op}, after {newest:?}"));
        }
        self.exercised += u64::from(newest.is_some() || seen.life > 1);
        Ok(())
    }

    fn exercised(&self) -> u64 {
        self.exercised
    }
}
