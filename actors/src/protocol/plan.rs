//! What a commit would do: the staged changes, the ring after them, and what moves.
//!
//! A [`Plan`] is made on any member from what it knows, shown, and committed as it was shown: the
//! same ring, holders, changes and seed give the same plan with the same id. Deciding its ring is
//! [`super::agreement`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::claim::{Claim, Claimant, Verdict, claim};
use super::id::{Epoch, NodeId, NodeName, Partition};
use super::ring::{Member, MemberStatus, Ring, RingError};

mod staged;

pub use staged::{Change, ChangeId, STAGED_MAX, StageError, Staged, StagedChange};

/// Names a plan: the hash of all it was made from. Shown and typed as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlanId(pub u64);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not a plan's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a plan: 'tanodb cluster plan' shows its 16 hexadecimal digits")]
pub struct PlanIdError(String);

impl FromStr for PlanId {
    type Err = PlanIdError;

    fn from_str(text: &str) -> Result<Self, PlanIdError> {
        let refused = || PlanIdError(text.to_owned());
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| refused())
    }
}

/// What a commit would do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub id: PlanId,
    /// The epoch of the ring it was made on. On any other it cannot be committed.
    pub base: Epoch,
    /// What the placement's choices followed from.
    pub seed: u64,
    /// What it changes, one change for a node.
    pub changes: Vec<StagedChange>,
    /// The ring that would be decided.
    pub candidate: Ring,
    /// Partitions that would move, from whom to whom: from their present holder to their owner in
    /// the candidate.
    pub transfers: BTreeMap<(NodeName, NodeName), u32>,
    /// No balanced ring takes fewer transfers.
    pub lower_bound: u32,
    /// How good the placement is.
    pub verdict: Verdict,
    /// Whether all n replicas of every key would be on distinct nodes.
    pub distinct_nodes: bool,
    /// Whether they would be in distinct zones, as far as zones count.
    pub distinct_zones: bool,
}

impl Plan {
    /// All partitions that would move.
    #[must_use]
    pub fn transfer_count(&self) -> u32 {
        self.transfers.values().sum()
    }
}

/// Why there is no plan. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No change is staged.
    #[error("there are no staged changes: stage one, for example with 'tanodb cluster join'")]
    NothingStaged,
    /// All changes were staged on an older ring.
    #[error(
        "all {count} staged changes are void, they were staged before ring {epoch} was decided: \
         stage them again"
    )]
    Void {
        /// How many there are.
        count: usize,
        /// The epoch of the ring now.
        epoch: Epoch,
    },
    /// A change was staged on a ring this node has not seen.
    #[error(
        "a change was staged on ring {base} and this node has ring {epoch}: plan again when it \
         has learned it"
    )]
    Behind {
        /// The epoch of the ring here.
        epoch: Epoch,
        /// The epoch of the ring it was staged on.
        base: Epoch,
    },
    /// Two different changes concern one node.
    #[error(
        "{node} is staged twice, for different changes: clear the staged changes and stage one"
    )]
    StagedTwice {
        /// Which node.
        node: NodeName,
    },
    /// Who is to join is a member.
    #[error("{node} is a member already: clear the staged changes")]
    AlreadyMember {
        /// Which node.
        node: NodeName,
    },
    /// The members would not make a ring.
    #[error("the planned ring is refused: {0}")]
    Refused(#[from] RingError),
}

/// Why a join is not staged. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A node of this name is a member.
    #[error("{node} is a member of the cluster already")]
    AlreadyMember {
        /// Which node.
        node: NodeName,
    },
    /// A change for this name is staged.
    #[error("a change of {node} is staged already: commit it, or clear the staged changes")]
    AlreadyStaged {
        /// Which node.
        node: NodeName,
    },
}

/// Whether a node may be staged to join this ring.
///
/// # Errors
///
/// [`JoinError`] when its name is a member, in whatever incarnation, or is staged already.
pub fn check_join(ring: &Ring, staged: &Staged, node: &NodeId) -> Result<(), JoinError> {
    let name = &node.name;
    if ring.is_member(name) {
        return Err(JoinError::AlreadyMember { node: name.clone() });
    }
    if staged.active(ring.epoch()).any(|staged| staged.change.node().name == *name) {
        return Err(JoinError::AlreadyStaged { node: name.clone() });
    }
    Ok(())
}

