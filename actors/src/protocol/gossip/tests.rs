//! What is taken in, what is refused, what is forgotten; the laws of merging stand in `laws`.

use super::*;
use crate::protocol::hash::RingSize;
use crate::protocol::id::{Incarnation, NodeId, Partition, Token, VnodeType, VoterId};
use crate::protocol::ring::{Member, RING_MEMBERS_MAX};

mod laws;

fn name(text: &str) -> NodeName {
    NodeName::new(&format!("{text}@host")).unwrap()
}

fn node_id(text: &str) -> NodeId {
    let nonce = text.bytes().fold(7, |sum, byte| sum * 31 + u32::from(byte));
    NodeId { name: name(text), incarnation: Incarnation { boot: 1, nonce } }
}

fn member(text: &str) -> Member {
    let incarnation = node_id(text).incarnation;
    Member::valid(incarnation, VoterId(u64::from(incarnation.nonce)))
}

fn founded(cluster: u64) -> Ring {
    Ring::founded(ClusterId(cluster), RingSize::new(8).unwrap(), name("ada"), member("ada"))
}

/// The next ring, with these members; the first of them owns everything.
fn next(ring: &Ring, members: &[&str]) -> Ring {
    let owners = vec![name(members[0]); 8];
    ring.successor(members.iter().map(|text| (name(text), member(text))).collect(), &owners)
        .unwrap()
}

fn gossip_of(me: &str, ring: &Ring) -> Gossip {
    Gossip::new(name(me), Arc::new(ring.clone()))
}

fn vnode(partition: u32) -> VnodeRef {
    VnodeRef { vnode_type: VnodeType::new("kv").unwrap(), partition: Partition(partition) }
}

fn held(hop: u32, holder: &str) -> Held {
    Held { token: Token { epoch: Epoch(1), hop }, holder: node_id(holder) }
}

fn address(boot: u64, address: &str) -> AddressRecord {
    let types = [VnodeType::new("kv").unwrap()].into();
    AddressRecord { boot, address: address.to_owned(), types }
}

fn join(text: &str) -> Change {
    Change::Join { node: node_id(text), voter: VoterId(9) }
}

#[test]
fn a_higher_ring_is_adopted_and_this_node_says_that_it_has_seen_it() {
    let first = founded(1);
    let second = next(&first, &["ada", "bob"]);
    let mut ada = gossip_of("ada", &first);
    assert_eq!(ada.seen(), &BTreeMap::from([(name("ada"), Epoch(1))]));

    let part = Part::of_ring(Arc::new(second.clone()));
    assert_eq!(ada.ring_ahead(&part), Ok(Some(&Arc::new(second.clone()))));
    let news = ada.merge(&part).unwrap();
    assert_eq!(news, News { ring: true, seen: vec![name("ada")], ..News::default() });
    assert_eq!(ada.seen(), &BTreeMap::from([(name("ada"), Epoch(2))]));
    assert_eq!(ada.ring_mark(), RingMark::of(&second));

    assert!(ada.merge(&part).unwrap().is_empty(), "no news the second time");
    assert!(ada.merge(&Part::of_ring(Arc::new(first))).unwrap().is_empty(), "an old ring is none");
}

#[test]
fn rings_that_do_not_follow_from_one_another_are_a_conflict() {
    let first = founded(1);
    let (mine, theirs) = (next(&first, &["ada", "bob"]), next(&first, &["ada", "cyd"]));
    let their_next = next(&theirs, &["ada"]);
    let mut ada = gossip_of("ada", &mine);
    let before = ada.clone();
    for other in [&theirs, &their_next] {
        let refused = ada.merge(&Part::of_ring(Arc::new(other.clone())));
        let (mine, theirs) = (RingMark::of(&mine), RingMark::of(other));
        assert_eq!(refused, Err(MergeError::Conflict { mine, theirs }));
    }
    let mut ahead = gossip_of("ada", &their_next);
    assert!(ahead.merge(&ada.everything()).is_err(), "also seen from the other side");
    let rival = gossip_of("ada", &theirs);
    assert!(ada.parts_missing(&rival.digest()).ring.is_some(), "so that both hear of it");
    assert_eq!(ada, before);
}

