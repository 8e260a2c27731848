//! `cargo xtask swarm`: many random runs of whole clusters in the simulator.
//!
//! A seed draws a plan: who is there, what clients ask, what operators do, what breaks. The plan is played in
//! virtual time, every promise is checked while it runs and when it has come to rest, and what the runs were
//! worth is added up. A plan that fails is made smaller before it is shown.

mod breaking;
mod clients;
mod counter;
mod draw;
mod judge;
pub mod mutants;
mod operators;
mod plan;
mod play;
mod smaller;
mod speed;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod tracker;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use play::{Outcome, play};
use tally::Counts;
use tanodb_actors::sim::failure::Failure;

/// How often a soak says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Why a swarm ends as a failure.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// A seed failed; everything about it was printed.
    #[error("seed {0} failed")]
    Failed(u64),
    /// A measurement did not come to its end.
    #[error("not measured: {0}")]
    NotMeasured(Failure),
    /// All went well, but the runs were not worth enough to say so.
    #[error("the runs did not try enough: {0}")]
    NotEnough(String),
}

/// Prints how fast the simulator runs.
pub fn speed() -> Result<(), SwarmError> {
    speed::speed().map_err(SwarmError::NotMeasured)
}

/// Plays one seed and prints its plan and what came of it.
pub fn one(seed: u64) -> Result<(), SwarmError> {
    let plan = draw::plan(seed);
    println!("{plan}");
    let outcome = play(&plan);
    if outcome.failure.is_some() {
        println!("{}", outcome.account);
        return Err(SwarmError::Failed(seed));
    }
    println!("{}", table::of(&outcome.counts));
    println!("trace {:016x}: the same for every run of this seed", outcome.sum);
    Ok(())
}

/// Plays so many seeds on all processors, stops at the first failure, and prints what they were worth.
pub fn many(count: u64) -> Result<(), SwarmError> {
    let began = Instant::now();
    let (counts, failed) = soak(count, began);
    println!("{}", table::of(&counts));
    let real = began.elapsed();
    println!("{} seeds in {:.1} s", counts.seeds, real.as_secs_f64());
    if let Some((seed, outcome)) = failed {
        explain(seed, &outcome);
        return Err(SwarmError::Failed(seed));
    }
    table::check(&counts).map_err(SwarmError::NotEnough)
}

/// All counts, and the lowest seed that failed.
fn soak(count: u64, began: Instant) -> (Counts, Option<(u64, Outcome)>) {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, has_failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    let mut counts = Counts::default();
    let mut failed: Option<(u64, Outcome)> = None;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (tell, next, has_failed) = (tell.clone(), &next, &has_failed);
            scope.spawn(move || {
                while !has_failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        break;
                    }
                    let outcome = play(&draw::plan(seed));
                    has_failed.fetch_or(outcome.failure.is_some(), Ordering::Relaxed);
                    if tell.send((seed, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        let mut said = began;
        for (seed, outcome) in told {
            counts.add(&outcome.counts);
            counts.violations += u64::from(outcome.failure.is_some());
            let is_first = failed.as_ref().is_none_or(|(first, _)| seed < *first);
            if outcome.failure.is_some() && is_first {
                failed = Some((seed, outcome));
            }
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                let hours = counts.virtual_time.as_secs_f64() / 3_600.0;
                eprintln!("{} of {count} seeds, {hours:.1} virtual hours", counts.seeds);
            }
        }
    });
    (counts, failed)
}

/// Everything about a seed that failed.
fn explain(seed: u64, outcome: &Outcome) {
    println!("seed {seed} failed; the smallest plan that fails alike is looked for");
    let (plan, last, runs) = smaller::smallest(draw::plan(seed), outcome);
    let (faults, operations) = (plan.faults.len(), plan.operations());
    println!("\nafter {runs} runs {faults} faults and {operations} operations are left:");
    println!("{plan}\n{}", last.account);
    println!("the whole run again:\n    cargo xtask swarm --seed {seed}");
}
