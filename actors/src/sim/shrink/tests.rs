//! Planted failures, and how many runs it takes to find them.

use std::collections::BTreeSet;

use super::*;
use crate::runtime::rng::Rng;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    faults: Vec<u64>,
    operations: Vec<u64>,
    nodes: u64,
}

impl Shrinks for Plan {
    fn lengths(&self) -> Vec<usize> {
        vec![self.faults.len(), self.operations.len()]
    }

    fn keeping(&self, list: usize, kept: &[usize]) -> Self {
        let of = |parts: &Vec<u64>| kept.iter().map(|&position| parts[position]).collect();
        match list {
            0 => Self { faults: of(&self.faults), ..self.clone() },
            _ => Self { operations: of(&self.operations), ..self.clone() },
        }
    }

    fn lowered(&self) -> Vec<Self> {
        (1..self.nodes).map(|nodes| Self { nodes, ..self.clone() }).collect()
    }
}

fn plan(faults: u64, operations: u64) -> Plan {
    Plan { faults: (0..faults).collect(), operations: (0..operations).collect(), nodes: 9 }
}

fn has(parts: &[u64], wanted: &[u64]) -> bool {
    wanted.iter().all(|part| parts.contains(part))
}

#[test]
fn two_faults_and_an_operation_are_found_among_512_parts_within_120_runs() {
    let mut worst = 0;
    for seed in 0..300 {
        let rng = Rng::seeded(seed);
        let (first, second) = (rng.below(6), 6 + rng.below(6));
        let (operation, nodes) = (rng.below(500), 1 + rng.below(9));
        let fails = |plan: &Plan| {
            let has_parts =
                has(&plan.faults, &[first, second]) && has(&plan.operations, &[operation]);
            has_parts && plan.nodes >= nodes
        };
        let found = shrink(plan(12, 500), fails, 1_000).unwrap();
        let minimal = Plan { faults: vec![first, second], operations: vec![operation], nodes };
        assert_eq!((found.plan, found.is_minimal), (minimal, true), "seed {seed}");
        worst = worst.max(found.runs);
    }
    println!("at most {worst} runs");
    assert!(worst <= 120, "{worst} runs");
}

#[test]
fn what_is_found_fails_and_nothing_of_it_can_be_left_out() {
    for seed in 0..200 {
        let rng = Rng::seeded(seed);
        let wanted: BTreeSet<u64> = (0..rng.below(8)).map(|_| rng.below(60)).collect();
        let either = [rng.below(60), rng.below(60)];
        // One list is needed only as long as another is: who has half of the wanted needs a fault.
        let fails = |plan: &Plan| {
            let found = wanted.iter().filter(|part| plan.operations.contains(part)).count();
            let is_enough =
                found == wanted.len() || 2 * found >= wanted.len() && !plan.faults.is_empty();
            is_enough && either.iter().any(|part| plan.operations.contains(part))
        };
        let Shrunk { plan: found, is_minimal, .. } = shrink(plan(20, 60), fails, 5_000).unwrap();
        assert!(is_minimal && fails(&found), "seed {seed}: {found:?}");
        for (list, length) in found.lengths().into_iter().enumerate() {
            for left_out in 0..length {
                let kept: Vec<usize> = (0..length).filter(|at| *at != left_out).collect();
                assert!(!fails(&found.keeping(list, &kept)), "seed {seed}: {found:?}");
            }
        }
        assert_eq!(found.nodes, 1);
    }
}

#[test]
fn a_plan_that_fails_by_itself_loses_all_its_parts() {
    let empty = Plan { faults: vec![], operations: vec![], nodes: 1 };
    let found = shrink(plan(12, 500), |_| true, 100);
    assert_eq!(found, Ok(Shrunk { plan: empty, runs: 4, is_minimal: true }));
}

#[test]
fn parts_that_must_all_stay_do_stay_in_their_order() {
    let all: Vec<u64> = (0..40).collect();
    let found = shrink(plan(0, 40), |plan| plan.operations == all, 1_000).unwrap();
    assert_eq!((found.plan.operations, found.plan.nodes), (all, 1));
}

#[test]
fn a_spent_budget_ends_the_search_with_what_it_has() {
    for budget in 1..60 {
        let mut runs = 0;
        let fails = |plan: &Plan| {
            runs += 1;
            has(&plan.faults, &[3, 7]) && has(&plan.operations, &[250])
        };
        let found = shrink(plan(12, 500), fails, budget).unwrap();
        assert!(found.runs <= budget && found.runs == runs, "{found:?}");
        assert!(has(&found.plan.faults, &[3, 7]) && has(&found.plan.operations, &[250]));
        assert!(!found.is_minimal || found.plan.operations.len() == 1);
    }
}

#[test]
fn a_failure_that_does_not_come_again_is_said_so() {
    assert_eq!(shrink(plan(12, 500), |_| false, 100), Err(NotRepeated));
}
