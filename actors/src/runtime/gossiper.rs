//! The actor that spreads what this node knows.
//!
//! Owns: news that wait a moment for company, and the pace at which each member is asked.
//! Hears: [`Spread`] and [`PassOn`] from the ring manager and the vnode host, [`DigestArrived`] from the router,
//! [`LivenessChanged`] from the watcher.
//! Tells: other members, through [`TellPeer`] and [`AskPeer`]; the ring manager what came back.
//!
//! News are pushed; what a push missed is found by comparing digests with one random member a second.
//! It keeps no copy of what the node knows, and judges nothing that arrives.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, WrapFuture,
};

use crate::protocol::gossip::{GossipDigest, Part};
use crate::protocol::id::NodeName;
use crate::protocol::time::Moment;
use crate::runtime::env::Env;
use crate::runtime::message::{AskPeer, LivenessChanged, PeerError, TellPeer};
use crate::runtime::network::message::{
    DigestArrived, GossipArrived, GossipGiven, GossipWanted, PassOn, Spread,
};
use crate::runtime::reply::{Answer, reply};
use crate::runtime::rng::Rng;
use crate::runtime::timers::Timers;
use crate::wire::message::PeerMessage;

/// Up to so many other members, each is told directly.
pub const TOLD_DIRECTLY_MAX: usize = 16;

/// How long news wait for more of them. A burst of tokens then is one message.
const COMPANY_WAIT: Duration = Duration::from_millis(1);

/// Two pushes are at least this far apart: no member gets more than 20 a second from one other.
const PUSH_PAUSE: Duration = Duration::from_millis(50);

/// How often this node compares itself with one other, and how often it asks the same one at most.
const TURN: Duration = Duration::from_secs(1);

/// How long an answer to a digest may take. It may hold all tokens of a large ring.
const PULL_WITHIN: Duration = Duration::from_secs(5);

/// Messages that wait while a burst of news is joined.
const MAILBOX: usize = 1_024;

/// Whom the gossiper tells.
pub struct GossiperTells {
    /// The links.
    pub tell_peer: Recipient<TellPeer>,
    /// The links.
    pub ask_peer: Recipient<AskPeer>,
    /// The ring manager.
    pub wanted: Recipient<GossipWanted>,
    /// The ring manager.
    pub arrived: Recipient<GossipArrived>,
}

/// Spreads news, and finds out what was missed.
pub struct Gossiper {
    env: Env,
    rng: Rng,
    timers: Timers,
    tell: GossiperTells,
    /// Other members that are up.
    up: BTreeSet<NodeName>,
    /// What waits for the next push. There is a timer for it if it is something.
    news: Option<Part>,
    pushed: Option<Moment>,
    /// When each member was last asked.
    asked: BTreeMap<NodeName, Moment>,
}

/// Time to push.
#[derive(Message)]
#[rtype(result = "()")]
struct Push;

/// Time to compare with somebody.
#[derive(Message)]
#[rtype(result = "()")]
struct Turn;

impl Gossiper {
    /// Knows of no other member until [`LivenessChanged`] comes.
    #[must_use]
    pub fn alone(env: Env, timers: Timers, tell: GossiperTells) -> Self {
        Self {
            rng: env.rng.fork("gossip"),
            env,
            timers,
            tell,
            up: BTreeSet::new(),
            news: None,
            pushed: None,
            asked: BTreeMap::new(),
        }
    }

    /// Adds to what waits, and has it pushed soon.
    fn add(&mut self, part: Part, ctx: &Context<Self>) {
        match &mut self.news {
            Some(news) if news.cluster == part.cluster => return news.absorb(part),
            // The node has changed its cluster: what it knew of the former one is of no use.
            Some(news) => {
                *news = part;
                return;
            }
            None => self.news = Some(part),
        }
        let now = self.env.clock.now();
        let soon = now.plus(COMPANY_WAIT);
        let due = self.pushed.map_or(soon, |pushed| soon.max(pushed.plus(PUSH_PAUSE)));
        if self.timers.at(due, ctx.address().recipient(), Push).is_err() {
            self.push();
        }
    }

    fn push(&mut self) {
        let Some(part) = self.news.take() else { return };
        self.pushed = Some(self.env.clock.now());
        let up: Vec<NodeName> = self.up.iter().cloned().collect();
        let wanted = told_at_once(up.len());
        for to in some_of(up, wanted, &self.rng) {
            let message = PeerMessage::Gossip(Box::new(part.clone()));
            self.tell.tell_peer.do_send(TellPeer { to, message });
        }
    }

    /// Asks the ring manager what this node knows.
    fn given(&self, theirs: Option<Box<GossipDigest>>) -> Answer<Option<GossipGiven>> {
        let (reply, given) = reply(None);
        self.tell.wanted.do_send(GossipWanted { theirs, reply });
        given
    }

