//! What a fallback keeps for an owner that is down: containers of hints, by generation, and their way home.
//!
//! Hints are never part of what the vnode speaks for. A generation on its way home takes no more writes;
//! the next write opens another. It is deleted when the owner has confirmed that exact set.

use std::collections::BTreeMap;

use actix::prelude::*;
use bytes::Bytes;

use super::CommandContext;
use super::actor::{VnodeActor, told};
use super::message::{
    AdmittedHint, AttemptKind, MergeOwnHints, Part, ReceiverTold, SenderAsk, SenderTold, VnodeNews,
};
use super::raw::{RawAnswer, RawPage, RawVnode};
use crate::protocol::digest::{Digest, ItemHash, ItemRange, Summary, item_order};
use crate::protocol::handoff::Outgoing;
use crate::protocol::hints::{Due, WayHome, due};
use crate::protocol::id::{Epoch, NodeName, Token, TransferId};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::time::Moment;
use crate::runtime::chapter;
use crate::runtime::observe::Observed;
use crate::runtime::vnode::Class;
use crate::wire::message::{CancelReason, Outcome, PartContent};
use crate::wire::page::PageSlices;

/// One generation.
struct HintSet {
    container: Box<dyn RawVnode>,
    instead_of: NodeName,
    opened: Moment,
    last_write: Moment,
    going: Option<Going>,
}

/// A generation on its way home.
struct Going {
    outgoing: Outgoing,
    sender: Option<Recipient<SenderTold>>,
    way: WayHome,
}

/// All hints of one vnode.
#[derive(Default)]
pub(super) struct Hints {
    sets: BTreeMap<u64, HintSet>,
    newest: u64,
    is_watching: bool,
    /// Hints that other nodes bring to this one, their owner.
    pub(super) comes_home: BTreeMap<TransferId, Recipient<ReceiverTold>>,
}

impl Hints {
    pub(super) fn restored(left: Vec<(u64, NodeName, Box<dyn RawVnode>)>, now: Moment) -> Self {
        let newest = left.iter().map(|(generation, ..)| *generation).max().unwrap_or(0);
        let set = |(generation, instead_of, container)| {
            let set = HintSet { container, instead_of, opened: now, last_write: now, going: None };
            (generation, set)
        };
        Self { sets: left.into_iter().map(set).collect(), newest, ..Self::default() }
    }

    pub(super) fn take_all(&mut self) -> Vec<(u64, NodeName, Box<dyn RawVnode>)> {
        let sets = std::mem::take(&mut self.sets).into_iter();
        sets.map(|(generation, set)| (generation, set.instead_of, set.container)).collect()
    }

    pub(super) fn is_sending(&self, transfer: TransferId) -> bool {
        self.sending(transfer).is_some()
    }

    fn sending(&self, transfer: TransferId) -> Option<u64> {
        let is_it = |set: &HintSet| {
            set.going.as_ref().is_some_and(|going| going.outgoing.transfer == transfer)
        };
        self.sets.iter().find(|(_, set)| is_it(set)).map(|(generation, _)| *generation)
    }

    /// Takes any message for a write.
    #[cfg(tanodb_mutants)]
    pub(super) fn postpone(&mut self, now: Moment) {
        for set in self.sets.values_mut() {
            set.last_write = now;
        }
    }

    /// The containers, for reports: generation, content, where they stand.
    pub(super) fn observed(&self) -> impl Iterator<Item = (u64, &dyn RawVnode, &'static str)> {
        self.sets.iter().map(|(generation, set)| {
            let state = if set.going.is_some() { "going home" } else { "kept" };
            (*generation, set.container.as_ref(), state)
        })
    }
}

/// Look whether a generation may go home.
#[derive(Message)]
#[rtype(result = "()")]
struct LookAtHints;

impl Handler<AdmittedHint> for VnodeActor {
    type Result = ();

    fn handle(&mut self, admitted: AdmittedHint, ctx: &mut Self::Context) {
        let AdmittedHint { hint, deadline, reply, permit: _permit } = admitted;
        if self.links.env.clock.now() >= deadline {
            reply.answer(Outcome::Expired);
            return;
        }
        if self.kind.class() == Class::Single {
            let reason = "a vnode with a single copy has no fallback".to_owned();
            reply.answer(Outcome::Refused { reason });
            return;
        }
        let envelope = &hint.envelope;
        let context = CommandContext {
            op: envelope.op,
            stamp: envelope.stamp,
            dot: envelope.dot,
            partition: self.vnode.partition,
        };
        let outcome = self.execute_hint(&envelope.command, &context, &hint.instead_of);
        reply.answer(outcome);
        self.watch_hints(ctx);
    }
}

