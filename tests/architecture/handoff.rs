//! The tables of the vnode's machine: where commands run, what each event leads to, what each arrow does.

use std::collections::BTreeSet;

use tanodb_actors::protocol::handoff::{
    Effect, Event, Handoff, Ignored, Incoming, Outgoing, Ownership, Route, Step,
};
use tanodb_actors::protocol::id::{Epoch, Incarnation, NodeId, NodeName, Token, TransferId};

use crate::document::{
    NAMES_MAX, assert_all_are_walked, assert_in_document, folded, table, variant_of,
};

const SOURCE: &str = "actors/src/protocol/handoff.rs";
const ROUTE: &str = "actors/src/protocol/handoff/route.rs";

/// The attempt that every state of a source is in.
const GIVEN: TransferId = TransferId { nonce: 1, number: 1 };
/// The attempt that every state of a target is in, and by which an owner came to its token.
const TAKEN: TransferId = TransferId { nonce: 2, number: 1 };
/// The confirmed fence.
const FENCE: u64 = 5;
/// The title of a grant that names another fence than the confirmed one.
const OTHER_FENCE: &str = "Granted (f)";

fn node(name: &str, boot: u64) -> NodeId {
    let name = NodeName::new(&format!("{name}@host")).unwrap();
    NodeId { name, incarnation: Incarnation { boot, nonce: 7 } }
}

fn token(hop: u32) -> Token {
    Token { epoch: Epoch(1), hop }
}

fn outgoing() -> Outgoing {
    Outgoing { transfer: GIVEN, target: node("target", 1) }
}

fn incoming(transfer: TransferId, source: &str, hop: u32) -> Incoming {
    Incoming { transfer, source: node(source, 1), token: token(hop) }
}

/// Every state, in the order of a vnode's life. `(k)`: knows a higher token than any that is offered.
/// `(p)`: its predecessor has not said that it retired. `(d)`: the state is durable.
fn states() -> Vec<(&'static str, Handoff)> {
    let taken = || incoming(TAKEN, "source", 4);
    let owned = || Ownership { token: token(5), predecessor: None, rebuilding: false };
    let granted = || Ownership { predecessor: Some(taken()), ..owned() };
    let granting = |durable| {
        let (ownership, outgoing) = (owned(), outgoing());
        Handoff::Granting { ownership, outgoing, fence: FENCE, durable }
    };
    vec![
        ("Absent", Handoff::absent()),
        ("Absent (k)", Handoff::Absent { last: None, known: Some(token(9)) }),
        ("Staging", Handoff::Staging(taken())),
        ("CaughtUp", Handoff::CaughtUp(taken())),
        ("Holding", Handoff::Holding { incoming: taken(), fence: FENCE }),
        ("Accepting", Handoff::Accepting { incoming: taken(), token: token(5), rebuilding: false }),
        ("Owner (p)", Handoff::Owner(granted())),
        ("Owner", Handoff::Owner(owned())),
        ("Sending (p)", Handoff::Sending(granted(), outgoing())),
        ("Sending", Handoff::Sending(owned(), outgoing())),
        ("Fenced", Handoff::Fenced { ownership: owned(), outgoing: outgoing(), fence: FENCE }),
        ("Granting", granting(false)),
        ("Granting (d)", granting(true)),
        ("Resuming", Handoff::Resuming(owned())),
        ("Retired", Handoff::Retired { granted: token(6), outgoing: outgoing() }),
        ("Purging", Handoff::Purging { granted: token(6), outgoing: outgoing() }),
        ("Lost", Handoff::Lost { token: token(5) }),
    ]
}

/// Events of a vnode that is given away, of the attempt that the states are in. `(l)`: said by a later life
/// of the target.
fn source_events() -> Vec<(&'static str, Event)> {
    let target = node("target", 1);
    let later = node("target", 2);
    let transfer = GIVEN;
    vec![
        ("Assigned", Event::Assigned(outgoing())),
        ("FenceAsked", Event::FenceAsked { transfer, fence: FENCE }),
        ("FenceRaised", Event::FenceRaised { transfer, fence: FENCE + 1 }),
        ("FenceConfirmed", Event::FenceConfirmed { transfer, fence: FENCE }),
        ("Cancelled", Event::Cancelled { transfer }),
        ("GrantHeld", Event::GrantHeld { transfer }),
        ("GrantDeclined", Event::GrantDeclined { transfer, by: target }),
        ("GrantDeclined (l)", Event::GrantDeclined { transfer, by: later }),
        ("Persisted", Event::Persisted),
        ("Purged", Event::Purged),
    ]
}

