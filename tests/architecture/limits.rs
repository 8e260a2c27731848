//! The table of limits: what is bounded, by how much, and where that is written.

use std::time::Duration;

use tanodb_actors::protocol::due::{RETRY_AFTER, RETRY_AFTER_MAX};
use tanodb_actors::protocol::hash::{RING_SIZE_MAX, RING_SIZE_MIN};
use tanodb_actors::protocol::liveness::Patience;
use tanodb_actors::protocol::pace::PACE_TIME;
use tanodb_actors::protocol::quorum::REPLICAS_MAX;
use tanodb_actors::protocol::receiver::WINDOW_BYTES;
use tanodb_actors::protocol::request::{PAUSE_MAX, PAUSE_MIN, RESTAMPS_MAX};
use tanodb_actors::protocol::sender::REPAIRS_MAX;
use tanodb_actors::protocol::slots::TRANSFER_LIMIT_DEFAULT;
use tanodb_actors::protocol::stream::{CHANGES_AT_ONCE_MAX, TAIL_BYTES_MAX};
use tanodb_actors::runtime::coordinator::{CoordinatorLimits, DEADLINE_MAX};
use tanodb_actors::runtime::handoff_sender::FENCE_SILENT_MAX;
use tanodb_actors::runtime::ring_manager::TransferSettings;
use tanodb_actors::runtime::vnode::op_table::{OP_WINDOW_MILLIS, OPS_MAX};
use tanodb_actors::runtime::vnode_host::PERMITS;
use tanodb_actors::wire::frame::FRAME_BYTES_MAX;
use tanodb_actors::wire::message::COMMAND_BYTES_MAX;
use tanodb_actors::wire::page::ITEM_BYTES_MAX;

use crate::document::{assert_in_document, table};

fn bytes(count: impl TryInto<u64>) -> String {
    let count: u64 = count.try_into().ok().expect("a size is a number");
    match (count >> 20, count >> 10) {
        (0, kib) => format!("{kib} KiB"),
        (mib, _) => format!("{mib} MiB"),
    }
}

fn time(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{} s", millis / 1_000)
    } else {
        format!("{millis} ms")
    }
}

// A table: one limit after another.
#[test]
fn the_table_of_limits_is_that_of_the_constants() {
    let (transfers, patience) = (TransferSettings::default(), Patience::default());
    let coordinator = CoordinatorLimits::default();
    let limits = [
        ("partitions of a ring", format!("{RING_SIZE_MIN} to {RING_SIZE_MAX}"), "protocol/hash.rs"),
        ("replicas of a key", REPLICAS_MAX.to_string(), "protocol/quorum.rs"),
        (
            "transfers at once, in each direction",
            format!("{TRANSFER_LIMIT_DEFAULT} (setting)"),
            "protocol/slots.rs",
        ),
        (
            "pause after a failed attempt",
            format!("{} to {}", time(RETRY_AFTER), time(RETRY_AFTER_MAX)),
            "protocol/due.rs",
        ),
        ("bytes of parts not acknowledged", bytes(WINDOW_BYTES), "protocol/receiver.rs"),
        ("the same: what was acknowledged lately within", time(PACE_TIME), "protocol/pace.rs"),
        (
            "changes of one command that are queued for the stream",
            CHANGES_AT_ONCE_MAX.to_string(),
            "protocol/stream.rs",
        ),
        ("changes that go with the fence", bytes(TAIL_BYTES_MAX), "protocol/stream.rs"),
        ("repairs of one fence", REPAIRS_MAX.to_string(), "protocol/sender.rs"),
        (
            "silence of a transfer's other side",
            time(transfers.silent_max),
            "ring_manager/outbound.rs",
        ),
        ("silence of a fence's target", time(FENCE_SILENT_MAX), "handoff_sender.rs"),
        ("a slot without progress", time(transfers.lease), "ring_manager/outbound.rs"),
        (
            "silence before a member counts as down",
            time(patience.silent_after),
            "protocol/liveness.rs",
        ),
        ("commands under way at a vnode", PERMITS.to_string(), "vnode_host.rs"),
        (
            "commands under way at a coordinator",
            format!("{}, {}", coordinator.requests, bytes(coordinator.bytes)),
            "coordinator.rs",
        ),
        ("a command's deadline", time(DEADLINE_MAX), "coordinator.rs"),
        ("higher stamps of one write", RESTAMPS_MAX.to_string(), "protocol/request.rs"),
        (
            "pause before a replica is asked again",
            format!("{} to {}", time(PAUSE_MIN), time(PAUSE_MAX)),
            "protocol/request.rs",
        ),
        (
            "replies kept for repeated operations (`Single`)",
            format!("{OPS_MAX}, {}", time(Duration::from_millis(OP_WINDOW_MILLIS))),
            "vnode/op_table.rs",
        ),
        ("an item", bytes(ITEM_BYTES_MAX), "wire/page.rs"),
        ("a command", bytes(COMMAND_BYTES_MAX), "wire/message/request.rs"),
        ("a frame's body", bytes(FRAME_BYTES_MAX), "wire/frame.rs"),
    ];
    let row = |(what, limit, place): (&str, String, &str)| {
        vec![what.to_owned(), limit, format!("`{place}`")]
    };
    let rows: Vec<Vec<String>> = limits.into_iter().map(row).collect();
    assert_in_document("limits", &table(&["of", "at most", "written in"], &rows));
}
