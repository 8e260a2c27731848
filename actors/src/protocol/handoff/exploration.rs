//! Every sequence of events, from every state a vnode can start in.
//!
//! The states reachable from the starting states are finite, so the exploration follows every event from
//! every one of them: that is all sequences of every length. A ghost beside each state remembers what has
//! been promised, and each step is checked against it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Effect, Event, Handoff, Ignored, Incoming, Outgoing, Step};
use crate::protocol::id::{Epoch, Incarnation, NodeId, NodeName, Token, TransferId};

fn node(name: &str, boot: u64) -> NodeId {
    let name = NodeName::new(&format!("{name}@host")).unwrap();
    NodeId { name, incarnation: Incarnation { boot, nonce: 7 } }
}

fn id(number: u64) -> TransferId {
    TransferId { nonce: 1, number }
}

fn token(hop: u32) -> Token {
    Token { epoch: Epoch(1), hop }
}

fn outgoing(number: u64) -> Outgoing {
    Outgoing { transfer: id(number), target: node("target", 1) }
}

fn incoming(number: u64, source: &str, hop: u32) -> Incoming {
    Incoming { transfer: id(number), source: node(source, 1), token: token(hop) }
}

/// The alphabet: two attempts each way, right and wrong fences, answers of two incarnations.
fn events() -> Vec<Event> {
    let mut all = vec![
        Event::Persisted,
        Event::Purged,
        Event::Offered(incoming(11, "source", 4)),
        Event::Offered(incoming(12, "source", 4)),
        Event::Offered(incoming(13, "other", 6)),
    ];
    for number in [1, 2] {
        let transfer = id(number);
        all.extend([
            Event::Assigned(outgoing(number)),
            Event::FenceAsked { transfer, fence: 5 },
            Event::FenceConfirmed { transfer, fence: 5 },
            Event::FenceConfirmed { transfer, fence: 4 },
            Event::FenceRaised { transfer, fence: 6 },
            Event::FenceConfirmed { transfer, fence: 6 },
            Event::Cancelled { transfer },
            Event::GrantHeld { transfer },
            Event::GrantDeclined { transfer, by: node("target", 1) },
            Event::GrantDeclined { transfer, by: node("target", 2) },
        ]);
    }
    for number in [11, 12] {
        let transfer = id(number);
        all.extend([
            Event::FoldEnded { transfer },
            Event::FenceMatched { transfer, fence: 5 },
            Event::Granted { transfer, fence: 5, token: token(5), rebuilding: false },
            Event::Granted { transfer, fence: 4, token: token(5), rebuilding: false },
            Event::SourceEnded { transfer },
            Event::SourceLost { transfer },
            Event::PredecessorRetired { transfer },
        ]);
    }
    all
}

/// What has happened so far, as far as a later step must respect it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ghost {
    /// Fences this node has sent as a source, the last of each attempt.
    fenced: BTreeMap<TransferId, u64>,
    /// Fences this node has confirmed as a target; only these attempts are ever granted to it.
    confirmed: BTreeMap<TransferId, u64>,
    /// Grants that were sent and not declined.
    granted: BTreeSet<TransferId>,
    /// Grants whose target answered that it holds them.
    held: BTreeSet<TransferId>,
    /// Attempts whose grant this node has declined or whose staging it has discarded.
    refused: BTreeSet<TransferId>,
    /// The highest token this node has spoken under, or given away.
    highest: Option<Token>,
}

fn check(before: &Handoff, event: &Event, step: &Step, ghost: &mut Ghost) {
    let Step::Moved(after, effects) = step else { return };
    let is_heard = !effects.is_empty();
    if let (true, Event::GrantHeld { transfer }) = (is_heard, event) {
        ghost.held.insert(*transfer);
    }
    if let (true, Event::GrantDeclined { transfer, by }) = (is_heard, event) {
        let target = before.outgoing().map(|outgoing| &outgoing.target);
        assert_eq!(target, Some(by), "only the life that was granted to declines");
        ghost.granted.remove(transfer);
    }
    if let (Handoff::Accepting { .. }, Event::Granted { transfer, fence, .. }) = (after, event) {
        assert_eq!(ghost.confirmed.get(transfer), Some(fence), "a grant names the proved fence");
    }
    for effect in effects {
        check_effect(before, effect, ghost);
        if let (Effect::DiscardStaging(_), Handoff::Holding { .. }) = (effect, before) {
            let is_lost = matches!(event, Event::SourceLost { .. });
            assert!(!is_lost, "a grant may be on its way when its source is gone");
        }
    }
    check_state(after, ghost);
}

