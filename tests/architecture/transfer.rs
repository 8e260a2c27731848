//! The tables of the sender and of the receiver.

use tanodb_actors::protocol::receiver::{self, Progress, Receiver};
use tanodb_actors::protocol::sender::{self, REPAIRS_MAX, Sender};

use crate::document::{
    NAMES_MAX, assert_all_are_walked, assert_in_document, folded, table, variant_of,
};

const SENDER: &str = "actors/src/protocol/sender.rs";
const RECEIVER: &str = "actors/src/protocol/receiver.rs";

#[test]
fn the_senders_table_is_that_of_the_machine() {
    use sender::Event as On;
    let columns = [
        ("Connected", On::Connected),
        ("Accepted", On::Accepted { window_bytes: 10 }),
        ("PartRead", On::PartRead { sequence: 2, bytes: 4 }),
        ("NothingToRead", On::NothingToRead),
        ("MoreToRead", On::MoreToRead),
        ("Received", On::Received { sequence: 1, pace_bytes: 100 }),
        ("Received (part)", On::Received { sequence: 0, pace_bytes: 100 }),
        ("Fenced", On::Fenced { fence: 1, tail_bytes: 0 }),
        ("FenceNotYet", On::FenceNotYet),
        ("FenceOk", On::FenceOk { fence: 1 }),
        ("FenceOk (other)", On::FenceOk { fence: 9 }),
        ("FenceDiffers", On::FenceDiffers { fence: 1 }),
        ("Failed", On::Failed(sender::Failure::Disconnected)),
    ];
    let states = senders();
    assert_all_are_walked(SENDER, "Event", columns.iter().map(|(_, event)| variant_of(event)));
    assert_all_are_walked(SENDER, "Sender", states.iter().map(|(_, state)| variant_of(state)));

    let cell = |state: &Sender, event: sender::Event| {
        let step = state.clone().step(event);
        outcome(state, &step.next, step.effects.is_empty())
    };
    let row = |(name, state): &(&str, Sender)| {
        let cells = columns.iter().map(|(_, event)| cell(state, *event));
        std::iter::once((*name).to_owned()).chain(cells).collect()
    };
    let heads: Vec<&str> =
        std::iter::once("sender").chain(columns.iter().map(|(name, _)| *name)).collect();
    let rows: Vec<Vec<String>> = states.iter().map(row).collect();
    assert_in_document("sender", &table(&heads, &folded(rows, NAMES_MAX)));
}

/// Every state, each with one part of four bytes under way where parts are.
fn senders() -> Vec<(&'static str, Sender)> {
    use sender::Event as On;
    let step = |state: &Sender, event| state.clone().step(event).next;
    let offered = step(&Sender::Dialling, On::Connected);
    let reading = step(
        &step(&offered, On::Accepted { window_bytes: 10 }),
        On::PartRead { sequence: 1, bytes: 4 },
    );
    let full = step(
        &step(&offered, On::Accepted { window_bytes: 10 }),
        On::PartRead { sequence: 1, bytes: 12 },
    );
    let draining = step(&reading, On::NothingToRead);
    let fencing = step(&draining, On::Received { sequence: 1, pace_bytes: 100 });
    let idle = step(&fencing, On::FenceNotYet);
    let proving = step(&fencing, On::Fenced { fence: 1, tail_bytes: 0 });
    let repairing = step(&proving, On::FenceDiffers { fence: 1 });
    let mut proving_last = proving.clone();
    for _ in 0..REPAIRS_MAX {
        let repaired = step(&proving_last, On::FenceDiffers { fence: 1 });
        let fencing = step(&repaired, On::NothingToRead);
        proving_last = step(&fencing, On::Fenced { fence: 1, tail_bytes: 0 });
    }
    vec![
        ("Dialling", Sender::Dialling),
        ("Offered", offered),
        ("Streaming", reading),
        ("Streaming (c)", full),
        ("Streaming (w)", idle),
        ("Draining", draining),
        ("Fencing", fencing),
        ("Proving", proving.clone()),
        ("Proving (3)", proving_last),
        ("Repairing", repairing),
        ("Confirmed", step(&proving, On::FenceOk { fence: 1 })),
        ("Ended", step(&proving, On::Failed(sender::Failure::Stopped))),
    ]
}

#[test]
fn the_receivers_table_is_that_of_the_machine() {
    use receiver::Event as On;
    let columns = [
        ("Opened", On::Opened),
        ("PartArrived", On::PartArrived { sequence: 3, bytes: 4 }),
        ("PartArrived (gap)", On::PartArrived { sequence: 5, bytes: 4 }),
        ("PartArrived (x)", On::PartArrived { sequence: 3, bytes: u64::MAX }),
        ("PartStored", On::PartStored { sequence: 2, bytes: 4 }),
        ("FenceArrived", On::FenceArrived { fence: 2 }),
        ("FenceArrived (gap)", On::FenceArrived { fence: 3 }),
        ("Compared, equal", On::Compared { is_equal: true }),
        ("Compared, differs", On::Compared { is_equal: false }),
        ("Failed", On::Failed(receiver::Failure::Disconnected)),
    ];
    let storing = Progress { arrived: 2, stored: 1, bytes_open: 4 };
    let stored = Progress { arrived: 2, stored: 2, bytes_open: 0 };
    let states = [
        ("Opening", Receiver::Opening),
        ("Taking", Receiver::Taking(stored)),
        ("Taking (s)", Receiver::Taking(storing)),
        ("Draining", Receiver::Draining { progress: storing, fence: 2 }),
        ("Comparing", Receiver::Comparing { progress: stored, fence: 2 }),
        ("Confirmed", Receiver::Confirmed),
        ("Ended", Receiver::Ended),
    ];
    assert_all_are_walked(RECEIVER, "Event", columns.iter().map(|(_, event)| variant_of(event)));
    assert_all_are_walked(RECEIVER, "Receiver", states.iter().map(|(_, state)| variant_of(state)));

    let cell = |state: &Receiver, event: receiver::Event| {
        let step = state.clone().step(event);
        outcome(state, &step.next, step.effects.is_empty())
    };
    let row = |(name, state): &(&str, Receiver)| {
        let cells = columns.iter().map(|(_, event)| cell(state, *event));
        std::iter::once((*name).to_owned()).chain(cells).collect()
    };
    let heads: Vec<&str> =
        std::iter::once("receiver").chain(columns.iter().map(|(name, _)| *name)).collect();
    let rows: Vec<Vec<String>> = states.iter().map(row).collect();
    assert_in_document("receiver", &table(&heads, &folded(rows, NAMES_MAX)));
}

/// The next state, or `-` where nothing changes and nothing is to be done.
fn outcome<S: PartialEq + std::fmt::Debug>(before: &S, after: &S, has_no_effects: bool) -> String {
    if before == after && has_no_effects { "-".to_owned() } else { variant_of(after) }
}
