//! A link while it is connected: requests out, answers in, and a heartbeat when nothing else is said.

use std::pin::pin;
use std::time::Duration;

use super::outstanding::{Asked, OUTSTANDING_MAX, Outstanding};
use super::{Order, PeerLink};
use crate::protocol::time::Moment;
use crate::runtime::clock::Clock;
use crate::runtime::message::{DoorRules, PeerError, PeerHeard};
use crate::runtime::network::alarm::Alarm;
use crate::runtime::network::connection::{
    Connection, ConnectionError, FrameWriter, WriteError, frame, parse,
};
use crate::runtime::network::{HEARD_PAUSE, NO_ANSWER, door};
use crate::runtime::reply::Reply;
use crate::wire::frame::{FRAME_HEADER_BYTES, Frame};
use crate::wire::message::{Introduction, PeerMessage, Refusal, kind};

/// A link that heard nothing for this long asks whether the peer is there.
///
/// A sixth of the silence after which a peer is judged down.
pub(super) const PING_AFTER: Duration = Duration::from_millis(500);

/// A link that heard nothing for this long, its pings included, is given up and dialled anew.
///
/// Longer than the silence after which a peer is judged down: a link that only stalled still saves
/// its requests from an uncertain end.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(5);

/// Why a conversation ended.
pub(super) enum Ended {
    /// The link is not wanted any more.
    NotWanted,
    /// The connection ended, for this reason.
    Because(String),
}

/// One connection to the peer, after both hellos.
pub(super) struct Conversation {
    clock: Clock,
    peer: Introduction,
    writer: FrameWriter,
    outstanding: Outstanding,
    /// The stream had taken this much when the conversation began.
    first_byte: u64,
    /// Counted from there.
    queued_bytes: u64,
    last_id: u64,
    heard: Moment,
    pinged: Moment,
    /// When the watcher was last told.
    told: Moment,
}

impl Conversation {
    fn begin(link: &PeerLink, peer: Introduction, writer: FrameWriter) -> Self {
        let now = link.env.clock.now();
        link.tell.heard.do_send(PeerHeard(peer.clone()));
        Self {
            clock: link.env.clock.clone(),
            peer,
            first_byte: writer.taken_bytes(),
            writer,
            outstanding: Outstanding::default(),
            queued_bytes: 0,
            last_id: NO_ANSWER,
            heard: now,
            pinged: now,
            told: now,
        }
    }

    /// Goes on until the connection ends or the link is not wanted. Every order that came was answered
    /// when this returns.
    pub(super) async fn run(
        link: &mut PeerLink,
        peer: Introduction,
        connection: Connection,
        first_orders: Vec<Order>,
    ) -> Ended {
        let Connection { mut reader, writer, .. } = connection;
        let said = link.rules.current().me.clone();
        // Waited for once, and not anew in every turn.
        let closed = writer.clone();
        let mut closed = pin!(closed.closed());
        let mut talk = Self::begin(link, peer, writer);
        for order in first_orders {
            talk.obey(order);
        }
        let mut alarm = Alarm::unset(link.env.clock.clone());
        let ended = loop {
            alarm.no_later_than(talk.next_moment());
            let heard = tokio::select! {
                biased;
                () = alarm.ring() => talk.look_at_the_clock(),
                order = link.orders.recv() => match order {
                    Some(order) => { talk.obey(order); Ok(()) }
                    None => break Ended::NotWanted,
                },
                arrived = reader.next() => talk.hear(link, arrived),
                changed = link.rules.changed() => match changed {
                    Ok(()) => talk.judge_anew(&said, &link.rules.current()),
                    Err(_) => break Ended::NotWanted,
                },
                () = &mut closed => Err("the peer takes no more frames".to_owned()),
            };
            if let Err(reason) = heard {
                break Ended::Because(reason);
            }
        };
        talk.end(&ended);
        ended
    }