/// Events of a vnode that is taken over, of the attempt that the states are in; an offer is the next
/// attempt of the same source. `(h)`: by another source, under a higher token. `(f)`: names another fence.
fn target_events() -> Vec<(&'static str, Event)> {
    let transfer = TAKEN;
    let next = TransferId { number: TAKEN.number + 1, ..TAKEN };
    let other = TransferId { nonce: 3, number: 1 };
    let granted = |fence| Event::Granted { transfer, fence, token: token(5), rebuilding: false };
    vec![
        ("Offered", Event::Offered(incoming(next, "source", 4))),
        ("Offered (h)", Event::Offered(incoming(other, "other", 6))),
        ("FoldEnded", Event::FoldEnded { transfer }),
        ("FenceMatched", Event::FenceMatched { transfer, fence: FENCE }),
        ("Granted", granted(FENCE)),
        (OTHER_FENCE, granted(FENCE - 1)),
        ("SourceEnded", Event::SourceEnded { transfer }),
        ("SourceLost", Event::SourceLost { transfer }),
        ("PredecessorRetired", Event::PredecessorRetired { transfer }),
    ]
}

/// What an event leads to, in a word or two.
fn cell(state: &Handoff, event: &Event) -> String {
    match state.clone().step(event.clone()) {
        Step::Moved(next, effects) => {
            let declines = effects.iter().any(|effect| matches!(effect, Effect::TellDeclined(_)));
            match (declines, next == *state) {
                (true, true) => "declined".to_owned(),
                (true, false) => format!("{next}, declined"),
                (false, _) => next.to_string(),
            }
        }
        Step::Stayed(_, Ignored::Stale) => "stale".to_owned(),
        Step::Stayed(_, Ignored::Unexpected) => "-".to_owned(),
        Step::Stayed(_, Ignored::NotYet) => "not yet".to_owned(),
        Step::Stayed(_, Ignored::Refused) => "refused".to_owned(),
    }
}

