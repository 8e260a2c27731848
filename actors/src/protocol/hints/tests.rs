//! When hints go home and to whom, case by case.

use bytes::Bytes;

use super::*;
use crate::protocol::digest::{ItemHash, ItemPosition, item_order};
use crate::protocol::gossip::{Gossip, Held};
use crate::protocol::hash::RingSize;
use crate::protocol::id::{ClusterId, Epoch, Incarnation, Partition, Token, VnodeType, VoterId};
use crate::protocol::ring::{Member, Ring};

const IDLE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000)
}

fn node(name: &str) -> NodeId {
    let name = NodeName::new(&format!("{name}@host")).unwrap();
    NodeId { name, incarnation: Incarnation { boot: 1, nonce: 1 } }
}

fn vnode(partition: u32) -> VnodeRef {
    VnodeRef { vnode_type: VnodeType::new("kv").unwrap(), partition: Partition(partition) }
}

/// What a stand-in knows: `holders` speak for partitions 0, 1, 2 and so on.
fn gossip(holders: &[&str]) -> Gossip {
    let member = Member::valid(node("me").incarnation, VoterId(1));
    let size = RingSize::new(8).unwrap();
    let ring = Ring::founded(ClusterId(1), size, node("me").name, member);
    let mut gossip = Gossip::new(node("me").name, std::sync::Arc::new(ring));
    for (partition, holder) in (0..).zip(holders) {
        let held = Held { token: Token::minted(Epoch(1)), holder: node(holder) };
        gossip.hold(&vnode(partition), &held);
    }
    gossip
}

/// A generation for each partition, kept for `instead_of`.
fn waiting(instead_of: &[&str]) -> Waiting {
    let kept = |(partition, name): (u32, &&str)| ((vnode(partition), 1), node(name).name);
    (0..).zip(instead_of).map(kept).collect()
}

struct World {
    gossip: Gossip,
    down: Vec<&'static str>,
    failures: BTreeMap<VnodeRef, Failures>,
    slots_free: u16,
    rules: Rules,
}

fn world(holders: &[&str]) -> World {
    World {
        gossip: gossip(holders),
        down: vec![],
        failures: BTreeMap::new(),
        slots_free: 9,
        rules: Rules::default(),
    }
}

impl World {
    fn ask(&self, waiting: &Waiting) -> (Vec<(u32, Homeward)>, Option<Moment>) {
        let facts = Facts {
            me: &node("me"),
            tokens: self.gossip.tokens(),
            is_up: |name: &NodeName| !self.down.iter().any(|down| node(down).name == *name),
            failures: &self.failures,
            slots_free: self.slots_free,
            now: at(100),
            rules: self.rules,
        };
        let (going, wakes_at) = homeward(waiting, &facts);
        (going.into_iter().map(|(vnode, _, way)| (vnode.partition.0, way)).collect(), wakes_at)
    }
}

#[test]
fn hints_go_home_when_left_alone() {
    assert_eq!(due(at(0), at(30), at(89), IDLE, Rules::default()), Due::At(at(90)));
    assert_eq!(due(at(0), at(30), at(90), IDLE, Rules::default()), Due::Now);
}

#[test]
fn constant_writes_do_not_keep_hints_away_for_ever() {
    assert_eq!(due(at(0), at(599), at(599), IDLE, Rules::default()), Due::At(at(600)));
    assert_eq!(due(at(0), at(600), at(600), IDLE, Rules::default()), Due::Now);
}

#[test]
fn hints_go_to_whoever_speaks_for_the_vnode_by_now() {
    let (going, _) = world(&["bob", "me"]).ask(&waiting(&["ada", "ada"]));
    assert_eq!(going, [(0, Homeward::Send(node("bob"))), (1, Homeward::JoinHere)]);
}

#[test]
fn hints_of_an_owner_that_is_down_hold_no_others_up() {
    let world = World { down: vec!["ada"], ..world(&["ada", "bob"]) };
    let (going, _) = world.ask(&waiting(&["ada", "bob"]));
    assert_eq!(going, [(1, Homeward::Send(node("bob")))]);
}

#[test]
fn a_generation_that_failed_waits_by_itself_and_one_without_a_slot_for_the_next() {
    let failed = Failures::after(None, at(100), 255, "refused".to_owned());
    let until = failed.until;
    let world = World {
        failures: [(vnode(0), failed)].into(),
        slots_free: 1,
        ..world(&["bob", "bob", "bob"])
    };
    let (going, wakes_at) = world.ask(&waiting(&["bob", "bob", "bob"]));
    assert_eq!(going, [(1, Homeward::Send(node("bob")))]);
    assert_eq!(wakes_at, Some(until));
}

#[test]
fn a_generation_is_home_when_all_of_it_was_sent_and_confirmed() {
    let key = Bytes::from_static(b"key");
    let mut way = WayHome::default();
    assert!(!way.is_home(0), "nothing was read yet");
    let sum_up = |sent: &mut crate::protocol::digest::Digest| {
        sent.add(item_order(b"key"), ItemHash::of(b"key", b"value"), 8);
    };
    assert_eq!(way.page_read(Some(ItemPosition::of(key)), sum_up), 1);
    assert!(!way.is_home(1), "the second page is not read yet");
    assert_eq!(way.page_read(None, |_| {}), 2);
    assert_eq!((way.fence().0, way.fence().1.count), (2, 1));
    assert!(!way.is_home(1), "the second page is not confirmed yet");
    assert!(way.is_home(2));
}
