//! What the coordinator knows of the cluster: the ring, who holds what, who is up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::protocol::gossip::Held;
use crate::protocol::hash::{RING_SIZE_MAX, RingSize};
use crate::protocol::id::{
    Epoch, Incarnation, NodeId, NodeName, Partition, Token, VnodeRef, VnodeType,
};
use crate::protocol::request::Directory;
use crate::protocol::ring::Ring;

/// The ring and what goes with it.
#[derive(Default)]
pub(super) struct Knowledge {
    /// `None` before the first one.
    ring: Option<Arc<Ring>>,
    /// For each type the highest token heard of, by partition.
    tokens: BTreeMap<VnodeType, Vec<Option<Held>>>,
    up: Arc<BTreeSet<NodeName>>,
    /// In which life each was met last.
    lives: BTreeMap<NodeName, Incarnation>,
    /// Who was up at any time since the ring is of this cluster.
    met: BTreeSet<NodeName>,
}

impl Knowledge {
    /// Whether there is a ring, and it is of another cluster than this one.
    pub(super) fn is_of_another_cluster(&self, ring: &Ring) -> bool {
        self.ring.as_ref().is_some_and(|known| known.cluster() != ring.cluster())
    }

    /// Takes over a new ring. Tokens of another cluster mean nothing in this one. Returns whether it is the first
    /// ring of its cluster here.
    pub(super) fn adopt(&mut self, ring: Arc<Ring>) -> bool {
        let is_first = self.ring.as_ref().is_none_or(|known| known.cluster() != ring.cluster());
        if is_first {
            self.tokens.clear();
            self.met = self.up.as_ref().clone();
        }
        self.ring = Some(ring);
        is_first
    }

    /// Whether a node was never up since the ring is of this cluster.
    pub(super) fn is_unmet(&self, node: &NodeName) -> bool {
        !self.met.contains(node)
    }

    /// Whether there is a ring, and this node is known to be up.
    pub(super) fn is_complete(&self, me: &NodeName) -> bool {
        self.ring.is_some() && self.up.contains(me)
    }

    /// Keeps in which life a node is.
    pub(super) fn meet(&mut self, node: NodeId) {
        self.lives.insert(node.name, node.incarnation);
    }

    /// Keeps a token if it is higher than what is known.
    pub(super) fn learn(&mut self, vnode: &VnodeRef, held: &Held) -> bool {
        let place = vnode.partition.0 as usize;
        if place >= RING_SIZE_MAX as usize {
            return false;
        }
        if !self.tokens.contains_key(&vnode.vnode_type) {
            self.tokens.insert(vnode.vnode_type.clone(), Vec::new());
        }
        let Some(of_type) = self.tokens.get_mut(&vnode.vnode_type) else { return false };
        if of_type.len() <= place {
            of_type.resize(place + 1, None);
        }
        let Some(known) = of_type.get_mut(place) else { return false };
        let is_news = known.as_ref().is_none_or(|known| known.token < held.token);
        if is_news {
            *known = Some(held.clone());
        }
        is_news
    }

    /// Takes over who is up. Returns who is not any more.
    pub(super) fn alive(&mut self, up: Arc<BTreeSet<NodeName>>) -> Vec<NodeName> {
        let gone = self.up.difference(&up).cloned().collect();
        self.met.extend(up.iter().cloned());
        self.up = up;
        gone
    }

    /// The directory of one type of vnodes, once there is a ring.
    pub(super) fn view(&self, vnode_type: &VnodeType) -> Option<View<'_>> {
        let tokens = self.tokens.get(vnode_type).map_or(&[][..], Vec::as_slice);
        Some(View { ring: self.ring.as_deref()?, tokens, up: &self.up, lives: &self.lives })
    }
}

/// [`Knowledge`] as one request sees it.
pub(super) struct View<'a> {
    ring: &'a Ring,
    tokens: &'a [Option<Held>],
    up: &'a BTreeSet<NodeName>,
    lives: &'a BTreeMap<NodeName, Incarnation>,
}

impl Directory for View<'_> {
    fn size(&self) -> RingSize {
        self.ring.size()
    }

    fn held(&self, partition: Partition) -> Held {
        if let Some(Some(held)) = self.tokens.get(partition.0 as usize) {
            return held.clone();
        }
        // No token was heard of yet. Whoever ought to own the partition knows the holder: under the lowest
        // token there is, it answers with the one that counts.
        let owner = self.ring.owner(partition);
        let unknown =
            || NodeId { name: owner.clone(), incarnation: Incarnation { boot: 0, nonce: 0 } };
        let holder = self.ring.node_id(owner).unwrap_or_else(unknown);
        Held { token: Token::minted(Epoch(0)), holder }
    }

    fn is_up(&self, node: &NodeName) -> bool {
        self.up.contains(node)
    }

    fn may_stand_in(&self, node: &NodeName) -> bool {
        let listed = self.ring.members().get(node).map(|member| member.incarnation);
        self.is_up(node) && self.lives.get(node).is_none_or(|met| Some(*met) == listed)
    }
}
