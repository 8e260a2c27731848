//! Each property of the handoff model can fail: a broken runtime around the shipped types is noticed.

use tanodb_actors::protocol::rules::Rules;

use super::super::{Run, TERMINATES, explore};
use super::{Bounds, Broken, HandoffModel, Messages, SecondRing};

/// One transfer, and nothing goes wrong but messages.
const ONE_TRANSFER: Bounds = Bounds {
    operations: 0,
    cancels: 0,
    cuts: 0,
    falls: 0,
    wipes: 0,
    restarts: 0,
    second_ring: SecondRing::Never,
    messages: Messages::Anyhow,
};

fn explored(bounds: Bounds, broken: Option<Broken>) -> Run {
    let has_ends = bounds.messages != Messages::Anyhow;
    let make = |graph| HandoffModel::new(bounds, Rules::default(), broken, graph);
    explore("a test", make, has_ends)
}

fn assert_shown(broken: Broken, bounds: Bounds, property: &str) {
    let run = explored(bounds, Some(broken));
    let failed: Vec<&str> = run.failed.iter().map(|failed| failed.property).collect();
    assert!(failed.contains(&property), "{broken:?} breaks {failed:?} in {} states", run.unique);
}

#[test]
fn the_shipped_protocol_keeps_all_it_promises_in_one_transfer() {
    let bounds = Bounds { operations: 2, messages: Messages::OnceOrNever, ..ONE_TRANSFER };
    let run = explored(bounds, None);
    assert!(run.failed.is_empty(), "not {}", run.failed[0].property);
    assert!(run.held.contains(&TERMINATES));
    assert!(run.unique > 1_000, "only {} states", run.unique);
}

#[test]
fn a_grant_that_is_not_durable_makes_two_owners() {
    let bounds = Bounds { restarts: 1, ..ONE_TRANSFER };
    assert_shown(Broken::GrantsBeforeDurable, bounds, "OneOwner");
    let run = explored(bounds, Some(Broken::GrantsBeforeDurable));
    let events = &run.failed[0].events;
    assert!(events.iter().any(|event| event.contains("restarted")), "{events:?}");
}

#[test]
fn a_grant_that_is_given_up_makes_two_owners() {
    let bounds = Bounds { cancels: 1, ..ONE_TRANSFER };
    assert_shown(Broken::GivesUpGranting, bounds, "OneOwner");
}

#[test]
fn what_a_fenced_source_executes_is_lost() {
    let bounds = Bounds { operations: 1, ..ONE_TRANSFER };
    assert_shown(Broken::ServesFenced, bounds, "AckInherit");
}

#[test]
fn a_node_that_serves_on_after_it_lost_its_items_has_lost_what_was_acknowledged() {
    let bounds = Bounds { operations: 1, wipes: 1, ..ONE_TRANSFER };
    assert_shown(Broken::WipedServesOn, bounds, "AckInherit");
}

#[test]
fn a_copy_that_is_deleted_with_the_grant_is_deleted_without_proof() {
    assert_shown(Broken::DeletesOnGrant, ONE_TRANSFER, "DeleteAfterProof");
}

#[test]
fn a_delete_that_is_not_sent_comes_back() {
    let bounds = Bounds { operations: 3, ..ONE_TRANSFER };
    assert_shown(Broken::ShipsNoDeletes, bounds, "NoResurrect");
}

#[test]
fn a_source_that_does_not_say_that_it_retired_holds_up_its_successor_for_ever() {
    let bounds = Bounds { messages: Messages::OnceOrNever, ..ONE_TRANSFER };
    assert_shown(Broken::SaysNeverRetired, bounds, TERMINATES);
}
