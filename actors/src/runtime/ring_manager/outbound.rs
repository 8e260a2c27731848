//! Transfers this node is the source of: what is due, the slots, the senders, what became of each.

use std::collections::BTreeMap;

use actix::prelude::*;

use super::transfers::{Attempt, ENDED_MAX};
use super::{OwnershipChanged, RingManager};
use crate::protocol::digest::Summary;
use crate::protocol::due::{self, Facts, Failures, Move};
use crate::protocol::gossip::Held;
use crate::protocol::handoff::Outgoing;
use crate::protocol::hints::{Facts as HintFacts, Homeward, homeward};
use crate::protocol::id::{NodeId, NodeName, Token, TransferId, VnodeRef};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::slots::Direction;
use crate::protocol::time::Moment;
use crate::runtime::handoff_sender::{HandoffSender, SenderDuty};
use crate::runtime::observe::Observed;
use crate::runtime::transfer::{TransferEnded, TransferProgressed};
use crate::runtime::vnode::message::{
    AttemptKind, BeginAttempt, CancelAttempt, MergeOwnHints, ReceiverTold, SenderAsk, SenderAsked,
    VnodeNews, VnodeTold,
};
use crate::runtime::vnode_host::FindVnode;
use crate::wire::admin::EndedRow;
use crate::wire::message::{CancelReason, Hello, Offer, PROTOCOL_VERSION, Purpose, TransferKind};

/// A wait has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Reconsider;

impl RingManager {
    /// What must move, and what each waits for.
    pub(super) fn due(&self) -> Vec<Move> {
        let not_seen_by = self.ring().ring_ready(self.gossip.seen()).err().unwrap_or_default();
        #[cfg(tanodb_mutants)]
        let not_seen_by = if self.rules.breaks(Mutant::UncommittedJoinFreezes) {
            let staged = self.staged_nodes().into_iter().map(|node| node.name);
            not_seen_by.into_iter().chain(staged).collect()
        } else {
            not_seen_by
        };
        let tokens: BTreeMap<VnodeRef, Held> = self
            .gossip
            .tokens()
            .iter()
            .filter(|(vnode, held)| held.holder == *self.me() && !self.stays(vnode))
            .map(|(vnode, held)| (vnode.clone(), held.clone()))
            .collect();
        due::due(&Facts {
            me: self.me(),
            ring: self.ring(),
            not_seen_by: &not_seen_by,
            tokens: &tokens,
            up: &self.up,
            moving: &self.transfers.moving(),
            failures: &self.transfers.failures,
            slots_free: self.transfers.outbound_free(),
            slots: self.transfers.settings.limit,
            rules: self.rules,
            now: self.links.env.clock.now(),
        })
    }

    /// Starts what may start. Called after every event that could let something start.
    pub(super) fn consider(&mut self, ctx: &mut Context<Self>) {
        let moves = self.due();
        let now = self.links.env.clock.now();
        self.transfers.waiting_since.retain(|vnode, _| moves.iter().any(|due| due.vnode == *vnode));
        for due in &moves {
            self.transfers.waiting_since.entry(due.vnode.clone()).or_insert(now);
        }
        let wakes_at = due::wakes_at(&moves);
        for due in moves.into_iter().filter(|due| due.wait.is_none()) {
            self.begin(AttemptKind::Ownership, due.vnode, due.target, ctx);
        }
        let hints_at = self.send_hints_home(ctx);
        self.wake_at(wakes_at.into_iter().chain(hints_at).min(), ctx);
    }

    fn wake_at(&mut self, wakes_at: Option<Moment>, ctx: &mut Context<Self>) {
        let Some(at) = wakes_at else { return };
        if self.transfers.wakes_at.is_some_and(|planned| planned <= at) {
            return;
        }
        if self.links.timers.at(at, ctx.address().recipient(), Reconsider).is_ok() {
            self.transfers.wakes_at = Some(at);
        }
    }

    /// Hints whose owner is up, while slots are free. Returns when the next of them may be tried again.
    fn send_hints_home(&mut self, ctx: &mut Context<Self>) -> Option<Moment> {
        let (going, wakes_at) = homeward(
            &self.transfers.hints,
            &HintFacts {
                me: self.me(),
                tokens: self.gossip.tokens(),
                is_up: |name: &NodeName| self.up.contains(name),
                failures: &self.transfers.hint_failures,
                slots_free: self.transfers.outbound_free(),
                now: self.links.env.clock.now(),
                rules: self.rules,
            },
        );
        for (vnode, generation, way) in going {
            self.transfers.hints.remove(&(vnode.clone(), generation));
            match way {
                Homeward::JoinHere => self.merge_own_hints(vnode, generation, ctx),
                Homeward::Send(target) => {
                    self.begin(AttemptKind::Hinted { generation }, vnode, target, ctx);
                }
            }
        }
        wakes_at
    }