impl VnodeActor {
    fn execute_hint(
        &mut self,
        command: &Bytes,
        context: &CommandContext,
        instead_of: &NodeName,
    ) -> Outcome {
        let now = self.links.env.clock.now();
        let open = self.hints.sets.iter().rev().find(|(_, set)| set.going.is_none());
        let generation = match open {
            Some((generation, _)) => *generation,
            None => {
                self.hints.newest += 1;
                let container = self.open_container();
                let instead_of = instead_of.clone();
                let set =
                    HintSet { container, instead_of, opened: now, last_write: now, going: None };
                self.hints.sets.insert(self.hints.newest, set);
                self.hints.newest
            }
        };
        let Some(set) = self.hints.sets.get_mut(&generation) else { return Outcome::Retry };
        match set.container.handle_command(command, context) {
            RawAnswer::Reply(reply, changes) if changes.is_empty() => {
                // A read: older generations on their way home may know more.
                let outcome = self.read_older(generation, command, context, reply);
                self.forget_if_empty(generation);
                outcome
            }
            RawAnswer::Reply(reply, _) => {
                set.last_write = now;
                self.hinted(generation, context);
                Outcome::Done { reply }
            }
            RawAnswer::NoReply(_) => {
                set.last_write = now;
                self.hinted(generation, context);
                Outcome::Done { reply: Bytes::new() }
            }
            RawAnswer::Overtaken(stamp) => {
                self.forget_if_empty(generation);
                Outcome::Overtaken { stamp }
            }
            RawAnswer::Async(_) => {
                let reason = "hints take no asynchronous commands".to_owned();
                Outcome::Refused { reason }
            }
            RawAnswer::Stop(reason) => Outcome::Stopped { reason },
            RawAnswer::Refused(reason) => Outcome::Refused { reason },
        }
    }

    fn hinted(&self, generation: u64, context: &CommandContext) {
        self.links.env.watched.saw(|| Observed::Hinted {
            vnode: self.vnode.clone(),
            generation,
            op: context.op,
            stamp: context.stamp,
        });
    }

    fn hints_dropped(&self, generation: u64, sent: Option<(TransferId, Summary)>) {
        let vnode = || self.vnode.clone();
        let cluster = self.links.cluster;
        self.links.env.watched.saw(|| Observed::HintsDropped {
            cluster,
            vnode: vnode(),
            generation,
            sent,
        });
    }

    /// A command that changed nothing here may find something in generations on their way home. One that
    /// changes something there ends its way: what was sent of it is not what it is now.
    fn read_older(
        &mut self,
        newest: u64,
        command: &Bytes,
        context: &CommandContext,
        reply: Bytes,
    ) -> Outcome {
        let mut replies = vec![reply];
        let mut changed = Vec::new();
        for (_, set) in self.hints.sets.range_mut(..newest) {
            if let RawAnswer::Reply(reply, changes) = set.container.handle_command(command, context)
            {
                replies.push(reply);
                if let (false, Some(going)) = (changes.is_empty(), &set.going) {
                    changed.push(going.outgoing.transfer);
                }
            }
        }
        for transfer in changed {
            let reason = "a command changed the hints on their way".to_owned();
            self.hints_ended(transfer, Some(CancelReason::VnodeStopped(reason)));
        }
        let reply = if replies.len() > 1 {
            self.kind.combine(replies)
        } else {
            replies.pop().unwrap_or_default()
        };
        Outcome::Done { reply }
    }

    /// A generation that only reads have opened is not kept.
    fn forget_if_empty(&mut self, generation: u64) {
        let is_empty = |set: &HintSet| set.container.digest().count() == 0 && set.going.is_none();
        if self.hints.sets.get(&generation).is_some_and(is_empty) {
            self.hints.sets.remove(&generation);
        }
    }

    /// Wakes up when the next generation may go home.
    pub(super) fn watch_hints(&mut self, ctx: &mut Context<Self>) {
        if !self.hints.is_watching && !self.hints.sets.is_empty() {
            let at = self.links.env.clock.now().plus(self.links.settings.hinted_idle);
            self.watch_hints_at(at, ctx);
        }
    }

    fn watch_hints_at(&mut self, at: Moment, ctx: &mut Context<Self>) {
        self.hints.is_watching = true;
        let sleeping = self.links.env.clock.sleep_until(at);
        ctx.spawn(sleeping.into_actor(self).map(|(), _, ctx| ctx.notify(LookAtHints)));
    }

