//! The vnode actor: one partition of one type, and its part in handoffs.
//!
//! Owns: the [`Handoff`] of the vnode, its containers (owned, staged, hints), the stream of an attempt.
//! Hears: commands from the host, attempts from the ring manager, its sender or receiver, the other side's
//! word on grants.
//! Tells: the ring manager (senders to spawn, attempts that ended, tokens), its sender or receiver, peers.
//!
//! It never reads the ring: what it must know arrives with a message. What an event means is decided in
//! [`crate::protocol::handoff`]; this file carries it out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::hints::Hints;
use super::kind::VnodeKind;
use super::message::{
    Admitted, CancelAttempt, EndVnode, ObserveVnode, Remains, SenderTold, VnodeFell, VnodeNews,
    VnodeTold,
};
use super::raw::{Change, RawVnode};
use super::record::{Receipt, VnodeRecord};
use super::settings::VnodeSettings;
use super::target::ASK_SOURCE_AFTER;
use crate::protocol::handoff::{Effect, Event, Handoff, Ignored, Incoming, Outgoing, Step};
use crate::protocol::hash::{RingHash, RingSize};
use crate::protocol::id::{ClusterId, NodeId, TransferId, VnodeRef};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::stream::Stream;
use crate::protocol::time::Moment;
use crate::runtime::chapter;
use crate::runtime::env::Env;
use crate::runtime::message::{AskPeer, TellPeer};
use crate::runtime::observe::Observed;
use crate::runtime::records;
use crate::runtime::reply::Reply;
use crate::runtime::timers::Timers;
use crate::runtime::vnode::message::ReceiverTold;
use crate::runtime::workers::Workers;
use crate::wire::admin::PartitionRow;
use crate::wire::message::{CancelReason, PeerMessage};

/// Messages that may wait in a vnode's mailbox before a sender of one must wait. Commands are bounded by the
/// host's permits, parts by the credit of a transfer; this only keeps the two from blocking each other.
const MAILBOX: usize = 4_096;

/// How long to wait before a record that could not be made durable is written again.
const PERSIST_AGAIN: Duration = Duration::from_secs(1);

/// How many bytes of changes may wait for the sender before the attempt is given up. A target that cannot
/// keep up must not cost the source its memory; the fold starts again later.
pub(super) const CHANGES_WAITING_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Whom a vnode talks to, and what it needs to know of its node.
#[derive(Clone)]
pub struct VnodeLinks {
    /// The world outside.
    pub env: Env,
    /// This node in this life.
    pub me: NodeId,
    /// The cluster whose tokens its vnodes speak under.
    pub cluster: ClusterId,
    /// Partitions of the ring, for the names in logs.
    pub ring_size: RingSize,
    /// The ring manager.
    pub manager: Recipient<VnodeTold>,
    /// The host, which starts the vnode again when it ends.
    pub host: Recipient<VnodeFell>,
    /// Other members, with an answer.
    pub ask_peer: Recipient<AskPeer>,
    /// Other members, without.
    pub tell_peer: Recipient<TellPeer>,
    /// The node's timers.
    pub timers: Timers,
    /// Where the work of `Async` answers runs.
    pub workers: Workers,
    /// Limits and periods.
    pub settings: VnodeSettings,
}

/// The stream of the attempt under way, and who pulls it.
pub(super) struct Sending {
    pub(super) stream: Stream<Change>,
    pub(super) sender: Option<Recipient<SenderTold>>,
}

/// One partition of one type.
pub struct VnodeActor {
    pub(super) links: VnodeLinks,
    pub(super) vnode: VnodeRef,
    pub(super) kind: Arc<dyn VnodeKind>,
    pub(super) start: u64,
    pub(super) handoff: Handoff,
    pub(super) owned: Option<Box<dyn RawVnode>>,
    pub(super) staging: Option<Box<dyn RawVnode>>,
    /// What is being deleted, a slice a turn.
    pub(super) discarded: VecDeque<Box<dyn RawVnode>>,
    pub(super) hints: Hints,
    pub(super) sending: Option<Sending>,
    pub(super) receiver: Option<Recipient<ReceiverTold>>,
    /// Commands that go with the grant, or run here when the attempt is cancelled.
    pub(super) parked: VecDeque<Admitted>,
    /// Commands the source has forwarded, until this node owns the vnode.
    pub(super) queued: VecDeque<Admitted>,
    /// Who waits for an answer to a grant.
    pub(super) grant_waits: Option<(TransferId, Reply<PeerMessage>)>,
    /// Who waits for `GrantRetired`.
    pub(super) retired_waits: Vec<(TransferId, Reply<PeerMessage>)>,
    pub(super) ended_because: Option<CancelReason>,
    pub(super) receipt: Option<Receipt>,
    stop_reason: Option<String>,
    /// When parked commands are looked at next, if any is parked.
    pub(super) sweep: Option<(Moment, SpawnHandle)>,
    /// Whether the actor was told to end; what is left is handed to the host by `Drop`.
    is_purging: bool,
}

