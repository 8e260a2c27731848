//! A vnode as the target of a transfer: what is staged, the comparison at the fence, the grant, ownership.
//!
//! What is staged is invisible to every command until the grant has come and is durable.

use std::time::Duration;

use actix::prelude::*;
use bytes::{BufMut, Bytes, BytesMut};

use super::actor::{VnodeActor, told};
use super::message::{
    AttemptKind, GrantArrived, OverArrived, Part, ReceiverAsk, ReceiverAsked, ReceiverTold,
    RetiredArrived, SourceGone, VnodeNews,
};
use super::raw::{Changes, ContainerError, RawVnode};
use crate::protocol::digest::Summary;
use crate::protocol::handoff::{Event, Handoff, Incoming, Ownership, Route};
use crate::protocol::id::{Token, TransferId};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::runtime::chapter;
use crate::runtime::message::{AskPeer, PeerError};
use crate::runtime::observe::Observed;
use crate::runtime::reply::reply;
#[cfg(tanodb_mutants)]
use crate::runtime::vnode::raw::Change;
use crate::wire::delta::DeltaChanges;
use crate::wire::message::{CancelReason, PartContent, PeerMessage, Rejection};
#[cfg(tanodb_mutants)]
use crate::wire::page::PageItems;
use crate::wire::page::PageSlices;

/// How long a new owner waits before it says again that it holds the grant, and for each answer.
const HELD_AGAIN: Duration = Duration::from_millis(200);
const HELD_AGAIN_MAX: Duration = Duration::from_secs(2);
const HELD_ANSWER: Duration = Duration::from_secs(5);

/// How long a target without a connection waits before it asks the source what became of the attempt.
pub(super) const ASK_SOURCE_AFTER: Duration = Duration::from_millis(500);
const ASK_SOURCE_AFTER_MAX: Duration = Duration::from_secs(10);

impl Handler<ReceiverAsked> for VnodeActor {
    type Result = ();

    fn handle(&mut self, asked: ReceiverAsked, ctx: &mut Self::Context) {
        let ReceiverAsked { transfer, ask } = asked;
        match ask {
            ReceiverAsk::Open { kind: AttemptKind::Ownership, incoming, receiver } => {
                self.open(incoming, receiver, ctx);
            }
            ReceiverAsk::Open { kind: AttemptKind::Hinted { .. }, incoming, receiver } => {
                self.open_home(incoming, receiver);
            }
            ReceiverAsk::Store(part) if part.content == PartContent::Hints => {
                self.merge_home(&part, transfer, ctx);
            }
            ReceiverAsk::Store(part) => self.store(transfer, &part, ctx),
            ReceiverAsk::Compare { fence, summary } => self.compare(transfer, fence, summary, ctx),
            ReceiverAsk::SourceEnded => {
                let _ = self.happened(Event::SourceEnded { transfer }, ctx);
            }
            ReceiverAsk::Ended(reason) => self.receiver_ended(transfer, &reason, ctx),
        }
    }
}

impl VnodeActor {
    fn open(
        &mut self,
        incoming: Incoming,
        receiver: Recipient<ReceiverTold>,
        ctx: &mut Context<Self>,
    ) {
        if self.happened(Event::Offered(incoming), ctx).is_ok() {
            self.receiver = Some(receiver.clone());
            receiver.do_send(ReceiverTold::Opened);
        } else {
            let state = self.handoff.to_string();
            receiver.do_send(ReceiverTold::Refused(Rejection::VnodeBusy { state }));
        }
    }

    pub(super) fn open_staging(&mut self, _incoming: &Incoming) {
        self.staging = Some(self.open_container());
    }

    fn store(&mut self, transfer: TransferId, part: &Part, ctx: &mut Context<Self>) {
        if self.source_of(transfer).is_none() {
            return;
        }
        let Some(staging) = &mut self.staging else { return };
        if log::log_enabled!(log::Level::Debug) {
            log_items(staging.as_ref(), part, transfer);
        }
        match store_part(staging.as_mut(), part) {
            Ok(count) => {
                self.tell_receiver(ReceiverTold::Stored {
                    sequence: part.sequence,
                    count,
                    bytes: part.items.len() as u64,
                });
            }
            Err(error) => {
                let partition = self.shown();
                log::error!(transfer:%, partition:%, error:%; "a part cannot be stored; the source keeps everything");
                self.tell_receiver(ReceiverTold::Failed(error.to_string()));
                let _ = self.happened(Event::SourceEnded { transfer }, ctx);
                return;
            }
        }
        if let PartContent::LastPage(_) = part.content {
            let _ = self.happened(Event::FoldEnded { transfer }, ctx);
        }
    }