fn check_effect(before: &Handoff, effect: &Effect, ghost: &mut Ghost) {
    match effect {
        Effect::SendGrant { outgoing, fence, .. } => {
            let last = ghost.fenced.get(&outgoing.transfer);
            assert!(last.is_none_or(|last| last == fence), "the grant names the last fence");
            assert!(
                matches!(before, Handoff::Granting { .. }),
                "a grant is sent only from a state that was made durable first, not from {before}"
            );
            ghost.granted.insert(outgoing.transfer);
        }
        Effect::Purge(outgoing) => {
            assert!(
                matches!(before, Handoff::Retired { .. }),
                "items are deleted only when the receipt is durable, not from {before}"
            );
            assert!(
                ghost.held.contains(&outgoing.transfer),
                "items are deleted only after the target has said that it holds them"
            );
        }
        Effect::TakeOwnership(incoming, token) => {
            assert!(
                !ghost.refused.contains(&incoming.transfer),
                "what was declined or discarded is never owned"
            );
            assert!(ghost.highest.is_none_or(|highest| highest < *token), "tokens increase");
            assert!(matches!(before, Handoff::Accepting { .. }), "ownership is durable first");
        }
        Effect::TellDeclined(transfer) => {
            ghost.refused.insert(*transfer);
        }
        Effect::ConfirmFence(incoming, fence) => {
            ghost.confirmed.insert(incoming.transfer, *fence);
        }
        Effect::DiscardStaging(incoming) => {
            ghost.refused.insert(incoming.transfer);
        }
        Effect::SendFence(outgoing, fence) => {
            ghost.fenced.insert(outgoing.transfer, *fence);
        }
        Effect::Resume(token) => {
            assert!(ghost.highest.is_none_or(|highest| highest < *token), "tokens increase");
        }
        Effect::StartSender(_)
        | Effect::EndAttempt(_)
        | Effect::Persist
        | Effect::Finish(..)
        | Effect::TellRetired(_)
        | Effect::OpenStaging(_)
        | Effect::TellHeld(..)
        | Effect::FencePossible(_)
        | Effect::AskSource(_) => {}
    }
}

fn check_state(after: &Handoff, ghost: &mut Ghost) {
    if let Handoff::Owner(ownership) | Handoff::Sending(ownership, _) = after {
        assert!(
            !ghost.granted.iter().any(|_| ghost.highest >= Some(ownership.token.granted())),
            "whoever has granted its token does not speak under it again: {after:?} {ghost:?}"
        );
        ghost.highest = ghost.highest.max(Some(ownership.token));
    }
    if let Handoff::Granting { ownership, .. } = after {
        ghost.highest = ghost.highest.max(Some(ownership.token.granted()));
    }
    if let Handoff::Fenced { ownership, .. } = after {
        assert_eq!(ownership.predecessor, None, "nobody fences before its predecessor has retired");
    }
}

fn explore() -> BTreeMap<(Handoff, Ghost), usize> {
    let starts = [
        Handoff::absent(),
        Handoff::owner(token(0)),
        Handoff::Lost { token: token(3) },
        Handoff::Granting {
            ownership: super::Ownership { token: token(0), predecessor: None, rebuilding: true },
            outgoing: outgoing(1),
            fence: 5,
            durable: false,
        },
    ];
    let alphabet = events();
    let mut seen = BTreeMap::new();
    let mut open = VecDeque::new();
    for start in starts {
        seen.insert((start.clone(), Ghost::default()), 0);
        open.push_back((start, Ghost::default(), 0));
    }
    while let Some((state, ghost, depth)) = open.pop_front() {
        for event in &alphabet {
            let mut ghost = ghost.clone();
            if matches!(event, Event::Granted { transfer, .. } if !ghost.confirmed.contains_key(transfer))
            {
                continue;
            }
            let step = state.clone().step(event.clone());
            check(&state, event, &step, &mut ghost);
            let (Step::Moved(next, _) | Step::Stayed(next, _)) = step;
            // Tokens of chains that come back to this node grow without end; three rounds are enough.
            if next.token().is_some_and(|token| token.hop > 9) {
                continue;
            }
            let place = (next.clone(), ghost.clone());
            if let std::collections::btree_map::Entry::Vacant(entry) = seen.entry(place) {
                entry.insert(depth + 1);
                open.push_back((next, ghost, depth + 1));
            }
        }
    }
    seen
}

