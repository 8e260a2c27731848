//! How many transfers this node takes part in at once, counted by leases.
//!
//! A transfer holds one slot on each side for as long as it renews its lease, so a slot comes back even
//! when the one who held it vanished without a word. Which transfer should run next is not decided here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::TransferId;
#[cfg(tanodb_mutants)]
use super::mutant::Mutant;
use super::rules::Rules;
use super::time::Moment;

/// Transfers a node sends at once, and as many that it receives, unless it is told otherwise.
///
/// Source: `handoff_concurrency` in `riak_core`, which counts both directions together: there a node that
/// receives two partitions cannot send any.
pub const TRANSFER_LIMIT_DEFAULT: u16 = 2;

/// On which side of a transfer this node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// This node gives the partition away.
    Outbound,
    /// This node receives the partition.
    Inbound,
}

/// All slots of one direction are taken. Nothing changed; the transfer may ask again when one of
/// `held_by` has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of {limit} transfer slots are taken", held_by.len())]
pub struct SlotsFull {
    /// The limit in force. It may be below the number of transfers that still run.
    pub limit: u16,
    /// Who holds the slots, in order.
    pub held_by: Vec<TransferId>,
}

/// The lease has ended, or never began. Nothing changed; the transfer must stop or lease anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transfer {id} holds no slot")]
pub struct NotHeld {
    /// The transfer that asked.
    pub id: TransferId,
}

/// The leases of one direction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leases {
    limit: u16,
    /// When each lease ends unless it is renewed.
    ends: BTreeMap<TransferId, Moment>,
}

impl Leases {
    fn with_limit(limit: u16) -> Self {
        Self { limit, ends: BTreeMap::new() }
    }

    /// The most transfers that may begin a lease; 0 lets none begin.
    #[must_use]
    pub fn limit(&self) -> u16 {
        self.limit
    }

    /// The transfers that hold a slot, in order.
    pub fn held(&self) -> impl ExactSizeIterator<Item = TransferId> + '_ {
        self.ends.keys().copied()
    }

    fn try_lease(&mut self, id: TransferId, end: Moment) -> Result<(), SlotsFull> {
        if self.ends.contains_key(&id) || self.ends.len() < usize::from(self.limit) {
            self.extend(id, end);
            return Ok(());
        }
        Err(SlotsFull { limit: self.limit, held_by: self.held().collect() })
    }

    /// A message that was overtaken must not shorten a lease.
    fn extend(&mut self, id: TransferId, end: Moment) {
        let ends = self.ends.entry(id).or_insert(end);
        *ends = end.max(*ends);
    }
}

/// The transfer slots of a node. Each direction has its own limit, so that a node which only receives
/// cannot keep its own partitions from leaving.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slots {
    outbound: Leases,
    inbound: Leases,
    #[serde(skip)]
    rules: Rules,
}

impl Default for Slots {
    fn default() -> Self {
        Self::with_limit(TRANSFER_LIMIT_DEFAULT)
    }
}

impl Slots {
    /// Free slots, `limit` in each direction.
    #[must_use]
    pub fn with_limit(limit: u16) -> Self {
        Self {
            outbound: Leases::with_limit(limit),
            inbound: Leases::with_limit(limit),
            rules: Rules::default(),
        }
    }

    /// The same by given rules.
    #[must_use]
    pub fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The leases of one direction.
    #[must_use]
    pub fn leases(&self, direction: Direction) -> &Leases {
        match direction {
            Direction::Outbound => &self.outbound,
            Direction::Inbound => &self.inbound,
        }
    }

    fn leases_mut(&mut self, direction: Direction) -> &mut Leases {
        match direction {
            Direction::Outbound => &mut self.outbound,
            Direction::Inbound => &mut self.inbound,
        }
    }

    /// Takes a slot until `ttl` from `now`. A transfer that already holds one keeps it, whatever the
    /// limit: asking twice takes one slot.
    ///
    /// A lease that is overdue still counts until [`Slots::expire`] has named it, so that no transfer
    /// loses its slot unheard.
    ///
    /// # Errors
    ///
    /// [`SlotsFull`] names who holds the slots. Nothing changed.
    pub fn try_lease(
        &mut self,
        id: TransferId,
        direction: Direction,
        now: Moment,
        ttl: Duration,
    ) -> Result<(), SlotsFull> {
        self.leases_mut(direction).try_lease(id, now.plus(ttl))
    }

    /// Lets the transfer hold its slot until `ttl` from `now`, or longer if it already may.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] when it has none: it ended, expired, or was never leased.
    pub fn renew(&mut self, id: TransferId, now: Moment, ttl: Duration) -> Result<(), NotHeld> {
        let holding = |leases: &&mut Leases| leases.ends.contains_key(&id);
        let Some(leases) = [&mut self.outbound, &mut self.inbound].into_iter().find(holding) else {
            return Err(NotHeld { id });
        };
        leases.extend(id, now.plus(ttl));
        Ok(())
    }

    /// Gives the slot back, and says whether there was one. Giving it back twice is no error.
    pub fn release(&mut self, id: TransferId) -> bool {
        let outbound = self.outbound.ends.remove(&id).is_some();
        let inbound = self.inbound.ends.remove(&id).is_some();
        outbound || inbound
    }

    /// Ends every lease that was not renewed in time and names the transfers, which must stop.
    pub fn expire(&mut self, now: Moment) -> Vec<TransferId> {
        #[cfg(tanodb_mutants)]
        if self.rules.breaks(Mutant::LeasesNeverEnd) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        for leases in [&mut self.outbound, &mut self.inbound] {
            expired.extend(leases.ends.extract_if(.., |_, end| *end <= now).map(|(id, _)| id));
        }
        expired
    }

    /// When the first lease ends unless it is renewed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.outbound.ends.values().chain(self.inbound.ends.values()).min().copied()
    }

    /// Changes how many transfers may begin in one direction; 0 lets none begin. What runs goes on, also
    /// when it is more than the new limit.
    pub fn set_limit(&mut self, direction: Direction, limit: u16) {
        self.leases_mut(direction).limit = limit;
    }
}

#[cfg(test)]
mod tests;
