//! A vnode as the source of a transfer: the attempt, its stream, the fence, the grant, the deletion.

use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;

use super::actor::{Sending, VnodeActor, told};
use super::message::{
    AttemptKind, BeginAttempt, HeldArrived, Part, SenderAsk, SenderAsked, SenderTold,
    TransferAsked, VnodeNews,
};
use super::raw::Change;
#[cfg(tanodb_mutants)]
use super::raw::RawPage;
use super::record::Receipt;
use crate::protocol::digest::{BUCKETS, Bucket, ItemRange};
use crate::protocol::handoff::{Event, Handoff, Ignored, Outgoing};
use crate::protocol::id::{Token, TransferId};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::stream::{Next, Stream};
use crate::runtime::chapter;
use crate::runtime::message::{AskPeer, PeerError, TellPeer};
use crate::runtime::observe::Observed;
use crate::runtime::reply::reply;
use crate::wire::delta::DeltaBuilder;
use crate::wire::message::{CancelReason, Grant, Outcome, PartContent, PeerMessage};

/// How long a grant waits for its answer before it is sent again, and at most after repeated failures.
const GRANT_AGAIN: Duration = Duration::from_millis(100);
const GRANT_AGAIN_MAX: Duration = Duration::from_secs(2);
const GRANT_ANSWER: Duration = Duration::from_secs(5);

impl Handler<BeginAttempt> for VnodeActor {
    type Result = ();

    fn handle(&mut self, begin: BeginAttempt, ctx: &mut Self::Context) {
        let BeginAttempt { kind, outgoing } = begin;
        let transfer = outgoing.transfer;
        if let AttemptKind::Hinted { generation } = kind {
            self.begin_hints(generation, &outgoing, ctx);
            return;
        }
        let partition = self.shown();
        let starts = match &mut self.owned {
            Some(owned) => owned.handoff_starting(&outgoing.target),
            None => false,
        };
        if !starts {
            told(transfer, chapter::HANDOFF_CANCELLED, &[&partition, &CancelReason::VnodeRefused]);
            let cancelled = Some(CancelReason::VnodeRefused);
            self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled });
            return;
        }
        let target = format!("{{ownership,{{{partition},'{}'}}}}", outgoing.target.name);
        told(transfer, chapter::HANDOFF_STARTING, &[&partition, &target]);
        if self.happened(Event::Assigned(outgoing), ctx).is_err() {
            let cancelled = Some(CancelReason::VnodeStopped(self.handoff.to_string()));
            self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled });
        }
    }
}

impl Handler<SenderAsked> for VnodeActor {
    type Result = ();

    fn handle(&mut self, asked: SenderAsked, ctx: &mut Self::Context) {
        let SenderAsked { transfer, ask } = asked;
        if self.hints.is_sending(transfer) {
            self.hints_asked(transfer, ask, ctx);
            return;
        }
        if self.current(transfer).is_none() {
            self.answer_stranger(transfer, ask);
            return;
        }
        match ask {
            SenderAsk::Started(sender) => {
                if let Some(sending) = &mut self.sending {
                    sending.sender = Some(sender);
                }
            }
            SenderAsk::Read { bytes_max } => self.read_part(transfer, bytes_max, ctx),
            SenderAsk::Fence { tail_bytes_max } => self.fence_asked(transfer, tail_bytes_max, ctx),
            SenderAsk::Repair(buckets) => self.repair(&buckets, ctx),
            SenderAsk::Confirmed(fence) => {
                let _ = self.happened(Event::FenceConfirmed { transfer, fence }, ctx);
            }
            SenderAsk::Ended(reason) => self.cancel(transfer, reason, ctx),
        }
    }
}

