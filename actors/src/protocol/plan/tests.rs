//! The tutorial's plan, what a plan counts, and what is refused.

use super::*;
use crate::protocol::claim::Obstacle;
use crate::protocol::hash::RingSize;
use crate::protocol::id::{ClusterId, Incarnation, VoterId};

fn node(number: u32) -> NodeId {
    let name = NodeName::new(&format!("tanodb{number}@127.0.0.1")).unwrap();
    NodeId { name, incarnation: Incarnation { boot: 1, nonce: number } }
}

fn name(number: u32) -> NodeName {
    node(number).name
}

fn join(number: u32) -> Change {
    Change::Join { node: node(number), voter: VoterId(u64::from(number)) }
}

fn founded() -> Ring {
    let member = Member::valid(node(1).incarnation, VoterId(1));
    Ring::founded(ClusterId(1), RingSize::new(64).unwrap(), name(1), member)
}

fn staged_on(ring: &Ring, joins: &[u32]) -> Staged {
    let mut staged = Staged::default();
    for &number in joins {
        staged.add(1, ring.epoch(), join(number)).unwrap();
    }
    staged
}

fn planned(ring: &Ring, joins: &[u32]) -> Plan {
    plan(ring, &BTreeMap::new(), &staged_on(ring, joins), 3, 1).unwrap()
}

#[test]
fn two_nodes_join_one_with_forty_two_transfers_as_in_the_tutorial() {
    let plan = planned(&founded(), &[2, 3]);
    let transfers = BTreeMap::from([((name(1), name(2)), 21), ((name(1), name(3)), 21)]);
    assert_eq!(plan.transfers, transfers);
    assert_eq!((plan.transfer_count(), plan.lower_bound), (42, 42));
    assert!(!plan.distinct_nodes, "the tutorial's warning");
    assert!(matches!(plan.verdict, Verdict::Infeasible { why: Obstacle::Crowded { .. } }));
    let counts = [1, 2, 3].map(|number| plan.candidate.owned_count(&name(number)));
    assert_eq!(counts, [22, 21, 21]);
    assert_eq!((plan.base, plan.candidate.epoch()), (Epoch(1), Epoch(2)));
    assert!(plan.candidate.lists(&node(3)), "a joiner is listed in its incarnation");
}

#[test]
fn four_nodes_have_all_replicas_on_distinct_nodes() {
    let plan = planned(&founded(), &[2, 3, 4]);
    assert!(plan.distinct_nodes);
    assert_eq!(plan.verdict, Verdict::Optimal);
}

#[test]
fn transfers_are_counted_from_the_present_holders() {
    let ring = planned(&founded(), &[2]).candidate;
    let nothing_has_moved = ring.size().partitions().map(|p| (p, name(1))).collect();
    let plan = plan(&ring, &nothing_has_moved, &staged_on(&ring, &[3]), 3, 1).unwrap();
    assert_eq!(plan.transfer_count(), 42, "{:?}", plan.transfers);
    assert!(plan.transfers.keys().all(|(from, _)| *from == name(1)));
}

#[test]
fn a_member_that_leaves_is_given_nothing() {
    let ring = planned(&founded(), &[2, 3, 4]).candidate;
    let mut members = ring.members().clone();
    members.get_mut(&name(2)).unwrap().status = MemberStatus::Leaving;
    let owners: Vec<NodeName> = ring.owners().map(|(_, owner)| owner.clone()).collect();
    let leaving = ring.successor(members, &owners).unwrap();
    let plan = planned(&leaving, &[5]);
    assert_eq!(plan.candidate.owned_count(&name(2)), 0);
    assert_eq!(plan.candidate.owned_count(&name(5)), 16);
}

