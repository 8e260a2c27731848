//! The desired ring: which nodes are members, and which of them ought to own each partition.
//!
//! A [`Ring`] is a value that never changes; the next one is its [`Ring::successor`]. How members
//! agree on a successor is [`super::agreement`]'s, where partitions ought to go is
//! [`super::claim`]'s. Who *holds* a partition while it moves is told by owner tokens, not here.
//!
//! In memory and on the wire an owner is a number: its place among the sorted members. So the
//! largest ring takes 128 KiB, and every number that comes in is checked before anybody asks for an
//! owner.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::hash::RingSize;
use super::id::{ClusterId, Epoch, Incarnation, NodeId, NodeName, Partition, VoterId};

mod form;
use form::RingForm;

/// Most members of a ring. Four times the size the gossip is built for; a ring with more comes from
/// a broken or hostile peer.
pub const RING_MEMBERS_MAX: usize = 4_096;

/// Longest name of a zone, in bytes.
pub const ZONE_BYTES_MAX: usize = 255;

/// The weight of a member nobody gave another.
pub const WEIGHT_DEFAULT: u32 = 100;

/// How far a member is in or out of the cluster.
///
/// Source: member statuses of `riak_core`. Its `invalid` is missing: whoever was removed is not in
/// the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// Staged, not yet in a decided ring: owns nothing and has no vote.
    Joining,
    /// Full member.
    Valid,
    /// Gives away what it holds, and takes nothing.
    Leaving,
    /// Holds nothing any more and is about to be removed.
    Exiting,
    /// Declared unreachable by an operator: keeps its partitions and its vote, but nobody waits for
    /// it.
    Down,
}

impl fmt::Display for MemberStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Joining => "joining",
            Self::Valid => "valid",
            Self::Leaving => "leaving",
            Self::Exiting => "exiting",
            Self::Down => "down",
        })
    }
}

/// What the ring says of one member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// How far it is in or out.
    pub status: MemberStatus,
    /// The life of its data. A message from another incarnation of the name is not from this
    /// member.
    pub incarnation: Incarnation,
    /// Who votes for it.
    pub voter: VoterId,
    /// Its share of the partitions in relation to the others'. 0: it owns nothing.
    pub weight: u32,
    /// Where it stands. Replicas avoid each other's zone when every claimant has one.
    pub zone: Option<String>,
}

impl Member {
    /// A full member of [`WEIGHT_DEFAULT`] and no zone.
    #[must_use]
    pub fn valid(incarnation: Incarnation, voter: VoterId) -> Self {
        let status = MemberStatus::Valid;
        Self { status, incarnation, voter, weight: WEIGHT_DEFAULT, zone: None }
    }
}

/// Tells two rings apart: xxh3 over the MessagePack of the whole ring, its parent's digest
/// included.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RingDigest(pub u64);

impl fmt::Display for RingDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why members and owners are not a ring. No ring was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// There is not one owner for each partition.
    #[error("a ring of {size} partitions cannot have {owners} owners")]
    OwnerCount {
        /// Partitions of the ring.
        size: RingSize,
        /// Owners that were given.
        owners: usize,
    },
    /// A partition is given to a node that is not a member.
    #[error("partition {} is given to {node}, which is not a member", .partition.0)]
    OwnerNotMember {
        /// The partition.
        partition: Partition,
        /// Who is not a member.
        node: NodeName,
    },
    /// On the wire, an owner's place among the members is beyond their number.
    #[error("partition {} is given to member {place} of {members}", .partition.0)]
    OwnerOutOfRange {
        /// The partition.
        partition: Partition,
        /// The place that was given, from 0.
        place: u16,
        /// How many members there are.
        members: usize,
    },
    /// More than [`RING_MEMBERS_MAX`].
    #[error("a ring has at most {RING_MEMBERS_MAX} members, this one has {0}")]
    TooManyMembers(usize),
    /// Longer than [`ZONE_BYTES_MAX`].
    #[error("the zone of {node} has {bytes} bytes: a zone has at most {ZONE_BYTES_MAX}")]
    ZoneTooLong {
        /// Whose zone.
        node: NodeName,
        /// Its length.
        bytes: usize,
    },
}

