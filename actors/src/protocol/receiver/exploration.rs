//! Every sequence of events a receiver can see, with at most four parts.

use std::collections::{BTreeSet, VecDeque};

use super::{Effect, Event, Failure, Receiver};

/// What the runtime owes, or has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ghost {
    given: u64,
    stored: u64,
    comparing: bool,
    ended: u8,
}

fn events(ghost: &Ghost) -> Vec<Event> {
    let mut all = vec![Event::Opened];
    all.extend([Failure::Disconnected, Failure::Silent].map(Event::Failed));
    all.extend((1..=4).map(|sequence| Event::PartArrived { sequence, bytes: 1 }));
    all.extend((0..=4).map(|fence| Event::FenceArrived { fence }));
    if ghost.stored < ghost.given {
        all.push(Event::PartStored { sequence: ghost.stored + 1, bytes: 1 });
    }
    if ghost.comparing {
        all.extend([true, false].map(|is_equal| Event::Compared { is_equal }));
    }
    all
}

fn account(event: &Event, effects: &[Effect], ghost: &mut Ghost) {
    match event {
        Event::PartStored { .. } => ghost.stored += 1,
        Event::Compared { .. } => ghost.comparing = false,
        Event::Opened
        | Event::PartArrived { .. }
        | Event::FenceArrived { .. }
        | Event::Failed(_) => {}
    }
    for effect in effects {
        match effect {
            Effect::StorePart => ghost.given += 1,
            Effect::SendReceived(sequence) => {
                assert!(*sequence <= ghost.stored, "only what is stored is acknowledged");
            }
            Effect::Compare(fence) => {
                assert!(ghost.stored >= *fence, "nothing is compared before all of it is stored");
                ghost.comparing = true;
            }
            Effect::SendFenceOk(fence) => {
                assert_eq!(*fence, ghost.stored, "the confirmed fence is the end of the stream");
            }
            Effect::ReportEnded(_) => ghost.ended += 1,
            Effect::SendAccepted | Effect::SendFenceDiffers(_) => {}
        }
    }
    assert!(ghost.ended <= 1, "the end is reported once");
}

#[test]
fn every_sequence_acknowledges_and_confirms_only_what_is_stored() {
    let mut seen = BTreeSet::from([(Receiver::Opening, Ghost::default())]);
    let mut open = VecDeque::from([(Receiver::Opening, Ghost::default(), 0_u32)]);
    let mut deepest = 0;
    while let Some((state, ghost, depth)) = open.pop_front() {
        deepest = deepest.max(depth);
        for event in events(&ghost) {
            let mut ghost = ghost.clone();
            let step = state.clone().step(event);
            let is_over = matches!(state, Receiver::Confirmed | Receiver::Ended);
            if let (Event::Failed(_), false) = (&event, is_over) {
                assert_eq!(step.next, Receiver::Ended, "{event:?} ends {state:?}");
            }
            account(&event, &step.effects, &mut ghost);
            if seen.insert((step.next.clone(), ghost.clone())) {
                open.push_back((step.next, ghost, depth + 1));
            }
        }
    }
    let name = |state: &Receiver| match state {
        Receiver::Opening => 0,
        Receiver::Taking(_) => 1,
        Receiver::Draining { .. } => 2,
        Receiver::Comparing { .. } => 3,
        Receiver::Confirmed => 4,
        Receiver::Ended => 5,
    };
    let names: BTreeSet<_> = seen.iter().map(|(state, _)| name(state)).collect();
    assert_eq!(names.len(), 6, "every state is reached");
    assert!(deepest >= 6, "sequences of at least six events, found {deepest}");
}

#[test]
fn a_missing_part_ends_the_stream() {
    let taking = Receiver::Opening.step(Event::Opened).next;
    let step = taking.step(Event::PartArrived { sequence: 2, bytes: 1 });
    assert_eq!(step.effects, [Effect::ReportEnded(Failure::OutOfOrder)]);
}

#[test]
fn a_source_that_does_not_wait_for_credit_is_not_served() {
    let bytes = super::WINDOW_BYTES;
    let mut receiver = Receiver::Opening.step(Event::Opened).next;
    let beyond = super::BEYOND_WINDOW_BYTES / bytes + 2;
    for sequence in 1..=beyond {
        receiver = receiver.step(Event::PartArrived { sequence, bytes }).next;
    }
    assert_eq!(receiver, Receiver::Ended);
}
