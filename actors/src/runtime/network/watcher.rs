//! The actor that knows which members answer.
//!
//! Owns: the failure detector.
//! Hears: [`PeerHeard`] and [`OtherLifeSeen`] from links and sessions, [`PeerLost`] from links;
//! [`RingChanged`] and [`DoorRulesChanged`] from the ring manager, for whom to watch.
//! Tells: [`LivenessChanged`] to all who send requests, and the ring manager when a member was met in another
//! life.
//!
//! It sends no heartbeat: the links do, each from its own task. Who is up is a judgement, on which nothing
//! depends that must be right.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient};

use super::message::{IncarnationSeen, OtherLifeSeen};
use crate::protocol::id::{Incarnation, NodeId, NodeName};
use crate::protocol::liveness::{FailureDetector, Heartbeats, LivenessChange};
use crate::protocol::ring::Ring;
use crate::protocol::time::Moment;
use crate::runtime::env::Env;
use crate::runtime::message::{
    DoorRulesChanged, LivenessChanged, PeerHeard, PeerLost, RingChanged,
};
use crate::runtime::timers::Timers;
use crate::wire::message::Introduction;

/// Messages that wait: some from each of a few hundred connections, ten times a second.
const MAILBOX: usize = 4_096;

/// Whom the watcher tells.
pub struct WatcherTells {
    /// All who need to know who is up.
    pub liveness: Vec<Recipient<LivenessChanged>>,
    /// All who need to know in which life a node is; told before it is up.
    pub incarnation: Vec<Recipient<IncarnationSeen>>,
}

/// Which members answer, as this node sees it.
pub struct Watcher {
    env: Env,
    timers: Timers,
    tell: WatcherTells,
    detector: Heartbeats,
    members: BTreeSet<NodeName>,
    staged: BTreeSet<NodeName>,
    /// In which life each was met last.
    met: BTreeMap<NodeName, Incarnation>,
    /// How the link to each was lost, until it is heard again.
    lost: BTreeMap<NodeName, String>,
    /// What was told last.
    up: BTreeSet<NodeName>,
    /// The earliest moment at which a timer will ask to look again.
    looks_at: Option<Moment>,
}

/// Time to judge everybody anew.
#[derive(Message)]
#[rtype(result = "()")]
struct Look;

impl Watcher {
    /// Watches nobody yet. Tells at its start that this node is up, alone.
    #[must_use]
    pub fn of_nobody(env: Env, timers: Timers, detector: Heartbeats, tell: WatcherTells) -> Self {
        Self {
            env,
            timers,
            tell,
            detector,
            members: BTreeSet::new(),
            staged: BTreeSet::new(),
            met: BTreeMap::new(),
            lost: BTreeMap::new(),
            up: BTreeSet::new(),
            looks_at: None,
        }
    }

    fn watch(&mut self) {
        let mut peers: BTreeSet<NodeName> = self.members.union(&self.staged).cloned().collect();
        peers.remove(&self.env.node);
        self.detector.watch(&peers);
        self.met.retain(|name, _| peers.contains(name));
        self.lost.retain(|name, _| peers.contains(name));
        self.tell_who_is_up();
    }

    /// Tells everybody, if it is not what they know.
    fn tell_who_is_up(&mut self) {
        let peers = self.members.union(&self.staged);
        let mut up: BTreeSet<NodeName> =
            peers.filter(|peer| self.detector.is_up(peer)).cloned().collect();
        up.insert(self.env.node.clone());
        if up == self.up {
            return;
        }
        self.up = up;
        let told = Arc::new(self.up.clone());
        for listener in &self.tell.liveness {
            listener.do_send(LivenessChanged(Arc::clone(&told)));
        }
    }

    fn meet(&mut self, from: Introduction) {
        let Introduction { node, address, .. } = from;
        let met = self.met.insert(node.name.clone(), node.incarnation);
        if met != Some(node.incarnation) {
            for listener in &self.tell.incarnation {
                let (node, address) = (node.clone(), address.clone());
                listener.do_send(IncarnationSeen { node, address });
            }
        }
    }

    fn note(&mut self, change: LivenessChange) {
        match change {
            LivenessChange::Up { peer, incarnation } => {
                log::info!(incarnation:%; "node {peer} is up");
            }
            LivenessChange::Down { peer } => {
                let reason = self.lost.get(&peer).map_or("it is silent", String::as_str);
                log::warn!("node {peer} is down: {reason}");
            }
        }
    }

    /// Has a timer look at the next moment at which silence could matter.
    fn look_in_time(&mut self, ctx: &Context<Self>) {
        let Some(deadline) = self.detector.next_deadline() else { return };
        if self.looks_at.is_some_and(|looks_at| looks_at <= deadline) {
            return;
        }
        match self.timers.at(deadline, ctx.address().recipient(), Look) {
            Ok(_) => self.looks_at = Some(deadline),
            // The next frame of anybody tries again.
            Err(full) => log::error!(error:% = full; "silent nodes may be taken for up"),
        }
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.tell_who_is_up();
    }
}

impl Handler<PeerHeard> for Watcher {
    type Result = ();

    fn handle(&mut self, PeerHeard(from): PeerHeard, ctx: &mut Context<Self>) {
        let NodeId { name, incarnation } = &from.node;
        self.lost.remove(name);
        if let Some(change) = self.detector.heard(name, *incarnation, self.env.clock.now()) {
            self.note(change);
            self.meet(from);
            self.tell_who_is_up();
        }
        // What is heard only puts deadlines off: a look that is planned is early enough.
        if self.looks_at.is_none() {
            self.look_in_time(ctx);
        }
    }
}

impl Handler<PeerLost> for Watcher {
    type Result = ();

    fn handle(&mut self, PeerLost { node, reason }: PeerLost, ctx: &mut Context<Self>) {
        self.detector.lost(&node, self.env.clock.now());
        if self.detector.judgement(&node).is_some() {
            self.lost.insert(node, reason);
        }
        self.look_in_time(ctx);
    }
}

impl Handler<OtherLifeSeen> for Watcher {
    type Result = ();

    fn handle(&mut self, OtherLifeSeen(from): OtherLifeSeen, _: &mut Context<Self>) {
        if self.detector.judgement(&from.node.name).is_some() {
            self.meet(from);
        }
    }
}

impl Handler<Look> for Watcher {
    type Result = ();

    fn handle(&mut self, Look: Look, ctx: &mut Context<Self>) {
        let now = self.env.clock.now();
        if self.looks_at.is_some_and(|looks_at| looks_at <= now) {
            self.looks_at = None;
        }
        for change in self.detector.tick(now) {
            self.note(change);
        }
        self.tell_who_is_up();
        self.look_in_time(ctx);
    }
}

impl Handler<RingChanged> for Watcher {
    type Result = ();

    fn handle(&mut self, RingChanged(ring): RingChanged, _: &mut Context<Self>) {
        self.members = members_of(&ring);
        self.watch();
    }
}

impl Handler<DoorRulesChanged> for Watcher {
    type Result = ();

    fn handle(&mut self, DoorRulesChanged(rules): DoorRulesChanged, _: &mut Context<Self>) {
        self.members = members_of(&rules.ring);
        self.staged = rules.staged.iter().map(|node| node.name.clone()).collect();
        self.watch();
    }
}

fn members_of(ring: &Ring) -> BTreeSet<NodeName> {
    ring.members().keys().cloned().collect()
}
