//! What a coordinator mints: stamps that order writes, and counters that are never used twice.
//!
//! Both are values. The wall clock is handed in by the caller, and what must be durable is handed out to
//! it: nothing here reads a clock or a disk.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::Stamp;

/// Counters reserved on disk at once. A restart skips at most this many; a disk write is needed once in
/// so many operations.
pub const COUNTER_BLOCK: u64 = 10_000;

/// A stamp from a clock that is too far ahead of ours. The stamp was not taken over.
///
/// Set the clock of the node that minted it, or of this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stamp is {ahead:?} ahead of this node's clock, {max_ahead:?} is allowed")]
pub struct StampTooFarAhead {
    /// How far the stamp is ahead.
    pub ahead: Duration,
    /// How far it may be.
    pub max_ahead: Duration,
}

/// A hybrid logical clock: stamps close to the wall clock that never repeat and never go back.
///
/// Source: Kulkarni et al., "Logical Physical Clocks", 2014, figure 5. There receiving is an event with a
/// stamp of its own; here it only raises the clock, and the next [`Hlc::tick`] is above what was received.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hlc {
    last: Stamp,
}

impl Hlc {
    /// A clock whose stamps are all above `last`: the highest stamp a restarted node has stored.
    #[must_use]
    pub fn above(last: Stamp) -> Self {
        Self { last }
    }

    /// The highest stamp minted or observed.
    #[must_use]
    pub fn last(&self) -> Stamp {
        self.last
    }

    /// Mints a stamp above every stamp minted or observed before, at the wall clock's time or, if that
    /// lies behind, as little above the last stamp as possible. Milliseconds since 1970-01-01 UTC.
    pub fn tick(&mut self, wall_millis: u64) -> Stamp {
        self.last = if wall_millis > self.last.millis {
            Stamp { millis: wall_millis, logical: 0 }
        } else {
            next_above(self.last)
        };
        self.last
    }

    /// Mints for an operation whose first stamp was overtaken by `held`: above every stamp of this clock, which
    /// passes `held` with it, unless that is more than `max_ahead` ahead of the wall clock. Then the stamp is
    /// the one above `held`, for this operation alone, and the clock stays as it is: whoever stores
    /// stamps decides whether it still takes that one.
    pub fn tick_above(&mut self, held: Stamp, wall_millis: u64, max_ahead: Duration) -> Stamp {
        match self.observe(held, wall_millis, max_ahead) {
            Ok(()) => self.tick(wall_millis),
            Err(StampTooFarAhead { .. }) => next_above(held),
        }
    }

    /// Makes every later stamp higher than `remote`.
    ///
    /// # Errors
    ///
    /// [`StampTooFarAhead`] if `remote` is more than `max_ahead` ahead of the wall clock; the clock stays
    /// as it is. One node's wrong clock would otherwise become everybody's.
    pub fn observe(
        &mut self,
        remote: Stamp,
        wall_millis: u64,
        max_ahead: Duration,
    ) -> Result<(), StampTooFarAhead> {
        let ahead = Duration::from_millis(remote.millis.saturating_sub(wall_millis));
        if ahead > max_ahead {
            return Err(StampTooFarAhead { ahead, max_ahead });
        }
        self.last = self.last.max(remote);
        Ok(())
    }
}

fn next_above(Stamp { millis, logical }: Stamp) -> Stamp {
    match logical.checked_add(1) {
        Some(logical) => Stamp { millis, logical },
        None => Stamp { millis: millis.saturating_add(1), logical: 0 },
    }
}

/// The block of counters is used up. No counter was taken; make [`Counters::reserve`] durable first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the counters up to {reserved_to} are used up, and no more are reserved on disk")]
pub struct NeedsReservation {
    /// The last counter that was reserved.
    pub reserved_to: u64,
}

/// Counts operations from 1, and never gives one number twice, over restarts too.
///
/// Only numbers up to a bound that is on disk are given out. A restarted node knows the bound but not how
/// far it came, so it starts above the bound. In this order: [`Counters::reserve`] names the new bound, the
/// caller makes it durable, [`Counters::reserved`] says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counters {
    next: u64,
    reserved_to: u64,
}

impl Counters {
    /// Counters of a node that starts. `reserved_to` is the bound on its disk, 0 on a node's first start.
    #[must_use]
    pub fn starting_above(reserved_to: u64) -> Self {
        Self { next: reserved_to.saturating_add(1), reserved_to }
    }

    /// Takes the next counter.
    ///
    /// # Errors
    ///
    /// [`NeedsReservation`] if the block is used up; nothing was taken.
    pub fn take(&mut self) -> Result<u64, NeedsReservation> {
        if !self.is_reserved() {
            return Err(NeedsReservation { reserved_to: self.reserved_to });
        }
        let taken = self.next;
        self.next += 1;
        Ok(taken)
    }

