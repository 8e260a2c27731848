//! One seed is one run; what fails is made small; seeds that once failed go well.

use std::collections::BTreeSet;
use std::time::Duration;

use tanodb_actors::sim::failure::Failure;
use tanodb_actors::sim::harness::seeds;

use super::plan::{Broken, Fault, Plan};
use super::play::{Outcome, play};
use super::{draw, smaller, table};

/// Seeds that a desk runs; the gate runs more, in release.
const SEEDS: u64 = 20;

/// Seeds that are played twice.
const TWICE: u64 = 24;

#[test]
fn the_promises_hold_on_every_seed() {
    for seed in seeds(SEEDS) {
        let outcome = play(&draw::plan(seed));
        assert!(
            outcome.failure.is_none(),
            "{}\nrun it again:\n    cargo xtask swarm --seed {seed}",
            outcome.account
        );
    }
}

#[test]
fn a_seed_is_one_run_whoever_runs_beside_it() {
    let sums = || -> Vec<u64> { (0..TWICE).map(|seed| play(&draw::plan(seed)).sum).collect() };
    let (first, second) = std::thread::scope(|scope| {
        let (first, second) = (scope.spawn(sums), scope.spawn(sums));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(first, second);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len(), "two seeds played alike");
}

/// Plays a plan, and takes something harmless for a bug: a process stood still, a transfer met a crash or a cut, and
/// a put was acknowledged.
fn play_with_a_planted_bug(plan: &Plan) -> Outcome {
    let mut outcome = play(plan);
    let counts = &outcome.counts;
    let stood_still = counts.faults.contains_key("process paused");
    let is_shown = stood_still && counts.broken_transfers > 0 && counts.checked.puts > 0;
    if is_shown && outcome.failure.is_none() {
        let what = "what was planted".to_owned();
        outcome.failure = Some(Failure::Broken { invariant: "Planted", what });
    }
    outcome
}

/// The beginning of a seed's plan with the faults of others, of which none ends a process.
fn with_many_faults(seed: u64) -> Plan {
    let drawn = (seed..).flat_map(|seed| draw::plan(seed).faults);
    let ends = |fault: &Fault| matches!(fault.what, Broken::Kill { .. } | Broken::PowerOff { .. });
    let faults = drawn.filter(|fault| !ends(fault)).take(16).collect();
    let mut plan = Plan { faults, ring_size: 8, ..draw::plan(seed) };
    plan.active = Duration::from_secs(8);
    plan.asks.retain(|ask| ask.at < plan.active);
    plan
}

#[test]
fn a_planted_bug_is_shown_with_few_faults_and_operations() {
    let played = (0..30).map(with_many_faults).map(|plan| (play_with_a_planted_bug(&plan), plan));
    let shows = |(outcome, _): &(Outcome, Plan)| outcome.failure.is_some();
    let (failed, plan) = { played }.find(shows).expect("a plan that shows it");
    assert!(plan.faults.len() >= 12 && plan.operations() > 100, "{plan}");
    let (smallest, outcome, runs) =
        smaller::smallest_by(plan, &failed, smaller::RUNS_MAX, play_with_a_planted_bug);
    assert!(outcome.failure.is_some_and(|failure| failure.to_string().contains("planted")));
    let (faults, operations) = (smallest.faults.len(), smallest.operations());
    assert!(faults <= 3 && operations <= 10, "after {runs} runs there is left: {smallest}");
}

#[test]
fn a_swarm_that_tried_too_little_is_no_success() {
    let counts = super::Counts { seeds: 300, ..super::Counts::default() };
    assert!(table::check(&counts).is_err());
}

/// A line: the seed, then a sentence.
const SEEDS_THAT_FAILED: &str = include_str!("../../../tests/seeds.txt");

#[test]
fn seeds_that_once_failed_go_well() {
    let lines = SEEDS_THAT_FAILED.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let (seed, sentence) = line.split_once(' ').expect("a seed, then a sentence");
        assert!(sentence.len() > 20, "seed {seed} has no sentence");
        let seed = seed.parse().expect("a number");
        let outcome = play(&draw::plan(seed));
        assert!(outcome.failure.is_none(), "seed {seed} ({sentence}): {}", outcome.account);
    }
}
