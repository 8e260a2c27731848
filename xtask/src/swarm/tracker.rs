//! Follows a run from what the nodes tell: where transfers stand, who speaks for what, when fences stood.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tanodb_actors::protocol::handoff::{Handoff, Incoming, Outgoing};
use tanodb_actors::protocol::id::{ClusterId, OpId, Stamp, TransferId, VnodeRef};
use tanodb_actors::runtime::observe::Observed;
use tanodb_actors::sim::trace::Seen;
use tanodb_actors::wire::message::CancelReason;

use super::plan::Stage;

/// A time in which a vnode was fenced: from the source's fence to the target's first word as owner, or to the
/// end of the attempt.
#[derive(Debug, Clone)]
pub struct FenceWindow {
    /// Which vnode.
    pub vnode: VnodeRef,
    /// From when.
    pub from: Duration,
    /// Until when; `None` while it stands.
    pub until: Option<Duration>,
}

/// A vnode has entered a state of a transfer.
#[derive(Debug, Clone)]
pub struct Entered {
    /// Which state.
    pub stage: Stage,
    /// How many times that has happened since states are counted, this time included.
    pub nth: u32,
    /// The vnode.
    pub vnode: VnodeRef,
    /// First names of both sides.
    pub source: Arc<str>,
    /// The other one.
    pub target: Arc<str>,
}

/// Counts and places of a run.
#[derive(Debug, Default)]
pub struct Tracker {
    cluster: Option<ClusterId>,
    entered: BTreeMap<Stage, u32>,
    /// The same, up to the moment from which states are counted.
    entered_before: BTreeMap<Stage, u32>,
    /// What the event that came last has entered.
    pub entered_last: Option<Entered>,
    speakers: BTreeMap<VnodeRef, BTreeSet<Arc<str>>>,
    under_way: BTreeSet<TransferId>,
    /// Nodes that follow a ring somebody else is in as well.
    pub members: BTreeSet<Arc<str>>,
    /// Nodes that follow the ring of another cluster: one of their own.
    strays: BTreeSet<Arc<str>>,
    stamps: BTreeMap<OpId, Stamp>,
    /// Operations that were stored under more than one stamp.
    pub restamped: BTreeSet<OpId>,
    /// Windows in which vnodes were fenced.
    pub fences: Vec<FenceWindow>,
    /// Transfers whose source has retired.
    pub completed: u64,
    /// Attempts that went back to their source.
    pub cancelled: u64,
    /// Of those, attempts whose target a newer ring does not want as owner.
    pub superseded: u64,
    /// Writes that stand-ins kept.
    pub hints: u64,
    /// Sets of hints that went home.
    pub hints_home: u64,
    /// Rings that were adopted after the first of each node.
    pub rings: u64,
}

impl Tracker {
    /// Takes one event.
    pub fn saw(&mut self, seen: &Seen) {
        self.entered_last = self.enters(seen);
    }

    fn enters(&mut self, seen: &Seen) -> Option<Entered> {
        match &seen.event {
            Observed::VnodeStarted { cluster, vnode, state } => {
                if self.cluster == Some(*cluster) {
                    self.speaks(vnode, &seen.node, state);
                }
                None
            }
            Observed::VnodeMoved { cluster, .. } if self.cluster != Some(*cluster) => None,
            Observed::VnodeMoved { vnode, before, after, cluster: _ } => {
                self.speaks(vnode, &seen.node, after);
                self.moved(seen, vnode, before, after)
            }
            Observed::Hinted { op, stamp, .. } => {
                self.hints += 1;
                self.stamped(*op, *stamp);
                None
            }
            Observed::Executed { op, stamp, changes, .. } => {
                if *changes > 0 {
                    self.stamped(*op, *stamp);
                }
                None
            }
            Observed::HintsDropped { .. } => {
                self.hints_home += 1;
                None
            }
            Observed::AttemptEnded { cancelled: Some(CancelReason::Superseded(_)), .. } => {
                self.superseded += 1;
                None
            }
            Observed::RingAdopted { cluster, .. } => {
                // The first node of all founds the cluster that the others join.
                if *self.cluster.get_or_insert(*cluster) == *cluster {
                    self.members.insert(Arc::clone(&seen.node));
                    self.strays.remove(&seen.node);
                } else {
                    self.strays.insert(Arc::clone(&seen.node));
                    // A joiner that was only staged founds its own at its next start.
                    self.members.remove(&seen.node);
                }
                self.rings += 1;
                None
            }
            Observed::Deleted { .. } | _ => None,
        }
    }

    fn stamped(&mut self, op: OpId, stamp: Stamp) {
        if *self.stamps.entry(op).or_insert(stamp) != stamp {
            self.restamped.insert(op);
        }
    }

