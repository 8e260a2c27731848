//! Makes a failing plan smaller.

use tanodb_actors::sim::shrink::{Shrinks, shrink};

use super::plan::{Plan, Quality};
use super::play::{Outcome, play};

/// Runs a search for the smallest plan may take.
pub const RUNS_MAX: usize = 400;

/// The least size of a ring.
const RING_SIZE_MIN: u32 = 8;

fn keep<T: Clone>(list: &[T], kept: &[usize]) -> Vec<T> {
    kept.iter().filter_map(|place| list.get(*place).cloned()).collect()
}

impl Shrinks for Plan {
    fn lengths(&self) -> Vec<usize> {
        vec![self.faults.len(), self.asks.len(), self.changes.len()]
    }

    fn keeping(&self, list: usize, kept: &[usize]) -> Self {
        let mut smaller = self.clone();
        match list {
            0 => smaller.faults = keep(&self.faults, kept),
            1 => smaller.asks = keep(&self.asks, kept),
            _ => smaller.changes = keep(&self.changes, kept),
        }
        smaller
    }

    fn lowered(&self) -> Vec<Self> {
        let mut lower = Vec::new();
        if self.ring_size > RING_SIZE_MIN {
            lower.push(Self { ring_size: RING_SIZE_MIN, ..self.clone() });
        }
        if self.founders > 1 {
            lower.push(Self { founders: 1, ..self.clone() });
            lower.push(Self { founders: self.founders - 1, ..self.clone() });
        }
        if self.quality != Quality::Good {
            lower.push(Self { quality: Quality::Good, ..self.clone() });
        }
        lower
    }
}

/// The smallest plan that was found to fail in the same way, what came of it, and the runs that took. The plan
/// itself if it does not fail again.
pub fn smallest(plan: Plan, failed: &Outcome) -> (Plan, Outcome, usize) {
    smallest_by(plan, failed, RUNS_MAX, play)
}

/// The same for runs that are played and judged in this way, and at most so many of them.
pub fn smallest_by(
    plan: Plan,
    failed: &Outcome,
    runs_max: usize,
    play: impl Fn(&Plan) -> Outcome,
) -> (Plan, Outcome, usize) {
    let Some(failure) = &failed.failure else { return (plan, failed.clone(), 0) };
    let mut last = failed.clone();
    let fails = |plan: &Plan| {
        let outcome = play(plan);
        let is_it = outcome.failure.as_ref().is_some_and(|other| other.is_like(failure));
        if is_it {
            last = outcome;
        }
        is_it
    };
    match shrink(plan.clone(), fails, runs_max) {
        Ok(shrunk) => (shrunk.plan, last, shrunk.runs),
        Err(_) => (plan, failed.clone(), 1),
    }
}
