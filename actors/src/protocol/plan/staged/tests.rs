//! A set of staged changes converges, forgets nothing too early and stays small.

use proptest::collection::vec;
use proptest::prelude::{prop_assert_eq, proptest};

use super::*;
use crate::protocol::hash::RingSize;
use crate::protocol::id::{ClusterId, Incarnation, NodeName};
use crate::protocol::ring::Member;

fn node(number: u32) -> NodeId {
    let name = NodeName::new(&format!("n{number}@host")).unwrap();
    NodeId { name, incarnation: Incarnation { boot: 1, nonce: number } }
}

fn join(number: u32) -> Change {
    Change::Join { node: node(number), voter: VoterId(u64::from(number)) }
}

/// The ring of node 0, in this epoch, with further members.
fn ring(epoch: u64, joined: &[u32]) -> Ring {
    let member = |number| Member::valid(node(number).incarnation, VoterId(u64::from(number)));
    let size = RingSize::new(8).unwrap();
    let mut ring = Ring::founded(ClusterId(1), size, node(0).name, member(0));
    let members: BTreeMap<_, _> =
        joined.iter().chain(&[0]).map(|&n| (node(n).name, member(n))).collect();
    while ring.epoch() < Epoch(epoch) {
        ring = ring.successor(members.clone(), &vec![node(0).name; 8]).unwrap();
    }
    ring
}

fn ids(staged: &Staged) -> Vec<ChangeId> {
    staged.active(Epoch(0)).map(|staged| staged.id).collect()
}

#[test]
fn what_one_member_cleared_does_not_come_back_by_a_merge() {
    let mut here = Staged::default();
    here.add(1, Epoch(1), join(5)).unwrap();
    let mut there = here.clone();
    assert_eq!(here.clear_seen(), 1);
    assert!(!here.merge(&there), "the other set has nothing new");
    assert!(there.merge(&here), "and learns what was removed");
    assert_eq!((ids(&here), ids(&there)), (vec![], vec![]));
}

#[test]
fn a_change_staged_while_another_member_clears_survives() {
    let mut here = Staged::default();
    here.add(1, Epoch(1), join(5)).unwrap();
    let mut there = here.clone();
    let added = there.add(2, Epoch(1), join(6)).unwrap();
    here.clear_seen();
    here.merge(&there);
    there.merge(&here);
    assert_eq!(here, there);
    assert_eq!(ids(&here), [added]);
}

#[test]
fn an_id_is_never_given_twice() {
    let mut staged = Staged::default();
    let first = staged.add(0, Epoch(1), join(5)).unwrap();
    staged.clear_seen();
    staged.settle(&ring(3, &[]));
    let second = staged.add(0, Epoch(3), join(5)).unwrap();
    assert!(first < second, "a listed member's count goes on");
}

#[test]
fn a_decided_ring_voids_what_it_does_not_contain() {
    let mut staged = Staged::default();
    staged.add(0, Epoch(1), join(5)).unwrap();
    let left_out = staged.add(0, Epoch(1), join(6)).unwrap();
    let later = staged.add(0, Epoch(2), join(7)).unwrap();
    let unsettled = staged.clone();
    let decided = ring(2, &[5]);
    assert_eq!(staged.active(Epoch(2)).map(|staged| staged.id).collect::<Vec<_>>(), [later]);
    assert_eq!(staged.void(Epoch(2)).count(), 2);

    let void: Vec<ChangeId> = staged.settle(&decided).iter().map(|staged| staged.id).collect();
    assert_eq!(void, [left_out]);
    assert_eq!(ids(&staged), [later]);
    assert_eq!(staged.settle(&decided), [], "it is said once");
    assert!(!staged.merge(&unsettled), "a member that is behind brings nothing back");
}

#[test]
fn minters_that_are_gone_are_forgotten() {
    let mut staged = Staged::default();
    for minter in 0..100 {
        staged.add(minter, Epoch(1), join(500 + minter)).unwrap();
    }
    staged.settle(&ring(2, &[1]));
    assert_eq!(staged.seen.keys().copied().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_full_set_refuses_another_change() {
    let mut here = Staged::default();
    for number in 0..STAGED_MAX as u32 {
        here.add(1, Epoch(1), join(number)).unwrap();
    }
    assert_eq!(here.add(1, Epoch(1), join(999)), Err(StageError::Full));

    let mut there = Staged::default();
    let low = there.add(0, Epoch(1), join(999)).unwrap();
    here.merge(&there);
    there.merge(&here);
    assert_eq!(here, there, "both drop the same change");
    assert_eq!((ids(&here).len(), ids(&here)[0]), (STAGED_MAX, low));
}

#[test]
fn a_set_from_the_network_is_bounded() {
    let change = |number| StagedChange {
        id: ChangeId { minter: 1, number },
        base: Epoch(1),
        change: join(number as u32),
    };
    let sent = |count: u64| {
        let form = StagedForm { changes: (0..count).map(change).collect(), seen: BTreeMap::new() };
        rmp_serde::from_slice::<Staged>(&rmp_serde::to_vec_named(&form).unwrap())
    };
    assert_eq!(sent(STAGED_MAX as u64).unwrap().changes.len(), STAGED_MAX);
    assert!(sent(STAGED_MAX as u64 + 1).is_err());
}

/// Three members do what the digits say: stage, clear, or merge another's set.
fn acted(actions: &[(usize, u8)]) -> [Staged; 3] {
    let mut sets = [Staged::default(), Staged::default(), Staged::default()];
    for &(member, action) in actions {
        match action {
            0..=3 => {
                let minter = member as u32;
                sets[member].add(minter, Epoch(1), join(10 + u32::from(action))).unwrap();
            }
            4 => {
                sets[member].clear_seen();
            }
            from => {
                let other = sets[(member + 1 + usize::from(from % 2)) % 3].clone();
                sets[member].merge(&other);
            }
        }
    }
    sets
}

fn merged(one: &Staged, other: &Staged) -> Staged {
    let mut one = one.clone();
    one.merge(other);
    one
}

proptest! {
    #[test]
    fn sets_merge_alike_in_any_order(actions in vec((0usize..3, 0u8..9), 0..60)) {
        let [a, b, c] = acted(&actions);
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a);
    }

    #[test]
    fn a_set_survives_the_wire(actions in vec((0usize..3, 0u8..9), 0..30)) {
        let [set, _, _] = acted(&actions);
        let read: Staged = rmp_serde::from_slice(&rmp_serde::to_vec(&set).unwrap()).unwrap();
        prop_assert_eq!(read, set);
    }
}