impl VnodeActor {
    /// A vnode in a given state. A restart brings what the last start left behind.
    #[must_use]
    pub fn new(
        links: VnodeLinks,
        vnode: VnodeRef,
        kind: Arc<dyn VnodeKind>,
        start: u64,
        remains: Remains,
    ) -> Self {
        Self {
            hints: Hints::restored(remains.hints, links.env.clock.now()),
            links,
            vnode,
            kind,
            start,
            handoff: remains.handoff,
            owned: remains.owned,
            staging: remains.staging,
            discarded: VecDeque::new(),
            sending: None,
            receiver: None,
            parked: VecDeque::new(),
            queued: VecDeque::new(),
            grant_waits: None,
            retired_waits: Vec::new(),
            ended_because: None,
            receipt: remains.receipt,
            stop_reason: None,
            sweep: None,
            is_purging: false,
        }
    }

    /// The partition as people see it.
    pub(super) fn shown(&self) -> RingHash {
        self.links.ring_size.index_of(self.vnode.partition)
    }

    pub(super) fn tell_manager(&self, news: VnodeNews) {
        self.links.manager.do_send(VnodeTold { vnode: self.vnode.clone(), news });
    }

    pub(super) fn tell_sender(&self, told: SenderTold) {
        if let Some(sender) = self.sending.as_ref().and_then(|sending| sending.sender.as_ref()) {
            sender.do_send(told);
        }
    }

    pub(super) fn tell_receiver(&self, told: ReceiverTold) {
        if let Some(receiver) = &self.receiver {
            receiver.do_send(told);
        }
    }

    pub(super) fn open_container(&self) -> Box<dyn RawVnode> {
        self.kind.open(self.vnode.partition, &self.links.env)
    }

    /// Feeds one event to the machine and carries out what it answers. Tells whether anything moved.
    pub(super) fn happened(
        &mut self,
        event: Event,
        ctx: &mut Context<Self>,
    ) -> Result<(), Ignored> {
        let partition = self.shown();
        let before = std::mem::replace(&mut self.handoff, Handoff::absent());
        let was = before.to_string();
        let stood = self.links.env.watched.is_watched().then(|| before.clone());
        match before.step_under(event.clone(), self.links.settings.rules) {
            Step::Moved(next, effects) => {
                log::debug!(partition:%, from = was.as_str(), to = next.to_string().as_str(); "vnode moved");
                self.handoff = next;
                if let Some(before) = stood {
                    self.moved_from(before);
                }
                if let Some(outgoing) = self.handoff.outgoing() {
                    let (transfer, state) = (outgoing.transfer, self.handoff.to_string());
                    self.tell_manager(VnodeNews::AttemptMoved { transfer, state });
                }
                for effect in effects {
                    self.perform(effect, ctx);
                }
                Ok(())
            }
            Step::Stayed(state, ignored) => {
                log::debug!(partition:%, state:% , event:? , ignored:?; "event ignored");
                self.handoff = state;
                Err(ignored)
            }
        }
    }

