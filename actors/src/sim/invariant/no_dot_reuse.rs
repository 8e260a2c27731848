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

#[cfg(test)]
mod tests {
    use super::super::told::*;
    use super::*;

    use crate::protocol::id::Dot;

    fn minted(minter: u64, counter: u64) -> Observed {
        let dot = Dot { minter, counter };
        Observed::Minted { op: op(counter), dot, is_clients: false }
    }

    #[test]
    fn minters_count_up_each_for_itself() {
        let mut told = Told::to(|_| NoDotReuse::default());
        told.and("ada", minted(1, 1)).and("bob", minted(2, 1)).and("ada", minted(1, 5));
        assert_eq!(told.exercised(), 1);
    }

    #[test]
    fn a_dot_that_was_given_before_is_seen() {
        for counter in [4, 5] {
            let mut told = Told::to(|_| NoDotReuse::default());
            told.and("ada", minted(1, 4)).and("ada", minted(1, 5));
            assert!(told.hears("bob", minted(1, counter)).is_err());
        }
    }
}
