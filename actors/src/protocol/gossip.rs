//! What every member knows of the cluster, and how two of them come to know the same.
//!
//! Gossip spreads what is decided or staged; it decides nothing. Each section has a rule by which of two
//! values one wins, the same on every member and in whatever order they arrive: the ring of the higher
//! epoch, the highest token, the newest address, the higher epoch seen, the merge of staged changes. To whom
//! to send, and how often, is the runtime's.
//!
//! Names that are not in the ring and not staged to join it have no place here: they are dropped with the
//! ring that dropped them, and news of them is ignored. So what is kept is bounded, and members with the
//! same ring keep the same names. A name that comes back later is told anew by the node itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{ClusterId, Epoch, NodeName, VnodeRef, VnodeType};
use super::plan::{Change, ChangeId, StageError, Staged, StagedChange};
use super::ring::{Ring, RingDigest};

mod part;
mod tokens;

pub use part::{AddressRecord, GossipDigest, MergeError, Part, RingMark};
pub use tokens::{Held, TOKEN_BUCKETS, Tokens, VNODE_TYPES_MAX};

use tokens::TokenNews;

/// What a merge changed. Pass it on: [`Gossip::part_of`].
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct News {
    /// There is a newer ring.
    pub ring: bool,
    /// Members that have seen a newer epoch.
    pub seen: Vec<NodeName>,
    /// Vnodes with a higher token.
    pub tokens: Vec<VnodeRef>,
    /// Vnodes whose token was told with two holders: one of the two nodes is wrong. Said each time it is heard.
    pub contested: Vec<VnodeRef>,
    /// Changes were staged or cleared, or settled by the new ring.
    pub staged: bool,
    /// Staged changes that the new ring made void. They must be staged again if still wanted.
    pub void: Vec<StagedChange>,
    /// Nodes with a newer address.
    pub addresses: Vec<NodeName>,
}

impl News {
    /// Whether nothing changed, so that there is nothing to pass on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { ring, seen, tokens, contested: _, staged, void: _, addresses } = self;
        !*ring && seen.is_empty() && tokens.is_empty() && !*staged && addresses.is_empty()
    }
}

/// What one node knows of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gossip {
    me: NodeName,
    ring: Arc<Ring>,
    /// The digest of `ring`, which takes long to make.
    ring_digest: RingDigest,
    /// The highest epoch each member is known to have; this node's own is the ring's.
    seen: BTreeMap<NodeName, Epoch>,
    tokens: Tokens,
    staged: Staged,
    /// Of members, and of nodes staged to join.
    addresses: BTreeMap<NodeName, AddressRecord>,
}

impl Gossip {
    /// What a node knows that has this ring and has heard of nobody. Also what a joiner starts with, which
    /// leaves everything of its former cluster behind.
    #[must_use]
    pub fn new(me: NodeName, ring: Arc<Ring>) -> Self {
        let ring_digest = ring.digest();
        let mut gossip = Self {
            me,
            ring,
            ring_digest,
            seen: BTreeMap::new(),
            tokens: Tokens::default(),
            staged: Staged::default(),
            addresses: BTreeMap::new(),
        };
        gossip.settle(&mut News::default());
        gossip
    }

    /// The newest ring.
    #[must_use]
    pub fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// The digest of [`Gossip::ring`], at no cost.
    #[must_use]
    pub fn ring_mark(&self) -> RingMark {
        RingMark { epoch: self.ring.epoch(), digest: self.ring_digest }
    }

    /// Which epoch each member is known to have seen. Who is not in it was not heard of.
    #[must_use]
    pub fn seen(&self) -> &BTreeMap<NodeName, Epoch> {
        &self.seen
    }

    /// Who holds which vnode, as far as is known.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The changes that operators have asked for and nobody has committed.
    #[must_use]
    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// Where members and nodes staged to join listen.
    #[must_use]
    pub fn addresses(&self) -> &BTreeMap<NodeName, AddressRecord> {
        &self.addresses
    }

