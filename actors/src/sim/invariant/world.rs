//! What all nodes together have told so far: where every vnode stands, on every node that runs.
//!
//! Watchers judge by it. It has a table of its own of what a state means, so that a mistake in the product's
//! does not excuse itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::protocol::handoff::Handoff;
use crate::protocol::id::{ClusterId, Partition, Token, TransferId, VnodeRef, VnodeType};
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// A node in one of its lives.
pub(super) type Place = (Arc<str>, u64);

pub(super) fn place(seen: &Seen) -> Place {
    (Arc::clone(&seen.node), seen.life)
}

/// Something about each vnode of each cluster. Founders and the clusters they join number their tokens alike.
#[derive(Debug, Clone)]
pub(super) struct ByVnode<T>(BTreeMap<ClusterId, BTreeMap<VnodeType, BTreeMap<Partition, T>>>);

impl<T> Default for ByVnode<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Default> ByVnode<T> {
    pub(super) fn get(&self, cluster: ClusterId, vnode: &VnodeRef) -> Option<&T> {
        self.0.get(&cluster)?.get(&vnode.vnode_type)?.get(&vnode.partition)
    }

    pub(super) fn at(&mut self, cluster: ClusterId, vnode: &VnodeRef) -> &mut T {
        let types = self.0.entry(cluster).or_default();
        types.entry(vnode.vnode_type.clone()).or_default().entry(vnode.partition).or_default()
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.values_mut().flat_map(BTreeMap::values_mut).flat_map(BTreeMap::values_mut)
    }
}

/// What a vnode on one node is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    /// Nothing is held, or it has been given away.
    Nothing,
    /// Executes commands under this token.
    Speaks(Token),
    /// The same, while a transfer is under way.
    Sends(Token),
    /// Of record, and executes nothing.
    Fenced(Token),
    /// Has given this token's successor away, and has no answer.
    Grants(TransferId, Token),
    /// Will speak under this token.
    Resumes(Token),
    /// Takes things in that nobody may see.
    Staged(TransferId),
    /// The same, complete.
    Holds(TransferId),
    /// Will speak under the granted token.
    Accepts(TransferId, Token),
    /// Spoke in an earlier life, whose memory is gone.
    Lost,
}

impl Stands {
    pub(super) fn of(state: &Handoff) -> Self {
        match state {
            Handoff::Absent { .. } | Handoff::Retired { .. } | Handoff::Purging { .. } => {
                Self::Nothing
            }
            Handoff::Owner(ownership) => Self::Speaks(ownership.token),
            Handoff::Sending(ownership, _) => Self::Sends(ownership.token),
            Handoff::Fenced { ownership, .. } => Self::Fenced(ownership.token),
            Handoff::Granting { ownership, outgoing, .. } => {
                Self::Grants(outgoing.transfer, ownership.token)
            }
            Handoff::Resuming(ownership) => Self::Resumes(ownership.token),
            Handoff::Staging(incoming) | Handoff::CaughtUp(incoming) => {
                Self::Staged(incoming.transfer)
            }
            Handoff::Holding { incoming, .. } => Self::Holds(incoming.transfer),
            Handoff::Accepting { incoming, token, .. } => Self::Accepts(incoming.transfer, *token),
            Handoff::Lost { .. } => Self::Lost,
        }
    }

    /// The token under which commands may run here now.
    pub(super) fn speaks_under(self) -> Option<Token> {
        match self {
            Self::Speaks(token) | Self::Sends(token) => Some(token),
            Self::Nothing
            | Self::Fenced(_)
            | Self::Grants(..)
            | Self::Resumes(_)
            | Self::Staged(_)
            | Self::Holds(_)
            | Self::Accepts(..)
            | Self::Lost => None,
        }
    }

    /// The token under which this node answers for the vnode, or will, or has until its grant is answered.
    fn token(self) -> Option<Token> {
        match self {
            Self::Speaks(token)
            | Self::Sends(token)
            | Self::Fenced(token)
            | Self::Grants(_, token)
            | Self::Resumes(token)
            | Self::Accepts(_, token) => Some(token),
            Self::Nothing | Self::Staged(_) | Self::Holds(_) | Self::Lost => None,
        }
    }

    /// The transfer whose grant has no answer.
    fn granted(self) -> Option<TransferId> {
        if let Self::Grants(transfer, _) = self { Some(transfer) } else { None }
    }

