//! One connection that came in: a task from its hello to its end.
//!
//! Owns: the connection, and the requests from it that have no answer yet.
//! Hears: frames, and every change of the rules.
//! Tells: the router what members and clients ask; the watcher that a member was heard; whoever receives
//! transfers, by handing the connection over.
//!
//! Bytes that make no sense close this connection and touch nothing else. Heartbeats are answered here,
//! so that a busy router does not make the node look dead.

mod requests;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use self::requests::Request;
use super::alarm::Alarm;
use super::connection::{
    Connection, ConnectionError, ConnectionLimits, FrameWriter, WriteError, frame, parse,
};
use super::message::OtherLifeSeen;
use super::{HEARD_PAUSE, NO_ANSWER, door};
use crate::protocol::time::Moment;
use crate::runtime::env::Env;
use crate::runtime::latest::Follower;
use crate::runtime::message::{ClientAsked, DoorRules, PeerAsked, PeerHeard, TransferArrived};
use crate::runtime::reply::{Answer, Reply, reply};
use crate::runtime::transport::BoxIo;
use crate::wire::door::HELLO_BYTES_MAX;
use crate::wire::frame::{FRAME_BYTES_MAX, Frame};
use crate::wire::message::{
    COMMAND_BYTES_MAX, ClientMessage, Hello, Introduction, PeerMessage, Purpose, Refusal, Welcome,
    kind,
};

/// Requests of one session that have no answer yet. While there are so many, nothing more is read.
pub(super) const UNDER_WAY_MAX: usize = 1_024;

/// How long a new connection may stay without a hello.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// A member that says nothing for this long is gone: its link pings twice a second and gives a silent
/// connection up after 5 s itself.
const MEMBER_SILENT_MAX: Duration = Duration::from_secs(15);

/// A client without a request under way may keep its connection for this long.
const CLIENT_IDLE_MAX: Duration = Duration::from_secs(600);

/// Longest frame of a client: one command and what is around it.
const CLIENT_BYTES_MAX: usize = COMMAND_BYTES_MAX + HELLO_BYTES_MAX;

/// Whom sessions tell.
#[derive(Clone)]
pub struct SessionTells {
    /// The router.
    pub asked: Recipient<PeerAsked>,
    /// The router.
    pub client: Recipient<ClientAsked>,
    /// Whoever receives transfers.
    pub transfer: Recipient<TransferArrived>,
    /// The watcher.
    pub heard: Recipient<PeerHeard>,
    /// The watcher.
    pub other_life: Recipient<OtherLifeSeen>,
}

/// What a session needs besides its connection.
pub(super) struct Session {
    pub(super) env: Env,
    pub(super) rules: Follower<Arc<DoorRules>>,
    pub(super) tell: SessionTells,
}

/// Why a session ended.
enum Ended {
    /// As it should: the other side closed, fell silent, or the node stops.
    Quietly(&'static str),
    /// The other side does not keep to the protocol, or is not welcome any more. It is told why.
    Refused(Refusal),
}

impl Session {
    /// The session's task.
    pub(super) async fn run(mut self, io: BoxIo, peer: String) {
        let limits =
            ConnectionLimits { frame_bytes_max: HELLO_BYTES_MAX, ..ConnectionLimits::default() };
        let mut connection = Connection::over(io, peer.clone(), limits);
        let writer = connection.writer.clone();
        let ended = match self.hear_hello(&mut connection).await {
            Ok(hello) => self.serve(hello, connection).await,
            Err(ended) => ended,
        };
        match ended {
            Ended::Quietly(why) => log::debug!(peer:%, why; "a connection ended"),
            Ended::Refused(refusal) => {
                self.log_refusal(&peer, &refusal);
                let _ = writer.try_send(frame(kind::REFUSAL, NO_ANSWER, &refusal));
            }
        }
    }

    /// Members of the cluster that this node is joining come before it has taken their ring: they will be back.
    fn log_refusal(&self, peer: &str, refusal: &Refusal) {
        if self.rules.current().joining && matches!(refusal, Refusal::OtherCluster { .. }) {
            log::info!(peer:%; "a member was earlier than the ring of the cluster being joined");
        } else {
            log::warn!(peer:%, reason:% = refusal; "a connection is refused");
        }
    }

