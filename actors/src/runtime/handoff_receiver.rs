//! The receiver of one transfer, on the target's side: takes parts off the connection, has the vnode store
//! them, and acknowledges what is stored.
//!
//! Owns: the [`Receiver`] of one attempt, its connection.
//! Hears: frames from the source, its vnode.
//! Tells: its vnode what arrives; the ring manager how far it has come, and that it has ended.
//!
//! It does not decide who owns the vnode.

use std::time::Duration;

use actix::prelude::*;

use crate::protocol::digest::{Digest, Summary};
use crate::protocol::handoff::Incoming;
use crate::protocol::id::TransferId;
use crate::protocol::receiver::{Effect, Event, Failure, Receiver, WINDOW_BYTES};
use crate::protocol::rules::Rules;
use crate::protocol::time::Moment;
use crate::runtime::chapter;
use crate::runtime::env::Env;
use crate::runtime::network::connection::{FrameReader, FrameWriter, frame, parse};
use crate::runtime::transfer::{
    FrameArrived, TransferEnded, TransferProgressed, frame_part, read_frames,
};
use crate::runtime::vnode::hints::sum_up;
use crate::runtime::vnode::message::{AttemptKind, Part, ReceiverAsk, ReceiverAsked, ReceiverTold};
use crate::wire::message::{CancelReason, Offer, Rejection, TransferKind, TransferMessage, kind};

/// Milliseconds after which a refused offer may be made again.
const RETRY_AFTER_MS: u32 = 200;

/// What a receiver is given.
pub struct ReceiverDuty {
    /// The world outside.
    pub env: Env,
    /// What is offered.
    pub offer: Offer,
    /// The partition as people see it.
    pub partition: String,
    /// The source's address.
    pub peer: String,
    /// What comes from the source.
    pub reader: FrameReader,
    /// What goes to it.
    pub writer: FrameWriter,
    /// The vnode that takes the partition.
    pub vnode: Recipient<ReceiverAsked>,
    /// The ring manager.
    pub progress: Recipient<TransferProgressed>,
    /// The ring manager.
    pub ended: Recipient<TransferEnded>,
    /// How long the source may say nothing.
    pub silent_max: Duration,
    /// The rules it decides by.
    pub rules: Rules,
}

/// The receiver of one attempt.
pub struct HandoffReceiver {
    env: Env,
    offer: Offer,
    partition: String,
    peer: String,
    reader: Option<FrameReader>,
    writer: FrameWriter,
    vnode: Recipient<ReceiverAsked>,
    progress: Recipient<TransferProgressed>,
    ended: Recipient<TransferEnded>,
    silent_max: Duration,
    rules: Rules,
    receiver: Receiver,
    part: Option<Part>,
    /// What the source says it holds, or has sent.
    theirs: Summary,
    /// Sums over hints as they arrive: the proof that the whole set came.
    arrived: Digest,
    heard: Moment,
    objects: u64,
    bytes: u64,
    buckets: bytes::Bytes,
    because: Option<CancelReason>,
    rejection: Option<Rejection>,
}

/// A look at how long the source has been silent.
#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

impl HandoffReceiver {
    /// A receiver that asks its vnode to open when it starts.
    #[must_use]
    pub fn opening(duty: ReceiverDuty) -> Self {
        Self {
            heard: duty.env.clock.now(),
            env: duty.env,
            offer: duty.offer,
            partition: duty.partition,
            peer: duty.peer,
            reader: Some(duty.reader),
            writer: duty.writer,
            vnode: duty.vnode,
            progress: duty.progress,
            ended: duty.ended,
            silent_max: duty.silent_max,
            rules: duty.rules,
            receiver: Receiver::Opening,
            part: None,
            theirs: Summary::default(),
            arrived: Digest::default(),
            objects: 0,
            bytes: 0,
            buckets: bytes::Bytes::new(),
            because: None,
            rejection: None,
        }
    }

    fn transfer(&self) -> TransferId {
        self.offer.transfer
    }

    fn attempt(&self) -> (AttemptKind, Incoming) {
        let (kind, token) = match self.offer.kind {
            TransferKind::Ownership { token, .. } => (AttemptKind::Ownership, token),
            TransferKind::Hinted { generation } => {
                let token = crate::protocol::id::Token::minted(self.offer.epoch);
                (AttemptKind::Hinted { generation }, token)
            }
        };
        let source = self.offer.source.clone();
        (kind, Incoming { transfer: self.transfer(), source, token })
    }

    fn ask_vnode(&self, ask: ReceiverAsk) {
        self.vnode.do_send(ReceiverAsked { transfer: self.transfer(), ask });
    }

    fn happened(&mut self, event: Event, ctx: &mut Context<Self>) {
        let receiver = std::mem::replace(&mut self.receiver, Receiver::Ended);
        let step = receiver.step_under(event, self.rules);
        self.receiver = step.next;
        for effect in step.effects {
            self.perform(effect, ctx);
        }
    }

