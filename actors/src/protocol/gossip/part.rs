//! What travels: parts of what a node knows, digests to find out which, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{Gossip, Tokens, VNODE_TYPES_MAX, raise};
use crate::protocol::hash::RingSize;
use crate::protocol::id::{ClusterId, Epoch, NodeName, VnodeRef, VnodeType};
use crate::protocol::plan::{STAGED_MAX, Staged};
use crate::protocol::ring::{RING_MEMBERS_MAX, Ring, RingDigest};

/// Longest address, in bytes: the longest host name (253), a colon, the port.
const ADDRESS_BYTES_MAX: usize = 259;

/// Most addresses: those of all members and of all nodes staged to join.
const ADDRESSES_MAX: usize = RING_MEMBERS_MAX + STAGED_MAX;

/// Where a node listens, and which vnode types it hosts. Of two records the one with the higher `boot` is the
/// newer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The node's count of its starts, or more if it had to go above a record of a lost life.
    pub boot: u64,
    /// HOST:PORT. Opaque here.
    pub address: String,
    /// The vnode types it hosts; at most [`VNODE_TYPES_MAX`].
    pub types: BTreeSet<VnodeType>,
}

/// Tells one ring from every other, in few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RingMark {
    /// Its number.
    pub epoch: Epoch,
    /// Its digest.
    pub digest: RingDigest,
}

impl RingMark {
    /// The mark of a ring. Takes as long as [`Ring::digest`].
    #[must_use]
    pub fn of(ring: &Ring) -> Self {
        Self { epoch: ring.epoch(), digest: ring.digest() }
    }
}

impl fmt::Display for RingMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.epoch, self.digest)
    }
}

/// Any subset of what a node knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Part {
    /// The cluster it speaks of.
    pub cluster: ClusterId,
    /// The newest ring.
    pub ring: Option<Arc<Ring>>,
    /// Which epochs members have seen.
    pub seen: BTreeMap<NodeName, Epoch>,
    /// Owner tokens.
    pub tokens: Tokens,
    /// The whole set of staged changes, or none of it.
    pub staged: Option<Staged>,
    /// Where nodes listen.
    pub addresses: BTreeMap<NodeName, AddressRecord>,
}