    /// Which cluster this is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.ring.cluster()
    }

    /// Stages a change on the present ring. `minter` is the nonce of this node's incarnation.
    ///
    /// # Errors
    ///
    /// [`StageError`]; nothing is staged then.
    pub fn stage(&mut self, minter: u32, change: Change) -> Result<ChangeId, StageError> {
        self.staged.add(minter, self.ring.epoch(), change)
    }

    /// Drops the staged changes this node knows, and says how many.
    pub fn clear_staged(&mut self) -> usize {
        let cleared = self.staged.clear_seen();
        self.settle(&mut News::default());
        cleared
    }

    /// Records who holds a vnode, and says whether that is news.
    pub fn hold(&mut self, vnode: &VnodeRef, held: &Held) -> bool {
        match self.tokens.raise(vnode, held) {
            TokenNews::Higher => true,
            TokenNews::Contested { replaced } => replaced,
            TokenNews::Known => false,
        }
    }

    /// Whether a node hosts a vnode type. One that was not heard of may.
    #[must_use]
    pub fn hosts(&self, node: &NodeName, vnode_type: &VnodeType) -> bool {
        self.addresses.get(node).is_none_or(|record| record.types.contains(vnode_type))
    }

    /// Records what another node says of itself, and says whether that is news. A node that is neither a member
    /// nor staged to join is not recorded: stage it first.
    pub fn learn_address(&mut self, node: &NodeName, record: &AddressRecord) -> bool {
        let known = self.is_known(node);
        known && raise(&mut self.addresses, node, record)
    }

    /// Records what this node says of itself. `record.boot` is the count of its starts; when others remember
    /// something else under the same or a higher count, as after the loss of its disk, the record goes above
    /// theirs. Says whether there is something to spread. Call it again when a merge names this
    /// node among the addresses.
    pub fn announce(&mut self, mut record: AddressRecord) -> bool {
        if let Some(known) = self.addresses.get(&self.me) {
            let is_true = known.address == record.address && known.types == record.types;
            let least = if is_true { known.boot } else { known.boot.saturating_add(1) };
            record.boot = record.boot.max(least);
        }
        let me = self.me.clone();
        self.learn_address(&me, &record)
    }

    /// The ring in the part, if it is newer than this node's. Make it durable, and the votes with it, before
    /// the part is merged: from then on this node tells everybody that it has seen it.
    ///
    /// # Errors
    ///
    /// As [`Gossip::merge`].
    pub fn ring_ahead<'a>(&self, part: &'a Part) -> Result<Option<&'a Arc<Ring>>, MergeError> {
        part.check(self)?;
        Ok(part.ring.as_ref().filter(|ring| ring.epoch() > self.ring.epoch()))
    }

    /// Takes in what another member knows. Merging is commutative, associative and idempotent, as long as no
    /// name leaves the cluster and comes back in between.
    ///
    /// # Errors
    ///
    /// [`MergeError`]: the part comes from another cluster or another chain of rings, or is larger than any
    /// honest one. Nothing of it was taken in.
    pub fn merge(&mut self, part: &Part) -> Result<News, MergeError> {
        let ahead = self.ring_ahead(part)?.cloned();
        let mut news = News::default();
        let staged_before = self.staged.clone();
        if let Some(ring) = ahead {
            self.ring_digest = ring.digest();
            self.ring = ring;
            news.ring = true;
        }
        if let Some(staged) = &part.staged {
            self.staged.merge(staged);
        }
        self.settle(&mut news);
        news.staged = self.staged != staged_before;
        self.merge_names(part, &mut news);
        for (vnode, held) in part.tokens.iter() {
            match self.tokens.raise(vnode, held) {
                TokenNews::Higher => news.tokens.push(vnode.clone()),
                TokenNews::Contested { replaced } => {
                    news.contested.push(vnode.clone());
                    news.tokens.extend(replaced.then(|| vnode.clone()));
                }
                TokenNews::Known => {}
            }
        }
        Ok(news)
    }

    fn merge_names(&mut self, part: &Part, news: &mut News) {
        for (node, epoch) in &part.seen {
            // What this node has seen it knows best: others may remember a life whose disk is lost.
            let counts = *node != self.me && self.ring.is_member(node);
            if counts && raise(&mut self.seen, node, epoch) {
                news.seen.push(node.clone());
            }
        }
        let joiners = self.joiners();
        for (node, record) in &part.addresses {
            let known = self.ring.is_member(node) || joiners.contains(node);
            if known && raise(&mut self.addresses, node, record) {
                news.addresses.push(node.clone());
            }
        }
    }

    /// Makes everything fit the ring: what it settled is no longer staged, who is gone is forgotten.
    fn settle(&mut self, news: &mut News) {
        news.void.extend(self.staged.settle(&self.ring));
        let ring = Arc::clone(&self.ring);
        let joiners = self.joiners();
        self.seen.retain(|node, _| ring.is_member(node));
        self.addresses.retain(|node, _| ring.is_member(node) || joiners.contains(node));
        let me = self.me.clone();
        if ring.is_member(&me) && self.seen.insert(me.clone(), ring.epoch()) != Some(ring.epoch()) {
            news.seen.push(me);
        }
    }

    fn joiners(&self) -> BTreeSet<NodeName> {
        let active = self.staged.active(self.ring.epoch());
        active.map(|staged| staged.change.node().name.clone()).collect()
    }

    fn is_known(&self, node: &NodeName) -> bool {
        self.ring.is_member(node) || self.joiners().contains(node)
    }

    /// What this node knows, in short, for another one to compare with.
    #[must_use]
    pub fn digest(&self) -> GossipDigest {
        GossipDigest {
            cluster: self.cluster(),
            ring: self.ring_mark(),
            seen: part::hash_of(&self.seen),
            staged: part::hash_of(&self.staged),
            addresses: part::hash_of(&self.addresses),
            tokens: self.tokens.bucket_sums().to_vec(),
        }
    }

    /// What this node knows and the other one does not, as far as digests tell: only sections that differ,
    /// and no ring that is older than theirs. Nothing for another cluster.
    #[must_use]
    pub fn parts_missing(&self, theirs: &GossipDigest) -> Part {
        let mine = self.digest();
        let mut part = Part::empty(self.cluster());
        if theirs.cluster != mine.cluster {
            return part;
        }
        let is_news = mine.ring.epoch >= theirs.ring.epoch && mine.ring != theirs.ring;
        part.ring = is_news.then(|| Arc::clone(&self.ring));
        if mine.seen != theirs.seen {
            part.seen = self.seen.clone();
        }
        if mine.staged != theirs.staged {
            part.staged = Some(self.staged.clone());
        }
        if mine.addresses != theirs.addresses {
            part.addresses = self.addresses.clone();
        }
        part.tokens = self.tokens.differing(&theirs.tokens);
        part
    }

    /// Everything this node knows.
    #[must_use]
    pub fn everything(&self) -> Part {
        Part {
            cluster: self.cluster(),
            ring: Some(Arc::clone(&self.ring)),
            seen: self.seen.clone(),
            staged: Some(self.staged.clone()),
            addresses: self.addresses.clone(),
            tokens: self.tokens.clone(),
        }
    }

    /// What the news were about, to pass it on.
    #[must_use]
    pub fn part_of(&self, news: &News) -> Part {
        let mut part = Part::empty(self.cluster());
        part.ring = news.ring.then(|| Arc::clone(&self.ring));
        part.seen = pick(&self.seen, &news.seen);
        part.addresses = pick(&self.addresses, &news.addresses);
        if news.staged {
            part.staged = Some(self.staged.clone());
            // Who is staged to join must be reachable by whoever commits.
            part.addresses.extend(pick(&self.addresses, &self.joiners()));
        }
        let vnodes = news.tokens.iter();
        part.tokens = vnodes.filter_map(|vnode| self.tokens.get_entry(vnode)).collect();
        part
    }
}

/// Sets the value if it is above the known one, and says whether it was.
fn raise<V: Ord + Clone>(known: &mut BTreeMap<NodeName, V>, node: &NodeName, value: &V) -> bool {
    if known.get(node).is_some_and(|known| known >= value) {
        return false;
    }
    known.insert(node.clone(), value.clone());
    true
}

fn pick<'a, V: Clone>(
    known: &BTreeMap<NodeName, V>,
    nodes: impl IntoIterator<Item = &'a NodeName>,
) -> BTreeMap<NodeName, V> {
    let entry = |node: &'a NodeName| Some((node.clone(), known.get(node)?.clone()));
    nodes.into_iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests;