    fn failed(&mut self, failure: Failure, because: CancelReason, ctx: &mut Context<Self>) {
        self.because.get_or_insert(because);
        self.happened(Event::Failed(failure), ctx);
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::SendAccepted => {
                self.log_start();
                self.say(&TransferMessage::Accepted { window_bytes: WINDOW_BYTES }, ctx);
            }
            Effect::StorePart => {
                if let Some(part) = self.part.take() {
                    self.sum_up(&part);
                    self.ask_vnode(ReceiverAsk::Store(part));
                }
            }
            Effect::SendReceived(sequence) => {
                self.say(&TransferMessage::Received { sequence }, ctx);
            }
            Effect::Compare(fence) => {
                self.ask_vnode(ReceiverAsk::Compare { fence, summary: self.theirs });
            }
            Effect::SendFenceOk(fence) => {
                let message = match self.offer.kind {
                    TransferKind::Ownership { .. } => TransferMessage::FenceOk { fence },
                    TransferKind::Hinted { .. } => {
                        TransferMessage::HintsKept { summary: self.arrived.summary() }
                    }
                };
                self.say(&message, ctx);
                self.log_end();
            }
            Effect::SendFenceDiffers(fence) => {
                let buckets = self.buckets.clone();
                self.say(&TransferMessage::FenceDiffers { fence, buckets }, ctx);
            }
            Effect::ReportEnded(failure) => self.report_ended(failure, ctx),
        }
    }

    fn report_ended(&mut self, failure: Failure, ctx: &mut Context<Self>) {
        let reason = self.because.take().unwrap_or_else(|| in_words(failure));
        if let Some(reason) = self.rejection.take() {
            let rejected = TransferMessage::Rejected { reason, retry_after_ms: RETRY_AFTER_MS };
            self.say(&rejected, ctx);
        } else {
            self.say(&TransferMessage::Cancel { reason: reason.clone() }, ctx);
            let transfer = self.transfer();
            let values: [&dyn std::fmt::Display; 4] =
                [&self.partition, &self.objects, &self.peer, &reason];
            log::warn!(transfer:%; "{}", chapter::line(chapter::RECEIVER_EXITED_ABNORMALLY, &values));
        }
        self.ask_vnode(ReceiverAsk::Ended(reason));
        ctx.stop();
    }

    /// Hints are merged into what is there already, so the vnode's own sums prove nothing about them.
    fn sum_up(&mut self, part: &Part) {
        if let TransferKind::Hinted { .. } = self.offer.kind {
            sum_up(&mut self.arrived, &part.items);
        }
    }

    fn say(&mut self, message: &TransferMessage, ctx: &mut Context<Self>) {
        if let Err(error) = self.writer.try_send(frame(kind::TRANSFER, 0, message)) {
            self.because.get_or_insert(CancelReason::Disconnected(error.to_string()));
            ctx.notify(FrameArrived(None));
        }
    }

    fn log_start(&self) {
        let transfer = self.transfer();
        let values: [&dyn std::fmt::Display; 3] =
            [&self.offer.vnode.vnode_type, &self.partition, &self.peer];
        log::info!(transfer:%; "{}", chapter::line(chapter::RECEIVING, &values));
    }

    fn log_end(&self) {
        let transfer = self.transfer();
        let values: [&dyn std::fmt::Display; 3] = [&self.partition, &self.objects, &self.peer];
        log::info!(transfer:%; "{}", chapter::line(chapter::RECEIVER_EXITED, &values));
    }

    fn heard_message(&mut self, message: TransferMessage, ctx: &mut Context<Self>) {
        match message {
            TransferMessage::Fence { fence, summary } => {
                self.theirs = summary;
                self.happened(Event::FenceArrived { fence }, ctx);
            }
            TransferMessage::HintsSent { summary } => {
                self.theirs = summary;
                let fence = self.last_arrived();
                self.happened(Event::FenceArrived { fence }, ctx);
            }
            TransferMessage::Cancel { reason } => {
                // The source's own word, also after the fence was confirmed: it has not granted.
                self.ask_vnode(ReceiverAsk::SourceEnded);
                self.stopped(reason, ctx);
            }
            TransferMessage::Beat => {}
            TransferMessage::Offer(_)
            | TransferMessage::Accepted { .. }
            | TransferMessage::Rejected { .. }
            | TransferMessage::Received { .. }
            | TransferMessage::FenceOk { .. }
            | TransferMessage::FenceDiffers { .. }
            | TransferMessage::HintsKept { .. } => {
                let because = CancelReason::Protocol("the source spoke as a target".to_owned());
                self.failed(Failure::OutOfOrder, because, ctx);
            }
        }
    }

    fn last_arrived(&self) -> u64 {
        match &self.receiver {
            Receiver::Taking(progress)
            | Receiver::Draining { progress, .. }
            | Receiver::Comparing { progress, .. } => progress.arrived,
            Receiver::Opening | Receiver::Confirmed | Receiver::Ended => 0,
        }
    }

    fn part_arrived(&mut self, part: Part, ctx: &mut Context<Self>) {
        let sequence = part.sequence;
        let bytes = part.items.len() as u64;
        self.bytes += bytes;
        self.part = Some(part);
        self.happened(Event::PartArrived { sequence, bytes }, ctx);
    }

    /// Nobody needs this receiver any more, confirmed or not.
    fn stopped(&mut self, reason: CancelReason, ctx: &mut Context<Self>) {
        if self.receiver == Receiver::Confirmed {
            ctx.stop();
        }
        self.failed(Failure::Stopped, reason, ctx);
    }

    fn tick_later(&self, ctx: &mut Context<Self>) {
        let sleeping = self.env.clock.sleep(self.silent_max / 3);
        ctx.spawn(sleeping.into_actor(self).map(|(), _, ctx| ctx.notify(Tick)));
    }
}