    fn compare(
        &mut self,
        transfer: TransferId,
        fence: u64,
        theirs: Summary,
        ctx: &mut Context<Self>,
    ) {
        if self.compare_home(transfer, theirs) {
            return;
        }
        if self.source_of(transfer).is_none() {
            return;
        }
        let Some(staging) = &self.staging else { return };
        let summary = staging.digest().summary();
        let is_equal = summary == theirs;
        #[cfg(tanodb_mutants)]
        let is_equal = is_equal || self.links.settings.rules.breaks(Mutant::SumsNotCompared);
        if is_equal {
            if self.happened(Event::FenceMatched { transfer, fence }, ctx).is_err() {
                let why = "a fence before the end of the fold".to_owned();
                self.tell_receiver(ReceiverTold::Failed(why));
            }
            return;
        }
        let partition = self.shown();
        log::warn!(transfer:%, partition:%, mine:? = summary, theirs:?; "the content differs from the source's at the fence");
        let mut buckets = BytesMut::new();
        for sum in staging.digest().bucket_sums() {
            buckets.put_u128(sum);
        }
        let buckets = buckets.freeze();
        self.tell_receiver(ReceiverTold::Compared { is_equal: false, summary, buckets });
    }

    pub(super) fn confirm_fence(&mut self, incoming: &Incoming, _fence: u64) {
        let summary = self.staging.as_ref().map(|staging| staging.digest().summary());
        let (summary, buckets) = (summary.unwrap_or_default(), Bytes::new());
        let (vnode, transfer) = (|| self.vnode.clone(), incoming.transfer);
        self.links.env.watched.saw(|| Observed::FenceHeld { vnode: vnode(), transfer, summary });
        self.tell_receiver(ReceiverTold::Compared { is_equal: true, summary, buckets });
    }

    /// The connection is over. What is staged stays until the source says that the attempt is over, or is
    /// gone: it may be silent, not dead. So it is asked, until it says.
    fn receiver_ended(
        &mut self,
        transfer: TransferId,
        reason: &CancelReason,
        ctx: &mut Context<Self>,
    ) {
        self.hints.comes_home.remove(&transfer);
        let Some(incoming) = self.source_of(transfer).cloned() else { return };
        if self.receiver.take().is_none() {
            return;
        }
        let partition = self.shown();
        let state = self.handoff.to_string();
        log::debug!(transfer:%, partition:%, state = state.as_str(), reason:%; "the receiver has ended");
        self.ask_source(incoming, ASK_SOURCE_AFTER, ctx);
    }

    pub(super) fn ask_source(
        &mut self,
        incoming: Incoming,
        pause: Duration,
        ctx: &mut Context<Self>,
    ) {
        let sleeping = self.links.env.clock.sleep(pause);
        ctx.spawn(sleeping.into_actor(self).map(move |(), actor, ctx| {
            if actor.source_of(incoming.transfer).is_none() || actor.receiver.is_some() {
                return;
            }
            let (answer, answered) = reply(Err(PeerError::Lost));
            actor.links.ask_peer.do_send(AskPeer {
                to: incoming.source.name.clone(),
                message: PeerMessage::AskTransfer {
                    transfer: incoming.transfer,
                    vnode: actor.vnode.clone(),
                    source: incoming.source.clone(),
                },
                deadline: actor.links.env.clock.now().plus(HELD_ANSWER),
                reply: answer,
            });
            ctx.spawn(answered.into_actor(actor).map(move |answered, actor, ctx| match answered {
                Ok(PeerMessage::TransferOver { transfer, .. }) => {
                    let _ = actor.happened(Event::SourceEnded { transfer }, ctx);
                }
                Ok(_) | Err(_) => {
                    actor.ask_source(incoming, (pause * 2).min(ASK_SOURCE_AFTER_MAX), ctx);
                }
            }));
        }));
    }

    pub(super) fn discard_staging(&mut self, incoming: &Incoming, ctx: &mut Context<Self>) {
        let (transfer, partition) = (incoming.transfer, self.shown());
        if let Some(staging) = self.staging.take() {
            let objects = staging.digest().count();
            log::warn!(
                transfer:%, partition:%, objects, source:% = incoming.source;
                "what was staged is discarded; it was never acknowledged"
            );
            self.discarded.push_back(staging);
            self.start_purging(ctx);
        }
        self.tell_receiver(ReceiverTold::Stop(CancelReason::ActorEnded("transfer".to_owned())));
        self.receiver = None;
        self.refuse_queued();
    }