/// Plans the staged changes on a ring. `holders` says who holds each partition now; one that is not
/// in it counts as held by its owner. `n_val` is how many replicas of a key are to be apart.
///
/// # Errors
///
/// [`PlanError`] says what to do next.
pub fn plan(
    ring: &Ring,
    holders: &BTreeMap<Partition, NodeName>,
    staged: &Staged,
    n_val: u32,
    seed: u64,
) -> Result<Plan, PlanError> {
    let changes = planned_changes(ring, staged)?;
    let members = members_after(ring, &changes)?;
    let held_by: Vec<NodeName> =
        ring.owners().map(|(p, owner)| holders.get(&p).unwrap_or(owner).clone()).collect();
    let Claim { owners, moves: _, lower_bound, verdict, violations, zone_violations } =
        claim(&held_by, &claimants(&members), n_val, seed);
    let mut transfers: BTreeMap<(NodeName, NodeName), u32> = BTreeMap::new();
    for (holder, owner) in held_by.iter().zip(&owners).filter(|(holder, owner)| holder != owner) {
        *transfers.entry((holder.clone(), owner.clone())).or_default() += 1;
    }
    Ok(Plan {
        id: plan_id(ring, &held_by, &changes, n_val, seed),
        base: ring.epoch(),
        seed,
        changes,
        candidate: ring.successor(members, &owners)?,
        transfers,
        lower_bound,
        verdict,
        distinct_nodes: violations == 0,
        distinct_zones: zone_violations == 0,
    })
}

/// The active changes. Two members may have staged the same change: it counts once.
fn planned_changes(ring: &Ring, staged: &Staged) -> Result<Vec<StagedChange>, PlanError> {
    let epoch = ring.epoch();
    let mut known = BTreeSet::new();
    let active = staged.active(epoch).filter(|staged| known.insert(&staged.change));
    let changes: Vec<StagedChange> = active.cloned().collect();
    if changes.is_empty() {
        let count = staged.void(epoch).count();
        let void = PlanError::Void { count, epoch };
        return Err(if count == 0 { PlanError::NothingStaged } else { void });
    }
    match changes.iter().map(|staged| staged.base).max() {
        Some(base) if base > epoch => Err(PlanError::Behind { epoch, base }),
        Some(_) | None => Ok(changes),
    }
}

fn members_after(
    ring: &Ring,
    changes: &[StagedChange],
) -> Result<BTreeMap<NodeName, Member>, PlanError> {
    let mut members = ring.members().clone();
    for StagedChange { change, .. } in changes {
        match change {
            Change::Join { node: NodeId { name, incarnation }, voter } => {
                let joined = members.insert(name.clone(), Member::valid(*incarnation, *voter));
                if joined.is_some() {
                    let node = name.clone();
                    return Err(if ring.is_member(name) {
                        PlanError::AlreadyMember { node }
                    } else {
                        PlanError::StagedTwice { node }
                    });
                }
            }
        }
    }
    Ok(members)
}

/// Who may own partitions. A member that is down keeps its share: it is expected back.
///
/// Source: `claiming_members` of `riak_core`.
fn claimants(members: &BTreeMap<NodeName, Member>) -> BTreeMap<NodeName, Claimant> {
    let claims = |member: &Member| match member.status {
        MemberStatus::Valid | MemberStatus::Down => true,
        MemberStatus::Joining | MemberStatus::Leaving | MemberStatus::Exiting => false,
    };
    let claiming = members.iter().filter(|(_, member)| claims(member)).map(|(name, member)| {
        (name.clone(), Claimant { weight: member.weight, zone: member.zone.clone() })
    });
    claiming.collect()
}

fn plan_id(
    ring: &Ring,
    held_by: &[NodeName],
    changes: &[StagedChange],
    n_val: u32,
    seed: u64,
) -> PlanId {
    let ids: Vec<ChangeId> = changes.iter().map(|staged| staged.id).collect();
    #[expect(clippy::expect_used, reason = "no writer is involved that could refuse")]
    let bytes = rmp_serde::to_vec(&(ring.digest(), held_by, ids, n_val, seed))
        .expect("names and numbers can be written into memory");
    PlanId(xxh3_64(&bytes))
}

#[cfg(test)]
mod tests;
