//! Which vnodes the check lets pass, and which it refuses.

use std::sync::Arc;

use bytes::Bytes;
use tanodb_actors::sim::harness::for_each_seed;
use tanodb_actors::sim::kit::{
    Check, CheckFailure, CheckReport, Draw, Promise, check_raw_vnode, check_vnode,
};

use super::flawed::{Flaw, FlawedKind};
use super::shelf::{PLACES, Place, Shelf, anything};

/// Seeds within which a flaw must be found.
const SEEDS: u64 = 100;

fn encoded(draw: &Draw) -> Bytes {
    Bytes::from(rmp_serde::to_vec_named(&anything(draw)).unwrap())
}

fn check_flawed(seed: u64, flaw: Flaw) -> Result<CheckReport, CheckFailure> {
    check_raw_vnode(&Check::seeded(seed), FlawedKind::with(flaw), encoded)
}

#[test]
fn a_vnode_that_keeps_its_promises_passes_on_every_seed() {
    let (mut stored, mut removed) = ([0; 4], [0; 4]);
    for_each_seed("tanodb-actors --features sim", "a_vnode_that_keeps", 10, |seed| {
        let single = check_vnode::<Shelf<true>>(&Check::seeded(seed), anything);
        let merged = check_vnode::<Shelf<false>>(&Check::seeded(seed), anything);
        for report in [single, merged] {
            let report = report.unwrap_or_else(|failure| panic!("{failure}"));
            let CheckReport { transfers, crashes, handled, forwarded, dropped, .. } = report;
            assert!(transfers == 4 && crashes >= 4 * 6, "{report:?}");
            assert!(handled > 0 && forwarded > 0 && dropped > 0, "{report:?}");
            for (points, sums) in
                [(report.stored_at, &mut stored), (report.removed_at, &mut removed)]
            {
                let tried = [points.before, points.behind, points.ahead, points.fence];
                sums.iter_mut().zip(tried).for_each(|(sum, count)| *sum += count);
            }
        }
    });
    println!("before, behind, ahead, fence: {stored:?} stored, {removed:?} removed");
    assert!(stored.into_iter().chain(removed).all(|sum| sum > 0), "{stored:?}, {removed:?}");
}

#[test]
fn copies_differ_before_they_are_merged() {
    let report = check_vnode::<Shelf<false>>(&Check::seeded(0), anything);
    assert!(report.as_ref().is_ok_and(|report| report.conflicts > 0), "{report:?}");
}

#[test]
fn a_raw_vnode_without_a_flaw_passes_on_every_seed() {
    for_each_seed("tanodb-actors --features sim", "a_raw_vnode_without", SEEDS, |seed| {
        check_flawed(seed, Flaw::Nothing).unwrap_or_else(|failure| panic!("{failure}"));
    });
}

#[test]
fn each_flaw_is_found_and_named() {
    let flaws = [
        (Flaw::ForgetsBehindTheCursor, Promise::ReportsEveryChange),
        (Flaw::OverwritesInsteadOfMerging, Promise::MergeCommutes),
        (Flaw::LosesDeletes, Promise::ReportsEveryChange),
    ];
    for (flaw, broken) in flaws {
        let mut needed = Vec::new();
        for first in 0..SEEDS {
            let Err(failure) = check_flawed(first, flaw) else { continue };
            let text = failure.to_string();
            assert!(text.contains(&format!("TANODB_SEED={first}")), "{text}");
            let CheckFailure::Broken { promise, .. } = failure else { panic!("{text}") };
            assert_eq!(promise, broken, "{text}");
            needed.push(first);
        }
        println!(
            "{flaw:?}: found by {} of {SEEDS} seeds, first {:?}",
            needed.len(),
            needed.first()
        );
        assert!(!needed.is_empty(), "{flaw:?} was not found");
    }
}

#[test]
fn a_check_is_the_same_again_for_its_seed() {
    let again = || check_flawed(3, Flaw::LosesDeletes);
    assert_eq!(again(), again());
    let again = || check_vnode::<Shelf<true>>(&Check::seeded(3), anything);
    assert_eq!(again(), again());
}

#[test]
fn a_generator_that_changes_nothing_is_refused() {
    let refused =
        check_vnode::<Shelf<true>>(&Check::seeded(0), |draw| Place::Read(draw.below(PLACES)));
    assert!(matches!(refused, Err(CheckFailure::NeverAnEffect { .. })), "{refused:?}");
}

#[test]
fn a_generator_that_stores_nothing_is_refused() {
    let refused =
        check_vnode::<Shelf<true>>(&Check::seeded(0), |draw| Place::Clear(draw.below(PLACES)));
    assert!(matches!(refused, Err(CheckFailure::NeverAnItem { .. })), "{refused:?}");
}

#[test]
fn a_generator_that_removes_nothing_is_refused_unless_the_vnode_never_does() {
    let puts = |draw: &Draw| Place::Put(draw.below(PLACES), draw.number());
    let refused = check_vnode::<Shelf<false>>(&Check::seeded(0), puts);
    assert!(matches!(refused, Err(CheckFailure::NeverADelete { .. })), "{refused:?}");
    let keeps = Check { deletes: false, ..Check::seeded(0) };
    assert!(check_vnode::<Shelf<false>>(&keeps, puts).is_ok());
}

#[test]
fn the_same_commands_pass_as_a_raw_kind() {
    let kind = tanodb_actors::ItemsKind::<Shelf<true>>::in_memory(super::shelf::shelves());
    let report = check_raw_vnode(&Check::seeded(0), Arc::clone(&kind) as _, encoded);
    assert!(report.is_ok_and(|report| report.transfers > 0));
}