    pub(super) fn take_ownership(
        &mut self,
        incoming: &Incoming,
        token: Token,
        ctx: &mut Context<Self>,
    ) {
        self.owned = self.staging.take();
        self.receiver = None;
        let (transfer, partition) = (incoming.transfer, self.shown());
        log::info!(transfer:%, partition:%, token:%, source:% = incoming.source; "owns the partition now");
        let holder = self.links.me.clone();
        self.links.env.watched.saw(|| Observed::TookOver {
            vnode: self.vnode.clone(),
            transfer,
            holder: holder.clone(),
            token,
            summary: self.owned.as_ref().map(|it| it.digest().summary()).unwrap_or_default(),
        });
        self.tell_manager(VnodeNews::Holder { token, holder });
        self.run_queued(ctx);
    }

    /// Tells the source that ownership is durable here, until it has retired.
    pub(super) fn tell_held(&mut self, incoming: Incoming, token: Token, ctx: &mut Context<Self>) {
        let transfer = incoming.transfer;
        if let Some((_, waits)) = self.grant_waits.take_if(|(asked, _)| *asked == transfer) {
            let vnode = self.vnode.clone();
            waits.answer(PeerMessage::GrantHeld { transfer, vnode, token });
        }
        self.say_held(incoming, token, HELD_AGAIN, ctx);
    }

    fn say_held(
        &mut self,
        incoming: Incoming,
        token: Token,
        pause: Duration,
        ctx: &mut Context<Self>,
    ) {
        // The answer to the grant usually arrives: ask only if `GrantRetired` has not come by then.
        let sleeping = self.links.env.clock.sleep(pause);
        ctx.spawn(sleeping.into_actor(self).map(move |(), actor, ctx| {
            if !actor.waits_for(incoming.transfer) {
                return;
            }
            let (answer, answered) = reply(Err(PeerError::Lost));
            actor.links.ask_peer.do_send(AskPeer {
                to: incoming.source.name.clone(),
                message: PeerMessage::GrantHeld {
                    transfer: incoming.transfer,
                    vnode: actor.vnode.clone(),
                    token,
                },
                deadline: actor.links.env.clock.now().plus(HELD_ANSWER),
                reply: answer,
            });
            ctx.spawn(answered.into_actor(actor).map(move |answered, actor, ctx| match answered {
                Ok(PeerMessage::GrantRetired { transfer, .. }) => {
                    let _ = actor.happened(Event::PredecessorRetired { transfer }, ctx);
                }
                Ok(_) | Err(_) => {
                    actor.say_held(incoming, token, (pause * 2).min(HELD_AGAIN_MAX), ctx);
                }
            }));
        }));
    }

    fn waits_for(&self, transfer: TransferId) -> bool {
        let came_by = |ownership: &Ownership| {
            ownership.predecessor.as_ref().is_some_and(|incoming| incoming.transfer == transfer)
        };
        match &self.handoff {
            Handoff::Owner(ownership) | Handoff::Sending(ownership, _) => came_by(ownership),
            Handoff::Absent { .. }
            | Handoff::Fenced { .. }
            | Handoff::Granting { .. }
            | Handoff::Resuming(_)
            | Handoff::Retired { .. }
            | Handoff::Purging { .. }
            | Handoff::Staging(_)
            | Handoff::CaughtUp(_)
            | Handoff::Holding { .. }
            | Handoff::Accepting { .. }
            | Handoff::Lost { .. } => false,
        }
    }

    pub(super) fn tell_declined(&mut self, transfer: TransferId) {
        if let Some((_, waits)) = self.grant_waits.take_if(|(asked, _)| *asked == transfer) {
            let vnode = self.vnode.clone();
            waits.answer(PeerMessage::GrantDeclined { transfer, vnode });
        }
    }

    // ---- hints that come home ----------------------------------------------------------------------

    fn open_home(&mut self, incoming: Incoming, receiver: Recipient<ReceiverTold>) {
        if let Route::Here(_) = self.handoff.route_under(self.links.settings.rules) {
            self.hints.comes_home.insert(incoming.transfer, receiver.clone());
            receiver.do_send(ReceiverTold::Opened);
        } else {
            let state = self.handoff.to_string();
            receiver.do_send(ReceiverTold::Refused(Rejection::VnodeBusy { state }));
        }
    }

    /// Merges hints into what this node speaks for, like any write: a running attempt ships the effect.
    fn merge_home(&mut self, part: &Part, transfer: TransferId, ctx: &mut Context<Self>) {
        let Some(receiver) = self.hints.comes_home.get(&transfer).cloned() else { return };
        match self.merge_hints(&part.items, ctx) {
            Ok(()) => receiver.do_send(ReceiverTold::Stored {
                sequence: part.sequence,
                count: PageSlices::new(&part.items).count() as u64,
                bytes: part.items.len() as u64,
            }),
            Err(error) => receiver.do_send(ReceiverTold::Failed(error.to_string())),
        }
    }