    async fn hear_hello(&mut self, connection: &mut Connection) -> Result<Hello, Ended> {
        let first = self.env.clock.timeout(HELLO_WITHIN, connection.reader.next()).await;
        let first = first.map_err(|_| Ended::Quietly("no hello came"))?;
        let frame = self.readable(first)?;
        if frame.kind != kind::HELLO {
            return Err(self.malformed("the first frame must be a hello".to_owned()));
        }
        let hello = parse(&frame).map_err(|error| self.malformed(error.to_string()))?;
        let rules = self.rules.take();
        if let Err(refusal) = door(&rules).check(&hello) {
            if let Some(from) = hello.from.filter(|from| door(&rules).is_other_life_of_member(from))
            {
                self.tell.other_life.do_send(OtherLifeSeen(from));
            }
            return Err(Ended::Refused(refusal));
        }
        let welcome = frame_of_welcome(&rules);
        match connection.writer.try_send(welcome) {
            Ok(()) => Ok(hello),
            Err(_) => Err(Ended::Quietly("the connection ended before the welcome")),
        }
    }

    async fn serve(&mut self, hello: Hello, mut connection: Connection) -> Ended {
        let Hello { purpose, from, .. } = hello;
        let asked = self.tell.asked.clone();
        match (purpose, from) {
            (Purpose::Member, Some(from)) => {
                let limits = Limits { frame: FRAME_BYTES_MAX, silence: MEMBER_SILENT_MAX };
                let who = from.clone();
                let hand_on = move |message: PeerMessage, reply: Reply<PeerMessage>| {
                    if message == PeerMessage::Ping {
                        return reply.answer(PeerMessage::Pong);
                    }
                    asked.do_send(PeerAsked { from: who.clone(), message, reply });
                };
                self.talk(connection, limits, Some(from), hand_on).await
            }
            (Purpose::Join, Some(from)) => {
                let limits = Limits { frame: HELLO_BYTES_MAX, silence: MEMBER_SILENT_MAX };
                let hand_on = move |message: PeerMessage, reply: Reply<PeerMessage>| {
                    if message == PeerMessage::Ping {
                        reply.answer(PeerMessage::Pong);
                    } else if is_for_joiners(&message) {
                        asked.do_send(PeerAsked { from: from.clone(), message, reply });
                    } else {
                        let detail = "a node that joins may fetch the ring and stage its join";
                        reply.answer(PeerMessage::not_understood(detail.to_owned()));
                    }
                };
                self.talk(connection, limits, None, hand_on).await
            }
            (Purpose::Transfer, Some(from)) => {
                connection.reader.set_limit(FRAME_BYTES_MAX);
                let peer = connection.peer.clone();
                self.tell.transfer.do_send(TransferArrived { from, peer, connection });
                Ended::Quietly("it is a transfer's now")
            }
            (Purpose::Client, _) => {
                let limits = Limits { frame: CLIENT_BYTES_MAX, silence: CLIENT_IDLE_MAX };
                let client = self.tell.client.clone();
                let hand_on = move |message: ClientMessage, reply| {
                    client.do_send(ClientAsked { message, reply });
                };
                self.talk(connection, limits, None, hand_on).await
            }
            (Purpose::Member | Purpose::Join | Purpose::Transfer, None) => {
                self.malformed("a node must introduce itself".to_owned())
            }
        }
    }

