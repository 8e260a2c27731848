//! The sender of one transfer, on the source's side: dials the target, offers, and sends what it pulls out of
//! the vnode.
//!
//! Owns: the [`Sender`] of one attempt, its connection.
//! Hears: parts and the fence from its vnode, frames from the target.
//! Tells: its vnode what the target says; the ring manager how far it has come, and that it has ended.
//!
//! It does not know what is in a part, and it does not decide who owns the vnode.

use std::time::Duration;

use actix::prelude::*;

use crate::protocol::id::{NodeId, TransferId};
use crate::protocol::pace::Pace;
use crate::protocol::rules::Rules;
use crate::protocol::sender::{Effect, Event, Failure, REPAIRS_MAX, Sender};
use crate::protocol::time::Moment;
use crate::runtime::chapter;
use crate::runtime::env::Env;
use crate::runtime::network::connection::{
    Connection, ConnectionLimits, FrameReader, FrameWriter, frame, parse,
};
use crate::runtime::network::dial::{DialError, dial};
use crate::runtime::transfer::{
    FrameArrived, TransferEnded, TransferProgressed, part_frame, read_frames,
};
use crate::runtime::vnode::message::{Part, SenderAsk, SenderAsked, SenderTold};
use crate::wire::frame::Frame;
use crate::wire::message::{
    CancelReason, Hello, Offer, Rejection, TransferKind, TransferMessage, Welcome, kind,
};

/// What a sender is given.
pub struct SenderDuty {
    /// The world outside.
    pub env: Env,
    /// Introduces this node to the target.
    pub hello: Hello,
    /// Where the target listens.
    pub address: String,
    /// What it offers.
    pub offer: Offer,
    /// The partition as people see it.
    pub partition: String,
    /// The vnode that is given away.
    pub vnode: Recipient<SenderAsked>,
    /// The ring manager.
    pub progress: Recipient<TransferProgressed>,
    /// The ring manager.
    pub ended: Recipient<TransferEnded>,
    /// How long the target may say nothing.
    pub silent_max: Duration,
    /// The rules it decides by.
    pub rules: Rules,
}

/// The sender of one attempt.
pub struct HandoffSender {
    duty: SenderDuty,
    sender: Sender,
    writer: Option<FrameWriter>,
    part: Option<Part>,
    fence: Option<(u64, crate::protocol::digest::Summary)>,
    fence_sent: Option<Moment>,
    started: Moment,
    heard: Moment,
    objects_sent: u64,
    bytes_sent: u64,
    pace: Pace,
    /// In words, what the last failure was.
    because: Option<CancelReason>,
}

/// A look at how long the target has been silent.
#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

/// How long the target of a fence may be silent: as long as nobody executes the vnode's commands.
pub const FENCE_SILENT_MAX: Duration = Duration::from_secs(2);

/// A look at how long the fence has been unanswered.
#[derive(Message)]
#[rtype(result = "()")]
struct LookAtFence;

/// The dial has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Dialled(Result<(Connection, Welcome), DialError>);

impl HandoffSender {
    /// A sender that dials when it starts.
    #[must_use]
    pub fn dialling(duty: SenderDuty) -> Self {
        let now = duty.env.clock.now();
        Self {
            duty,
            sender: Sender::Dialling,
            writer: None,
            part: None,
            fence: None,
            fence_sent: None,
            started: now,
            heard: now,
            objects_sent: 0,
            bytes_sent: 0,
            pace: Pace::default(),
            because: None,
        }
    }

    fn transfer(&self) -> TransferId {
        self.duty.offer.transfer
    }

    fn target(&self) -> &NodeId {
        &self.duty.offer.target
    }

