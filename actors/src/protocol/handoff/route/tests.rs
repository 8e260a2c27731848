//! What becomes of commands, state by state and token by token.

use super::{Admission, Asked, Refused};
use crate::protocol::gossip::Held;
use crate::protocol::handoff::{Handoff, Incoming, Outgoing, Ownership};
use crate::protocol::id::{Epoch, Incarnation, NodeId, NodeName, Token, TransferId};
use crate::protocol::rules::Rules;

fn node(name: &str) -> NodeId {
    let name = NodeName::new(&format!("{name}@host")).unwrap();
    NodeId { name, incarnation: Incarnation { boot: 1, nonce: 7 } }
}

fn token(hop: u32) -> Token {
    Token { epoch: Epoch(1), hop }
}

fn transfer() -> TransferId {
    TransferId { nonce: 1, number: 1 }
}

fn ownership(hop: u32) -> Ownership {
    Ownership { token: token(hop), predecessor: None, rebuilding: false }
}

fn outgoing() -> Outgoing {
    Outgoing { transfer: transfer(), target: node("target") }
}

fn incoming() -> Incoming {
    Incoming { transfer: transfer(), source: node("source"), token: token(3) }
}

fn fenced() -> Handoff {
    Handoff::Fenced { ownership: ownership(4), outgoing: outgoing(), fence: 5 }
}

fn direct(hop: u32) -> Asked {
    Asked { believed: token(hop), forwarded: None }
}

fn forwarded(hop: u32) -> Asked {
    Asked { believed: token(hop), forwarded: Some(transfer()) }
}

fn admit(state: &Handoff, asked: Asked, known: Option<&Held>) -> Admission {
    state.admit(asked, known, &node("me"), Rules::default())
}

#[test]
fn an_owner_executes_what_names_its_token_and_corrects_the_rest() {
    let owner = Handoff::Owner(ownership(4));
    assert_eq!(admit(&owner, direct(4), None), Admission::Execute);
    let moved = Refused::Moved(token(4), node("me"));
    assert_eq!(admit(&owner, direct(3), None), Admission::Refuse(moved));
    assert_eq!(admit(&owner, direct(5), None), Admission::Refuse(Refused::Behind(token(4))));
}

#[test]
fn a_new_owner_executes_what_was_passed_on_under_the_older_token_only() {
    let owner = Handoff::Owner(ownership(4));
    assert_eq!(admit(&owner, forwarded(3), None), Admission::Execute);
    assert_eq!(admit(&owner, forwarded(4), None), Admission::Refuse(Refused::Retry));
}

#[test]
fn while_a_transfer_runs_the_author_is_asked() {
    let sending = Handoff::Sending(ownership(4), outgoing());
    assert_eq!(admit(&sending, direct(4), None), Admission::AuthorChooses);
}

#[test]
fn a_fenced_vnode_executes_nothing_and_passes_each_command_on_once() {
    assert_eq!(admit(&fenced(), direct(4), None), Admission::Forward(outgoing()));
    assert_eq!(admit(&fenced(), forwarded(3), None), Admission::Refuse(Refused::Retry));
}

#[test]
fn a_target_keeps_only_what_its_own_source_passes_on() {
    let holding = Handoff::Holding { incoming: incoming(), fence: 5 };
    assert_eq!(admit(&holding, forwarded(3), None), Admission::Queue);
    let other = Asked { forwarded: Some(TransferId { nonce: 1, number: 2 }), ..forwarded(3) };
    assert_eq!(admit(&holding, other, None), Admission::Refuse(Refused::Retry));
    assert_eq!(admit(&holding, direct(3), None), Admission::Refuse(Refused::Retry));
}

#[test]
fn whoever_has_given_the_vnode_away_names_the_new_holder_and_executes_nothing() {
    let retired = Handoff::Retired { granted: token(5), outgoing: outgoing() };
    let purging = Handoff::Purging { granted: token(5), outgoing: outgoing() };
    for state in [retired, purging] {
        let moved = Refused::Moved(token(5), node("target"));
        assert_eq!(admit(&state, direct(4), None), Admission::Refuse(moved));
        assert_eq!(admit(&state, direct(5), None), Admission::Refuse(Refused::Retry));
    }
}

#[test]
fn a_node_without_the_vnode_tells_what_it_has_heard() {
    let absent = Handoff::absent();
    let other = Held { token: token(6), holder: node("other") };
    let moved = Refused::Moved(token(6), node("other"));
    assert_eq!(admit(&absent, direct(5), Some(&other)), Admission::Refuse(moved));
    assert_eq!(
        admit(&absent, direct(7), Some(&other)),
        Admission::Refuse(Refused::Behind(token(6)))
    );
    assert_eq!(admit(&absent, direct(5), None), Admission::Refuse(Refused::Retry));
    // What it heard of itself is older than its own state.
    let own = Held { token: token(6), holder: node("me") };
    assert_eq!(admit(&absent, direct(5), Some(&own)), Admission::Refuse(Refused::Retry));
}

#[test]
fn a_vnode_whose_items_are_lost_says_so_and_never_not_found() {
    let lost = Handoff::Lost { token: token(4) };
    assert_eq!(admit(&lost, direct(4), None), Admission::Refuse(Refused::Lost));
}