    /// Serves requests until the connection ends. `member` is watched: whether it is heard, and whether
    /// it still belongs here.
    async fn talk<M: Request>(
        &mut self,
        connection: Connection,
        limits: Limits,
        member: Option<Introduction>,
        mut hand_on: impl FnMut(M, Reply<M>),
    ) -> Ended {
        let Connection { mut reader, writer, .. } = connection;
        reader.set_limit(limits.frame);
        // Waited for once, and not anew in every turn.
        let closed = writer.clone();
        let mut closed = pin!(closed.closed());
        let mut under_way = FuturesUnordered::new();
        let mut alarm = Alarm::unset(self.env.clock.clone());
        let mut heard = self.env.clock.now();
        let mut told =
            TellHeard { to: self.tell.heard.clone(), member: member.clone(), last: None };
        told.heard_at(heard);
        loop {
            alarm.no_later_than(heard.plus(limits.silence));
            tokio::select! {
                biased;
                changed = self.rules.changed() => match changed {
                    Ok(()) => if let Err(refusal) = self.judge_anew(member.as_ref()) {
                        return Ended::Refused(refusal);
                    },
                    Err(_) => return Ended::Quietly("the node stops"),
                },
                Some((id, message)) = under_way.next(), if !under_way.is_empty() => {
                    if let Err(WriteError::Closed) = respond(&writer, id, &message).await {
                        return Ended::Quietly("the peer took no more answers");
                    }
                }
                arrived = reader.next(), if under_way.len() < UNDER_WAY_MAX => {
                    let frame = match self.readable(arrived) {
                        Ok(frame) => frame,
                        Err(ended) => return ended,
                    };
                    heard = self.env.clock.now();
                    told.heard_at(heard);
                    if frame.kind != M::ASKS {
                        return self.malformed(format!("no frame of kind {} belongs here", frame.kind));
                    }
                    let id = frame.id;
                    let answer = ask::<M>(&frame, &mut hand_on);
                    under_way.push(answer.map(move |message| (id, message)));
                }
                () = &mut closed => return Ended::Quietly("the connection broke"),
                () = alarm.ring() => {
                    let now = self.env.clock.now();
                    if now >= heard.plus(limits.silence) && under_way.is_empty() {
                        return Ended::Quietly("the peer said nothing for too long");
                    }
                    // Who waits for an answer need not speak.
                    heard = if under_way.is_empty() { heard } else { now };
                }
            }
        }
    }

    fn readable(&self, arrived: Result<Option<Frame>, ConnectionError>) -> Result<Frame, Ended> {
        match arrived {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(Ended::Quietly("the peer closed it")),
            Err(ConnectionError::Frame(error)) => Err(self.malformed(error.to_string())),
            Err(ConnectionError::CutOff { .. } | ConnectionError::Io(_)) => {
                Err(Ended::Quietly("the connection broke"))
            }
        }
    }

    fn malformed(&self, detail: String) -> Ended {
        Ended::Refused(Refusal::Malformed { node: self.env.node.clone(), detail })
    }

    fn judge_anew(&self, member: Option<&Introduction>) -> Result<(), Refusal> {
        let rules = self.rules.current();
        member.map_or(Ok(()), |member| door(&rules).check_member(member))
    }
}

/// What a session's purpose allows.
struct Limits {
    /// Bytes of a frame's body.
    frame: usize,
    /// Silence while nothing is under way.
    silence: Duration,
}

/// Tells the watcher of a member, now and then.
struct TellHeard {
    to: Recipient<PeerHeard>,
    member: Option<Introduction>,
    last: Option<Moment>,
}

impl TellHeard {
    fn heard_at(&mut self, now: Moment) {
        let is_due = self.last.is_none_or(|last| now.since(last) >= HEARD_PAUSE);
        if let Some(member) = self.member.as_ref().filter(|_| is_due) {
            self.last = Some(now);
            self.to.do_send(PeerHeard(member.clone()));
        }
    }
}

fn frame_of_welcome(rules: &DoorRules) -> Frame {
    frame(kind::WELCOME, NO_ANSWER, &Welcome { from: rules.me.clone() })
}

fn is_for_joiners(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::FetchRing | PeerMessage::StageJoin(_))
}

/// Hands a request on. One that cannot be read is answered here: the frames around it are sound.
fn ask<M: Request>(frame: &Frame, hand_on: &mut impl FnMut(M, Reply<M>)) -> Answer<M> {
    match parse::<M>(frame) {
        Ok(message) => {
            let (reply, answer) = reply(message.if_dropped());
            hand_on(message, reply);
            answer
        }
        Err(error) => {
            let (reply, answer) = reply(M::not_understood(error.to_string()));
            drop(reply);
            answer
        }
    }
}

async fn respond<M: Request>(writer: &FrameWriter, id: u64, message: &M) -> Result<(), WriteError> {
    if id == NO_ANSWER {
        return Ok(());
    }
    match writer.send(frame(M::ANSWERS, id, message)).await {
        Err(error @ WriteError::TooLong { .. }) => {
            let instead = M::not_understood(error.to_string());
            writer.send(frame(M::ANSWERS, id, &instead)).await
        }
        other => other,
    }
}