    fn kind(&self) -> &'static str {
        match self.duty.offer.kind {
            TransferKind::Ownership { .. } => "ownership",
            TransferKind::Hinted { .. } => "hinted",
        }
    }

    fn ask_vnode(&self, ask: SenderAsk) {
        self.duty.vnode.do_send(SenderAsked { transfer: self.transfer(), ask });
    }

    fn happened(&mut self, event: Event, ctx: &mut Context<Self>) {
        let sender = std::mem::replace(&mut self.sender, Sender::Ended);
        let step = sender.step_under(event, self.duty.rules);
        self.sender = step.next;
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
            Effect::SendOffer => {
                let offer = Box::new(self.duty.offer.clone());
                self.say(&TransferMessage::Offer(offer), ctx);
            }
            Effect::LogStart => self.log_start(),
            Effect::ReadPart { bytes_max } => self.ask_vnode(SenderAsk::Read { bytes_max }),
            Effect::SendPart => self.send_part(ctx),
            Effect::AskFence { tail_bytes_max } => {
                self.ask_vnode(SenderAsk::Fence { tail_bytes_max });
            }
            Effect::SendFence => self.send_fence(ctx),
            Effect::PlanRepair => {}
            Effect::ReportConfirmed(fence) => {
                self.log_completed();
                self.ask_vnode(SenderAsk::Confirmed(fence));
                ctx.stop();
            }
            Effect::ReportEnded(failure) => {
                let reason = self.because.take().unwrap_or_else(|| in_words(failure));
                self.say(&TransferMessage::Cancel { reason: reason.clone() }, ctx);
                self.ask_vnode(SenderAsk::Ended(reason));
                ctx.stop();
            }
        }
    }

    fn say(&mut self, message: &TransferMessage, ctx: &mut Context<Self>) {
        self.write(frame(kind::TRANSFER, 0, message), ctx);
    }

    fn write(&mut self, frame: Frame, ctx: &mut Context<Self>) {
        let Some(writer) = &self.writer else { return };
        // What is in flight is bounded by the credit, so the queue has room unless the peer is gone.
        if let Err(error) = writer.try_send(frame) {
            let because = CancelReason::Disconnected(error.to_string());
            self.because.get_or_insert(because);
            ctx.notify(FrameArrived(None));
        }
    }

    fn send_part(&mut self, ctx: &mut Context<Self>) {
        let Some(part) = self.part.take() else { return };
        self.objects_sent += part.count;
        let bytes = part.items.len() as u64;
        self.bytes_sent += bytes;
        self.pace.sent(part.sequence, bytes, self.duty.env.clock.now());
        match part_frame(&part) {
            Ok(frame) => self.write(frame, ctx),
            Err(error) => {
                self.because.get_or_insert(CancelReason::Protocol(error.to_string()));
                ctx.notify(FrameArrived(None));
            }
        }
    }

    fn send_fence(&mut self, ctx: &mut Context<Self>) {
        let Some((fence, summary)) = self.fence else { return };
        let message = match self.duty.offer.kind {
            TransferKind::Ownership { .. } => {
                self.fence_sent = Some(self.duty.env.clock.now());
                self.look_at_fence(ctx);
                TransferMessage::Fence { fence, summary }
            }
            TransferKind::Hinted { .. } => TransferMessage::HintsSent { summary },
        };
        self.say(&message, ctx);
    }

    /// Gives the attempt up when its fence is unanswered and the target silent. The source speaks for the vnode
    /// again then.
    fn look_at_fence(&mut self, ctx: &mut Context<Self>) {
        let (Sender::Proving { .. }, Some(sent)) = (&self.sender, self.fence_sent) else { return };
        let clock = &self.duty.env.clock;
        let (now, since) = (clock.now(), self.heard.max(sent));
        if now.since(since) >= FENCE_SILENT_MAX {
            let millis = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
            return self.failed(Failure::Silent, CancelReason::Silent(millis), ctx);
        }
        let sleeping = clock.sleep_until(since.plus(FENCE_SILENT_MAX));
        ctx.spawn(sleeping.into_actor(self).map(|(), _, ctx| ctx.notify(LookAtFence)));
    }

    fn log_start(&self) {
        let transfer = self.transfer();
        let (source, target) = self.both_names();
        let partition = &self.duty.partition;
        let vnode_type = &self.duty.offer.vnode.vnode_type;
        let values: [&dyn std::fmt::Display; 6] =
            [&self.kind(), vnode_type, &source, partition, &target, partition];
        log::info!(transfer:%; "{}", chapter::line(chapter::STARTING_TRANSFER, &values));
    }

    fn log_completed(&self) {
        let transfer = self.transfer();
        let (source, target) = self.both_names();
        let partition = &self.duty.partition;
        let vnode_type = &self.duty.offer.vnode.vnode_type;
        let took = self.duty.env.clock.now().since(self.started);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let total = self.fence.map_or(self.objects_sent, |(_, summary)| summary.count);
        let values: [&dyn std::fmt::Display; 11] = [
            &self.kind(),
            vnode_type,
            &source,
            partition,
            &target,
            partition,
            &self.bytes_sent,
            &self.objects_sent,
            &total,
            &chapter::seconds(micros),
            &chapter::rate(self.bytes_sent, micros),
        ];
        log::info!(transfer:%; "{}", chapter::line(chapter::TRANSFER_COMPLETED, &values));
    }

    fn both_names(&self) -> (String, String) {
        (format!("'{}'", self.duty.offer.source.name), format!("'{}'", self.target().name))
    }

    fn heard_message(&mut self, message: TransferMessage, ctx: &mut Context<Self>) {
        match message {
            TransferMessage::Accepted { window_bytes } => {
                self.happened(Event::Accepted { window_bytes }, ctx);
            }
            TransferMessage::Rejected { reason, retry_after_ms: _ } => {
                let because = if let Rejection::SlotsFull { limit } = reason {
                    CancelReason::SlotsFull(limit)
                } else {
                    CancelReason::Rejected(reason.to_string())
                };
                self.failed(Failure::Rejected, because, ctx);
            }
            TransferMessage::Received { sequence } => {
                self.duty.progress.do_send(TransferProgressed {
                    transfer: self.transfer(),
                    objects: self.objects_sent,
                    bytes: self.bytes_sent,
                });
                let pace_bytes = self.pace.received(sequence, self.heard);
                self.happened(Event::Received { sequence, pace_bytes }, ctx);
            }
            TransferMessage::FenceOk { fence } => self.happened(Event::FenceOk { fence }, ctx),
            TransferMessage::FenceDiffers { fence, buckets } => {
                self.happened(Event::FenceDiffers { fence }, ctx);
                if let Sender::Repairing { .. } = self.sender {
                    self.ask_vnode(SenderAsk::Repair(buckets));
                }
            }
            TransferMessage::HintsKept { summary } => {
                let kept = self.fence.filter(|(_, sent)| *sent == summary);
                match kept {
                    Some((fence, _)) => self.happened(Event::FenceOk { fence }, ctx),
                    None => self.failed(Failure::Differs, CancelReason::DigestDiffers(0), ctx),
                }
            }
            TransferMessage::Cancel { reason } => self.failed(Failure::PeerCancelled, reason, ctx),
            TransferMessage::Beat => {}
            TransferMessage::Offer(_)
            | TransferMessage::Fence { .. }
            | TransferMessage::HintsSent { .. } => {
                let because = CancelReason::Protocol("the target spoke as a source".to_owned());
                self.failed(Failure::OutOfOrder, because, ctx);
            }
        }
    }

    fn connected(&mut self, connection: Connection, ctx: &mut Context<Self>) {
        let Connection { reader, writer, peer: _ } = connection;
        self.writer = Some(writer);
        self.read(reader, ctx);
        self.happened(Event::Connected, ctx);
    }

    fn read(&self, reader: FrameReader, ctx: &mut Context<Self>) {
        ctx.spawn(read_frames(reader, ctx.address().recipient()).into_actor(self));
    }

    fn tick_later(&self, ctx: &mut Context<Self>) {
        let sleeping = self.duty.env.clock.sleep(self.duty.silent_max / 3);
        ctx.spawn(sleeping.into_actor(self).map(|(), _, ctx| ctx.notify(Tick)));
    }
}