    /// Joins hints with the owned items, if this node speaks for the vnode.
    pub(super) fn merge_hints(
        &mut self,
        items: &Bytes,
        ctx: &mut Context<Self>,
    ) -> Result<(), ContainerError> {
        let changes = match (self.handoff.route_under(self.links.settings.rules), &mut self.owned) {
            #[cfg(tanodb_mutants)]
            (Route::Here(_), Some(owned))
                if self.links.settings.rules.breaks(Mutant::HintsOverwrite) =>
            {
                let puts = PageItems::new(items.clone()).filter_map(Result::ok);
                let puts = puts.map(|(key, value)| Change::Put { key, value });
                let changes = Changes { items: puts.collect(), ranges: vec![] };
                owned.apply(&changes.items)?;
                changes
            }
            (Route::Here(_), Some(owned)) => owned.merge(items)?,
            _ => {
                let why = "the vnode moves; hints come later".to_owned();
                return Err(ContainerError::Unsupported(why));
            }
        };
        self.changed(changes, ctx);
        Ok(())
    }

    /// All parts of the hints are merged: that is the proof, the receiver has summed up what arrived.
    fn compare_home(&mut self, transfer: TransferId, theirs: Summary) -> bool {
        let Some(receiver) = self.hints.comes_home.remove(&transfer) else { return false };
        let (vnode, summary, buckets) = (|| self.vnode.clone(), theirs, Bytes::new());
        self.links.env.watched.saw(|| Observed::HintsHeld { vnode: vnode(), transfer, summary });
        receiver.do_send(ReceiverTold::Compared { is_equal: true, summary, buckets });
        true
    }
}

fn store_part(staging: &mut dyn RawVnode, part: &Part) -> Result<u64, ContainerError> {
    match &part.content {
        PartContent::Page(range) | PartContent::LastPage(range) => {
            staging.replace_range(range, &part.items)
        }
        PartContent::Delta => {
            let changes: Result<Vec<_>, _> = DeltaChanges::new(part.items.clone()).collect();
            let changes = changes?;
            staging.apply(&changes)?;
            Ok(changes.len() as u64)
        }
        PartContent::Hints => {
            staging.merge(&part.items).map(|changes: Changes| changes.items.len() as u64)
        }
    }
}

fn log_items(staging: &dyn RawVnode, part: &Part, transfer: TransferId) {
    if part.content == PartContent::Delta {
        return;
    }
    for (key, _) in PageSlices::new(&part.items).flatten() {
        let key = staging.describe_key(key);
        log::debug!(transfer:%; "{}", chapter::line(chapter::HANDOFF_DATA_RECEIVED, &[&key]));
    }
}

impl Handler<GrantArrived> for VnodeActor {
    type Result = ();

    fn handle(&mut self, arrived: GrantArrived, ctx: &mut Self::Context) {
        let GrantArrived { grant, reply } = arrived;
        // An older wait is answered by being dropped; the source asks again and this is the newest.
        self.grant_waits = Some((grant.transfer, reply));
        let event = Event::Granted {
            transfer: grant.transfer,
            fence: grant.fence,
            token: grant.token,
            rebuilding: grant.rebuilding,
        };
        let _ = self.happened(event, ctx);
    }
}

impl Handler<RetiredArrived> for VnodeActor {
    type Result = ();

    fn handle(&mut self, retired: RetiredArrived, ctx: &mut Self::Context) {
        let transfer = retired.0;
        let _ = self.happened(Event::PredecessorRetired { transfer }, ctx);
    }
}

impl Handler<OverArrived> for VnodeActor {
    type Result = ();

    fn handle(&mut self, over: OverArrived, ctx: &mut Self::Context) {
        let transfer = over.0;
        let _ = self.happened(Event::SourceEnded { transfer }, ctx);
    }
}

impl Handler<SourceGone> for VnodeActor {
    type Result = ();

    fn handle(&mut self, gone: SourceGone, ctx: &mut Self::Context) {
        let Some(incoming) = self.handoff.incoming() else { return };
        if incoming.source.name == gone.node && gone.alive.as_ref() != Some(&incoming.source) {
            let (transfer, partition) = (incoming.transfer, self.shown());
            let source = incoming.source.clone();
            if self.happened(Event::SourceLost { transfer }, ctx).is_ok() {
                log::warn!(transfer:%, partition:%, source:%; "the source is gone");
                told(transfer, chapter::HANDOFF_CANCELLED, &[&partition, &"the source is gone"]);
            }
        }
    }
}