    /// The node that keeps the hints owns the vnode itself by now.
    fn merge_own_hints(&self, vnode: VnodeRef, generation: u64, ctx: &mut Context<Self>) {
        let finding = self.links.host.send(FindVnode(vnode)).into_actor(self);
        ctx.spawn(finding.map(move |found, _, _| {
            // A vnode that is not here now says again that its hints are due.
            if let Ok(Some(address)) = found {
                address.do_send(MergeOwnHints(generation));
            }
        }));
    }

    fn begin(
        &mut self,
        kind: AttemptKind,
        vnode: VnodeRef,
        target: NodeId,
        ctx: &mut Context<Self>,
    ) {
        self.transfers.next += 1;
        let transfer =
            TransferId { nonce: self.me().incarnation.nonce, number: self.transfers.next };
        let (now, lease) = (self.links.env.clock.now(), self.transfers.settings.lease);
        if self.transfers.slots.try_lease(transfer, Direction::Outbound, now, lease).is_err() {
            return;
        }
        self.transfers.tell_slots(&self.links.env.watched);
        let attempt = Attempt {
            vnode: vnode.clone(),
            kind,
            target: target.clone(),
            started: now,
            started_ms: self.links.env.clock.wall_millis(),
            last_progress: None,
            estimate: Summary::default(),
            objects: 0,
            bytes: 0,
            state: "Offered".to_owned(),
        };
        self.transfers.attempts.insert(transfer, attempt);
        let outgoing = Outgoing { transfer, target };
        let finding = self.links.host.send(FindVnode(vnode)).into_actor(self);
        ctx.spawn(finding.map(move |found, actor, ctx| match found {
            Ok(Some(address)) if address.connected() => {
                address.do_send(BeginAttempt { kind, outgoing });
            }
            Ok(_) | Err(_) => {
                let reason = CancelReason::VnodeStopped("it is being started again".to_owned());
                actor.attempt_ended(transfer, Some(reason), ctx);
            }
        }));
    }

    fn start_sender(&mut self, vnode: VnodeRef, start: SenderStart, ctx: &mut Context<Self>) {
        let SenderStart { kind, outgoing, token, rebuilding, estimate, asked } = start;
        let transfer = outgoing.transfer;
        let Some(attempt) = self.transfers.attempts.get_mut(&transfer) else {
            // Its cancel overtook its beginning at the vnode, which must not wait for a sender.
            let ask = SenderAsk::Ended(CancelReason::ActorEnded("attempt".to_owned()));
            asked.do_send(SenderAsked { transfer, ask });
            return;
        };
        attempt.estimate = estimate;
        let Some(record) = self.gossip.addresses().get(&outgoing.target.name) else {
            let reason = CancelReason::Disconnected("the target's address is not known".to_owned());
            self.cancel(transfer, reason, ctx);
            return;
        };
        let kind = match kind {
            AttemptKind::Ownership => TransferKind::Ownership { token, rebuilding },
            AttemptKind::Hinted { generation } => TransferKind::Hinted { generation },
        };
        let duty = SenderDuty {
            env: self.links.env.clone(),
            hello: Hello {
                purpose: Purpose::Transfer,
                protocol: PROTOCOL_VERSION,
                from: Some(self.introduction()),
                to: Some(outgoing.target.name.clone()),
            },
            address: record.address.clone(),
            partition: self.ring().size().index_of(vnode.partition).to_string(),
            offer: Offer {
                transfer,
                vnode: vnode.clone(),
                kind,
                source: self.me().clone(),
                target: outgoing.target.clone(),
                cluster: self.gossip.cluster(),
                epoch: self.ring().epoch(),
                estimate,
            },
            vnode: asked,
            progress: ctx.address().recipient(),
            ended: ctx.address().recipient(),
            silent_max: self.transfers.settings.silent_max,
            rules: self.rules,
        };
        let slot = vnode.partition.0 as usize;
        self.links.env.arbiters.start(slot, move |_| HandoffSender::dialling(duty));
        self.emit(&OwnershipChanged::TransferStarted { transfer, vnode, target: outgoing.target });
    }