/// What a failure is, where nobody has said it in more words.
fn in_words(failure: Failure) -> CancelReason {
    match failure {
        Failure::Disconnected => CancelReason::Disconnected("the connection ended".to_owned()),
        Failure::Rejected => CancelReason::Rejected("no reason given".to_owned()),
        Failure::PeerCancelled => CancelReason::ActorEnded("receiver".to_owned()),
        Failure::Silent => CancelReason::Silent(0),
        Failure::Differs => CancelReason::DigestDiffers(REPAIRS_MAX),
        Failure::Stopped => CancelReason::ActorEnded("sender".to_owned()),
        Failure::OutOfOrder => CancelReason::Protocol("a message out of order".to_owned()),
    }
}

impl Actor for HandoffSender {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.ask_vnode(SenderAsk::Started(ctx.address().recipient()));
        let (env, address) = (self.duty.env.clone(), self.duty.address.clone());
        let hello = self.duty.hello.clone();
        let dialling =
            async move { dial(&env, &address, &hello, ConnectionLimits::default()).await };
        ctx.spawn(dialling.into_actor(self).map(|result, _, ctx| ctx.notify(Dialled(result))));
        self.tick_later(ctx);
    }
}

impl Drop for HandoffSender {
    /// The slot comes back and the vnode hears of it, also after a panic.
    fn drop(&mut self) {
        let transfer = self.transfer();
        if !matches!(self.sender, Sender::Confirmed(_)) {
            let reason = CancelReason::ActorEnded("sender".to_owned());
            self.ask_vnode(SenderAsk::Ended(reason));
        }
        self.duty.ended.do_send(TransferEnded { transfer });
    }
}