    fn end(self, ended: &Ended) {
        match ended {
            // What is queued is still written: it may be what tells the peer of its removal.
            Ended::NotWanted => self.outstanding.end(u64::MAX, ""),
            Ended::Because(reason) => {
                let taken = self.writer.cut().saturating_sub(self.first_byte);
                self.outstanding.end(taken, reason);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Ask { message, deadline, reply } => {
                if let Err((reply, reason)) = self.ask(&message, deadline, reply) {
                    reply.answer(Err(PeerError::NotSent(reason)));
                }
            }
            Order::Tell(message) => {
                if let Err(error) = self.queue(NO_ANSWER, &message) {
                    log::debug!(peer:% = self.peer.node.name, error:%; "news was dropped");
                }
            }
        }
    }

    fn ask(
        &mut self,
        message: &PeerMessage,
        deadline: Moment,
        reply: Reply<Result<PeerMessage, PeerError>>,
    ) -> Result<(), (Reply<Result<PeerMessage, PeerError>>, String)> {
        if deadline <= self.clock.now() {
            return Err((reply, "the deadline had passed".to_owned()));
        }
        if self.outstanding.is_full() {
            let name = &self.peer.node.name;
            return Err((reply, format!("{OUTSTANDING_MAX} requests to {name} are under way")));
        }
        let id = self.next_id();
        match self.queue(id, message) {
            Ok(()) => {
                let end_byte = self.queued_bytes;
                self.outstanding.add(Asked { id, deadline, end_byte, reply });
                Ok(())
            }
            Err(error) => Err((reply, error.to_string())),
        }
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn queue(&mut self, id: u64, message: &PeerMessage) -> Result<(), WriteError> {
        let frame = frame(kind::PEER, id, message);
        let bytes = (FRAME_HEADER_BYTES + frame.body.len()) as u64;
        self.writer.try_send(frame)?;
        self.queued_bytes += bytes;
        Ok(())
    }

    fn hear(
        &mut self,
        link: &PeerLink,
        arrived: Result<Option<Frame>, ConnectionError>,
    ) -> Result<(), String> {
        let frame = match arrived {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err("the peer closed the connection".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        self.heard = self.clock.now();
        if self.heard.since(self.told) >= HEARD_PAUSE {
            self.told = self.heard;
            link.tell.heard.do_send(PeerHeard(self.peer.clone()));
        }
        match frame.kind {
            kind::PEER_ANSWER => {
                let message = parse(&frame).map_err(|error| error.to_string())?;
                self.outstanding.answer(frame.id, message);
                Ok(())
            }
            kind::REFUSAL => match parse::<Refusal>(&frame) {
                Ok(refusal) => Err(refusal.to_string()),
                Err(error) => Err(error.to_string()),
            },
            other => Err(format!("the peer sent a frame of kind {other} where answers belong")),
        }
    }

    /// When something is due although nothing happens.
    fn next_moment(&self) -> Moment {
        let ping = self.heard.max(self.pinged).plus(PING_AFTER);
        let quiet = ping.min(self.heard.plus(SILENT_MAX));
        self.outstanding.next_deadline().map_or(quiet, |deadline| deadline.min(quiet))
    }

    fn look_at_the_clock(&mut self) -> Result<(), String> {
        let now = self.clock.now();
        self.outstanding.expire(now);
        if now >= self.heard.plus(SILENT_MAX) {
            return Err(format!("the peer said nothing for {SILENT_MAX:?}"));
        }
        if now >= self.heard.max(self.pinged).plus(PING_AFTER) {
            self.pinged = now;
            let id = self.next_id();
            // With a full queue there is enough to be heard by.
            let _ = self.queue(id, &PeerMessage::Ping);
        }
        Ok(())
    }

    /// The rules changed: the hellos may not be true any more.
    fn judge_anew(&self, said: &Introduction, rules: &DoorRules) -> Result<(), String> {
        if said.node != rules.me.node || said.cluster != rules.me.cluster {
            return Err("this node introduces itself anew".to_owned());
        }
        door(rules).check_member(&self.peer).map_err(|refusal| refusal.to_string())
    }
}