    /// Whether this node knows that it answers for the vnode, or that it will.
    pub(super) fn remembers(self) -> bool {
        self.token().is_some()
    }

    /// Whether a transfer of the vnode is under way here.
    pub(super) fn is_moving(self) -> bool {
        match self {
            Self::Sends(_) | Self::Fenced(_) | Self::Grants(..) | Self::Resumes(_) => true,
            Self::Staged(_) | Self::Holds(_) | Self::Accepts(..) => true,
            Self::Nothing | Self::Speaks(_) | Self::Lost => false,
        }
    }

    /// The transfer whose content is here as far as it came.
    pub(super) fn staged(self) -> Option<TransferId> {
        if let Self::Staged(transfer) = self { Some(transfer) } else { None }
    }

    /// Whether what is here came by a transfer that has not ended.
    pub(super) fn is_staged(self) -> bool {
        matches!(self, Self::Staged(_) | Self::Holds(_) | Self::Accepts(..))
    }
}

#[derive(Debug, Default)]
struct Known {
    vnodes: ByVnode<Vnode>,
    slots: BTreeMap<Place, (usize, usize)>,
}

/// One vnode, wherever something of it is.
#[derive(Debug, Default)]
struct Vnode {
    at: Vec<(Place, Stands)>,
    /// Whether anybody has ever answered for it.
    is_known: bool,
    /// Whether whoever answered for it has died with its memory, and nobody does since.
    is_lost: bool,
    /// Where it is owned by somebody who does not fence before a predecessor has retired, with the number of that
    /// predecessor's life.
    awaited: Vec<(Place, u32)>,
    /// A grant whose source has died, and which may still arrive.
    last_grant: Option<TransferId>,
}

impl Vnode {
    fn is_remembered(&self) -> bool {
        self.at.iter().any(|(_, stands)| {
            stands.remembers() || self.last_grant.is_some_and(|it| *stands == Stands::Holds(it))
        })
    }
}

impl Vnode {
    /// What a node's memory held of it is gone. Whoever had the highest token answered for it.
    fn ended(&mut self, node: &str) {
        self.awaited.retain(|((at, _), _)| &**at != node);
        let (dead, left) =
            std::mem::take(&mut self.at).into_iter().partition(|((at, _), _)| &**at == node);
        self.at = left;
        let highest = |at: &[(Place, Stands)]| at.iter().filter_map(|(_, it)| it.token()).max();
        if highest(&dead) > highest(&self.at) {
            self.last_grant = dead.iter().find_map(|(_, stands)| stands.granted());
            // Somebody may remember an older token and wait for an answer that nobody gives any more.
            let is_coming = |(_, stands): &(Place, Stands)| {
                self.last_grant.is_some_and(|it| *stands == Stands::Holds(it))
            };
            self.is_lost = !self.at.iter().any(is_coming);
        } else if self.last_grant.is_some() {
            self.is_lost |= !self.is_remembered();
        }
    }
}

/// See the module. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct World(Rc<RefCell<Known>>);

impl World {
    pub(super) fn saw(&self, seen: &Seen) {
        match &seen.event {
            Observed::VnodeStarted { cluster, vnode, state } => {
                self.moved(seen, *cluster, vnode, state);
            }
            Observed::VnodeMoved { cluster, vnode, after, .. } => {
                self.moved(seen, *cluster, vnode, after);
            }
            Observed::SlotsHeld { outbound, inbound, .. } => {
                self.0.borrow_mut().slots.insert(place(seen), (*outbound, *inbound));
            }
            Observed::RecordKept { .. }
            | Observed::Executed { .. }
            | Observed::FenceSet { .. }
            | Observed::FenceHeld { .. }
            | Observed::TookOver { .. }
            | Observed::Forwarded { .. }
            | Observed::Parked { .. }
            | Observed::Deleted { .. }
            | Observed::Hinted { .. }
            | Observed::HintsHeld { .. }
            | Observed::HintsDropped { .. }
            | Observed::AttemptEnded { .. }
            | Observed::Minted { .. }
            | Observed::RingAdopted { .. } => {}
        }
    }

