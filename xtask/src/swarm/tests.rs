//! One seed is one run; what fails is made small; seeds that once failed go well.

use std::collections::BTreeSet;

use tanodb_actors::sim::harness::seeds;

use super::play::play;
use super::{draw, table};

/// Seeds that a desk runs; the gate runs more, in release.
const SEEDS: u64 = 20;

/// Seeds that are played twice.
const TWICE: u64 = 6;

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