    fn moved_from(&self, before: Handoff) {
        self.links.env.watched.saw(|| Observed::VnodeMoved {
            cluster: self.links.cluster,
            vnode: self.vnode.clone(),
            before,
            after: self.handoff.clone(),
        });
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::StartSender(outgoing) => self.start_sender(&outgoing, ctx),
            Effect::SendFence(outgoing, fence) => self.send_fence(&outgoing, fence, ctx),
            Effect::EndAttempt(outgoing) => self.end_attempt(&outgoing, ctx),
            Effect::Persist => self.persist(ctx),
            Effect::SendGrant { outgoing, fence, token, rebuilding } => {
                self.send_grant(outgoing, fence, token, rebuilding, ctx);
            }
            Effect::Finish(outgoing, token) => self.finish(&outgoing, token),
            Effect::TellRetired(outgoing) => self.tell_retired(&outgoing),
            Effect::Purge(outgoing) => self.purge(&outgoing, ctx),
            Effect::OpenStaging(incoming) => self.open_staging(&incoming),
            Effect::DiscardStaging(incoming) => self.discard_staging(&incoming, ctx),
            Effect::ConfirmFence(incoming, fence) => self.confirm_fence(&incoming, fence),
            Effect::TakeOwnership(incoming, token) => self.take_ownership(&incoming, token, ctx),
            Effect::TellHeld(incoming, token) => self.tell_held(incoming, token, ctx),
            Effect::TellDeclined(transfer) => self.tell_declined(transfer),
            Effect::Resume(token) => {
                let holder = self.links.me.clone();
                self.tell_manager(VnodeNews::Holder { token, holder });
                self.run_parked(ctx);
            }
            Effect::FencePossible(_) => self.wake_sender(true),
            Effect::AskSource(incoming) => self.ask_source(incoming, ASK_SOURCE_AFTER, ctx),
        }
    }

    /// Makes the state durable, and tries again until it is: nobody may hear of it before.
    pub(super) fn persist(&mut self, ctx: &mut Context<Self>) {
        let record = VnodeRecord {
            vnode: self.vnode.clone(),
            incarnation: self.links.me.incarnation,
            handoff: self.handoff.clone(),
            receipt: self.receipt.clone(),
        };
        let saved = records::save(self.links.env.disk.as_ref(), &record.name(), &record);
        let partition = self.shown();
        let saving = saved.into_actor(self).map(move |result, actor, ctx| match result {
            Ok(()) => {
                actor.links.env.watched.saw(|| record.kept());
                let _ = actor.happened(Event::Persisted, ctx);
            }
            Err(error) => {
                log::error!(partition:%, error:%; "the vnode's record is not durable; nothing was told, trying again");
                ctx.run_later(PERSIST_AGAIN, Self::persist);
            }
        });
        ctx.spawn(saving);
    }

    /// Ends this actor; the host starts it again with what it holds.
    pub(super) fn stop(&mut self, reason: String, ctx: &mut Context<Self>) {
        self.stop_reason = Some(reason);
        ctx.stop();
    }

    /// Deletes a slice of what was given up, and comes back for the rest.
    pub(super) fn purge_some(&mut self, ctx: &mut Context<Self>) {
        if let Some(container) = self.discarded.front_mut() {
            if container.delete() {
                self.discarded.pop_front();
            }
            ctx.notify(PurgeSome);
            return;
        }
        if let Handoff::Purging { outgoing, .. } = &self.handoff {
            let transfer = outgoing.transfer;
            if self.owned.as_mut().is_none_or(|owned| owned.delete()) {
                self.owned = None;
                self.links.env.watched.saw(|| Observed::Deleted {
                    vnode: self.vnode.clone(),
                    transfer,
                    receipt: self.receipt.clone(),
                });
                self.tell_manager(VnodeNews::Deleted { transfer });
                let _ = self.happened(Event::Purged, ctx);
            } else {
                ctx.notify(PurgeSome);
                return;
            }
        }
        self.is_purging = false;
    }

    pub(super) fn start_purging(&mut self, ctx: &mut Context<Self>) {
        if !self.is_purging {
            self.is_purging = true;
            ctx.notify(PurgeSome);
        }
    }

    /// The attempt with this id, if it is the one under way.
    pub(super) fn current(&self, transfer: TransferId) -> Option<&Outgoing> {
        self.handoff.outgoing().filter(|outgoing| outgoing.transfer == transfer)
    }

    pub(super) fn source_of(&self, transfer: TransferId) -> Option<&Incoming> {
        self.handoff.incoming().filter(|incoming| incoming.transfer == transfer)
    }

    /// What is held here, a row for each container.
    fn observed(&self) -> Vec<PartitionRow> {
        let row = |container: String, content: &dyn RawVnode, state: String| PartitionRow {
            vnode_type: self.vnode.vnode_type.clone(),
            partition: self.shown(),
            node: self.links.me.name.clone(),
            container,
            token: None,
            objects: content.digest().count(),
            bytes: content.digest().bytes(),
            state,
        };
        let state = self.handoff.to_string();
        let mut rows = Vec::new();
        if let Some(owned) = &self.owned {
            let is_retained =
                matches!(self.handoff, Handoff::Retired { .. } | Handoff::Purging { .. });
            let container = if is_retained { "retained" } else { "owned" };
            let token = self.handoff.token();
            rows.push(PartitionRow {
                token,
                ..row(container.to_owned(), owned.as_ref(), state.clone())
            });
        } else if let Handoff::Lost { token } = &self.handoff {
            rows.push(PartitionRow {
                vnode_type: self.vnode.vnode_type.clone(),
                partition: self.shown(),
                node: self.links.me.name.clone(),
                container: "lost".to_owned(),
                token: Some(*token),
                objects: 0,
                bytes: 0,
                state: state.clone(),
            });
        }
        if let Some(staging) = &self.staging {
            rows.push(row("staging".to_owned(), staging.as_ref(), state));
        }
        for (generation, hints, state) in self.hints.observed() {
            rows.push(row(format!("hints({generation})"), hints, state.to_owned()));
        }
        rows
    }
}