/// One decided or proposed ring. Every partition has an owner, and every owner is a member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RingForm", into = "RingForm")]
pub struct Ring {
    cluster: ClusterId,
    epoch: Epoch,
    parent: RingDigest,
    size: RingSize,
    members: BTreeMap<NodeName, Member>,
    /// The keys of `members`, in order, to find one by its place.
    names: Vec<NodeName>,
    /// For each partition its owner's place in `names`.
    owners: Vec<u16>,
}

impl Ring {
    /// The first ring of a cluster: epoch 1, and its founder owns everything.
    #[must_use]
    pub fn founded(cluster: ClusterId, size: RingSize, name: NodeName, member: Member) -> Self {
        Self {
            cluster,
            epoch: Epoch(1),
            parent: RingDigest::default(),
            size,
            members: BTreeMap::from([(name.clone(), member)]),
            names: vec![name],
            owners: size.partitions().map(|_| 0).collect(),
        }
    }

    /// The ring of the next epoch, with `owners` in the order of the partitions.
    ///
    /// # Errors
    ///
    /// [`RingError`] when there is not one owner for each partition, an owner is not a member, or
    /// the members exceed a limit.
    pub fn successor(
        &self,
        members: BTreeMap<NodeName, Member>,
        owners: &[NodeName],
    ) -> Result<Self, RingError> {
        let names: Vec<NodeName> = members.keys().cloned().collect();
        let places = self.size.partitions().zip(owners).map(|(partition, owner)| {
            let place = names.binary_search(owner).ok().and_then(|place| u16::try_from(place).ok());
            place.ok_or_else(|| RingError::OwnerNotMember { partition, node: owner.clone() })
        });
        let places = places.collect::<Result<_, _>>()?;
        check_owner_count(self.size, owners.len())?;
        let (epoch, parent) = (self.epoch.next(), self.digest());
        Self {
            cluster: self.cluster,
            epoch,
            parent,
            size: self.size,
            members,
            names,
            owners: places,
        }
        .checked()
    }

    /// The ring itself, if it keeps the promises of [`Ring`].
    fn checked(self) -> Result<Self, RingError> {
        if self.members.len() > RING_MEMBERS_MAX {
            return Err(RingError::TooManyMembers(self.members.len()));
        }
        for (node, member) in &self.members {
            let bytes = member.zone.as_ref().map_or(0, String::len);
            if bytes > ZONE_BYTES_MAX {
                return Err(RingError::ZoneTooLong { node: node.clone(), bytes });
            }
        }
        check_owner_count(self.size, self.owners.len())?;
        let members = self.names.len();
        for (partition, &place) in self.size.partitions().zip(&self.owners) {
            if usize::from(place) >= members {
                return Err(RingError::OwnerOutOfRange { partition, place, members });
            }
        }
        Ok(self)
    }

    /// Which cluster this is a ring of.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The ring's number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The digest of the ring of the epoch before; the default for a founder's ring.
    #[must_use]
    pub fn parent(&self) -> RingDigest {
        self.parent
    }

    /// How many partitions there are.
    #[must_use]
    pub fn size(&self) -> RingSize {
        self.size
    }