/// Why a part was not taken in. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// It speaks of another cluster. Clusters never merge.
    #[error("it is of cluster {theirs}, this node is in {mine}")]
    OtherCluster {
        /// This node's cluster.
        mine: ClusterId,
        /// The part's.
        theirs: ClusterId,
    },
    /// Its ring and this node's do not belong to one chain: one of them was decided without a majority. Nothing
    /// decides between them but an operator.
    #[error(
        "its ring {theirs} and this node's {mine} do not follow from one another: one side must give its ring up"
    )]
    Conflict {
        /// This node's ring.
        mine: RingMark,
        /// The part's.
        theirs: RingMark,
    },
    /// More names than the largest cluster has.
    #[error("it names {count} nodes, a cluster has at most {limit}")]
    TooManyNames {
        /// Names in the part.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// More tokens than a ring has vnodes.
    #[error("with it there would be {count} tokens, this ring has at most {limit}")]
    TooManyTokens {
        /// Tokens there would be.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A token of a partition that is not on the ring.
    #[error("it has a token for partition {} of a ring of {size}", vnode.partition.0)]
    NoSuchPartition {
        /// The vnode.
        vnode: VnodeRef,
        /// Partitions of the ring.
        size: RingSize,
    },
    /// More vnode types than one cluster has.
    #[error("{node} says it hosts {count} vnode types, a cluster has at most {VNODE_TYPES_MAX}")]
    TooManyTypes {
        /// Whose record it is.
        node: NodeName,
        /// Types in it.
        count: usize,
    },
    /// An address longer than any.
    #[error("the address of {node} has {bytes} bytes, an address has at most {ADDRESS_BYTES_MAX}")]
    AddressTooLong {
        /// Whose address.
        node: NodeName,
        /// Its length.
        bytes: usize,
    },
}

impl Part {
    /// A part that says nothing.
    #[must_use]
    pub fn empty(cluster: ClusterId) -> Self {
        Self {
            cluster,
            ring: None,
            seen: BTreeMap::new(),
            tokens: Tokens::default(),
            staged: None,
            addresses: BTreeMap::new(),
        }
    }

    /// A part that says which ring was decided.
    #[must_use]
    pub fn of_ring(ring: Arc<Ring>) -> Self {
        Self { ring: Some(Arc::clone(&ring)), ..Self::empty(ring.cluster()) }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::empty(self.cluster)
    }

    /// Takes in another part, so that merging the result is merging both. A part of another cluster is left
    /// out.
    pub fn absorb(&mut self, other: Self) {
        if other.cluster != self.cluster {
            return;
        }
        let epoch_of = |part: &Self| part.ring.as_ref().map(|ring| ring.epoch());
        if epoch_of(&other) > epoch_of(self) {
            self.ring = other.ring;
        }
        for (node, epoch) in &other.seen {
            raise(&mut self.seen, node, epoch);
        }
        for (node, record) in &other.addresses {
            raise(&mut self.addresses, node, record);
        }
        for (vnode, held) in other.tokens.iter() {
            self.tokens.raise(vnode, held);
        }
        match (&mut self.staged, other.staged) {
            (Some(mine), Some(theirs)) => {
                mine.merge(&theirs);
            }
            (None, theirs) => self.staged = theirs,
            (Some(_), None) => {}
        }
    }

    /// Whether it may be merged into what `known` knows.
    pub(super) fn check(&self, known: &Gossip) -> Result<(), MergeError> {
        let mine = known.cluster();
        let clusters = [Some(self.cluster), self.ring.as_ref().map(|ring| ring.cluster())];
        if let Some(theirs) = clusters.into_iter().flatten().find(|theirs| *theirs != mine) {
            return Err(MergeError::OtherCluster { mine, theirs });
        }
        let newest = match &self.ring {
            Some(ring) => {
                check_chain(known, ring)?;
                if ring.epoch() > known.ring.epoch() { ring } else { &known.ring }
            }
            None => &known.ring,
        };
        self.check_names()?;
        self.check_tokens(known, newest.size())
    }

    fn check_names(&self) -> Result<(), MergeError> {
        for (count, limit) in
            [(self.seen.len(), RING_MEMBERS_MAX), (self.addresses.len(), ADDRESSES_MAX)]
        {
            if count > limit {
                return Err(MergeError::TooManyNames { count, limit });
            }
        }
        for (node, AddressRecord { address, types, .. }) in &self.addresses {
            let (bytes, count) = (address.len(), types.len());
            if bytes > ADDRESS_BYTES_MAX {
                return Err(MergeError::AddressTooLong { node: node.clone(), bytes });
            }
            if count > VNODE_TYPES_MAX {
                return Err(MergeError::TooManyTypes { node: node.clone(), count });
            }
        }
        Ok(())
    }

    fn check_tokens(&self, known: &Gossip, size: RingSize) -> Result<(), MergeError> {
        if let Some((vnode, _)) =
            self.tokens.iter().find(|(vnode, _)| !size.contains(vnode.partition))
        {
            return Err(MergeError::NoSuchPartition { vnode: vnode.clone(), size });
        }
        let unknown = self.tokens.iter().filter(|(vnode, _)| known.tokens.get(vnode).is_none());
        let count = known.tokens.len() + unknown.count();
        let limit = size.count() as usize * VNODE_TYPES_MAX;
        if count > limit {
            return Err(MergeError::TooManyTokens { count, limit });
        }
        Ok(())
    }
}

/// Rings of one number must be the same, and neighbours must be parent and child. Of rings further apart
/// only the numbers can be compared.
fn check_chain(known: &Gossip, ring: &Ring) -> Result<(), MergeError> {
    let (mine, mine_epoch) = (known.ring_mark(), known.ring.epoch());
    let fits = if ring.epoch() == mine_epoch {
        ring.digest() == mine.digest
    } else if ring.epoch() == mine_epoch.next() {
        ring.parent() == mine.digest
    } else if ring.epoch().next() == mine_epoch {
        ring.digest() == known.ring.parent()
    } else {
        true
    };
    if fits { Ok(()) } else { Err(MergeError::Conflict { mine, theirs: RingMark::of(ring) }) }
}

/// What a node knows, in short. Equal sections have equal hashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GossipDigest {
    /// The cluster.
    pub cluster: ClusterId,
    /// The newest ring.
    pub ring: RingMark,
    /// Which epochs members have seen.
    pub seen: u64,
    /// Staged changes.
    pub staged: u64,
    /// Where nodes listen.
    pub addresses: u64,
    /// Owner tokens, by [`super::TOKEN_BUCKETS`] buckets. Should there be more, the rest is not read.
    pub tokens: Vec<u64>,
}

/// xxh3 over the MessagePack of a section.
pub(super) fn hash_of(section: &impl Serialize) -> u64 {
    let mut bytes = Vec::with_capacity(512);
    #[expect(clippy::expect_used, reason = "no writer is involved that could refuse")]
    rmp_serde::encode::write(&mut bytes, section)
        .expect("names and numbers can be written into memory");
    xxh3_64(&bytes)
}
