//! Changes of the membership that operators have asked for and nobody has committed yet.
//!
//! Every member keeps the whole set and may add to it; gossip merges sets whole. A change belongs
//! to the ring it was staged on: once a later ring is decided it is either part of that ring, or
//! void.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::id::{Epoch, NodeId, VoterId};
use crate::protocol::ring::{RING_MEMBERS_MAX, Ring};

/// Most changes staged at once. A cluster of the largest size is built in 16 steps of as many.
pub const STAGED_MAX: usize = 256;

/// Most nodes, each life counted, of which a set remembers what they staged: far more than there
/// are members, so that only a broken or hostile peer meets it.
const MINTERS_MAX: usize = 2 * RING_MEMBERS_MAX;

/// Names a staged change for ever: who staged it, and that one's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChangeId {
    /// The nonce of the incarnation of the member that staged it.
    pub minter: u32,
    /// Changes staged by that incarnation, from 1.
    pub number: u64,
}

/// One change of the membership.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A node becomes a member and gets its share of the partitions.
    Join {
        /// The new node.
        node: NodeId,
        /// Who will vote for it.
        voter: VoterId,
    },
}

impl Change {
    /// Whom the change is about.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        match self {
            Self::Join { node, voter: _ } => node,
        }
    }
}

/// A change and the ring it was staged on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StagedChange {
    /// Its name.
    pub id: ChangeId,
    /// The epoch of the ring on which it was staged.
    pub base: Epoch,
    /// What is to change.
    pub change: Change,
}

/// Why a change was not staged, or a set not read. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// There are [`STAGED_MAX`] already.
    #[error("{STAGED_MAX} changes are staged already: commit or clear them first")]
    Full,
    /// A set from elsewhere is larger than any honest one.
    #[error("a set of {changes} staged changes by {minters} nodes is too large")]
    TooLarge {
        /// Changes in it.
        changes: usize,
        /// Minters it remembers.
        minters: usize,
    },
}

/// The newest change of one minter that a set has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Seen {
    number: u64,
    base: Epoch,
}

/// An add-wins set of staged changes: merging gives the same set in whatever order members do it;
/// what one cleared stays cleared; and a change that was added while another member cleared
/// survives.
///
/// For each minter it remembers the highest number it has seen. A change up to that number that is
/// not in the set was removed. This needs sets to be sent whole.
///
/// Source: Bieniusa et al., "An Optimized Conflict-free Replicated Set", 2012.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "StagedForm", into = "StagedForm")]
pub struct Staged {
    changes: BTreeMap<ChangeId, StagedChange>,
    seen: BTreeMap<u32, Seen>,
}

impl Staged {
    /// Stages a change on the ring of epoch `base`. Whether it makes sense is asked before:
    /// [`super::check_join`].
    ///
    /// # Errors
    ///
    /// [`StageError::Full`].
    pub fn add(
        &mut self,
        minter: u32,
        base: Epoch,
        change: Change,
    ) -> Result<ChangeId, StageError> {
        if self.changes.len() >= STAGED_MAX {
            return Err(StageError::Full);
        }
        let seen = self.seen.entry(minter).or_insert(Seen { number: 0, base });
        seen.number += 1;
        seen.base = seen.base.max(base);
        let id = ChangeId { minter, number: seen.number };
        self.changes.insert(id, StagedChange { id, base, change });
        Ok(id)
    }

    /// Removes every change in the set, and only those: one that another member stages meanwhile
    /// stays. Says how many there were.
    pub fn clear_seen(&mut self) -> usize {
        std::mem::take(&mut self.changes).len()
    }

    /// Takes in another member's whole set, and says whether anything changed. Should there be more
    /// than [`STAGED_MAX`] then, the highest ids are dropped, by every member alike.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        self.changes.retain(|id, _| other.changes.contains_key(id) || !other.has_seen(id));
        for (id, change) in &other.changes {
            if !before.has_seen(id) {
                self.changes.insert(*id, change.clone());
            }
        }
        while self.changes.len() > STAGED_MAX {
            self.changes.pop_last();
        }
        for (minter, theirs) in &other.seen {
            let mine = self.seen.entry(*minter).or_insert(*theirs);
            *mine = (*mine).max(*theirs);
        }
        *self != before
    }

    fn has_seen(&self, id: &ChangeId) -> bool {
        self.seen.get(&id.minter).is_some_and(|seen| id.number <= seen.number)
    }

    /// The changes that a plan on the ring of this epoch would make, in order of their ids.
    pub fn active(&self, epoch: Epoch) -> impl Iterator<Item = &StagedChange> {
        self.changes.values().filter(move |staged| staged.base >= epoch)
    }

    /// The changes that were staged on an older ring, and must be staged again if they are still
    /// wanted.
    pub fn void(&self, epoch: Epoch) -> impl Iterator<Item = &StagedChange> {
        self.changes.values().filter(move |staged| staged.base < epoch)
    }

    /// Drops what belongs to older rings, once a ring is decided, and says which of it is void; the
    /// rest has become part of the ring. Also forgets minters that will not stage again. Safe to
    /// call again, and in any order with merges.
    pub fn settle(&mut self, ring: &Ring) -> Vec<StagedChange> {
        let changes = std::mem::take(&mut self.changes).into_values();
        let (older, kept): (Vec<_>, Vec<_>) =
            changes.partition(|staged| staged.base < ring.epoch());
        self.changes = kept.into_iter().map(|staged| (staged.id, staged)).collect();
        self.seen.retain(|minter, seen| {
            let mut members = ring.members().values();
            seen.base >= ring.epoch() || members.any(|member| member.incarnation.nonce == *minter)
        });
        let is_done = |change: &Change| match change {
            Change::Join { node, voter: _ } => ring.lists(node),
        };
        older.into_iter().filter(|staged| !is_done(&staged.change)).collect()
    }
}

/// A set as it is written to the wire and to disk.
#[derive(Serialize, Deserialize)]
struct StagedForm {
    changes: Vec<StagedChange>,
    seen: BTreeMap<u32, Seen>,
}

impl From<Staged> for StagedForm {
    fn from(staged: Staged) -> Self {
        Self { changes: staged.changes.into_values().collect(), seen: staged.seen }
    }
}

impl TryFrom<StagedForm> for Staged {
    type Error = StageError;

    fn try_from(form: StagedForm) -> Result<Self, StageError> {
        let (changes, minters) = (form.changes.len(), form.seen.len());
        if changes > STAGED_MAX || minters > MINTERS_MAX {
            return Err(StageError::TooLarge { changes, minters });
        }
        let mut seen = form.seen;
        for StagedChange { id, base, change: _ } in &form.changes {
            let newest = Seen { number: id.number, base: *base };
            let known = seen.entry(id.minter).or_insert(newest);
            *known = (*known).max(newest);
        }
        let changes = form.changes.into_iter().map(|staged| (staged.id, staged)).collect();
        Ok(Self { changes, seen })
    }
}

#[cfg(test)]
mod tests;