    /// Asks the vnode to give an attempt up. A grant under way is not given up.
    pub(super) fn cancel(
        &mut self,
        transfer: TransferId,
        reason: CancelReason,
        ctx: &mut Context<Self>,
    ) {
        let Some(attempt) = self.transfers.attempts.get(&transfer) else { return };
        let finding = self.links.host.send(FindVnode(attempt.vnode.clone())).into_actor(self);
        ctx.spawn(finding.map(move |found, actor, ctx| match found {
            Ok(Some(address)) if address.connected() => {
                address.do_send(CancelAttempt { transfer, reason });
            }
            Ok(_) | Err(_) => actor.attempt_ended(transfer, Some(reason), ctx),
        }));
    }

    pub(super) fn cancel_superseded(&mut self, ctx: &mut Context<Self>) {
        let ownership =
            self.transfers.attempts.iter().filter_map(|(transfer, attempt)| match attempt.kind {
                AttemptKind::Ownership => {
                    Some((*transfer, attempt.vnode.clone(), attempt.target.clone()))
                }
                AttemptKind::Hinted { .. } => None,
            });
        let epoch = self.ring().epoch();
        for transfer in due::superseded(self.ring(), ownership) {
            self.cancel(transfer, CancelReason::Superseded(epoch), ctx);
        }
    }

    pub(super) fn cancel_towards(&mut self, node: &NodeName, ctx: &mut Context<Self>) {
        let towards = self.transfers.attempts.iter();
        let towards: Vec<TransferId> = towards
            .filter(|(_, attempt)| attempt.target.name == *node)
            .map(|(transfer, _)| *transfer)
            .collect();
        for transfer in towards {
            self.cancel(transfer, CancelReason::TargetDown, ctx);
        }
    }

    pub(super) fn attempt_ended(
        &mut self,
        transfer: TransferId,
        cancelled: Option<CancelReason>,
        ctx: &mut Context<Self>,
    ) {
        self.release_slot(transfer);
        let Some(attempt) = self.transfers.attempts.remove(&transfer) else { return };
        let now = self.links.env.clock.now();
        let vnode = attempt.vnode.clone();
        match &cancelled {
            None => {
                self.transfers.failures_of(attempt.kind).remove(&vnode);
            }
            Some(CancelReason::Superseded(_)) => {}
            Some(reason) => {
                let jitter = u8::try_from(self.links.env.rng.below(256)).unwrap_or(0);
                let failures = self.transfers.failures_of(attempt.kind);
                let before = failures.get(&vnode);
                // A target whose slots are full is busy, not failing: the wait does not grow.
                let before = before.filter(|_| !matches!(reason, CancelReason::SlotsFull(_)));
                let after = Failures::after(before, now, jitter, reason.to_string());
                failures.insert(vnode.clone(), after);
            }
        }
        self.links
            .env
            .watched
            .saw(|| Observed::AttemptEnded { transfer, cancelled: cancelled.clone() });
        // A target whose slots are full has only put it off: it is among those that wait.
        if !matches!(cancelled, Some(CancelReason::SlotsFull(_))) {
            self.remember(transfer, &attempt, cancelled.as_ref(), now);
        }
        self.emit(&OwnershipChanged::TransferEnded { transfer, vnode, cancelled });
        self.consider(ctx);
    }

    fn remember(
        &mut self,
        transfer: TransferId,
        attempt: &Attempt,
        cancelled: Option<&CancelReason>,
        now: Moment,
    ) {
        let kind = match attempt.kind {
            AttemptKind::Ownership => "ownership",
            AttemptKind::Hinted { .. } => "hinted",
        };
        let took = now.since(attempt.started).as_millis();
        self.transfers.ended.push_back(EndedRow {
            transfer,
            kind: kind.to_owned(),
            vnode_type: attempt.vnode.vnode_type.clone(),
            partition: self.ring().size().index_of(attempt.vnode.partition),
            source: self.me().name.clone(),
            target: attempt.target.name.clone(),
            objects: attempt.objects,
            bytes: attempt.bytes,
            took_ms: u64::try_from(took).unwrap_or(u64::MAX),
            deleted: false,
            cancelled: cancelled.map(ToString::to_string),
        });
        if self.transfers.ended.len() > ENDED_MAX {
            self.transfers.ended.pop_front();
        }
    }

    pub(super) fn release_slot(&mut self, transfer: TransferId) {
        self.transfers.slots.release(transfer);
        self.transfers.tell_slots(&self.links.env.watched);
    }