impl Handler<Dialled> for HandoffSender {
    type Result = ();

    fn handle(&mut self, dialled: Dialled, ctx: &mut Self::Context) {
        match dialled.0 {
            Ok((connection, welcome)) if welcome.from.node == *self.target() => {
                self.heard = self.duty.env.clock.now();
                self.connected(connection, ctx);
            }
            Ok((_, welcome)) => {
                let because = CancelReason::Rejected(format!(
                    "{} was meant, {} is here",
                    self.target(),
                    welcome.from.node
                ));
                self.failed(Failure::Rejected, because, ctx);
            }
            Err(error) => {
                let because = CancelReason::Disconnected(error.to_string());
                self.failed(Failure::Disconnected, because, ctx);
            }
        }
    }
}

impl Handler<FrameArrived> for HandoffSender {
    type Result = ();

    fn handle(&mut self, arrived: FrameArrived, ctx: &mut Self::Context) {
        self.heard = self.duty.env.clock.now();
        match arrived.0 {
            Some(Ok(frame)) if frame.kind == kind::TRANSFER => match parse(&frame) {
                Ok(message) => self.heard_message(message, ctx),
                Err(error) => {
                    let because = CancelReason::Protocol(error.to_string());
                    self.failed(Failure::OutOfOrder, because, ctx);
                }
            },
            Some(Ok(frame)) => {
                let because = CancelReason::Protocol(format!("a frame of kind {}", frame.kind));
                self.failed(Failure::OutOfOrder, because, ctx);
            }
            Some(Err(error)) => {
                let because = CancelReason::Disconnected(error.to_string());
                self.failed(Failure::Disconnected, because, ctx);
            }
            None => {
                let because = CancelReason::Disconnected("the target closed it".to_owned());
                self.failed(Failure::Disconnected, because, ctx);
            }
        }
    }
}

impl Handler<SenderTold> for HandoffSender {
    type Result = ();

    fn handle(&mut self, told: SenderTold, ctx: &mut Self::Context) {
        match told {
            SenderTold::Part(part) => {
                let (sequence, bytes) = (part.sequence, part.items.len() as u64);
                self.part = Some(part);
                self.happened(Event::PartRead { sequence, bytes }, ctx);
            }
            SenderTold::Nothing => self.happened(Event::NothingToRead, ctx),
            SenderTold::More => self.happened(Event::MoreToRead, ctx),
            SenderTold::Fenced { fence, tail, summary } => {
                let tail_bytes = tail.as_ref().map_or(0, |tail| tail.items.len() as u64);
                self.part = tail;
                self.fence = Some((fence, summary));
                self.happened(Event::Fenced { fence, tail_bytes }, ctx);
            }
            SenderTold::FenceNotYet => self.happened(Event::FenceNotYet, ctx),
            SenderTold::Stop(reason) => self.failed(Failure::Stopped, reason, ctx),
        }
    }
}

impl Handler<LookAtFence> for HandoffSender {
    type Result = ();

    fn handle(&mut self, _: LookAtFence, ctx: &mut Self::Context) {
        self.look_at_fence(ctx);
    }
}

impl Handler<Tick> for HandoffSender {
    type Result = ();

    fn handle(&mut self, _: Tick, ctx: &mut Self::Context) {
        if !self.duty.vnode.connected() {
            let because = CancelReason::ActorEnded("vnode".to_owned());
            self.failed(Failure::Stopped, because, ctx);
            return;
        }
        let silent = self.duty.env.clock.now().since(self.heard);
        if silent > self.duty.silent_max {
            let millis = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            self.failed(Failure::Silent, CancelReason::Silent(millis), ctx);
            return;
        }
        self.say(&TransferMessage::Beat, ctx);
        self.tick_later(ctx);
    }
}