fn in_words(failure: Failure) -> CancelReason {
    match failure {
        Failure::Refused => CancelReason::Rejected("the vnode is busy".to_owned()),
        Failure::NotStored => CancelReason::VnodeStopped("a part was not stored".to_owned()),
        Failure::PeerCancelled => CancelReason::ActorEnded("sender".to_owned()),
        Failure::Disconnected => CancelReason::Disconnected("the connection ended".to_owned()),
        Failure::Silent => CancelReason::Silent(0),
        Failure::OutOfOrder => CancelReason::Protocol("a part is missing".to_owned()),
        Failure::Stopped => CancelReason::ActorEnded("receiver".to_owned()),
    }
}

impl Actor for HandoffReceiver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (kind, incoming) = self.attempt();
        let receiver = ctx.address().recipient();
        self.ask_vnode(ReceiverAsk::Open { kind, incoming, receiver });
        if let Some(reader) = self.reader.take() {
            ctx.spawn(read_frames(reader, ctx.address().recipient()).into_actor(self));
        }
        self.tick_later(ctx);
    }
}

impl Drop for HandoffReceiver {
    /// The slot comes back and the vnode hears of it, also after a panic.
    fn drop(&mut self) {
        let transfer = self.transfer();
        self.ask_vnode(ReceiverAsk::Ended(CancelReason::ActorEnded("receiver".to_owned())));
        self.ended.do_send(TransferEnded { transfer });
    }
}

impl Handler<FrameArrived> for HandoffReceiver {
    type Result = ();

    fn handle(&mut self, arrived: FrameArrived, ctx: &mut Self::Context) {
        self.heard = self.env.clock.now();
        match arrived.0 {
            Some(Ok(frame)) if frame.kind == kind::PART => match frame_part(&frame) {
                Ok(part) => self.part_arrived(part, ctx),
                Err(error) => {
                    let because = CancelReason::Protocol(error.to_string());
                    self.failed(Failure::OutOfOrder, because, ctx);
                }
            },
            Some(Ok(frame)) => match parse(&frame) {
                Ok(message) => self.heard_message(message, ctx),
                Err(error) => {
                    let because = CancelReason::Protocol(error.to_string());
                    self.failed(Failure::OutOfOrder, because, ctx);
                }
            },
            Some(Err(error)) => {
                let because = CancelReason::Disconnected(error.to_string());
                self.failed(Failure::Disconnected, because, ctx);
            }
            // After the confirmed fence the source closes: the grant does not come this way.
            None if self.receiver == Receiver::Confirmed => ctx.stop(),
            None => {
                let because = CancelReason::Disconnected("the source closed it".to_owned());
                self.failed(Failure::Disconnected, because, ctx);
            }
        }
    }
}

impl Handler<ReceiverTold> for HandoffReceiver {
    type Result = ();

    fn handle(&mut self, told: ReceiverTold, ctx: &mut Self::Context) {
        match told {
            ReceiverTold::Opened => self.happened(Event::Opened, ctx),
            ReceiverTold::Refused(rejection) => {
                let because = CancelReason::Rejected(rejection.to_string());
                self.rejection = Some(rejection);
                self.failed(Failure::Refused, because, ctx);
            }
            ReceiverTold::Stored { sequence, count, bytes } => {
                self.objects += count;
                self.progress.do_send(TransferProgressed {
                    transfer: self.transfer(),
                    objects: self.objects,
                    bytes: self.bytes,
                });
                self.happened(Event::PartStored { sequence, bytes }, ctx);
            }
            ReceiverTold::Failed(why) => {
                self.failed(Failure::NotStored, CancelReason::VnodeStopped(why), ctx);
            }
            ReceiverTold::Compared { is_equal, summary: _, buckets } => {
                self.buckets = buckets;
                self.happened(Event::Compared { is_equal }, ctx);
            }
            ReceiverTold::Stop(reason) => self.stopped(reason, ctx),
        }
    }
}

impl Handler<Tick> for HandoffReceiver {
    type Result = ();

    fn handle(&mut self, _: Tick, ctx: &mut Self::Context) {
        if !self.vnode.connected() {
            self.stopped(CancelReason::ActorEnded("vnode".to_owned()), ctx);
            return;
        }
        let silent = self.env.clock.now().since(self.heard);
        if silent > self.silent_max {
            let millis = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            if self.receiver == Receiver::Confirmed {
                ctx.stop();
            }
            self.failed(Failure::Silent, CancelReason::Silent(millis), ctx);
            return;
        }
        self.say(&TransferMessage::Beat, ctx);
        self.tick_later(ctx);
    }
}