    /// This node has become the owner itself: its hints join what it speaks for, and are deleted.
    fn merge_own(&mut self, generation: u64, ctx: &mut Context<Self>) {
        let Some(mut set) = self.hints.sets.remove(&generation) else { return };
        let limits = self.links.settings.page;
        let (mut rest, partition) = (Some(ItemRange::all()), self.shown());
        while let Some(range) = rest.take() {
            let merged = set.container.page(&range, limits).and_then(|page| {
                let until = page.until.clone();
                self.merge_hints(&page.items, ctx).map(|()| until)
            });
            match merged {
                Ok(until) => rest = until.map(|after| ItemRange { after: Some(after), ..range }),
                Err(error) => {
                    log::info!(partition:%, generation, error:%; "own hints wait");
                    self.hints.sets.insert(generation, set);
                    return;
                }
            }
        }
        log::info!(partition:%, generation; "own hints have joined what this node owns");
        self.hints_dropped(generation, None);
        self.discarded.push_back(set.container);
        self.start_purging(ctx);
    }

    /// The ring manager has leased a slot for a generation.
    pub(super) fn begin_hints(
        &mut self,
        generation: u64,
        outgoing: &Outgoing,
        ctx: &mut Context<Self>,
    ) {
        let (transfer, partition) = (outgoing.transfer, self.shown());
        let Some(set) = self.hints.sets.get_mut(&generation).filter(|set| set.going.is_none())
        else {
            let cancelled = Some(CancelReason::VnodeStopped("these hints are gone".to_owned()));
            self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled });
            return;
        };
        if !set.container.handoff_starting(&outgoing.target) {
            let instead_of = set.instead_of.clone();
            let cancelled = Some(CancelReason::VnodeRefused);
            self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled });
            self.tell_manager(VnodeNews::HintsDue { generation, instead_of });
            return;
        }
        let target = format!("{{hinted,{{{partition},'{}'}}}}", outgoing.target.name);
        told(transfer, chapter::HANDOFF_STARTING, &[&partition, &target]);
        told(transfer, chapter::IS_EMPTY, &[&partition, &set.container.is_empty()]);
        set.going =
            Some(Going { outgoing: outgoing.clone(), sender: None, way: WayHome::default() });
        let estimate = set.container.digest().summary();
        self.tell_manager(VnodeNews::StartSender {
            kind: AttemptKind::Hinted { generation },
            outgoing: outgoing.clone(),
            token: Token::minted(Epoch(0)),
            rebuilding: false,
            estimate,
            vnode: ctx.address().recipient(),
        });
    }

    pub(super) fn hints_asked(
        &mut self,
        transfer: TransferId,
        ask: SenderAsk,
        ctx: &mut Context<Self>,
    ) {
        let limits = self.links.settings.page;
        #[cfg(tanodb_mutants)]
        let rules = self.links.settings.rules;
        let Some(generation) = self.hints.sending(transfer) else { return };
        let partition = self.shown();
        let Some(set) = self.hints.sets.get_mut(&generation) else { return };
        let Some(going) = &mut set.going else { return };
        let told_sender = match ask {
            SenderAsk::Started(sender) => {
                going.sender = Some(sender);
                return;
            }
            SenderAsk::Read { bytes_max } => {
                if going.way.sequence() == 0 {
                    told(transfer, chapter::FOLD_REQUEST, &[&partition]);
                }
                let range = going.way.rest().cloned();
                let limits = limits.within(bytes_max);
                match range.map(|range| set.container.page(&range, limits)) {
                    Some(Ok(page)) => {
                        let RawPage { items, count, until } = page;
                        let sequence = going.way.page_read(until, |sent| sum_up(sent, &items));
                        let content = PartContent::Hints;
                        SenderTold::Part(Part { sequence, content, items, count })
                    }
                    #[cfg(tanodb_mutants)]
                    Some(Err(_)) if rules.breaks(Mutant::FoldErrorEndsFold) => {
                        going.way.forget_rest();
                        SenderTold::Nothing
                    }
                    Some(Err(error)) => {
                        let reason = CancelReason::VnodeStopped(error.to_string());
                        return self.hints_ended(transfer, Some(reason));
                    }
                    None => SenderTold::Nothing,
                }
            }
            SenderAsk::Fence { tail_bytes_max: _ } => {
                let (fence, summary) = going.way.fence();
                let fenced = SenderTold::Fenced { fence, tail: None, summary };
                #[cfg(tanodb_mutants)]
                if rules.breaks(Mutant::SentHintsAreHome) {
                    if let Some(sender) = &going.sender {
                        sender.do_send(fenced);
                    }
                    return self.hints_confirmed(generation, ctx);
                }
                fenced
            }
            SenderAsk::Repair(_) => {
                return self.hints_ended(transfer, Some(CancelReason::DigestDiffers(0)));
            }
            SenderAsk::Confirmed(fence) if going.way.is_home(fence) => {
                return self.hints_confirmed(generation, ctx);
            }
            SenderAsk::Confirmed(_) => {
                return self.hints_ended(transfer, Some(CancelReason::DigestDiffers(0)));
            }
            SenderAsk::Ended(reason) => return self.hints_ended(transfer, Some(reason)),
        };
        if let Some(sender) = &going.sender {
            sender.do_send(told_sender);
        }
    }

    /// The owner has confirmed that it holds exactly this set.
    fn hints_confirmed(&mut self, generation: u64, ctx: &mut Context<Self>) {
        let Some(mut set) = self.hints.sets.remove(&generation) else { return };
        let Some(going) = set.going.take() else { return };
        let (transfer, partition) = (going.outgoing.transfer, self.shown());
        set.container.handoff_finished(&going.outgoing.target);
        let to = format!("{{{partition},'{}'}}", going.outgoing.target.name);
        told(transfer, chapter::HANDOFF_FINISHED, &[&partition, &to]);
        told(transfer, chapter::DELETE, &[&partition]);
        self.hints_dropped(generation, Some((transfer, going.way.fence().1)));
        self.discarded.push_back(set.container);
        self.start_purging(ctx);
        self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled: None });
        self.tell_manager(VnodeNews::Deleted { transfer });
    }

    /// The attempt is over; the hints stay.
    pub(super) fn hints_ended(&mut self, transfer: TransferId, reason: Option<CancelReason>) {
        let Some(generation) = self.hints.sending(transfer) else { return };
        let partition = self.shown();
        let Some(set) = self.hints.sets.get_mut(&generation) else { return };
        let instead_of = set.instead_of.clone();
        set.container.handoff_cancelled();
        #[cfg(tanodb_mutants)]
        if self.links.settings.rules.breaks(Mutant::FailedHintsStay) {
            self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled: reason });
            return;
        }
        if let (Some(going), Some(reason)) = (set.going.take(), &reason) {
            told(transfer, chapter::HANDOFF_CANCELLED, &[&partition, reason]);
            if let Some(sender) = going.sender {
                sender.do_send(SenderTold::Stop(reason.clone()));
            }
        }
        self.tell_manager(VnodeNews::AttemptEnded { transfer, cancelled: reason });
        // They wait for the next attempt, and are seen to.
        self.tell_manager(VnodeNews::HintsDue { generation, instead_of });
    }
}