    /// Whether the next counter may be taken.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.next <= self.reserved_to
    }

    /// Whether less than half a block is left: time to reserve, before anybody has to wait for the disk.
    #[must_use]
    pub fn run_low(&self) -> bool {
        let left = self.reserved_to.saturating_add(1).saturating_sub(self.next);
        left < COUNTER_BLOCK / 2
    }

    /// The bound to make durable next. The same one is named until it is [`Counters::reserved`].
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.reserved_to.saturating_add(COUNTER_BLOCK)
    }

    /// The bound `upper` is on disk now: the counters up to it may be used. A lower bound changes nothing.
    pub fn reserved(&mut self, upper: u64) {
        self.reserved_to = self.reserved_to.max(upper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX_AHEAD: Duration = Duration::from_secs(10);

    proptest! {
        #[test]
        fn stamps_only_rise_whatever_the_wall_clock_and_the_peers_say(
            events in prop::collection::vec((any::<bool>(), 0_u64..30_000, any::<u32>()), 1..60),
        ) {
            let mut clock = Hlc::default();
            let mut highest = None;
            for (minted, millis, logical) in events {
                let remote = Stamp { millis, logical };
                if minted {
                    let stamp = clock.tick(millis);
                    prop_assert!(Some(stamp) > highest, "{:?} after {:?}", stamp, highest);
                    prop_assert!(stamp.millis >= millis);
                    highest = Some(stamp);
                } else if clock.observe(remote, 15_000, MAX_AHEAD).is_ok() {
                    highest = highest.max(Some(remote));
                } else {
                    prop_assert!(millis > 25_000);
                }
            }
        }

        #[test]
        fn no_counter_is_given_twice_over_any_restarts(
            events in prop::collection::vec((0_u8..4, 0_u64..12_000), 1..30),
        ) {
            let mut counters = Counters::starting_above(0);
            let (mut on_disk, mut highest) = (0, 0);
            for (event, times) in events {
                match event {
                    0 => on_disk = counters.reserve(),
                    1 => counters.reserved(on_disk),
                    2 => counters = Counters::starting_above(on_disk),
                    _ => for _ in 0..times {
                        let Ok(taken) = counters.take() else { break };
                        prop_assert!(taken > highest && taken <= on_disk);
                        highest = taken;
                    },
                }
            }
        }
    }

    #[test]
    fn stamps_within_a_millisecond_are_counted() {
        let mut clock = Hlc::default();
        assert_eq!(clock.tick(7), Stamp { millis: 7, logical: 0 });
        assert_eq!(clock.tick(7), Stamp { millis: 7, logical: 1 });
        assert_eq!(clock.tick(6), Stamp { millis: 7, logical: 2 });
        assert_eq!(clock.tick(8), Stamp { millis: 8, logical: 0 });
    }

    #[test]
    fn a_full_millisecond_runs_over_into_the_next() {
        let mut clock = Hlc::above(Stamp { millis: 7, logical: u32::MAX });
        assert_eq!(clock.tick(7), Stamp { millis: 8, logical: 0 });
    }

    #[test]
    fn a_stamp_at_the_limit_is_taken_and_one_beyond_it_is_not() {
        let mut clock = Hlc::default();
        let at_limit = Stamp { millis: 11_000, logical: 3 };
        clock.observe(at_limit, 1000, MAX_AHEAD).unwrap();
        assert_eq!(clock.tick(1000), Stamp { millis: 11_000, logical: 4 });
        let beyond = Stamp { millis: 11_001, logical: 0 };
        let refused = clock.observe(beyond, 1000, MAX_AHEAD).unwrap_err();
        assert_eq!(refused.ahead, Duration::from_millis(10_001));
        assert_eq!(clock.last(), Stamp { millis: 11_000, logical: 4 });
    }

    #[test]
    fn a_stamp_above_one_that_overtook_moves_the_clock_only_within_the_limit() {
        let mut clock = Hlc::default();
        let near = Stamp { millis: 9_000, logical: 3 };
        assert_eq!(clock.tick_above(near, 1000, MAX_AHEAD), Stamp { millis: 9_000, logical: 4 });
        assert_eq!(clock.tick(1000), Stamp { millis: 9_000, logical: 5 });
        let far = Stamp { millis: 99_000, logical: u32::MAX };
        assert_eq!(clock.tick_above(far, 1000, MAX_AHEAD), Stamp { millis: 99_001, logical: 0 });
        assert_eq!(clock.tick(1000), Stamp { millis: 9_000, logical: 6 }, "one key's clock only");
        let behind = Stamp { millis: 7, logical: 0 };
        assert_eq!(clock.tick_above(behind, 9_500, MAX_AHEAD), Stamp { millis: 9_500, logical: 0 });
    }

    #[test]
    fn nothing_is_taken_before_the_first_block_is_on_disk() {
        let mut counters = Counters::starting_above(0);
        assert_eq!(counters.take(), Err(NeedsReservation { reserved_to: 0 }));
        counters.reserved(counters.reserve());
        assert_eq!(counters.take(), Ok(1));
    }

    #[test]
    fn a_block_is_reserved_before_the_last_one_is_used_up() {
        let mut counters = Counters::starting_above(0);
        assert!(counters.run_low());
        counters.reserved(counters.reserve());
        assert!(!counters.run_low());
        for _ in 0..=COUNTER_BLOCK / 2 {
            counters.take().unwrap();
        }
        assert!(counters.run_low());
        assert_eq!(counters.reserve(), 2 * COUNTER_BLOCK);
    }
}