    /// Asks a member for what this node lacks, unless it was asked a moment ago.
    fn pull(&mut self, from: NodeName, mine: GossipDigest, ctx: &mut Context<Self>) {
        let now = self.env.clock.now();
        if self.asked.get(&from).is_some_and(|asked| now.since(*asked) < TURN) {
            return;
        }
        self.asked.insert(from.clone(), now);
        let (reply, answer) = reply(Err(PeerError::NotSent("the links have ended".to_owned())));
        let message = PeerMessage::GossipDigest(Box::new(mine));
        let deadline = now.plus(PULL_WITHIN);
        self.tell.ask_peer.do_send(AskPeer { to: from.clone(), message, deadline, reply });
        let arrived = self.tell.arrived.clone();
        let waiting = async move {
            match answer.await {
                Ok(PeerMessage::Gossip(part)) if part.is_empty() => {}
                Ok(PeerMessage::Gossip(part)) => {
                    arrived.do_send(GossipArrived { from, part: *part });
                }
                Ok(other) => log::warn!(peer:% = from, answer:? = other; "no answer to a digest"),
                Err(error) => log::debug!(peer:% = from, error:%; "no answer to a digest"),
            }
        };
        ctx.spawn(waiting.into_actor(self));
    }

    fn next_turn(&self, wait: Duration, ctx: &mut Context<Self>) {
        if self.timers.after(wait, ctx.address().recipient(), Turn).is_err() {
            // The actor's own timer may come late, but it comes.
            ctx.notify_later(Turn, wait);
        }
    }
}

/// How many of so many members are told at once; the rest hear of it from them.
///
/// Source: Kermarrec, Massoulie and Ganesh, "Probabilistic Reliable Dissemination in Large-Scale Systems", 2003:
/// when each of n tells ln n + c others once, all hear of it with probability e^(-e^-c). Here c is above 3 and
/// grows with n.
fn told_at_once(members: usize) -> usize {
    if members <= TOLD_DIRECTLY_MAX {
        return members;
    }
    3 + members.next_power_of_two().ilog2() as usize
}

/// Some members, each set of so many equally likely.
fn some_of(mut members: Vec<NodeName>, wanted: usize, rng: &Rng) -> Vec<NodeName> {
    let count = members.len();
    if wanted >= count {
        return members;
    }
    for place in 0..wanted {
        let ahead = usize::try_from(rng.below((count - place) as u64)).unwrap_or(0);
        members.swap(place, place + ahead);
    }
    members.truncate(wanted);
    members
}

impl Actor for Gossiper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        // Members that start together need not take their turns together.
        let micros = u64::try_from(TURN.as_micros()).unwrap_or(u64::MAX);
        self.next_turn(Duration::from_micros(self.rng.below(micros)), ctx);
    }
}

impl Handler<Spread> for Gossiper {
    type Result = ();

    fn handle(&mut self, Spread(part): Spread, ctx: &mut Context<Self>) {
        self.add(part, ctx);
    }
}

impl Handler<PassOn> for Gossiper {
    type Result = ();

    fn handle(&mut self, PassOn(part): PassOn, ctx: &mut Context<Self>) {
        if self.up.len() > TOLD_DIRECTLY_MAX {
            self.add(part, ctx);
        }
    }
}

impl Handler<Push> for Gossiper {
    type Result = ();

    fn handle(&mut self, Push: Push, _: &mut Context<Self>) {
        self.push();
    }
}

impl Handler<Turn> for Gossiper {
    type Result = ();

    fn handle(&mut self, Turn: Turn, ctx: &mut Context<Self>) {
        self.next_turn(TURN, ctx);
        let up: Vec<NodeName> = self.up.iter().cloned().collect();
        let Some(with) = some_of(up, 1, &self.rng).pop() else { return };
        let compare = self.given(None).into_actor(self).map(|given, actor, ctx| {
            if let Some(given) = given {
                actor.pull(with, given.digest, ctx);
            }
        });
        ctx.spawn(compare);
    }
}

impl Handler<DigestArrived> for Gossiper {
    type Result = ();

    fn handle(&mut self, arrived: DigestArrived, ctx: &mut Context<Self>) {
        let DigestArrived { from, digest, reply } = arrived;
        let given = self.given(Some(digest.clone())).into_actor(self);
        let compare = given.map(move |given, actor, ctx| {
            let Some(GossipGiven { digest: mine, missing }) = given else { return };
            reply.answer(PeerMessage::Gossip(Box::new(missing)));
            if mine != *digest {
                actor.pull(from, mine, ctx);
            }
        });
        ctx.spawn(compare);
    }
}

impl Handler<LivenessChanged> for Gossiper {
    type Result = ();

    fn handle(&mut self, LivenessChanged(up): LivenessChanged, _: &mut Context<Self>) {
        self.up = up.iter().filter(|name| **name != self.env.node).cloned().collect();
        self.asked.retain(|name, _| self.up.contains(name));
    }
}
