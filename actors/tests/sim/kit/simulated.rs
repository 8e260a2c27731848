//! Whole clusters with an author's vnode, an author's commands and an author's check.

use std::collections::BTreeMap;

use bytes::Bytes;
use tanodb_actors::RingHash;
use tanodb_actors::sim::failure::Failure;
use tanodb_actors::sim::harness::for_each_seed;
use tanodb_actors::sim::kit::{
    Draw, Faults, Heard, Report, Rested, SimulateFailure, Simulation, Told, simulate, simulate_raw,
};

use super::flawed::{Flaw, FlawedKind};
use super::shelf::{PLACES, Place, Shelf, hash_of};

const PACKAGE: &str = "tanodb-actors --features sim";

fn additions(draw: &Draw) -> (RingHash, Place) {
    let place = draw.below(PLACES);
    let amount = 1 + draw.below(9);
    (hash_of(place), if draw.one_in(1, 5) { Place::Read(place) } else { Place::Add(place, amount) })
}

/// What was acknowledged is there, and nothing that was not asked.
fn sums_are_exact(
    told: &[Told<Place, Option<u64>>],
    rested: &mut Rested<'_>,
) -> Result<(), String> {
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for told in told {
        let Place::Add(place, amount) = told.command else { continue };
        let (least, most) = sums.entry(place).or_default();
        match told.heard {
            Heard::Done(_) => (*least, *most) = (*least + amount, *most + amount),
            Heard::Unknown(_) => *most += amount,
            Heard::NotExecuted(_) => {}
        }
    }
    for (place, (least, most)) in sums {
        let sum = rested.ask::<Shelf<true>>(hash_of(place), &Place::Read(place))?.unwrap_or(0);
        if sum < least || sum > most {
            return Err(format!("place {place} has {sum}, not {least} to {most}"));
        }
    }
    Ok(())
}

fn sums(simulation: &Simulation) -> Result<Report, SimulateFailure> {
    simulate::<Shelf<true>>(simulation, additions, sums_are_exact)
}

/// Each fact has a place of its own.
fn facts(draw: &Draw) -> (RingHash, Place) {
    let place = draw.number();
    (hash_of(place), Place::Put(place, place))
}

fn facts_are_kept(
    told: &[Told<Place, Option<u64>>],
    rested: &mut Rested<'_>,
) -> Result<(), String> {
    for told in told {
        let (Place::Put(place, fact), Heard::Done(_)) = (told.command, &told.heard) else {
            continue;
        };
        let found = rested.ask::<Shelf<false>>(told.hash, &Place::Read(place))?;
        if found != Some(fact) {
            return Err(format!("{place} was acknowledged, and {found:?} is there"));
        }
    }
    Ok(())
}

#[test]
fn a_single_copy_is_exact_in_a_faulty_cluster() {
    let (mut completed, mut faults) = (0, BTreeMap::new());
    for_each_seed(PACKAGE, "a_single_copy_is_exact", 8, |seed| {
        let report = sums(&Simulation::seeded(seed)).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.acked > 100, "{report:?}");
        completed += report.transfers_completed;
        for (kind, count) in report.faults {
            *faults.entry(kind).or_insert(0) += count;
        }
    });
    println!("{completed} transfers; {faults:?}");
    assert!(completed > 8 * 2 && faults.len() > 8, "{completed} transfers; {faults:?}");
}

#[test]
fn facts_of_many_copies_outlive_a_faulty_cluster() {
    for_each_seed(PACKAGE, "facts_of_many_copies", 4, |seed| {
        let simulation = Simulation { nodes: 4, ..Simulation::seeded(seed) };
        let ran = simulate::<Shelf<false>>(&simulation, facts, facts_are_kept);
        let report = ran.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.acked > 100, "{report:?}");
    });
}

#[test]
fn a_run_is_the_same_again_for_its_seed() {
    let again = || sums(&Simulation::seeded(1)).map(|report| report.trace_sum);
    let first = again();
    assert!(first.is_ok());
    assert_eq!(first, again());
    assert_ne!(first, sums(&Simulation::seeded(2)).map(|report| report.trace_sum));
}

#[test]
fn a_broken_check_tells_its_words_and_its_seed() {
    let simulation = Simulation { faults: Faults::none(), ..Simulation::seeded(5) };
    let ran = simulate::<Shelf<true>>(&simulation, additions, |_, _| Err("a sum is off".into()));
    let failure = ran.unwrap_err();
    assert!(matches!(failure.failure, Failure::Broken { .. }), "{failure}");
    let text = failure.to_string();
    assert!(text.contains("a sum is off") && text.contains("TANODB_SEED=5"), "{text}");
}

#[test]
fn a_run_in_which_nothing_was_acknowledged_is_refused() {
    let simulation = Simulation { faults: Faults::none(), ..Simulation::seeded(5) };
    let stops = |draw: &Draw| (hash_of(draw.below(PLACES)), Place::Stop(draw.below(PLACES)));
    let ran = simulate::<Shelf<true>>(&simulation, stops, |_, _| Ok(()));
    let failure = ran.unwrap_err().to_string();
    assert!(failure.contains("none of"), "{failure}");
}

#[test]
fn a_raw_vnode_runs_in_a_cluster_too() {
    let kind = FlawedKind::with(Flaw::Nothing);
    let encoded = |draw: &Draw| {
        let (hash, command) = facts(draw);
        (hash, Bytes::from(rmp_serde::to_vec_named(&command).unwrap()))
    };
    let ran = simulate_raw(&Simulation::seeded(0), kind, encoded, |told, rested| {
        let acked = told.iter().filter(|told| matches!(told.heard, Heard::Done(_)));
        for told in acked {
            let Ok(Place::Put(place, fact)) = rmp_serde::from_slice(&told.command) else {
                return Err("another command than was drawn".to_owned());
            };
            let found = rested.ask::<Shelf<false>>(told.hash, &Place::Read(place))?;
            if found != Some(fact) {
                return Err(format!("{place} was acknowledged, and {found:?} is there"));
            }
        }
        Ok(())
    });
    assert!(ran.as_ref().is_ok_and(|report| report.transfers_completed > 0), "{ran:?}");
}