#[test]
fn two_clusters_never_merge() {
    let mut ada = gossip_of("ada", &founded(1));
    let other = gossip_of("ada", &founded(2));
    let refused = ada.merge(&other.everything());
    let (mine, theirs) = (ClusterId(1), ClusterId(2));
    assert_eq!(refused, Err(MergeError::OtherCluster { mine, theirs }));

    let disguised = Part { cluster: mine, ..other.everything() };
    assert_eq!(ada.merge(&disguised), Err(MergeError::OtherCluster { mine, theirs }));
    assert!(ada.parts_missing(&other.digest()).is_empty());
}

#[test]
fn who_left_the_ring_is_forgotten_and_old_news_do_not_bring_it_back() {
    let two = next(&founded(1), &["ada", "bob"]);
    let mut ada = gossip_of("ada", &two);
    let mut bob = gossip_of("bob", &two);
    assert!(bob.announce(address(1, "bob:7650")));
    ada.merge(&bob.everything()).unwrap();
    assert!(ada.seen().contains_key(&name("bob")) && ada.addresses().contains_key(&name("bob")));

    ada.merge(&Part::of_ring(Arc::new(next(&two, &["ada"])))).unwrap();
    assert!(ada.merge(&bob.everything()).unwrap().is_empty());
    assert!(ada.addresses().is_empty());
    assert_eq!(ada.seen().keys().collect::<Vec<_>>(), [&name("ada")]);
}

#[test]
fn a_node_staged_to_join_can_be_reached_and_is_forgotten_when_its_join_is_cleared() {
    let mut ada = gossip_of("ada", &next(&founded(1), &["ada", "bob"]));
    let mut bob = gossip_of("bob", ada.ring());
    let record = address(1, "cyd:7650");
    assert!(!ada.learn_address(&name("cyd"), &record), "a stranger");
    ada.stage(1, join("cyd")).unwrap();
    assert!(ada.learn_address(&name("cyd"), &record));

    let news = bob.merge(&ada.everything()).unwrap();
    assert!(news.staged);
    assert_eq!(news.addresses, [name("cyd")]);
    let passed_on = bob.part_of(&News { staged: true, ..News::default() });
    assert!(passed_on.addresses.contains_key(&name("cyd")));

    assert_eq!(bob.clear_staged(), 1);
    assert!(bob.addresses().is_empty());
    ada.merge(&bob.everything()).unwrap();
    assert!(ada.addresses().is_empty() && ada.staged().active(Epoch(2)).next().is_none());
}

#[test]
fn a_ring_settles_what_was_staged_before_it_and_names_what_became_void() {
    let first = founded(1);
    let mut ada = gossip_of("ada", &first);
    ada.stage(node_id("ada").incarnation.nonce, join("bob")).unwrap();
    ada.stage(node_id("ada").incarnation.nonce, join("cyd")).unwrap();
    let news = ada.merge(&Part::of_ring(Arc::new(next(&first, &["ada", "bob"])))).unwrap();
    assert!(news.staged);
    let void: Vec<&Change> = news.void.iter().map(|staged| &staged.change).collect();
    assert_eq!(void, [&join("cyd")]);
}