/// Continues deleting.
#[derive(Message)]
#[rtype(result = "()")]
struct PurgeSome;

impl Actor for VnodeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.links.env.watched.saw(|| Observed::VnodeStarted {
            cluster: self.links.cluster,
            vnode: self.vnode.clone(),
            state: self.handoff.clone(),
        });
        let handoff = std::mem::replace(&mut self.handoff, Handoff::absent());
        let stood = self.links.env.watched.is_watched().then(|| handoff.clone());
        match handoff.restarted() {
            Step::Moved(next, effects) => {
                self.handoff = next;
                if let Some(before) = stood.filter(|before| *before != self.handoff) {
                    self.moved_from(before);
                }
                for effect in effects {
                    self.perform(effect, ctx);
                }
            }
            Step::Stayed(state, _) => self.handoff = state,
        }
        if let Handoff::Retired { granted, outgoing } | Handoff::Purging { granted, outgoing } =
            &self.handoff
        {
            self.tell_finished(outgoing, *granted);
        }
        self.watch_hints(ctx);
    }
}

impl Drop for VnodeActor {
    /// Hands everything to the host: also after a panic, of which the mailbox says nothing.
    fn drop(&mut self) {
        self.refuse_waiting();
        let remains = Remains {
            handoff: std::mem::replace(&mut self.handoff, Handoff::absent()),
            owned: self.owned.take(),
            staging: self.staging.take(),
            receipt: self.receipt.take(),
            hints: self.hints.take_all(),
        };
        self.links.host.do_send(VnodeFell {
            vnode: self.vnode.clone(),
            start: self.start,
            reason: self.stop_reason.take(),
            remains,
        });
    }
}

impl Handler<PurgeSome> for VnodeActor {
    type Result = ();

    fn handle(&mut self, _: PurgeSome, ctx: &mut Self::Context) {
        self.purge_some(ctx);
    }
}

impl Handler<EndVnode> for VnodeActor {
    type Result = ();

    fn handle(&mut self, _: EndVnode, ctx: &mut Self::Context) {
        self.stop("this node has joined another cluster".to_owned(), ctx);
    }
}

impl Handler<ObserveVnode> for VnodeActor {
    type Result = MessageResult<ObserveVnode>;

    fn handle(&mut self, _: ObserveVnode, _: &mut Self::Context) -> Self::Result {
        #[cfg(tanodb_mutants)]
        if self.links.settings.rules.breaks(Mutant::MessagesPostponeHints) {
            self.hints.postpone(self.links.env.clock.now());
        }
        MessageResult(self.observed())
    }
}

impl Handler<CancelAttempt> for VnodeActor {
    type Result = ();

    fn handle(&mut self, cancel: CancelAttempt, ctx: &mut Self::Context) {
        let CancelAttempt { transfer, reason } = cancel;
        if self.hints.is_sending(transfer) {
            self.hints_ended(transfer, Some(reason));
        } else if self.current(transfer).is_some() {
            self.cancel(transfer, reason, ctx);
        } else {
            // Nothing is known of it here: it ended with an earlier start of this vnode.
            let cancelled = Some(reason);
            self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled });
        }
    }
}

impl VnodeActor {
    /// Gives the attempt under way up, unless it has been granted.
    pub(super) fn cancel(
        &mut self,
        transfer: TransferId,
        reason: CancelReason,
        ctx: &mut Context<Self>,
    ) {
        self.ended_because = Some(reason);
        if self.happened(Event::Cancelled { transfer }, ctx).is_err() {
            self.ended_because = None;
        }
    }
}

/// A line of the chapter's log, with the transfer it belongs to.
pub(super) fn told(transfer: TransferId, template: &str, values: &[&dyn std::fmt::Display]) {
    log::info!(transfer:%; "{}", chapter::line(template, values));
}