fn matrix(events: &[(&'static str, Event)]) -> String {
    let heads: Vec<&str> =
        std::iter::once("state").chain(events.iter().map(|(name, _)| *name)).collect();
    let row = |(name, state): &(&str, Handoff)| {
        let cells = events.iter().map(|(_, event)| cell(state, event));
        std::iter::once((*name).to_owned()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = states().iter().map(row).collect();
    table(&heads, &folded(rows, NAMES_MAX))
}

#[test]
fn the_walk_leaves_nothing_out() {
    let events = source_events().into_iter().chain(target_events());
    assert_all_are_walked(SOURCE, "Event", events.map(|(_, event)| variant_of(&event)));
    let walked = states();
    assert_all_are_walked(SOURCE, "Handoff", walked.iter().map(|(_, state)| state.to_string()));
    let routes = walked.iter().map(|(_, state)| variant_of(&state.route()));
    assert_all_are_walked(ROUTE, "Route", routes);
}

#[test]
fn the_sources_table_is_that_of_the_machine() {
    assert_in_document("handoff, source", &matrix(&source_events()));
}

#[test]
fn the_targets_table_is_that_of_the_machine() {
    assert_in_document("handoff, target", &matrix(&target_events()));
}

/// One line of the table of arrows.
struct Arrow {
    event: &'static str,
    from: Vec<&'static str>,
    to: String,
    effects: String,
    /// Whether the state stays what it was, in other respects than its name.
    stays: bool,
}

fn arrows() -> Vec<Arrow> {
    let mut arrows: Vec<Arrow> = Vec::new();
    let events = source_events().into_iter().chain(target_events());
    // Another fence ends in the same arrows as other grants that do not fit.
    for (event, happened) in events.filter(|(event, _)| *event != OTHER_FENCE) {
        for (from, state) in states() {
            let was = state.to_string();
            let Step::Moved(next, effects) = state.step(happened.clone()) else { continue };
            let names: Vec<String> = effects.iter().map(variant_of).collect();
            let effects = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
            let (to, stays) = (next.to_string(), next.to_string() == was);
            let fits = |arrow: &&mut Arrow| {
                let is_like = arrow.to == to || arrow.stays && stays;
                arrow.event == event && arrow.effects == effects && is_like
            };
            match arrows.iter_mut().find(fits) {
                Some(arrow) if arrow.to == to => arrow.from.push(from),
                Some(arrow) => {
                    arrow.from.push(from);
                    arrow.to = "the same".to_owned();
                }
                None => arrows.push(Arrow { event, from: vec![from], to, effects, stays }),
            }
        }
    }
    arrows
}

#[test]
fn the_table_of_arrows_is_that_of_the_machine() {
    let rows: Vec<Vec<String>> = arrows()
        .into_iter()
        .map(|Arrow { event, from, to, effects, .. }| {
            vec![event.to_owned(), from.join(", "), to, effects]
        })
        .collect();
    let heads = ["event", "from", "to", "effects, in this order"];
    assert_in_document("handoff, arrows", &table(&heads, &rows));
}

#[test]
fn the_table_of_routes_is_that_of_the_machine() {
    let meaning = |route: &Route| match route {
        Route::Here(_) => {
            "executed here if it names this token; else `Moved` (older), `Behind` (newer)"
        }
        Route::Forward(_) => "forwarded once to the target of the fence",
        Route::Queue(_) => "queued if the fenced source forwarded it; else as when absent",
        Route::Moved(..) => "answered `Moved`, with the granted token and its holder",
        Route::Soon => "answered `Retry`: a record is being made durable",
        Route::Elsewhere => {
            "answered from the node's table of tokens: `Moved`, `Behind` or `Retry`"
        }
        Route::Lost(_) => "answered `Lost`",
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (_, state) in states() {
        let (name, what) = (state.to_string(), meaning(&state.route()).to_owned());
        match rows.iter_mut().find(|row| row[1] == what) {
            Some(row) if row[0].split(", ").any(|known| known == name) => {}
            Some(row) => row[0] = format!("{}, {name}", row[0]),
            None => rows.push(vec![name, what]),
        }
    }
    assert_in_document("handoff, commands", &table(&["in", "a command is"], &rows));
}

#[test]
fn what_another_attempt_says_moves_nothing_and_its_grant_is_declined() {
    let transfer = TransferId { nonce: 9, number: 9 };
    let (fence, by) = (FENCE, node("target", 1));
    let about_another = [
        Event::FenceAsked { transfer, fence },
        Event::FenceRaised { transfer, fence },
        Event::FenceConfirmed { transfer, fence },
        Event::Cancelled { transfer },
        Event::GrantHeld { transfer },
        Event::GrantDeclined { transfer, by },
        Event::FoldEnded { transfer },
        Event::FenceMatched { transfer, fence },
        Event::SourceEnded { transfer },
        Event::SourceLost { transfer },
        Event::PredecessorRetired { transfer },
    ];
    for (name, state) in states() {
        for event in &about_another {
            let step = state.clone().step(event.clone());
            assert!(
                matches!(&step, Step::Stayed(same, _) if *same == state),
                "{event:?} in {name}"
            );
        }
        let token = token(5);
        let grant = Event::Granted { transfer, fence, token, rebuilding: false };
        let step = state.clone().step(grant);
        match step {
            Step::Moved(next, effects) => {
                assert_eq!(next.to_string(), state.to_string());
                assert_eq!(effects, [Effect::TellDeclined(transfer)], "in {name}");
            }
            // Its own grant is being made durable; the other is answered when it is repeated.
            Step::Stayed(_, _) => assert_eq!(name, "Accepting"),
        }
    }
}

#[test]
fn no_two_rows_have_one_name() {
    let states = states();
    let names: BTreeSet<&str> = states.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), states.len());
}