impl Handler<MergeOwnHints> for VnodeActor {
    type Result = ();

    fn handle(&mut self, merge: MergeOwnHints, ctx: &mut Self::Context) {
        self.merge_own(merge.0, ctx);
    }
}

/// Adds a page, as it goes over the wire, to the sums of what was sent or received.
pub(crate) fn sum_up(sums: &mut Digest, items: &Bytes) {
    for (key, value) in PageSlices::new(items).flatten() {
        let bytes = (key.len() + value.len()) as u64;
        sums.add(item_order(key), ItemHash::of(key, value), bytes);
    }
}

impl Handler<LookAtHints> for VnodeActor {
    type Result = ();

    fn handle(&mut self, _: LookAtHints, ctx: &mut Self::Context) {
        self.hints.is_watching = false;
        let (now, idle) = (self.links.env.clock.now(), self.links.settings.hinted_idle);
        let rules = self.links.settings.rules;
        let mut next: Option<Moment> = None;
        let mut ready = Vec::new();
        for (generation, set) in &self.hints.sets {
            match due(set.opened, set.last_write, now, idle, rules) {
                _ if set.going.is_some() => {}
                Due::Now => ready.push((*generation, set.instead_of.clone())),
                Due::At(at) => next = Some(next.map_or(at, |next| next.min(at))),
            }
        }
        for (generation, instead_of) in ready {
            self.tell_manager(VnodeNews::HintsDue { generation, instead_of });
        }
        // What is due already is the ring manager's to begin; it is told again after another period.
        if !self.hints.sets.is_empty() {
            let at = next.unwrap_or_else(|| now.plus(idle));
            self.watch_hints_at(at, ctx);
        }
    }
}
