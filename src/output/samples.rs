//! Answers for tests: the tutorial's cluster in the middle of its transfers.

use tanodb_actors::protocol::hash::{RingHash, RingSize};
use tanodb_actors::protocol::id::{
    ClusterId, Epoch, Incarnation, NodeName, Partition, Token, TransferId, VnodeType,
};
use tanodb_actors::protocol::plan::PlanId;
use tanodb_actors::protocol::ring::MemberStatus;
use tanodb_actors::wire::admin::{
    ActiveRow, ChangeShown, EndedRow, MemberRow, MemberTable, PartitionRow, PartitionTable,
    PendingMove, PlanShown, Pong, RingReport, TransferCount, TransferReport, WaitingRow,
};

pub(super) fn node(number: u8) -> NodeName {
    NodeName::new(&format!("tanodb{number}@127.0.0.1")).unwrap()
}

fn kv() -> VnodeType {
    VnodeType::new("tanodb_vnode").unwrap()
}

fn size() -> RingSize {
    RingSize::new(64).unwrap()
}

fn index(partition: u32) -> RingHash {
    size().index_of(Partition(partition))
}

fn member(number: u8, status: MemberStatus, holds: u32, will_hold: u32) -> MemberRow {
    let incarnation = Incarnation { boot: 1, nonce: 0x0a0b_0c00 + u32::from(number) };
    MemberRow { node: node(number), status, holds, will_hold, up: true, incarnation }
}

pub(super) fn pong() -> Pong {
    let cluster = ClusterId(0x5eed);
    Pong { node: node(1), cluster, epoch: Epoch(2), partition: index(26) }
}

/// After the commit, before anything has moved.
pub(super) fn members() -> MemberTable {
    use MemberStatus::Valid;
    let members = vec![member(1, Valid, 64, 22), member(2, Valid, 0, 21), member(3, Valid, 0, 21)];
    MemberTable { epoch: Epoch(2), ring_size: size(), members, pending: true }
}

/// Joins are staged, nothing is committed; the third node has fallen silent.
pub(super) fn joining() -> MemberTable {
    use MemberStatus::{Joining, Valid};
    let mut members =
        vec![member(2, Joining, 0, 0), member(3, Joining, 0, 0), member(1, Valid, 64, 64)];
    members[1].up = false;
    MemberTable { epoch: Epoch(1), ring_size: size(), members, pending: false }
}

pub(super) fn plan() -> PlanShown {
    let join = |number| ChangeShown { action: "join".to_owned(), node: node(number), void: None };
    let pair = |number| TransferCount { source: node(1), target: node(number), count: 21 };
    PlanShown {
        id: PlanId(0x0123_4567_89ab_cdef),
        base: Epoch(1),
        changes: vec![join(2), join(3)],
        after: members(),
        replicas_distinct: false,
        transfers: vec![pair(2), pair(3)],
        transfers_min: 42,
        verdict: "optimal".to_owned(),
    }
}

pub(super) fn ring() -> RingReport {
    let pending = |partition, number| PendingMove {
        vnode_type: kv(),
        partition: index(partition),
        holder: node(1),
        next: node(number),
    };
    RingReport {
        node: node(1),
        cluster: ClusterId(0x5eed),
        epoch: Epoch(2),
        ring_size: size(),
        not_seen_by: vec![node(3)],
        pending: vec![pending(1, 2), pending(49, 2), pending(2, 3)],
        unreachable: vec![node(3)],
    }
}

pub(super) fn partitions() -> PartitionTable {
    let row = |partition, number, container: &str, token, objects, state: &str| PartitionRow {
        vnode_type: kv(),
        partition: index(partition),
        node: node(number),
        container: container.to_owned(),
        token,
        objects,
        bytes: objects * 82,
        state: state.to_owned(),
    };
    let first = Token::minted(Epoch(1));
    let rows = vec![
        row(0, 1, "owned", Some(first), 5, "Owner"),
        row(49, 1, "retained", Some(first), 7, "Purging"),
        row(49, 2, "owned", Some(first.granted()), 7, "Owner"),
        row(50, 2, "staging", None, 3, "Staging"),
    ];
    PartitionTable { rows, silent: vec![node(3)] }
}

pub(super) fn transfers() -> TransferReport {
    let waiting = |partition, attempts, last_error: Option<&str>| WaitingRow {
        node: node(1),
        kind: "ownership".to_owned(),
        vnode_type: kv(),
        partition: index(partition),
        target: node(2),
        why: "all 2 outbound slots are taken".to_owned(),
        since_ms: 1_500,
        attempts,
        last_error: last_error.map(str::to_owned),
    };
    TransferReport {
        down: vec![],
        silent: vec![node(3)],
        waiting: vec![waiting(3, 0, None), waiting(5, 2, Some("the peer was silent for 5000 ms"))],
        active: vec![active(Some(2_020))],
        ended: vec![ended(1, 49, None, true), ended(2, 51, Some("the target is down"), false)],
    }
}

pub(super) fn active(idle_ms: Option<u64>) -> ActiveRow {
    ActiveRow {
        transfer: TransferId { nonce: 0x0a0b_0c01, number: 3 },
        kind: "ownership".to_owned(),
        vnode_type: kv(),
        partition: index(49),
        source: node(1),
        target: node(2),
        started_ms: 1_769_854_500_000,
        running_ms: 12_310,
        idle_ms,
        objects_total: 2_320,
        bytes_total: 147_692,
        objects_sent: 812,
        bytes_sent: 51_692,
        state: "Sending".to_owned(),
        why: None,
    }
}

fn ended(number: u64, partition: u32, cancelled: Option<&str>, deleted: bool) -> EndedRow {
    EndedRow {
        transfer: TransferId { nonce: 0x0a0b_0c01, number },
        kind: "ownership".to_owned(),
        vnode_type: kv(),
        partition: index(partition),
        source: node(1),
        target: node(2),
        objects: 7,
        bytes: 575,
        took_ms: 41,
        deleted,
        cancelled: cancelled.map(str::to_owned),
    }
}