    /// All members, of every status.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<NodeName, Member> {
        &self.members
    }

    /// Who ought to own a partition. A number beyond the ring is taken modulo its size.
    #[must_use]
    pub fn owner(&self, partition: Partition) -> &NodeName {
        let place = self.owners.get((partition.0 % self.size.count()) as usize);
        #[expect(clippy::expect_used, reason = "every way to make a ring checks both")]
        place
            .and_then(|&place| self.names.get(usize::from(place)))
            .expect("each partition has an owner, and each owner is a member")
    }

    /// Every partition with its owner, in order.
    pub fn owners(&self) -> impl Iterator<Item = (Partition, &NodeName)> {
        self.size.partitions().map(|partition| (partition, self.owner(partition)))
    }

    /// The partitions a node ought to own, in order. None if it is not a member.
    pub fn owned_by(&self, name: &NodeName) -> impl Iterator<Item = Partition> + use<'_> {
        let place = self.names.binary_search(name).ok();
        let owned = self.size.partitions().zip(&self.owners);
        owned.filter(move |&(_, &owner)| place == Some(usize::from(owner))).map(|(p, _)| p)
    }

    /// How many partitions a node ought to own.
    #[must_use]
    pub fn owned_count(&self, name: &NodeName) -> u32 {
        self.owned_by(name).map(|_| 1).sum()
    }

    /// Tells this ring from every other.
    #[must_use]
    pub fn digest(&self) -> RingDigest {
        #[expect(clippy::expect_used, reason = "no writer is involved that could refuse")]
        let bytes = rmp_serde::to_vec(self).expect("a ring can be written into memory");
        RingDigest(xxh3_64(&bytes))
    }

    /// Whether the ring lists the name, in any incarnation and status.
    #[must_use]
    pub fn is_member(&self, name: &NodeName) -> bool {
        self.members.contains_key(name)
    }

    /// Whether the ring lists the name in exactly this incarnation.
    #[must_use]
    pub fn lists(&self, node: &NodeId) -> bool {
        self.members.get(&node.name).is_some_and(|member| member.incarnation == node.incarnation)
    }

    /// The node in the incarnation the ring lists, or `None` if it is not a member.
    #[must_use]
    pub fn node_id(&self, name: &NodeName) -> Option<NodeId> {
        let member = self.members.get(name)?;
        Some(NodeId { name: name.clone(), incarnation: member.incarnation })
    }

    /// Who decides the next epoch. A member that is down counts: no majority shrinks by losing
    /// nodes.
    #[must_use]
    pub fn acceptors(&self) -> BTreeMap<NodeName, VoterId> {
        let votes = |member: &Member| match member.status {
            MemberStatus::Valid
            | MemberStatus::Leaving
            | MemberStatus::Exiting
            | MemberStatus::Down => true,
            MemberStatus::Joining => false,
        };
        let voters = self.members.iter().filter(|(_, member)| votes(member));
        voters.map(|(name, member)| (name.clone(), member.voter)).collect()
    }

    /// The members that must have seen a ring before partitions start to move because of it.
    ///
    /// Source: `ring_ready` of `riak_core`.
    pub fn waits_for_ready(&self) -> impl Iterator<Item = &NodeName> {
        let waited_for = |member: &Member| match member.status {
            MemberStatus::Valid | MemberStatus::Leaving | MemberStatus::Exiting => true,
            MemberStatus::Joining | MemberStatus::Down => false,
        };
        self.members.iter().filter(move |(_, member)| waited_for(member)).map(|(name, _)| name)
    }

    /// Whether everybody who is waited for has seen this epoch or a later one.
    ///
    /// # Errors
    ///
    /// Who has not, in order.
    pub fn ring_ready(&self, seen: &BTreeMap<NodeName, Epoch>) -> Result<(), Vec<NodeName>> {
        let has_seen = |name: &NodeName| seen.get(name).is_some_and(|&epoch| epoch >= self.epoch);
        let unaware: Vec<NodeName> =
            self.waits_for_ready().filter(|name| !has_seen(name)).cloned().collect();
        if unaware.is_empty() { Ok(()) } else { Err(unaware) }
    }
}

fn check_owner_count(size: RingSize, owners: usize) -> Result<(), RingError> {
    if owners == size.count() as usize {
        Ok(())
    } else {
        Err(RingError::OwnerCount { size, owners })
    }
}

#[cfg(test)]
mod tests;