impl VnodeActor {
    /// A sender of an attempt that is over: it must end, and the ring manager must know that it has.
    fn answer_stranger(&self, transfer: TransferId, ask: SenderAsk) {
        let reason = CancelReason::ActorEnded("attempt".to_owned());
        match ask {
            SenderAsk::Started(sender) => sender.do_send(SenderTold::Stop(reason)),
            SenderAsk::Ended(reason) => {
                self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled: Some(reason) });
            }
            SenderAsk::Read { .. }
            | SenderAsk::Fence { .. }
            | SenderAsk::Repair(_)
            | SenderAsk::Confirmed(_) => {}
        }
    }

    pub(super) fn start_sender(&mut self, outgoing: &Outgoing, ctx: &mut Context<Self>) {
        let transfer = outgoing.transfer;
        let Some(owned) = &mut self.owned else { return };
        let is_empty = owned.is_empty();
        let estimate = owned.digest().summary();
        let partition = self.shown();
        told(transfer, chapter::IS_EMPTY, &[&partition, &is_empty]);
        let Handoff::Sending(ownership, _) = &self.handoff else { return };
        let (token, rebuilding) = (ownership.token, ownership.rebuilding);
        let rules = self.links.settings.rules;
        let stream = Stream::default().under(rules);
        #[cfg(tanodb_mutants)]
        let stream = match self.sending.take() {
            Some(left) if rules.breaks(Mutant::NextAttemptGoesOn) => left.stream.again(),
            Some(_) | None => stream,
        };
        self.sending = Some(Sending { stream, sender: None });
        self.tell_manager(VnodeNews::StartSender {
            kind: AttemptKind::Ownership,
            outgoing: outgoing.clone(),
            token,
            rebuilding,
            estimate,
            vnode: ctx.address().recipient(),
        });
    }

    fn read_part(&mut self, transfer: TransferId, bytes_max: u64, ctx: &mut Context<Self>) {
        let is_first = self.sending.as_ref().is_some_and(|sending| sending.stream.sequence() == 0);
        if is_first && self.owned.as_mut().is_some_and(|owned| !owned.is_empty()) {
            told(transfer, chapter::FOLD_REQUEST, &[&self.shown()]);
        }
        let Some(sending) = &mut self.sending else { return };
        match sending.stream.next_part() {
            Next::Changes(changes) => {
                let sequence = sending.stream.sequence();
                let part = delta(sequence, &changes);
                self.tell_sender(SenderTold::Part(part));
            }
            Next::Page(range) => self.read_page(transfer, &range, bytes_max, ctx),
            Next::Nothing => self.tell_sender(SenderTold::Nothing),
        }
    }

    fn read_page(
        &mut self,
        transfer: TransferId,
        range: &ItemRange,
        bytes_max: u64,
        ctx: &mut Context<Self>,
    ) {
        let limits = self.links.settings.page.within(bytes_max);
        let partition = self.shown();
        let (Some(owned), Some(sending)) = (&mut self.owned, &mut self.sending) else { return };
        let page = owned.page(range, limits);
        #[cfg(tanodb_mutants)]
        let page = if self.links.settings.rules.breaks(Mutant::FoldErrorEndsFold) {
            page.or_else(|_| Ok(RawPage { items: Bytes::new(), count: 0, until: None }))
        } else {
            page
        };
        match page {
            Ok(page) => {
                if log::log_enabled!(log::Level::Debug) {
                    for (key, _) in crate::wire::page::PageSlices::new(&page.items).flatten() {
                        let key = owned.describe_key(key);
                        log::debug!(transfer:%; "{}", chapter::line(chapter::FOLD_ITEM, &[&partition, &key]));
                    }
                }
                let is_repair = matches!(self.handoff, Handoff::Fenced { .. });
                let until = page.until.clone().or_else(|| range.until.clone());
                let covered = ItemRange { after: range.after.clone(), until };
                let content = if page.until.is_none() && !is_repair {
                    PartContent::LastPage(covered)
                } else {
                    PartContent::Page(covered)
                };
                let sequence = sending.stream.page_read(page.until);
                let part = Part { sequence, content, items: page.items, count: page.count };
                self.tell_sender(SenderTold::Part(part));
            }
            Err(error) => {
                log::error!(transfer:%, partition:%, error:%; "the fold stopped; nothing is deleted");
                self.cancel(transfer, CancelReason::VnodeStopped(error.to_string()), ctx);
            }
        }
    }

    fn fence_asked(&mut self, transfer: TransferId, tail_bytes_max: u64, ctx: &mut Context<Self>) {
        let Some(sending) = &mut self.sending else { return };
        sending.stream.limit_tail(tail_bytes_max);
        let fence = sending.stream.sequence_of_fence();
        let event = if let Handoff::Fenced { .. } = &self.handoff {
            Event::FenceRaised { transfer, fence }
        } else if sending.stream.has_ended() && sending.stream.has_short_tail() {
            Event::FenceAsked { transfer, fence }
        } else {
            // A big change has moved the cursor back, or more waits than may go with the fence.
            return self.fence_not_yet(false);
        };
        if self.happened(event, ctx) == Err(Ignored::NotYet) {
            self.fence_not_yet(true);
        }
    }

    fn fence_not_yet(&mut self, by_predecessor: bool) {
        self.tell_sender(SenderTold::FenceNotYet);
        if let Some(sending) = &mut self.sending {
            sending.stream.fence_refused(by_predecessor);
        }
        self.wake_sender(false);
    }

    pub(super) fn wake_sender(&mut self, is_fence_possible: bool) {
        let Some(sending) = &mut self.sending else { return };
        if sending.stream.wakes_sender(is_fence_possible) {
            self.tell_sender(SenderTold::More);
        }
    }

    /// Admission has stopped with the state; what was admitted has been executed and is in the tail.
    pub(super) fn send_fence(&mut self, outgoing: &Outgoing, fence: u64, ctx: &mut Context<Self>) {
        let (Some(owned), Some(sending)) = (&self.owned, &mut self.sending) else { return };
        let summary = owned.digest().summary();
        let transfer = outgoing.transfer;
        let vnode = || self.vnode.clone();
        self.links.env.watched.saw(|| Observed::FenceSet { vnode: vnode(), transfer, summary });
        let tail = sending.stream.take_tail();
        let tail = (!tail.is_empty()).then(|| delta(fence, &tail));
        self.tell_sender(SenderTold::Fenced { fence, tail, summary });
        // Parked commands go before anything newer: what arrives from now on is forwarded behind them.
        for admitted in std::mem::take(&mut self.parked) {
            // Passed on once already, by this node's predecessor: its coordinator looks for the owner again.
            if admitted.execute.forwarded.is_some() {
                admitted.reply.answer(Outcome::Retry);
            } else {
                self.forward(outgoing, admitted, ctx);
            }
        }
    }

    fn repair(&mut self, buckets: &Bytes, ctx: &mut Context<Self>) {
        let Some(owned) = &self.owned else { return };
        let ranges: Vec<ItemRange> = differing(owned.digest().bucket_sums(), buckets);
        let partition = self.shown();
        if ranges.is_empty() || !owned.repairs() {
            if let Some(transfer) = self.handoff.outgoing().map(|outgoing| outgoing.transfer) {
                self.cancel(transfer, CancelReason::DigestDiffers(0), ctx);
            }
            return;
        }
        let count = ranges.len();
        log::warn!(partition:%, count; "both sides differ at the fence; the differing buckets are sent again");
        if let Some(sending) = &mut self.sending {
            sending.stream.repair(ranges);
        }
        let transfer = self.handoff.outgoing().map(|outgoing| outgoing.transfer);
        if let Some(transfer) = transfer {
            self.read_part(transfer, u64::MAX, ctx);
        }
    }

    pub(super) fn end_attempt(&mut self, outgoing: &Outgoing, ctx: &mut Context<Self>) {
        let transfer = outgoing.transfer;
        let reason =
            self.ended_because.take().unwrap_or(CancelReason::ActorEnded("vnode".to_owned()));
        self.tell_sender(SenderTold::Stop(reason.clone()));
        #[cfg(tanodb_mutants)]
        let left = self.sending.take();
        self.sending = None;
        #[cfg(tanodb_mutants)]
        if self.links.settings.rules.breaks(Mutant::NextAttemptGoesOn) {
            self.sending = left.map(|left| Sending { stream: left.stream.again(), sender: None });
        }
        self.links.tell_peer.do_send(TellPeer {
            to: outgoing.target.name.clone(),
            message: PeerMessage::TransferOver { transfer, vnode: self.vnode.clone() },
        });
        told(transfer, chapter::HANDOFF_CANCELLED, &[&self.shown(), &reason]);
        self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled: Some(reason) });
        self.run_parked(ctx);
        // The author's code comes last: it may panic, and everybody knows by then.
        if let Some(owned) = &mut self.owned {
            owned.handoff_cancelled();
        }
    }

    /// Sends the grant until it is answered. Nothing else ends it.
    pub(super) fn send_grant(
        &mut self,
        outgoing: Outgoing,
        fence: u64,
        token: Token,
        rebuilding: bool,
        ctx: &mut Context<Self>,
    ) {
        let grant = Grant {
            transfer: outgoing.transfer,
            vnode: self.vnode.clone(),
            source: self.links.me.clone(),
            target: outgoing.target,
            fence,
            token,
            rebuilding,
        };
        self.ask_grant(grant, GRANT_AGAIN, ctx);
    }

    fn ask_grant(&mut self, grant: Grant, pause: Duration, ctx: &mut Context<Self>) {
        let is_granting = matches!(self.handoff, Handoff::Granting { .. });
        if !is_granting || self.current(grant.transfer).is_none() {
            return;
        }
        let (answer, answered) = reply(Err(PeerError::Lost));
        self.links.ask_peer.do_send(AskPeer {
            to: grant.target.name.clone(),
            message: PeerMessage::Grant(Box::new(grant.clone())),
            deadline: self.links.env.clock.now().plus(GRANT_ANSWER),
            reply: answer,
        });
        let clock = self.links.env.clock.clone();
        let asking = async move {
            let answered = answered.await;
            let is_settled = matches!(
                answered,
                Ok(PeerMessage::GrantHeld { .. } | PeerMessage::GrantDeclined { .. })
            );
            if !is_settled {
                clock.sleep(pause).await;
            }
            answered
        };
        ctx.spawn(asking.into_actor(self).map(move |answered, actor, ctx| match answered {
            Ok(PeerMessage::GrantHeld { transfer, .. }) if transfer == grant.transfer => {
                let _ = actor.happened(Event::GrantHeld { transfer }, ctx);
            }
            Ok(PeerMessage::GrantDeclined { transfer, .. }) if transfer == grant.transfer => {
                // Only the incarnation that was granted to answers a grant at all.
                let by = grant.target;
                actor.ended_because = Some(CancelReason::Rejected("grant declined".to_owned()));
                let _ = actor.happened(Event::GrantDeclined { transfer, by }, ctx);
            }
            Ok(_) | Err(_) => actor.ask_grant(grant, (pause * 2).min(GRANT_AGAIN_MAX), ctx),
        }));
    }

    pub(super) fn finish(&mut self, outgoing: &Outgoing, granted: Token) {
        let transfer = outgoing.transfer;
        let partition = self.shown();
        let summary = self.owned.as_ref().map(|owned| owned.digest().summary());
        self.receipt = summary.map(|summary| Receipt {
            transfer,
            source: self.links.me.clone(),
            target: outgoing.target.clone(),
            from: Token { epoch: granted.epoch, hop: granted.hop.saturating_sub(1) },
            to: granted,
            summary,
            at_millis: self.links.env.clock.wall_millis(),
        });
        self.sending = None;
        let to = format!("{{{partition},'{}'}}", outgoing.target.name);
        told(transfer, chapter::HANDOFF_FINISHED, &[&partition, &to]);
        self.tell_finished(outgoing, granted);
        // The author's code comes last: it may panic, and everybody knows by then.
        if let Some(owned) = &mut self.owned {
            owned.handoff_finished(&outgoing.target);
        }
    }

    /// Tells the ring manager who speaks for the vnode now. Told again after a restart.
    pub(super) fn tell_finished(&self, outgoing: &Outgoing, granted: Token) {
        let transfer = outgoing.transfer;
        self.tell_manager(VnodeNews::Holder { token: granted, holder: outgoing.target.clone() });
        self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled: None });
    }

    pub(super) fn tell_retired(&mut self, outgoing: &Outgoing) {
        let transfer = outgoing.transfer;
        let retired = PeerMessage::GrantRetired { transfer, vnode: self.vnode.clone() };
        for (asked, waits) in std::mem::take(&mut self.retired_waits) {
            let vnode = self.vnode.clone();
            waits.answer(PeerMessage::GrantRetired { transfer: asked, vnode });
        }
        let to = outgoing.target.name.clone();
        self.links.tell_peer.do_send(TellPeer { to, message: retired });
    }

    /// Deletes the old copy, if the proof that the target holds it is there. Without it everything stays.
    pub(super) fn purge(&mut self, outgoing: &Outgoing, ctx: &mut Context<Self>) {
        let (transfer, partition) = (outgoing.transfer, self.shown());
        if self.owned.is_some() && self.receipt.as_ref().is_none_or(|it| it.transfer != transfer) {
            log::error!(transfer:%, partition:%; "the old copy has no receipt and is kept");
            return;
        }
        told(transfer, chapter::DELETE, &[&partition]);
        self.start_purging(ctx);
    }
}

