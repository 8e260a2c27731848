//! What a ring promises, whoever made it.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::*;

fn name(number: u32) -> NodeName {
    NodeName::new(&format!("n{number}@host")).unwrap()
}

fn member(number: u32) -> Member {
    Member::valid(Incarnation { boot: 1, nonce: number }, VoterId(u64::from(number)))
}

fn size(count: u32) -> RingSize {
    RingSize::new(count).unwrap()
}

/// A ring of `members` nodes in epoch 2, dealt round.
fn dealt(partitions: u32, members: u32) -> Ring {
    let first = Ring::founded(ClusterId(7), size(partitions), name(0), member(0));
    let listed = (0..members).map(|number| (name(number), member(number))).collect();
    let owners: Vec<NodeName> = (0..partitions).map(|place| name(place % members)).collect();
    first.successor(listed, &owners).unwrap()
}

fn any_ring() -> impl Strategy<Value = Ring> {
    let shape = (select(vec![8u32, 12, 64, 96, 256]), 1u32..400);
    let drawn = shape.prop_flat_map(|(partitions, members)| {
        (
            vec(0..members, partitions as usize),
            vec(any::<(u32, u8, Option<u8>)>(), members as usize),
        )
    });
    drawn.prop_map(|(owners, members)| {
        let statuses = [MemberStatus::Valid, MemberStatus::Leaving, MemberStatus::Down];
        let first = Ring::founded(ClusterId(1), size(owners.len() as u32), name(0), member(0));
        let listed = members.iter().enumerate().map(|(number, &(weight, status, zone))| {
            let listed = Member {
                status: statuses[usize::from(status) % statuses.len()],
                weight,
                zone: zone.map(|zone| format!("rack_{zone}")),
                ..member(number as u32)
            };
            (name(number as u32), listed)
        });
        let owners: Vec<NodeName> = owners.into_iter().map(name).collect();
        first.successor(listed.collect(), &owners).unwrap()
    })
}

/// What a broken or hostile peer could send: any member count, any owner bytes.
fn sent(partitions: u32, members: u32, owners: &[u8]) -> Result<Ring, rmp_serde::decode::Error> {
    #[derive(Serialize)]
    struct Sent<'a> {
        cluster: ClusterId,
        epoch: Epoch,
        parent: RingDigest,
        size: u32,
        members: BTreeMap<NodeName, Member>,
        owners: &'a serde_bytes::Bytes,
    }
    let sent = Sent {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        parent: RingDigest(0),
        size: partitions,
        members: (0..members).map(|number| (name(number), member(number))).collect(),
        owners: serde_bytes::Bytes::new(owners),
    };
    rmp_serde::from_slice(&rmp_serde::to_vec_named(&sent).unwrap())
}

#[test]
fn a_founder_owns_everything_in_epoch_one() {
    let ring = Ring::founded(ClusterId(7), size(64), name(0), member(0));
    assert_eq!(ring.epoch(), Epoch(1));
    assert_eq!(ring.owned_count(&name(0)), 64);
    assert!(ring.owners().all(|(_, owner)| *owner == name(0)));
    assert_eq!(ring.owned_by(&name(1)).count(), 0, "a stranger owns nothing");
}

#[test]
fn a_successor_names_its_parent() {
    let first = Ring::founded(ClusterId(7), size(8), name(0), member(0));
    let second = dealt(8, 1);
    assert_eq!(second.epoch(), Epoch(2));
    assert_eq!(second.parent(), first.digest());
    let third = second.successor(second.members().clone(), &vec![name(0); 8]).unwrap();
    assert_ne!(third.digest(), second.digest(), "the epoch is part of the digest");
}

#[test]
fn owners_that_do_not_fit_are_refused() {
    let ring = dealt(8, 2);
    let members = ring.members().clone();
    for count in [0, 7, 9] {
        let refused = ring.successor(members.clone(), &vec![name(0); count]);
        assert_eq!(refused, Err(RingError::OwnerCount { size: size(8), owners: count }));
    }
    let mut owners = vec![name(0); 8];
    owners[5] = name(9);
    let refused = ring.successor(members.clone(), &owners);
    let (partition, node) = (Partition(5), name(9));
    assert_eq!(refused, Err(RingError::OwnerNotMember { partition, node }));
}