    fn moved(
        &mut self,
        seen: &Seen,
        vnode: &VnodeRef,
        before: &Handoff,
        after: &Handoff,
    ) -> Option<Entered> {
        if let (Some(outgoing), None) = (before.outgoing(), after.outgoing())
            && matches!(after, Handoff::Owner(_) | Handoff::Resuming(_))
        {
            self.cancelled += 1;
            self.under_way.remove(&outgoing.transfer);
            self.fence_ends(vnode, seen.at);
        }
        if let (Handoff::Accepting { .. }, Handoff::Owner(_)) = (before, after) {
            self.fence_ends(vnode, seen.at);
        }
        let stage = stage_of(after)?;
        if stage_of(before) == Some(stage) {
            return None;
        }
        let here = || Arc::clone(&seen.node);
        let (source, target) = match (after.outgoing(), after.incoming()) {
            (Some(Outgoing { target, .. }), _) => (here(), first_name(target.name.as_str())),
            (None, Some(Incoming { source, .. })) => (first_name(source.name.as_str()), here()),
            (None, None) => return None,
        };
        match stage {
            Stage::Sending => {
                self.under_way.extend(after.outgoing().map(|outgoing| outgoing.transfer));
            }
            Stage::Fenced => {
                let vnode = vnode.clone();
                self.fences.push(FenceWindow { vnode, from: seen.at, until: None });
            }
            Stage::Retired => {
                self.completed += 1;
                if let Some(outgoing) = after.outgoing() {
                    self.under_way.remove(&outgoing.transfer);
                }
            }
            Stage::Granting
            | Stage::Purging
            | Stage::Staging
            | Stage::Holding
            | Stage::Accepting => {}
        }
        let nth = self.entered.entry(stage).or_default();
        *nth += 1;
        let before = self.entered_before.get(&stage).copied().unwrap_or(0);
        Some(Entered { stage, nth: *nth - before, vnode: vnode.clone(), source, target })
    }

    fn fence_ends(&mut self, vnode: &VnodeRef, at: Duration) {
        let of_this = |fence: &&mut FenceWindow| fence.vnode == *vnode && fence.until.is_none();
        if let Some(fence) = self.fences.iter_mut().rev().find(of_this) {
            fence.until = Some(at);
        }
    }

    fn speaks(&mut self, vnode: &VnodeRef, node: &Arc<str>, state: &Handoff) {
        let speaks = match state {
            Handoff::Owner(_)
            | Handoff::Sending(..)
            | Handoff::Fenced { .. }
            | Handoff::Granting { .. }
            | Handoff::Resuming(_)
            | Handoff::Accepting { .. } => true,
            Handoff::Absent { .. }
            | Handoff::Retired { .. }
            | Handoff::Purging { .. }
            | Handoff::Staging(_)
            | Handoff::CaughtUp(_)
            | Handoff::Holding { .. }
            | Handoff::Lost { .. } => false,
        };
        let speakers = self.speakers.entry(vnode.clone()).or_default();
        if speaks {
            speakers.insert(Arc::clone(node));
        } else {
            speakers.remove(node);
        }
    }

    /// States are counted from here on.
    pub fn count_from_here(&mut self) {
        self.entered_before = self.entered.clone();
    }

    /// Whether a node, by its full name, follows the ring of another cluster than the one that is asked.
    pub fn is_astray(&self, node: &str) -> bool {
        self.strays.contains(&first_name(node))
    }

    /// A node's memory is gone. What it spoke for.
    pub fn lost(&mut self, node: &str) -> Vec<VnodeRef> {
        let mut lost = Vec::new();
        for (vnode, speakers) in &mut self.speakers {
            if speakers.remove(node) {
                lost.push(vnode.clone());
            }
        }
        lost
    }

    /// Whether some vnode is on its way.
    pub fn is_moving(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// How often each state was entered.
    pub fn entered(&self, stage: Stage) -> u32 {
        self.entered.get(&stage).copied().unwrap_or(0)
    }
}

/// The part of a node's name that is its host's.
fn first_name(name: &str) -> Arc<str> {
    name.split_once('@').map_or(name, |(first, _)| first).into()
}

fn stage_of(state: &Handoff) -> Option<Stage> {
    match state {
        Handoff::Sending(..) => Some(Stage::Sending),
        Handoff::Fenced { .. } => Some(Stage::Fenced),
        Handoff::Granting { .. } => Some(Stage::Granting),
        Handoff::Retired { .. } => Some(Stage::Retired),
        Handoff::Purging { .. } => Some(Stage::Purging),
        Handoff::Staging(_) => Some(Stage::Staging),
        Handoff::Holding { .. } => Some(Stage::Holding),
        Handoff::Accepting { .. } => Some(Stage::Accepting),
        Handoff::Absent { .. }
        | Handoff::Owner(_)
        | Handoff::Resuming(_)
        | Handoff::CaughtUp(_)
        | Handoff::Lost { .. } => None,
    }
}