impl Handler<HeldArrived> for VnodeActor {
    type Result = ();

    fn handle(&mut self, held: HeldArrived, ctx: &mut Self::Context) {
        let HeldArrived { transfer, reply } = held;
        let _ = self.happened(Event::GrantHeld { transfer }, ctx);
        if self.handoff.has_retired(transfer) {
            let vnode = self.vnode.clone();
            reply.answer(PeerMessage::GrantRetired { transfer, vnode });
        } else {
            // One wait an attempt: the target asks again until it is answered.
            self.retired_waits.retain(|(waiting, _)| *waiting != transfer);
            self.retired_waits.push((transfer, reply));
        }
    }
}

impl Handler<TransferAsked> for VnodeActor {
    type Result = ();

    fn handle(&mut self, asked: TransferAsked, _: &mut Self::Context) {
        let TransferAsked { transfer, reply } = asked;
        let runs = self.current(transfer).is_some() || self.hints.is_sending(transfer);
        reply.answer(if runs {
            PeerMessage::TransferRuns
        } else {
            PeerMessage::TransferOver { transfer, vnode: self.vnode.clone() }
        });
    }
}

/// Changes as one part.
fn delta(sequence: u64, changes: &[Change]) -> Part {
    let mut builder = DeltaBuilder::with_capacity(changes.len() * 64);
    let mut count = 0;
    for change in changes {
        match builder.push(change) {
            Ok(()) => count += 1,
            // The engine has checked the lengths when it stored the item.
            Err(error) => {
                log::error!(error:%; "a change cannot be encoded; the fence will find it");
            }
        }
    }
    Part { sequence, content: PartContent::Delta, items: builder.finish(), count }
}

/// The ranges of the buckets whose sums differ from `theirs`, 1,024 sums of 16 bytes.
fn differing(mine: impl Iterator<Item = u128>, theirs: &[u8]) -> Vec<ItemRange> {
    let theirs = theirs.as_chunks::<16>().0.iter().map(|sum| u128::from_be_bytes(*sum));
    let buckets = (0..BUCKETS).filter_map(|number| Bucket::try_from(number).ok());
    let pairs = buckets.zip(mine.zip(theirs));
    pairs.filter(|(_, (mine, theirs))| mine != theirs).map(|(bucket, _)| bucket.range()).collect()
}
