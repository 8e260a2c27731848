//! Which nodes a request for a hash goes to: the preference list.
//!
//! Source: `riak_core_apl`, `get_apl_ann`. One thing differs, see [`places`].

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::hash::{RingHash, RingSize};
use super::id::{NodeName, Partition};

/// How many entries of nodes already in the list the search for another node passes over. On a
/// balanced ring a node that is not in the list comes much earlier, if there is one. The limit
/// keeps a request from walking 65,536 entries when three nodes hold them all.
const PASSED_OVER_MAX: usize = 256;

/// What a node is to a partition in one preference list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PlaceRole {
    /// It holds the partition.
    Primary,
    /// It stands in, and keeps hints for the partition.
    Fallback {
        /// The holder that is not up.
        instead_of: NodeName,
    },
}

/// One entry of a preference list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The partition the request is for; a fallback keeps that of the primary it stands in for.
    pub partition: Partition,
    /// Who is asked.
    pub node: NodeName,
    /// Holder or stand-in.
    pub role: PlaceRole,
}

/// The n partitions that hold a hash, in order. All of the ring if n is larger.
#[must_use]
pub fn primaries(size: RingSize, hash: RingHash, n: usize) -> Vec<Partition> {
    size.walk(size.partition_of(hash)).take(n).collect()
}