    /// Slots whose holder has made no progress for too long come back, and the attempt ends.
    pub(super) fn expire_slots(&mut self, ctx: &mut Context<Self>) {
        let now = self.links.env.clock.now();
        let expired = self.transfers.slots.expire(now);
        if !expired.is_empty() {
            self.transfers.tell_slots(&self.links.env.watched);
        }
        for transfer in expired {
            log::warn!(transfer:%; "a transfer made no progress; its slot is free again");
            if let Some(receiver) = self.transfers.receivers.remove(&transfer) {
                receiver.do_send(ReceiverTold::Stop(CancelReason::Silent(0)));
                continue;
            }
            let silent = self.transfers.settings.lease.as_millis();
            let reason = CancelReason::Silent(u64::try_from(silent).unwrap_or(u64::MAX));
            self.cancel(transfer, reason, ctx);
        }
    }

    /// Who speaks for a vnode has changed by this node's doing.
    fn holder_changed(&mut self, vnode: &VnodeRef, held: &Held, ctx: &mut Context<Self>) {
        if self.gossip.hold(vnode, held) {
            let news = crate::protocol::gossip::News {
                tokens: vec![vnode.clone()],
                ..crate::protocol::gossip::News::default()
            };
            self.announce(&news, super::Source::Own, ctx);
        }
    }
}

/// What a vnode wants sent.
struct SenderStart {
    kind: AttemptKind,
    outgoing: Outgoing,
    token: Token,
    rebuilding: bool,
    estimate: Summary,
    asked: Recipient<SenderAsked>,
}

impl Handler<VnodeTold> for RingManager {
    type Result = ();

    fn handle(&mut self, told: VnodeTold, ctx: &mut Self::Context) {
        let VnodeTold { vnode, news } = told;
        match news {
            VnodeNews::StartSender {
                kind,
                outgoing,
                token,
                rebuilding,
                estimate,
                vnode: asked,
            } => {
                let start = SenderStart { kind, outgoing, token, rebuilding, estimate, asked };
                self.start_sender(vnode, start, ctx);
            }
            VnodeNews::AttemptEnded { transfer, cancelled } => {
                self.attempt_ended(transfer, cancelled, ctx);
            }
            VnodeNews::AttemptMoved { transfer, state } => {
                if let Some(attempt) = self.transfers.attempts.get_mut(&transfer) {
                    attempt.state = state;
                }
            }
            VnodeNews::Deleted { transfer } => {
                let ended = self.transfers.ended.iter_mut();
                if let Some(row) = ended.rev().find(|row| row.transfer == transfer) {
                    row.deleted = true;
                }
                self.emit(&OwnershipChanged::OldCopyDeleted { transfer, vnode });
            }
            VnodeNews::Holder { token, holder } => {
                self.holder_changed(&vnode, &Held { token, holder }, ctx);
            }
            VnodeNews::HintsDue { generation, instead_of } => {
                self.transfers.hints.insert((vnode, generation), instead_of);
                self.consider(ctx);
            }
        }
    }
}

impl Handler<TransferProgressed> for RingManager {
    type Result = ();

    fn handle(&mut self, progressed: TransferProgressed, _: &mut Self::Context) {
        let (now, lease) = (self.links.env.clock.now(), self.transfers.settings.lease);
        // A slot that has expired meanwhile is not taken back: the attempt is being cancelled.
        let _ = self.transfers.slots.renew(progressed.transfer, now, lease);
        if let Some(attempt) = self.transfers.attempts.get_mut(&progressed.transfer) {
            attempt.last_progress = Some(now);
            attempt.objects = progressed.objects;
            attempt.bytes = progressed.bytes;
        }
    }
}

impl Handler<TransferEnded> for RingManager {
    type Result = ();

    fn handle(&mut self, ended: TransferEnded, ctx: &mut Self::Context) {
        self.transfers.receivers.remove(&ended.transfer);
        // An outbound slot is kept until the vnode says what became of the attempt: a grant may follow.
        if !self.transfers.attempts.contains_key(&ended.transfer) {
            self.release_slot(ended.transfer);
            self.consider(ctx);
        }
    }
}

impl Handler<Reconsider> for RingManager {
    type Result = ();

    fn handle(&mut self, _: Reconsider, ctx: &mut Self::Context) {
        self.transfers.wakes_at = None;
        self.consider(ctx);
    }
}
