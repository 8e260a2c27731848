//! `SlotsReturn`: when no transfer runs, no slot is taken. Judged at rest; while the nodes work, what is taken
//! and given back is counted.

use super::Invariant;
use super::rest::Judged;
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

pub(super) const NAME: &str = "SlotsReturn";

/// See the module. Tried whenever the last slot of a node comes back.
#[derive(Default)]
pub(super) struct SlotsReturn {
    exercised: u64,
}

impl Invariant for SlotsReturn {
    fn name(&self) -> &'static str {
        NAME
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        let is_back = matches!(&seen.event, Observed::SlotsHeld { outbound: 0, inbound: 0, .. });
        self.exercised += u64::from(is_back);
        Ok(())
    }

    fn exercised(&self) -> u64 {
        self.exercised
    }
}

/// Judges what is taken now.
pub(super) fn at_rest(judged: &Judged<'_>) -> Result<u64, String> {
    let taken = judged.world.slots();
    if taken.is_empty() { Ok(0) } else { Err(format!("slots are taken at rest: {taken:?}")) }
}
