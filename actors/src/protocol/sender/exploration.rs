//! Every sequence of events a sender can see, with at most five parts.

use std::collections::{BTreeSet, VecDeque};

use super::{Effect, Event, Failure, Flow, Sender};

const WINDOW: u64 = 2;

fn events() -> Vec<Event> {
    let mut all = vec![
        Event::Connected,
        Event::Accepted { window_bytes: WINDOW },
        Event::NothingToRead,
        Event::MoreToRead,
        Event::FenceNotYet,
        Event::Failed(Failure::Disconnected),
        Event::Failed(Failure::Silent),
    ];
    for number in 1..=5 {
        all.extend([
            Event::PartRead { sequence: number, bytes: 1 },
            Event::Received { sequence: number, pace_bytes: 1 },
            Event::Received { sequence: number, pace_bytes: u64::MAX },
            Event::Fenced { fence: number, tail_bytes: 0 },
            Event::Fenced { fence: number, tail_bytes: 1 },
            Event::FenceOk { fence: number },
            Event::FenceDiffers { fence: number },
        ]);
    }
    all
}

/// What the runtime owes, or has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ghost {
    reads_owed: u8,
    fences_asked: u8,
    last_part: u64,
    fence_sent: bool,
    reported: u8,
}

fn flow(state: &Sender) -> Option<&Flow> {
    match state {
        Sender::Streaming(flow) | Sender::Draining(flow) => Some(flow),
        Sender::Fencing { flow, .. }
        | Sender::Proving { flow, .. }
        | Sender::Repairing { flow, .. } => Some(flow),
        Sender::Dialling | Sender::Offered | Sender::Confirmed(_) | Sender::Ended => None,
    }
}

/// Whether the runtime can produce the event: a vnode answers only what it was asked.
fn is_possible(event: &Event, ghost: &Ghost) -> bool {
    match event {
        Event::PartRead { sequence, .. } => {
            ghost.reads_owed > 0 && *sequence == ghost.last_part + 1
        }
        Event::NothingToRead => ghost.reads_owed > 0,
        Event::Fenced { fence, tail_bytes } => {
            ghost.fences_asked > 0 && *fence == ghost.last_part + u64::from(*tail_bytes > 0)
        }
        Event::FenceNotYet => ghost.fences_asked > 0,
        Event::Connected
        | Event::Accepted { .. }
        | Event::MoreToRead
        | Event::Received { .. }
        | Event::FenceOk { .. }
        | Event::FenceDiffers { .. }
        | Event::Failed(_) => true,
    }
}

fn account(event: &Event, effects: &[Effect], ghost: &mut Ghost) {
    match event {
        Event::PartRead { sequence, .. } => {
            ghost.reads_owed -= 1;
            ghost.last_part = *sequence;
        }
        Event::NothingToRead => ghost.reads_owed -= 1,
        Event::Fenced { fence, .. } => {
            ghost.fences_asked -= 1;
            ghost.last_part = *fence;
        }
        Event::FenceNotYet => ghost.fences_asked -= 1,
        Event::Connected
        | Event::Accepted { .. }
        | Event::MoreToRead
        | Event::Received { .. }
        | Event::FenceOk { .. }
        | Event::FenceDiffers { .. }
        | Event::Failed(_) => {}
    }
    for effect in effects {
        match effect {
            Effect::ReadPart { .. } | Effect::PlanRepair => ghost.reads_owed += 1,
            Effect::AskFence { .. } => ghost.fences_asked += 1,
            Effect::SendFence => ghost.fence_sent = true,
            Effect::ReportConfirmed(_) => {
                assert!(ghost.fence_sent, "nothing is confirmed before a fence was sent");
                ghost.reported += 1;
            }
            Effect::ReportEnded(_) => ghost.reported += 1,
            Effect::SendOffer | Effect::LogStart | Effect::SendPart => {}
        }
    }
    assert!(ghost.reads_owed <= 1, "one read at a time");
    assert!(ghost.fences_asked <= 1, "one fence at a time");
    assert!(ghost.reported <= 1, "the outcome is reported once");
}

#[test]
fn every_sequence_keeps_within_the_window_and_reports_once() {
    let mut seen = BTreeSet::from([(Sender::Dialling, Ghost::default())]);
    let mut open = VecDeque::from([(Sender::Dialling, Ghost::default(), 0_u32)]);
    let mut deepest = 0;
    while let Some((state, ghost, depth)) = open.pop_front() {
        deepest = deepest.max(depth);
        if let Some(flow) = flow(&state) {
            let most = WINDOW + 2 + 2 * u64::from(super::REPAIRS_MAX);
            assert!(flow.in_flight_bytes <= most, "a window, and a part and a tail per repair");
        }
        for event in events() {
            if !is_possible(&event, &ghost) {
                continue;
            }
            let mut ghost = ghost.clone();
            let step = state.clone().step(event);
            let is_over = matches!(state, Sender::Confirmed(_) | Sender::Ended);
            if let (Event::Failed(_), false) = (&event, is_over) {
                assert_eq!(step.next, Sender::Ended, "{event:?} ends {state:?}");
            }
            account(&event, &step.effects, &mut ghost);
            let asks = step.effects.iter().any(|it| matches!(it, Effect::AskFence { .. }));
            let is_first = !matches!(state, Sender::Repairing { .. });
            if let (true, true, Some(flow)) = (asks, is_first, flow(&step.next)) {
                assert!(flow.is_drained(), "nothing long lies before the fence");
            }
            if seen.insert((step.next.clone(), ghost.clone())) {
                open.push_back((step.next, ghost, depth + 1));
            }
        }
    }
    assert_eq!(names_len(&seen), 9, "every state is reached");
    assert!(deepest >= 6);
}

fn names_len(seen: &BTreeSet<(Sender, Ghost)>) -> usize {
    let name = |state: &Sender| match state {
        Sender::Dialling => 0,
        Sender::Offered => 1,
        Sender::Streaming(_) => 2,
        Sender::Fencing { .. } => 3,
        Sender::Proving { .. } => 4,
        Sender::Repairing { .. } => 5,
        Sender::Confirmed(_) => 6,
        Sender::Ended => 7,
        Sender::Draining(_) => 8,
    };
    seen.iter().map(|(state, _)| name(state)).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_difference_is_repaired_three_times_and_then_given_up() {
    let mut sender = Sender::Proving { flow: Flow::default(), fence: 4, repairs: 0 };
    for repair in 1..=super::REPAIRS_MAX {
        let step = sender.step(Event::FenceDiffers { fence: 4 });
        assert_eq!(step.effects, [Effect::PlanRepair], "repair {repair}");
        let step = step.next.step(Event::NothingToRead);
        assert!(matches!(step.effects[..], [Effect::AskFence { .. }]));
        sender = step.next.step(Event::Fenced { fence: 4, tail_bytes: 0 }).next;
    }
    let step = sender.step(Event::FenceDiffers { fence: 4 });
    assert_eq!(step.effects, [Effect::ReportEnded(Failure::Differs)]);
}