#[test]
fn the_highest_token_wins_and_a_token_with_two_holders_is_named() {
    let mut ada = gossip_of("ada", &founded(1));
    assert!(ada.hold(&vnode(1), &held(2, "ada")));
    let with = |held: Held| {
        let tokens = [(vnode(1), held)].into_iter().collect();
        Part { tokens, ..Part::empty(ClusterId(1)) }
    };
    assert!(ada.merge(&with(held(1, "bob"))).unwrap().is_empty());
    assert_eq!(ada.merge(&with(held(3, "bob"))).unwrap().tokens, [vnode(1)]);
    for (holder, kept) in [("ada", "bob"), ("cyd", "cyd")] {
        let news = ada.merge(&with(held(3, holder))).unwrap();
        assert_eq!(news.contested, [vnode(1)]);
        assert_eq!(news.is_empty(), kept != holder);
        assert_eq!(ada.tokens().get(&vnode(1)), Some(&held(3, kept)));
    }
}

#[test]
fn nobody_tells_a_node_what_it_has_seen() {
    let mut ada = gossip_of("ada", &founded(1));
    let seen = BTreeMap::from([(name("ada"), Epoch(40))]);
    let part = Part { seen, ..Part::empty(ClusterId(1)) };
    assert!(ada.merge(&part).unwrap().is_empty());
    assert_eq!(ada.seen().get(&name("ada")), Some(&Epoch(1)));
}

#[test]
fn a_node_that_lost_its_disk_can_still_change_its_address() {
    let ring = next(&founded(1), &["ada", "bob"]);
    let mut ada = gossip_of("ada", &ring);
    ada.learn_address(&name("bob"), &address(9, "old:7650"));

    let mut bob = gossip_of("bob", &ring);
    assert!(bob.announce(address(1, "new:7650")));
    assert_eq!(bob.merge(&ada.everything()).unwrap().addresses, [name("bob")]);
    assert!(bob.announce(address(1, "new:7650")));
    assert!(!bob.announce(address(1, "new:7650")), "it is said once");
    ada.merge(&bob.everything()).unwrap();
    assert_eq!(ada.addresses().get(&name("bob")), Some(&address(10, "new:7650")));
}

#[test]
fn a_node_hosts_what_it_says_and_who_was_not_heard_of_may_host_anything() {
    let ring = next(&founded(1), &["ada", "bob"]);
    let (mut ada, mut bob) = (gossip_of("ada", &ring), gossip_of("bob", &ring));
    let [kv, sets] = ["kv", "sets"].map(|text| VnodeType::new(text).unwrap());
    assert!(ada.hosts(&name("bob"), &sets));

    bob.announce(address(1, "bob:7650"));
    ada.merge(&bob.everything()).unwrap();
    assert!(ada.hosts(&name("bob"), &kv) && !ada.hosts(&name("bob"), &sets));

    let both = AddressRecord { types: [kv, sets.clone()].into(), ..address(1, "bob:7650") };
    assert!(bob.announce(both.clone()), "other types are news, under the same boot too");
    assert_eq!(ada.merge(&bob.everything()).unwrap().addresses, [name("bob")]);
    assert!(ada.hosts(&name("bob"), &sets));
    assert!(!bob.announce(both), "it is said once");
}

#[test]
fn a_part_larger_than_any_honest_one_changes_nothing() {
    let mut ada = gossip_of("ada", &founded(1));
    let before = ada.clone();
    let empty = || Part::empty(ClusterId(1));
    let strangers = (0..=RING_MEMBERS_MAX).map(|number| name(&number.to_string()));
    let types = (0..=VNODE_TYPES_MAX).map(|number| VnodeType::new(&number.to_string()).unwrap());
    let many = AddressRecord { types: types.clone().collect(), ..address(1, "ada:7650") };
    let of_type = |vnode_type: VnodeType| {
        let vnode = |partition| VnodeRef { vnode_type: vnode_type.clone(), partition };
        (0..8).map(|number| (vnode(Partition(number)), held(1, "ada"))).collect::<Vec<_>>()
    };
    let long = address(1, &"x".repeat(300));
    let (count, limit) = (RING_MEMBERS_MAX + 1, RING_MEMBERS_MAX);
    for (part, error) in [
        (
            Part { seen: strangers.map(|name| (name, Epoch(1))).collect(), ..empty() },
            MergeError::TooManyNames { count, limit },
        ),
        (
            Part { tokens: types.flat_map(of_type).collect(), ..empty() },
            MergeError::TooManyTokens { count: 65 * 8, limit: 64 * 8 },
        ),
        (
            Part { tokens: [(vnode(8), held(1, "ada"))].into_iter().collect(), ..empty() },
            MergeError::NoSuchPartition { vnode: vnode(8), size: RingSize::new(8).unwrap() },
        ),
        (
            Part { addresses: BTreeMap::from([(name("ada"), long)]), ..empty() },
            MergeError::AddressTooLong { node: name("ada"), bytes: 300 },
        ),
        (
            Part { addresses: BTreeMap::from([(name("ada"), many)]), ..empty() },
            MergeError::TooManyTypes { node: name("ada"), count: 65 },
        ),
    ] {
        assert_eq!(ada.merge(&part), Err(error));
        assert_eq!(ada, before);
    }
}

