//! The kit for authors of vnodes: [`check_vnode`] drives one vnode through everything a transfer does to it,
//! [`simulate`] runs it in a cluster where much goes wrong.
//!
//! Owns: what is drawn, what is compared, and what is said when a promise is broken. It needs nothing of the
//! author but the vnode, a function that draws commands for it, and a check of what clients were told.

mod check;
mod comparing;
mod counting;
mod failure;
mod faults;
mod joining;
mod merging;
mod moving;
mod rested;
mod simulate;
mod told;
mod trial;

pub use check::{Check, CheckReport, Points, check_raw_vnode, check_vnode};
pub use failure::{CheckFailure, Promise};
pub use faults::Faults;
pub use rested::Rested;
pub use simulate::{Report, SimulateFailure, Simulation, simulate, simulate_raw};
pub use told::{Heard, Told};

use crate::runtime::rng::Rng;

/// Chance for an author's generator of commands. Everything drawn follows from the seed.
#[derive(Debug, Clone)]
pub struct Draw {
    rng: Rng,
}

impl Draw {
    pub(super) fn new(rng: Rng) -> Self {
        Self { rng }
    }

    /// The draws of a seed, to look at what a generator makes of it.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::new(Rng::seeded(seed))
    }

    /// Any number, each equally likely.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.rng.next_u64()
    }

    /// A number from 0 to `bound - 1`, each equally likely; 0 for a bound of 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// True in `chance` of `of` cases.
    #[must_use]
    pub fn one_in(&self, chance: u64, of: u64) -> bool {
        self.below(of) < chance
    }

    /// One of these, each equally likely; `None` if there are none.
    #[must_use]
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(usize::try_from(self.below(of.len() as u64)).unwrap_or(0))
    }
}