#[test]
fn a_plans_id_tells_what_it_was_made_from() {
    let ring = founded();
    let (staged, holders) = (staged_on(&ring, &[2, 3]), BTreeMap::new());
    let first = plan(&ring, &holders, &staged, 3, 1).unwrap();
    assert_eq!(plan(&ring, &holders, &staged, 3, 1).unwrap(), first, "made again, it is the same");
    let moved = BTreeMap::from([(Partition(7), name(2))]);
    for (what, other) in [
        ("seed", plan(&ring, &holders, &staged, 3, 2).unwrap()),
        ("holders", plan(&ring, &moved, &staged, 3, 1).unwrap()),
        ("changes", plan(&ring, &holders, &staged_on(&ring, &[2]), 3, 1).unwrap()),
        ("replicas", plan(&ring, &holders, &staged, 2, 1).unwrap()),
    ] {
        assert_ne!(other.id, first.id, "{what}");
    }
}

#[test]
fn a_plans_id_can_be_typed() {
    let id = PlanId(0xabc);
    assert_eq!(id.to_string(), "0000000000000abc");
    assert_eq!(id.to_string().parse(), Ok(id));
    for bad in ["", "abc", "+000000000000abc", "0000000000000abg", "00000000000000abc"] {
        assert_eq!(bad.parse::<PlanId>(), Err(PlanIdError(bad.to_owned())));
    }
}

#[test]
fn without_an_active_change_there_is_no_plan() {
    let ring = founded();
    let none = Staged::default();
    assert_eq!(plan(&ring, &BTreeMap::new(), &none, 3, 1), Err(PlanError::NothingStaged));

    let staged = staged_on(&ring, &[2, 3]);
    let decided = planned(&ring, &[4]).candidate;
    let refused = plan(&decided, &BTreeMap::new(), &staged, 3, 1);
    assert_eq!(refused, Err(PlanError::Void { count: 2, epoch: Epoch(2) }));

    let ahead = staged_on(&decided, &[5]);
    let refused = plan(&ring, &BTreeMap::new(), &ahead, 3, 1);
    assert_eq!(refused, Err(PlanError::Behind { epoch: Epoch(1), base: Epoch(2) }));
}

#[test]
fn the_same_join_staged_by_two_members_counts_once() {
    let ring = founded();
    let mut staged = staged_on(&ring, &[2]);
    staged.add(9, ring.epoch(), join(2)).unwrap();
    let plan = plan(&ring, &BTreeMap::new(), &staged, 3, 1).unwrap();
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.transfer_count(), 32);
}

#[test]
fn two_lives_of_one_node_cannot_join_together() {
    let ring = founded();
    let mut staged = staged_on(&ring, &[2]);
    let reborn = NodeId { incarnation: Incarnation { boot: 2, nonce: 77 }, ..node(2) };
    staged.add(9, ring.epoch(), Change::Join { node: reborn, voter: VoterId(2) }).unwrap();
    let refused = plan(&ring, &BTreeMap::new(), &staged, 3, 1);
    assert_eq!(refused, Err(PlanError::StagedTwice { node: name(2) }));
}

#[test]
fn a_member_cannot_join_again() {
    let ring = founded();
    assert_eq!(
        check_join(&ring, &Staged::default(), &node(1)),
        Err(JoinError::AlreadyMember { node: name(1) })
    );
    let refused = plan(&ring, &BTreeMap::new(), &staged_on(&ring, &[1]), 3, 1);
    assert_eq!(refused, Err(PlanError::AlreadyMember { node: name(1) }));
}

#[test]
fn a_node_is_staged_once_for_a_ring() {
    let ring = founded();
    let staged = staged_on(&ring, &[2]);
    assert_eq!(check_join(&ring, &staged, &node(3)), Ok(()));
    assert_eq!(
        check_join(&ring, &staged, &node(2)),
        Err(JoinError::AlreadyStaged { node: name(2) })
    );
    let decided = planned(&ring, &[4]).candidate;
    assert_eq!(check_join(&decided, &staged, &node(2)), Ok(()), "what is void is in nobody's way");
}
