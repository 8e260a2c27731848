//! Each check at rest, with hand-made accounts: one thing is wrong at a time.

use super::super::told;
use super::*;
use crate::protocol::hash::RingSize;
use crate::protocol::id::{Token, TransferId};
use crate::protocol::plan::PlanId;
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;
use crate::wire::admin::{ActiveRow, EndedRow, MemberRow, PendingMove, WaitingRow};

const SIZE: u32 = 8;

fn size() -> RingSize {
    RingSize::new(SIZE).unwrap()
}

fn name(node: &str) -> NodeName {
    told::id(node).name
}

fn numbers() -> VnodeType {
    told::vnode().vnode_type
}

/// Where partition 3 lies.
fn index() -> RingHash {
    size().index_of(told::vnode().partition)
}

fn owned(node: &str, partition: RingHash) -> PartitionRow {
    PartitionRow {
        vnode_type: numbers(),
        partition,
        node: name(node),
        container: "owned".to_owned(),
        token: Some(Token::minted(Epoch(2))),
        objects: 1,
        bytes: 10,
        state: "Owner".to_owned(),
    }
}

/// Ada and bob at rest, each with half of the ring; ada has partition 3.
fn accounts() -> Vec<Account> {
    let of_node = |(place, node): (usize, &&str)| {
        let rows = size().partitions().filter(|it| (it.0 as usize + place) % 2 == 1);
        let member = |node: &&str| MemberRow {
            node: name(node),
            status: MemberStatus::Valid,
            holds: SIZE / 2,
            will_hold: SIZE / 2,
            up: true,
            incarnation: told::id(node).incarnation,
        };
        let members = ["ada", "bob"].iter().map(member).collect();
        let epoch = Epoch(2);
        Account {
            name: Arc::from(*node),
            node: name(node),
            incarnation: told::id(node).incarnation,
            ring: RingReport {
                node: name(node),
                cluster: told::CLUSTER,
                epoch,
                ring_size: size(),
                not_seen_by: Vec::new(),
                pending: Vec::new(),
                unreachable: Vec::new(),
            },
            members: MemberTable { epoch, ring_size: size(), members, pending: false },
            rows: rows.map(|it| owned(node, size().index_of(it))).collect(),
            transfers: TransferReport {
                down: Vec::new(),
                silent: Vec::new(),
                waiting: Vec::new(),
                active: Vec::new(),
                ended: Vec::new(),
            },
            requests: CoordinatorReport::default(),
        }
    };
    ["ada", "bob"].iter().enumerate().map(of_node).collect()
}

/// Which promise is broken, if any is.
fn verdict(accounts: &[Account], world: &World, expected: &Rest) -> Option<&'static str> {
    match judge(world, accounts, expected) {
        Ok(_) => None,
        Err(Failure::Broken { invariant, .. }) => Some(invariant),
        Err(other) => panic!("{other}"),
    }
}

/// What is found when ada says something else.
fn found(change: impl FnOnce(&mut Account)) -> Option<&'static str> {
    let mut accounts = accounts();
    change(&mut accounts[0]);
    verdict(&accounts, &World::default(), &Rest::default())
}

fn pending(holder: &str, next: &str) -> PendingMove {
    let (holder, next) = (name(holder), name(next));
    PendingMove { vnode_type: numbers(), partition: index(), holder, next }
}

fn waiting(kind: &str, target: &str, why: &str) -> WaitingRow {
    WaitingRow {
        node: name("ada"),
        kind: kind.to_owned(),
        vnode_type: numbers(),
        partition: index(),
        target: name(target),
        why: why.to_owned(),
        since_ms: 1,
        attempts: 0,
        last_error: None,
    }
}

fn ended(deleted: bool, cancelled: Option<&str>) -> EndedRow {
    EndedRow {
        transfer: TransferId { nonce: 1, number: 1 },
        kind: "ownership".to_owned(),
        vnode_type: numbers(),
        partition: index(),
        source: name("ada"),
        target: name("bob"),
        objects: 1,
        bytes: 10,
        took_ms: 1,
        deleted,
        cancelled: cancelled.map(str::to_owned),
    }
}