#[test]
fn members_beyond_a_limit_are_refused() {
    let ring = dealt(8, 2);
    let crowd: BTreeMap<_, _> =
        (0..=RING_MEMBERS_MAX as u32).map(|number| (name(number), member(number))).collect();
    let refused = ring.successor(crowd, &vec![name(0); 8]);
    assert_eq!(refused, Err(RingError::TooManyMembers(RING_MEMBERS_MAX + 1)));

    let mut members = ring.members().clone();
    members.get_mut(&name(1)).unwrap().zone = Some("z".repeat(ZONE_BYTES_MAX + 1));
    let refused = ring.successor(members, &vec![name(0); 8]);
    assert_eq!(refused, Err(RingError::ZoneTooLong { node: name(1), bytes: ZONE_BYTES_MAX + 1 }));
}

#[test]
fn a_ring_from_the_network_is_checked() {
    assert!(sent(8, 2, &[0, 1, 0, 1, 0, 1, 0, 1]).is_ok());
    for (partitions, members, owners) in [
        (8, 2, &[0, 1, 0, 1, 0, 1, 0, 2][..]),
        (8, 2, &[0; 7]),
        (8, 2, &[0; 16]),
        (8, 0, &[0; 8]),
        (9, 1, &[0; 9]),
        (8, 300, &[0; 15]),
        (8, 300, &[0; 17]),
        (8, 300, &[1, 44, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let refused = sent(partitions, members, owners);
        assert!(refused.is_err(), "{partitions} partitions, {members} members, {owners:?}");
    }
}

#[test]
fn the_largest_ring_takes_one_byte_for_an_owner_up_to_256_members() {
    let bytes_of = |ring: &Ring| rmp_serde::to_vec(ring).unwrap().len();
    let grown = bytes_of(&dealt(65_536, 256)) - bytes_of(&dealt(8_192, 256));
    assert_eq!(grown, 65_536 - 8_192 + 4, "two lengths take two bytes more each");
    let wide = dealt(65_536, 257);
    assert!(bytes_of(&wide) < 150_000, "{} bytes", bytes_of(&wide));
    assert_eq!(rmp_serde::from_slice::<Ring>(&rmp_serde::to_vec(&wide).unwrap()).unwrap(), wide);
}

#[test]
fn a_member_is_listed_in_one_incarnation() {
    let ring = dealt(8, 2);
    let listed = ring.node_id(&name(1)).expect("a member");
    assert!(ring.lists(&listed));
    let reborn = Incarnation { boot: 2, ..listed.incarnation };
    assert!(!ring.lists(&NodeId { incarnation: reborn, ..listed }));
    assert_eq!(ring.node_id(&name(2)), None);
}

#[test]
fn a_member_that_is_down_votes_but_is_not_waited_for() {
    use MemberStatus::{Down, Exiting, Joining, Leaving, Valid};
    let ring = dealt(8, 5);
    let mut members = ring.members().clone();
    for (member, status) in members.values_mut().zip([Joining, Valid, Leaving, Exiting, Down]) {
        member.status = status;
    }
    let ring = ring.successor(members, &vec![name(1); 8]).unwrap();
    let voters: Vec<VoterId> = ring.acceptors().into_values().collect();
    assert_eq!(voters, [1, 2, 3, 4].map(VoterId));
    let waited_for: Vec<&NodeName> = ring.waits_for_ready().collect();
    assert_eq!(waited_for, [&name(1), &name(2), &name(3)]);
}

#[test]
fn a_ring_is_ready_when_every_live_member_has_seen_it() {
    let ring = dealt(8, 3);
    let mut seen = BTreeMap::from([(name(0), Epoch(2)), (name(1), Epoch(1))]);
    assert_eq!(ring.ring_ready(&seen), Err(vec![name(1), name(2)]));
    seen.insert(name(1), Epoch(3));
    seen.insert(name(2), Epoch(2));
    assert_eq!(ring.ring_ready(&seen), Ok(()), "a later epoch is as good");
}

proptest! {
    #[test]
    fn a_ring_survives_the_wire(ring in any_ring()) {
        let compact = rmp_serde::to_vec(&ring).unwrap();
        prop_assert_eq!(&rmp_serde::from_slice::<Ring>(&compact).unwrap(), &ring);
        let named = rmp_serde::to_vec_named(&ring).unwrap();
        let read: Ring = rmp_serde::from_slice(&named).unwrap();
        prop_assert_eq!(read.digest(), ring.digest());
    }

    #[test]
    fn every_partition_is_owned_by_exactly_one_member(ring in any_ring()) {
        let counted: u32 = ring.members().keys().map(|name| ring.owned_count(name)).sum();
        prop_assert_eq!(counted, ring.size().count());
        for name in ring.members().keys() {
            prop_assert!(ring.owned_by(name).all(|partition| ring.owner(partition) == name));
        }
    }
}
