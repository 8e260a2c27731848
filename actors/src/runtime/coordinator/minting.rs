//! What the coordinator mints for each operation: a stamp, and a number that is never used twice.
//!
//! Numbers are reserved in blocks on disk; who writes the record and when is the actor's. A node's
//! start has a minter's name of its own, so even records that were lost cannot make two writes share a dot.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::protocol::id::{Dot, NodeId, OpId, Stamp};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;
use crate::protocol::stamp::{COUNTER_BLOCK, Counters, Hlc, NeedsReservation};
use crate::runtime::records::Loaded;

/// A stamp from elsewhere that is further ahead of the wall clock does not move this node's clock.
pub(super) const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(10);

/// What is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reserved {
    /// Numbers up to this one may have been used.
    pub(super) upper: u64,
    /// The highest stamp minted when it was written.
    pub(super) stamp: Stamp,
}

/// What one operation is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Minted {
    pub(super) op: OpId,
    pub(super) stamp: Stamp,
    pub(super) dot: Dot,
}

/// The mint of one start of one node.
#[derive(Debug)]
pub(super) struct Mint {
    minter: u64,
    clock: Hlc,
    counters: Counters,
}

impl Mint {
    /// A mint that goes on behind what an earlier start wrote down.
    #[cfg_attr(not(tanodb_mutants), expect(unused_variables, reason = "all rules are kept"))]
    pub(super) fn after(me: &NodeId, earlier: Option<&Loaded<Reserved>>, rules: Rules) -> Self {
        let (upper, stamp) = match earlier {
            None => (0, Stamp::default()),
            // The newest record was damaged and this is the one before: one block more may have been used.
            Some(Loaded { value, fell_back: Some(_) }) => {
                (value.upper.saturating_add(COUNTER_BLOCK), value.stamp)
            }
            Some(Loaded { value, fell_back: None }) => (value.upper, value.stamp),
        };
        #[cfg(tanodb_mutants)]
        let upper = if rules.breaks(Mutant::NumbersStartAgain) { 0 } else { upper };
        let counters = Counters::starting_above(upper);
        let minter = minter(me);
        #[cfg(tanodb_mutants)]
        let minter = match rules.breaks(Mutant::MinterOutlivesItsLife) {
            true => xxhash_rust::xxh3::xxh3_64(me.name.as_str().as_bytes()),
            false => minter,
        };
        Self { minter, clock: Hlc::above(stamp), counters }
    }

    /// Mints for one operation. The client's own id is kept.
    ///
    /// # Errors
    ///
    /// [`NeedsReservation`]; nothing was minted.
    pub(super) fn mint(
        &mut self,
        op: Option<OpId>,
        wall_millis: u64,
    ) -> Result<Minted, NeedsReservation> {
        let counter = self.counters.take()?;
        let minter = self.minter;
        let stamp = self.clock.tick(wall_millis);
        let op = op.unwrap_or(OpId { minter, counter });
        Ok(Minted { op, stamp, dot: Dot { minter, counter } })
    }

    /// Mints a stamp above one that a replica holds, for an operation that was minted before.
    pub(super) fn restamp(&mut self, held: Stamp, wall_millis: u64) -> Stamp {
        self.clock.tick_above(held, wall_millis, CLOCK_AHEAD_MAX)
    }

    /// Raises the clock above a stamp that was seen elsewhere, unless that one is too far ahead.
    pub(super) fn observe(&mut self, stamp: Stamp, wall_millis: u64) {
        if let Err(error) = self.clock.observe(stamp, wall_millis, CLOCK_AHEAD_MAX) {
            log::warn!(error:%; "a stamp from another node was not taken over");
        }
    }

    /// Whether the next operation can be minted at once.
    pub(super) fn has_numbers(&self) -> bool {
        self.counters.is_reserved()
    }

    /// What to write down next, if it is time to.
    pub(super) fn wants(&self) -> Option<Reserved> {
        let next = Reserved { upper: self.counters.reserve(), stamp: self.clock.last() };
        self.counters.run_low().then_some(next)
    }

    /// A record is durable.
    pub(super) fn reserved(&mut self, upper: u64) {
        self.counters.reserved(upper);
    }
}

/// One number for one incarnation of one node.
fn minter(me: &NodeId) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(me.name.as_str().as_bytes());
    hasher.update(&me.incarnation.boot.to_be_bytes());
    hasher.update(&me.incarnation.nonce.to_be_bytes());
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::{Incarnation, NodeName};
    use crate::runtime::records::Damage;

    fn me(boot: u64) -> NodeId {
        NodeId {
            name: NodeName::new("ada@here").unwrap(),
            incarnation: Incarnation { boot, nonce: 7 },
        }
    }

    fn first_number(earlier: Option<&Loaded<Reserved>>) -> u64 {
        let mut mint = Mint::after(&me(1), earlier, Rules::default());
        let Reserved { upper, .. } = mint.wants().unwrap();
        mint.reserved(upper);
        mint.mint(None, 5).unwrap().dot.counter
    }

    #[test]
    fn nothing_is_minted_before_its_number_is_on_disk() {
        let mut mint = Mint::after(&me(1), None, Rules::default());
        assert!(mint.mint(None, 5).is_err());
        let Reserved { upper, .. } = mint.wants().unwrap();
        mint.reserved(upper);
        assert!(mint.mint(None, 5).is_ok());
    }

    #[test]
    fn a_restart_counts_on_behind_the_last_block_and_one_more_after_damage() {
        let value = Reserved { upper: 20_000, stamp: Stamp { millis: 90, logical: 3 } };
        let whole = Loaded { value, fell_back: None };
        let damaged = Loaded { fell_back: Some(Damage::Rotten), ..whole.clone() };
        assert_eq!(first_number(None), 1);
        assert_eq!(first_number(Some(&whole)), 20_001);
        assert_eq!(first_number(Some(&damaged)), 30_001);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_mint_older_stamps() {
        let value = Reserved { upper: 0, stamp: Stamp { millis: 90, logical: 3 } };
        let mut mint =
            Mint::after(&me(1), Some(&Loaded { value, fell_back: None }), Rules::default());
        mint.reserved(10);
        assert_eq!(mint.mint(None, 5).unwrap().stamp, Stamp { millis: 90, logical: 4 });
        mint.observe(Stamp { millis: 10_005, logical: 0 }, 5);
        assert_eq!(mint.mint(None, 5).unwrap().stamp, Stamp { millis: 10_005, logical: 1 });
        mint.observe(Stamp { millis: 99_000, logical: 0 }, 5);
        assert_eq!(mint.mint(None, 5).unwrap().stamp, Stamp { millis: 10_005, logical: 2 });
    }

    #[test]
    fn the_clients_operation_id_is_kept_and_the_dot_is_ours() {
        let mut mint = Mint::after(&me(1), None, Rules::default());
        mint.reserved(10);
        let op = OpId { minter: 3, counter: 4 };
        let minted = mint.mint(Some(op), 5).unwrap();
        assert_eq!((minted.op, minted.dot), (op, Dot { minter: minter(&me(1)), counter: 1 }));
        let own = mint.mint(None, 5).unwrap();
        assert_eq!(own.op, OpId { minter: minter(&me(1)), counter: 2 });
        assert_ne!(minter(&me(1)), minter(&me(2)), "each start has a name of its own");
    }
}