    fn moved(&self, seen: &Seen, cluster: ClusterId, vnode: &VnodeRef, state: &Handoff) {
        let mut known = self.0.borrow_mut();
        let vnode = known.vnodes.at(cluster, vnode);
        let (place, stands) = (place(seen), Stands::of(state));
        match vnode.at.iter_mut().find(|(at, _)| *at == place) {
            Some((_, now)) => *now = stands,
            None => vnode.at.push((place.clone(), stands)),
        }
        vnode.awaited.retain(|(at, _)| *at != place);
        if let Handoff::Owner(ownership) | Handoff::Sending(ownership, _) = state
            && let Some(predecessor) = &ownership.predecessor
        {
            vnode.awaited.push((place, predecessor.source.incarnation.nonce));
        }
        vnode.is_known |= stands.remembers();
        if let Stands::Accepts(..) | Stands::Resumes(_) | Stands::Speaks(_) = stands {
            (vnode.is_lost, vnode.last_grant) = (false, None);
        }
    }

    /// What the node's memory held is gone.
    pub(super) fn ended(&self, node: &str) {
        let mut known = self.0.borrow_mut();
        for vnode in known.vnodes.values_mut() {
            vnode.ended(node);
        }
        known.slots.retain(|(at, _), _| &**at != node);
    }

    /// Where a vnode stands on one node.
    pub(super) fn stands(&self, cluster: ClusterId, vnode: &VnodeRef, at: &Place) -> Stands {
        let known = self.0.borrow();
        let found = known.vnodes.get(cluster, vnode).and_then(|vnode| {
            vnode.at.iter().find(|(place, _)| place == at).map(|(_, stands)| *stands)
        });
        found.unwrap_or(Stands::Nothing)
    }

    /// Whether `is_so` of the vnode on any node.
    pub(super) fn is_anywhere(
        &self,
        cluster: ClusterId,
        vnode: &VnodeRef,
        mut is_so: impl FnMut(&Place, Stands) -> bool,
    ) -> bool {
        let known = self.0.borrow();
        let vnode = known.vnodes.get(cluster, vnode);
        vnode.is_some_and(|vnode| vnode.at.iter().any(|(place, stands)| is_so(place, *stands)))
    }

    /// Whether nobody answers for the vnode any more, although the memory that did has not died.
    pub(super) fn is_forgotten(&self, cluster: ClusterId, vnode: &VnodeRef) -> bool {
        let known = self.0.borrow();
        let vnode = known.vnodes.get(cluster, vnode);
        vnode.is_some_and(|vnode| vnode.is_known && !vnode.is_lost && !vnode.is_remembered())
    }

    /// Whether the memory that answered for the vnode is gone, and nobody does since.
    pub(super) fn is_lost(&self, cluster: ClusterId, vnode: &VnodeRef) -> bool {
        self.0.borrow().vnodes.get(cluster, vnode).is_some_and(|vnode| {
            // A grant whose source is gone may never come.
            vnode.is_lost || vnode.last_grant.is_some()
        })
    }

    /// Whether the owner of the vnode waits until a life has retired of which `is_lost` is true.
    pub(super) fn awaits(
        &self,
        cluster: ClusterId,
        vnode: &VnodeRef,
        is_lost: impl Fn(u32) -> bool,
    ) -> bool {
        let known = self.0.borrow();
        let vnode = known.vnodes.get(cluster, vnode);
        vnode.is_some_and(|vnode| vnode.awaited.iter().any(|(_, life)| is_lost(*life)))
    }

    /// Whether the vnode was granted to a life that is over: only a takeover would end that.
    pub(super) fn is_granted_to_the_dead(&self, cluster: ClusterId, vnode: &VnodeRef) -> bool {
        self.0.borrow().vnodes.get(cluster, vnode).is_some_and(|vnode| {
            let granted = vnode.at.iter().find_map(|(_, stands)| stands.granted());
            let takes = |transfer: TransferId| {
                vnode.at.iter().any(|(_, stands)| match stands {
                    Stands::Holds(it) | Stands::Accepts(it, _) => *it == transfer,
                    Stands::Speaks(_)
                    | Stands::Sends(_)
                    | Stands::Fenced(_)
                    | Stands::Resumes(_) => true,
                    Stands::Nothing | Stands::Grants(..) | Stands::Staged(_) | Stands::Lost => {
                        false
                    }
                })
            };
            granted.is_some_and(|transfer| !takes(transfer))
        })
    }

    /// Leases of slots that are taken anywhere, with their nodes.
    pub(super) fn slots(&self) -> Vec<(Arc<str>, usize)> {
        let known = self.0.borrow();
        let taken = known.slots.iter().filter(|(_, (outbound, inbound))| outbound + inbound > 0);
        taken
            .map(|((node, _), (outbound, inbound))| (Arc::clone(node), outbound + inbound))
            .collect()
    }
}