#[test]
fn a_cluster_at_rest_is_found_at_rest() {
    let ends = [ended(true, None), ended(false, Some("superseded"))];
    assert_eq!(found(|ada| ada.transfers.ended.extend(ends)), None);
}

#[test]
fn a_node_that_no_ring_lists_must_be_expected() {
    let mut accounts = accounts();
    accounts[1].incarnation.boot += 1;
    accounts[1].rows.clear();
    let world = World::default();
    assert_eq!(verdict(&accounts, &world, &Rest::default()), Some(terminates::NAME));
    let expected = Rest { lost: BTreeSet::from(["bob".to_owned()]), plan: None };
    // Nobody has told that what it held has died with its memory.
    assert_eq!(verdict(&accounts, &world, &expected), Some(one_owner::NAME));
    for partition in size().partitions().filter(|it| it.0 % 2 == 0) {
        let vnode = VnodeRef { partition, ..told::vnode() };
        let (cluster, state) = (told::CLUSTER, told::owner(0));
        let event = Observed::VnodeStarted { cluster, vnode, state };
        world.saw(&Seen { at: Duration::ZERO, node: Arc::from("bob"), life: 1, event });
    }
    world.ended("bob");
    assert_eq!(verdict(&accounts, &world, &expected), None);
}

#[test]
fn a_node_that_follows_an_older_ring_is_found() {
    assert_eq!(found(|ada| ada.ring.epoch = Epoch(1)), Some(terminates::NAME));
    let not_seen = |ada: &mut Account| ada.ring.not_seen_by.push(name("bob"));
    assert_eq!(found(not_seen), Some(terminates::NAME));
}

#[test]
fn what_has_yet_to_move_is_found() {
    let pend = |ada: &mut Account| ada.ring.pending.push(pending("ada", "bob"));
    assert_eq!(found(pend), Some(terminates::NAME));
    let wait = |kind: &'static str| {
        move |ada: &mut Account| ada.transfers.waiting.push(waiting(kind, "bob", "for a slot"))
    };
    assert_eq!(found(wait("ownership")), Some(terminates::NAME));
    assert_eq!(found(wait("hinted")), Some(terminates::NAME));
}

#[test]
fn a_transfer_that_still_runs_is_found() {
    let active = ActiveRow {
        transfer: TransferId { nonce: 1, number: 1 },
        kind: "ownership".to_owned(),
        vnode_type: numbers(),
        partition: index(),
        source: name("ada"),
        target: name("bob"),
        started_ms: 0,
        running_ms: 1,
        idle_ms: None,
        objects_total: 0,
        bytes_total: 0,
        objects_sent: 0,
        bytes_sent: 0,
        state: "Sending".to_owned(),
        why: None,
    };
    assert_eq!(found(|ada| ada.transfers.active.push(active)), Some(terminates::NAME));
}

#[test]
fn only_what_concerns_a_lost_member_may_wait_for_it() {
    let mut accounts = accounts();
    // Bob is dead, and ada has all that it had.
    accounts.truncate(1);
    let all = size().partitions().map(|it| owned("ada", size().index_of(it)));
    accounts[0].rows = all.collect();
    let expected = Rest { lost: BTreeSet::from(["bob".to_owned()]), plan: None };
    let world = World::default();
    accounts[0].ring.pending.push(pending("ada", "bob"));
    accounts[0].transfers.waiting.push(waiting("ownership", "bob", "'bob' is down"));
    assert_eq!(verdict(&accounts, &world, &expected), None);
    accounts[0].ring.pending.push(pending("ada", "cyd"));
    assert_eq!(verdict(&accounts, &world, &expected), Some(terminates::NAME));
    accounts[0].ring.not_seen_by.push(name("bob"));
    assert_eq!(verdict(&accounts, &world, &expected), None, "no ring is ready without bob");
}