/// Who to ask for a hash with n replicas: first the holders that are up, then a stand-in for each
/// that is not, taken from the rest of the ring clockwise. Each entry of the ring is used once, so
/// the list is shorter than n when too few entries belong to nodes that are up.
///
/// Unlike in `riak_core`, a stand-in is a node that is not in the list yet, if one comes further
/// on; there the next entry is taken even when its node already keeps a replica, and one more crash
/// then loses two.
#[must_use]
pub fn places(
    size: RingSize,
    hash: RingHash,
    n: usize,
    holder: impl Fn(Partition) -> NodeName,
    is_up: impl Fn(&NodeName) -> bool,
) -> Vec<Place> {
    let mut places = Vec::with_capacity(n.min(size.count() as usize));
    let mut down = Vec::new();
    for partition in primaries(size, hash, n) {
        let node = holder(partition);
        if is_up(&node) {
            places.push(Place { partition, node, role: PlaceRole::Primary });
        } else {
            down.push((partition, node));
        }
    }
    let mut rest =
        size.walk(size.partition_of(hash)).skip(n).map(holder).filter(|node| is_up(node));
    // Entries of nodes that were already in the list: the list only grows, so they stay second
    // best.
    let mut passed_over = VecDeque::new();
    for (partition, instead_of) in down {
        let mut unlisted = None;
        while unlisted.is_none() && passed_over.len() < PASSED_OVER_MAX {
            let Some(node) = rest.next() else { break };
            if places.iter().any(|place| place.node == node) {
                passed_over.push_back(node);
            } else {
                unlisted = Some(node);
            }
        }
        let Some(node) = unlisted.or_else(|| passed_over.pop_front()) else { break };
        places.push(Place { partition, node, role: PlaceRole::Fallback { instead_of } });
    }
    places
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn node(letter: char) -> NodeName {
        NodeName::new(&format!("{letter}@host")).unwrap()
    }

    /// The preference list for the first hash of a ring whose partitions 1, 2, ... have these
    /// holders. An entry is the letter of the node, with `*` for a stand-in, and the partition.
    fn list(holders: &str, n: usize, down: &str) -> String {
        let size = RingSize::new(holders.len() as u32).unwrap();
        let from_one = |partition: Partition| {
            let place = (partition.0 + size.count() - 1) % size.count();
            node(holders.chars().nth(place as usize).unwrap())
        };
        let up = |name: &NodeName| !down.chars().any(|letter| node(letter) == *name);
        let written = places(size, RingHash([0; 20]), n, from_one, up).into_iter().map(|place| {
            let mark = if place.role == PlaceRole::Primary { "" } else { "*" };
            format!("{}{mark}{}", place.node.as_str().split_once('@').unwrap().0, place.partition.0)
        });
        written.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn holders_that_are_up_are_asked_in_ring_order() {
        assert_eq!(list("abcdabcd", 3, ""), "a1 b2 c3");
        assert_eq!(list("abcdabcd", 3, "d"), "a1 b2 c3");
    }

    #[test]
    fn a_stand_in_comes_last_with_the_partition_of_the_primary() {
        assert_eq!(list("abcdeabc", 3, "a"), "b2 c3 d*1");
        assert_eq!(list("abcdeabc", 3, "ab"), "c3 d*1 e*2");
        assert_eq!(list("abcdeabc", 3, "ad"), "b2 c3 e*1");
    }

    #[test]
    fn a_stand_in_is_a_node_that_is_not_in_the_list_yet() {
        // riak_core takes the next entries, b and c, and would ask both twice.
        assert_eq!(list("abcbcbcd", 3, "a"), "b2 c3 d*1");
    }

    #[test]
    fn a_listed_node_stands_in_when_there_is_no_other() {
        assert_eq!(list("abcabcab", 3, "a"), "b2 c3 b*1");
        assert_eq!(list("abcabcab", 3, "ab"), "c3 c*1");
        assert_eq!(list("abcabcab", 3, "abc"), "");
    }

    #[test]
    fn a_stand_in_names_the_node_it_stands_in_for() {
        let size = RingSize::new(8).unwrap();
        let holder = |partition: Partition| node(if partition == Partition(1) { 'a' } else { 'b' });
        let found = places(size, RingHash([0; 20]), 1, holder, |name| *name == node('b'));
        let role = PlaceRole::Fallback { instead_of: node('a') };
        assert_eq!(found, [Place { partition: Partition(1), node: node('b'), role }]);
    }

    #[test]
    fn one_request_does_not_walk_a_large_ring() {
        let asked = Cell::new(0);
        let size = RingSize::new(65_536).unwrap();
        let holder = |partition: Partition| {
            asked.set(asked.get() + 1);
            node(['a', 'b', 'c'][partition.0 as usize % 3])
        };
        let found = places(size, RingHash([0; 20]), 3, holder, |name| *name != node('b'));
        assert_eq!(found.len(), 3);
        assert!(asked.get() < 1_000, "{} entries were looked at", asked.get());
    }

    proptest! {
        #[test]
        fn a_list_keeps_its_promises(
            holders in vec(0u8..6, 16),
            up in vec(any::<bool>(), 6),
            hash in any::<[u8; 20]>(),
            n in 0usize..20,
        ) {
            let (size, hash) = (RingSize::new(16).unwrap(), RingHash(hash));
            let names: Vec<NodeName> = ('a'..='f').map(node).collect();
            let holder = |p: Partition| names[usize::from(holders[p.0 as usize])].clone();
            let is_up = |asked: &NodeName| up[names.binary_search(asked).unwrap()];
            let list = places(size, hash, n, holder, is_up);

            prop_assert!(list.iter().all(|place| is_up(&place.node)));
            let partitions: BTreeSet<_> = list.iter().map(|place| place.partition).collect();
            prop_assert_eq!(partitions.len(), list.len(), "no partition is asked for twice");
            let primaries = primaries(size, hash, n);
            prop_assert!(partitions.iter().all(|partition| primaries.contains(partition)));
            let usable = size.partitions().filter(|&partition| is_up(&holder(partition))).count();
            prop_assert_eq!(list.len(), n.min(16).min(usable), "as long as it can be");

            let (kept, fallbacks): (Vec<&Place>, Vec<&Place>) =
                list.iter().partition(|place| place.role == PlaceRole::Primary);
            let kept: BTreeSet<_> = kept.iter().map(|place| place.node.clone()).collect();
            let rest = size.walk(size.partition_of(hash)).skip(n).map(holder);
            let others: BTreeSet<_> =
                rest.filter(|node| is_up(node) && !kept.contains(node)).collect();
            let nodes: BTreeSet<_> = list.iter().map(|place| &place.node).collect();
            prop_assert_eq!(nodes.len(), kept.len() + fallbacks.len().min(others.len()));
        }
    }
}
