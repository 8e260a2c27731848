//! What the ring manager remembers of transfers: slots, attempts, failures, hints that wait, what has ended.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use actix::Recipient;

use crate::protocol::digest::Summary;
use crate::protocol::due::Failures;
use crate::protocol::hints::Waiting;
use crate::protocol::id::{NodeId, TransferId, VnodeRef};
use crate::protocol::rules::Rules;
use crate::protocol::slots::{Direction, Slots};
use crate::protocol::time::Moment;
use crate::runtime::observe::{Observed, Watched};
use crate::runtime::vnode::message::{AttemptKind, ReceiverTold};
use crate::wire::admin::EndedRow;

/// Ended transfers that are remembered.
pub(super) const ENDED_MAX: usize = 1_024;

/// Limits and periods of transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferSettings {
    /// Transfers at once, in each direction. Default 2; 0 stops new ones.
    pub limit: u16,
    /// How long a slot stays taken without progress. Default 60 s.
    pub lease: Duration,
    /// How long the other side of a transfer may say nothing. Default 10 s.
    pub silent_max: Duration,
}

impl Default for TransferSettings {
    fn default() -> Self {
        Self { limit: 2, lease: Duration::from_secs(60), silent_max: Duration::from_secs(10) }
    }
}

/// One attempt under way.
pub(super) struct Attempt {
    pub(super) vnode: VnodeRef,
    pub(super) kind: AttemptKind,
    pub(super) target: NodeId,
    pub(super) started: Moment,
    pub(super) started_ms: u64,
    pub(super) last_progress: Option<Moment>,
    pub(super) estimate: Summary,
    pub(super) objects: u64,
    pub(super) bytes: u64,
    pub(super) state: String,
}

/// Everything about transfers.
pub(super) struct Transfers {
    pub(super) settings: TransferSettings,
    pub(super) slots: Slots,
    pub(super) attempts: BTreeMap<TransferId, Attempt>,
    pub(super) failures: BTreeMap<VnodeRef, Failures>,
    /// Failed attempts to send hints home; they do not hold up the vnode itself.
    pub(super) hint_failures: BTreeMap<VnodeRef, Failures>,
    /// Receivers of this node, to stop those that make no progress.
    pub(super) receivers: BTreeMap<TransferId, Recipient<ReceiverTold>>,
    pub(super) hints: Waiting,
    pub(super) ended: VecDeque<EndedRow>,
    pub(super) waiting_since: BTreeMap<VnodeRef, Moment>,
    pub(super) next: u64,
    pub(super) wakes_at: Option<Moment>,
}

impl Transfers {
    pub(super) fn none(settings: TransferSettings, rules: Rules) -> Self {
        Self {
            settings,
            slots: Slots::with_limit(settings.limit).under(rules),
            attempts: BTreeMap::new(),
            failures: BTreeMap::new(),
            hint_failures: BTreeMap::new(),
            receivers: BTreeMap::new(),
            hints: BTreeMap::new(),
            ended: VecDeque::new(),
            waiting_since: BTreeMap::new(),
            next: 0,
            wakes_at: None,
        }
    }

    pub(super) fn failures_of(&mut self, kind: AttemptKind) -> &mut BTreeMap<VnodeRef, Failures> {
        match kind {
            AttemptKind::Ownership => &mut self.failures,
            AttemptKind::Hinted { .. } => &mut self.hint_failures,
        }
    }

    /// Tells whoever watches how many slots are taken.
    pub(super) fn tell_slots(&self, watched: &Watched) {
        watched.saw(|| Observed::SlotsHeld {
            outbound: self.slots.leases(Direction::Outbound).held().len(),
            inbound: self.slots.leases(Direction::Inbound).held().len(),
            limit: self.settings.limit,
        });
    }

    pub(super) fn outbound_free(&self) -> u16 {
        let leases = self.slots.leases(Direction::Outbound);
        let held = u16::try_from(leases.held().len()).unwrap_or(u16::MAX);
        leases.limit().saturating_sub(held)
    }

    pub(super) fn moving(&self) -> BTreeMap<VnodeRef, TransferId> {
        let ownership = self.attempts.iter().filter(|(_, attempt)| match attempt.kind {
            AttemptKind::Ownership => true,
            AttemptKind::Hinted { .. } => false,
        });
        ownership.map(|(transfer, attempt)| (attempt.vnode.clone(), *transfer)).collect()
    }
}