#[test]
fn a_partition_with_no_owner_or_two_is_found() {
    assert_eq!(found(|ada| drop(ada.rows.pop())), Some(one_owner::NAME));
    let second = owned("ada", size().index_of(crate::protocol::id::Partition(0)));
    assert_eq!(found(|ada| ada.rows.push(second)), Some(one_owner::NAME));
}

#[test]
fn a_container_that_is_left_over_is_found() {
    for container in ["staging", "retained", "hints(1)"] {
        let left = PartitionRow { container: container.to_owned(), ..owned("ada", index()) };
        assert_eq!(found(|ada| ada.rows.push(left)), Some(no_orphan::NAME), "{container}");
    }
    let kept = ended(false, None);
    assert_eq!(found(|ada| ada.transfers.ended.push(kept)), Some(no_orphan::NAME));
}

#[test]
fn hints_may_wait_for_an_owner_that_is_lost() {
    let mut accounts = accounts();
    accounts.truncate(1);
    let all = size().partitions().map(|it| owned("ada", size().index_of(it)));
    accounts[0].rows = all.collect();
    let hints = PartitionRow { container: "hints(1)".to_owned(), ..owned("ada", index()) };
    accounts[0].rows.push(hints);
    let expected = Rest { lost: BTreeSet::from(["bob".to_owned()]), plan: None };
    let world = World::default();
    assert_eq!(verdict(&accounts, &world, &expected), Some(no_orphan::NAME));
    accounts[0].transfers.waiting.push(waiting("hinted", "bob", "'bob' is down"));
    assert_eq!(verdict(&accounts, &world, &expected), None);
}

#[test]
fn a_slot_that_is_taken_is_found() {
    let world = World::default();
    for (outbound, inbound) in [(1, 0), (0, 1)] {
        let event = Observed::SlotsHeld { outbound, inbound, limit: 2 };
        world.saw(&Seen { at: Duration::ZERO, node: Arc::from("ada"), life: 1, event });
        let found = verdict(&accounts(), &world, &Rest::default());
        assert_eq!(found, Some(slots_return::NAME));
    }
    world.ended("ada");
    assert_eq!(verdict(&accounts(), &world, &Rest::default()), None);
}

#[test]
fn a_wait_without_a_reason_is_found() {
    let mut accounts = accounts();
    accounts.truncate(1);
    let all = size().partitions().map(|it| owned("ada", size().index_of(it)));
    accounts[0].rows = all.collect();
    let expected = Rest { lost: BTreeSet::from(["bob".to_owned()]), plan: None };
    let world = World::default();
    accounts[0].ring.pending.push(pending("ada", "bob"));
    assert_eq!(verdict(&accounts, &world, &expected), Some(why_named::NAME), "no row");
    accounts[0].transfers.waiting.push(waiting("ownership", "bob", ""));
    assert_eq!(verdict(&accounts, &world, &expected), Some(why_named::NAME), "no reason");
}

#[test]
fn a_request_that_is_still_open_is_found() {
    assert_eq!(found(|ada| ada.requests.waiting = 1), Some(answered::NAME));
    assert_eq!(found(|ada| ada.requests.tails = 1), Some(answered::NAME));
}

#[test]
fn a_ring_that_is_not_as_planned_is_found() {
    let accounts = accounts();
    let plan = |will_hold, base| {
        let mut after = accounts[0].members.clone();
        after.members[0].will_hold = will_hold;
        let plan = PlanShown {
            id: PlanId(1),
            base: Epoch(base),
            changes: Vec::new(),
            after,
            replicas_distinct: true,
            transfers: Vec::new(),
            transfers_min: 0,
            verdict: String::new(),
        };
        Rest { plan: Some((plan, Epoch(2))), ..Rest::default() }
    };
    let found = |expected: &Rest| verdict(&accounts, &World::default(), expected);
    assert_eq!(found(&plan(SIZE / 2, 1)), None);
    assert_eq!(found(&plan(SIZE / 2 + 1, 1)), Some(plan_kept::NAME), "another share");
    assert_eq!(found(&plan(SIZE / 2, 0)), Some(plan_kept::NAME), "from another ring");
}