#[test]
fn only_what_differs_is_sent() {
    let size = RingSize::new(1_024).unwrap();
    let ring = Ring::founded(ClusterId(1), size, name("ada"), member("ada"));
    let mut ada = gossip_of("ada", &ring);
    for partition in 0..1_024 {
        ada.hold(&vnode(partition), &held(1, "ada"));
    }
    let mut bob = Gossip { me: name("bob"), ..ada.clone() };
    assert!(ada.parts_missing(&bob.digest()).is_empty(), "equals have nothing to say");

    ada.hold(&vnode(70), &held(2, "bob"));
    let part = ada.parts_missing(&bob.digest());
    let sent: Vec<u32> = part.tokens.iter().map(|(vnode, _)| vnode.partition.0).collect();
    assert_eq!(sent.len(), 1_024 / TOKEN_BUCKETS);
    assert!(sent.contains(&70));
    assert_eq!(part, Part { tokens: part.tokens.clone(), ..Part::empty(ClusterId(1)) });

    assert_eq!(bob.merge(&part).unwrap().tokens, [vnode(70)]);
    assert_eq!(bob.tokens().bucket_sums(), ada.tokens().bucket_sums());
}

#[test]
fn a_digest_with_the_wrong_number_of_buckets_asks_for_more_and_breaks_nothing() {
    let mut ada = gossip_of("ada", &founded(1));
    ada.hold(&vnode(3), &held(1, "ada"));
    for tokens in [vec![], vec![0; 3], vec![0; 1_000]] {
        let part = ada.parts_missing(&GossipDigest { tokens, ..ada.digest() });
        assert_eq!(part.tokens, *ada.tokens());
    }
}

#[test]
fn a_part_survives_the_wire_in_few_bytes_for_each_token() {
    let mut ada = gossip_of("ada", &founded(1));
    ada.announce(address(3, "ada:7650"));
    ada.stage(1, join("bob")).unwrap();
    let without = rmp_serde::to_vec_named(&ada.everything()).unwrap().len();
    for partition in 0..8 {
        ada.hold(&vnode(partition), &held(partition, "ada"));
    }
    let bytes = rmp_serde::to_vec_named(&ada.everything()).unwrap();
    assert_eq!(rmp_serde::from_slice::<Part>(&bytes).unwrap(), ada.everything());
    assert!(bytes.len() - without < 200, "{} bytes for 8 tokens", bytes.len() - without);
}

#[test]
fn a_row_of_the_wire_that_refers_to_nobody_is_refused() {
    let kind = VnodeType::new("kv").unwrap();
    for (vnode_type, holder) in [(1_u16, 0_u32), (0, 1)] {
        let rows = vec![(vnode_type, 3_u32, 1_u64, 0_u32, holder)];
        let bytes = rmp_serde::to_vec(&(vec![kind.clone()], vec![node_id("ada")], rows)).unwrap();
        assert!(rmp_serde::from_slice::<Tokens>(&bytes).is_err());
    }
}