#[test]
fn no_sequence_of_events_deletes_early_or_speaks_twice_and_every_state_is_reached() {
    let seen = explore();
    let names: BTreeSet<String> = seen.keys().map(|(state, _)| state.to_string()).collect();
    let all = [
        "Absent",
        "Owner",
        "Sending",
        "Fenced",
        "Granting",
        "Resuming",
        "Retired",
        "Purging",
        "Staging",
        "CaughtUp",
        "Holding",
        "Accepting",
        "Lost",
    ];
    assert_eq!(names, all.iter().map(|name| (*name).to_owned()).collect());
    let deepest = seen.values().max().copied().unwrap_or_default();
    assert!(deepest >= 6, "sequences of at least six events, found {deepest}");
}

#[test]
fn only_the_targets_answer_ends_a_grant() {
    let granting = Handoff::Granting {
        ownership: super::Ownership { token: token(0), predecessor: None, rebuilding: false },
        outgoing: outgoing(1),
        fence: 5,
        durable: true,
    };
    for event in events() {
        let ended = matches!(
            &event,
            Event::GrantHeld { transfer } if *transfer == id(1)
        ) || event == Event::GrantDeclined { transfer: id(1), by: node("target", 1) };
        let (Step::Moved(next, _) | Step::Stayed(next, _)) = granting.clone().step(event.clone());
        assert_eq!(next != granting, ended, "{event:?} on Granting");
    }
}

#[test]
fn a_declined_grant_resumes_two_hops_on() {
    let granting = Handoff::Granting {
        ownership: super::Ownership { token: token(4), predecessor: None, rebuilding: true },
        outgoing: outgoing(1),
        fence: 5,
        durable: true,
    };
    let declined = Event::GrantDeclined { transfer: id(1), by: node("target", 1) };
    let Step::Moved(resuming, _) = granting.step(declined) else { panic!("a decline is heard") };
    assert_eq!(resuming.route(), super::Route::Soon, "not before it is durable");
    let Step::Moved(owner, _) = resuming.step(Event::Persisted) else { panic!("durable now") };
    assert_eq!(owner.route(), super::Route::Here(token(6)));
}

#[test]
fn a_target_declines_a_grant_of_what_it_has_not_proved() {
    let incoming = incoming(11, "source", 4);
    let granted = Event::Granted { transfer: id(11), fence: 5, token: token(5), rebuilding: false };
    for unproved in [
        Handoff::Staging(incoming.clone()),
        Handoff::CaughtUp(incoming.clone()),
        Handoff::Holding { incoming: incoming.clone(), fence: 4 },
    ] {
        let Step::Moved(next, effects) = unproved.clone().step(granted.clone()) else {
            panic!("{unproved} hears it")
        };
        assert!(matches!(next, Handoff::Absent { .. }), "{unproved} becomes {next}");
        assert!(effects.contains(&Effect::TellDeclined(id(11))), "{unproved}: {effects:?}");
    }
    let holding = Handoff::Holding { incoming, fence: 5 };
    let Step::Moved(next, _) = holding.step(granted) else { panic!("what was proved is taken") };
    assert!(matches!(next, Handoff::Accepting { .. }), "{next}");
}

#[test]
fn a_lost_source_ends_staging_but_not_holding() {
    let staging = Handoff::Staging(incoming(11, "source", 4));
    let Step::Moved(absent, effects) = staging.step(Event::SourceLost { transfer: id(11) }) else {
        panic!("staging ends")
    };
    assert_eq!(absent, Handoff::Absent { last: Some(id(11)), known: Some(token(4)) });
    assert_eq!(effects, [Effect::DiscardStaging(incoming(11, "source", 4))]);
    let holding = Handoff::Holding { incoming: incoming(11, "source", 4), fence: 5 };
    let stayed = holding.clone().step(Event::SourceLost { transfer: id(11) });
    assert_eq!(stayed, Step::Stayed(holding, Ignored::NotYet));
}
