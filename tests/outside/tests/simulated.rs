//! The hall, step by step through transfers, and in clusters where much goes wrong.

use std::collections::BTreeSet;

use outside::{Ask, Seats, place_of};
use tanodb_actors::RingHash;
use tanodb_actors::sim::harness::for_each_seed;
use tanodb_actors::sim::kit::{
    Check, Draw, Heard, Rested, Simulation, Told, check_vnode, simulate,
};

fn anything(draw: &Draw) -> Ask {
    let seat = draw.below(60);
    match draw.below(4) {
        0 => Ask::Leave(seat),
        1 => Ask::Who(seat),
        _ => Ask::Take(seat, format!("guest {}", draw.below(1_000))),
    }
}

#[test]
fn the_hall_keeps_its_promises_step_by_step() {
    for_each_seed("outside", "the_hall_keeps", 5, |seed| {
        let report = check_vnode::<Seats>(&Check::seeded(seed), anything);
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.forwarded > 0 && report.deletes > 0, "{report:?}");
    });
}

/// Nobody leaves, and every guest has a name of their own.
fn guests(draw: &Draw) -> (RingHash, Ask) {
    let seat = draw.below(300);
    (place_of(seat), Ask::Take(seat, format!("guest {}", draw.number())))
}

/// Who was told to have a seat sits there in the end; nobody was told that of a seat of somebody else.
fn seats_are_given_once(
    told: &[Told<Ask, Option<String>>],
    rested: &mut Rested<'_>,
) -> Result<(), String> {
    let seats: BTreeSet<u64> = told.iter().map(|told| told.command.seat()).collect();
    for seat in seats {
        let sits = rested.ask::<Seats>(place_of(seat), &Ask::Who(seat))?;
        for told in told.iter().filter(|told| told.command.seat() == seat) {
            if let Heard::Done(was) = &told.heard
                && *was != sits
            {
                return Err(format!("seat {seat} is {sits:?}'s, but was {was:?}'s"));
            }
        }
    }
    Ok(())
}

#[test]
fn a_seat_is_given_once_in_a_faulty_cluster() {
    for_each_seed("outside", "a_seat_is_given_once", 5, |seed| {
        let ran = simulate::<Seats>(&Simulation::seeded(seed), guests, seats_are_given_once);
        let report = ran.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.acked > 100, "{report:?}");
    });
}
