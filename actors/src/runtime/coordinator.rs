//! The coordinator: runs clients' commands with their quorums.
//!
//! Owns: the requests under way, what is known of the ring, of tokens and of who is up, and the mint of
//! operation ids, stamps and dots.
//! Hears: commands from sessions, what other actors learn of the cluster, the ends of its own attempts.
//! Tells: the vnode host, for partitions that this node holds or keeps hints for; the peers, for all others.
//!
//! Whom to ask, when again and what to answer is decided by [`Request`]. This actor does not know what a
//! command means; it combines the replies of a quorum as the vnode type says.

mod agenda;
mod answers;
mod knowledge;
mod minting;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde::{Deserialize, Serialize};

use self::agenda::{Agenda, Due, RequestNumber};
use self::knowledge::Knowledge;
use self::minting::{Mint, Reserved};
use crate::protocol::hash::RingSize;
use crate::protocol::id::{NodeId, Stamp, VnodeType};
use crate::protocol::request::{Event, Request};
use crate::protocol::time::Moment;
use crate::runtime::env::Env;
use crate::runtime::message::{
    AskPeer, ExecuteHere, HintHere, LivenessChanged, RingChanged, RunCommand, ServingChanged,
    TokensLearned,
};
use crate::runtime::records::{self, LoadError, Loaded, SaveError};
use crate::runtime::reply::Reply;
use crate::runtime::timers::{TimerId, Timers};
use crate::runtime::vnode::kind::VnodeKind;
use crate::wire::message::{CommandAnswer, Envelope};

/// The longest time a client may give a command.
pub const DEADLINE_MAX: Duration = Duration::from_secs(600);

/// The record in which numbers are reserved.
const RECORD: &str = "coordinator";

/// How long the disk is left alone after it refused to reserve numbers.
const RESERVE_AGAIN: Duration = Duration::from_secs(1);

/// Whom the coordinator tells.
#[derive(Clone)]
pub struct CoordinatorLinks {
    /// Executes commands at this node's vnodes.
    pub execute_here: Recipient<ExecuteHere>,
    /// Keeps hints at this node.
    pub hint_here: Recipient<HintHere>,
    /// Asks other members.
    pub ask_peer: Recipient<AskPeer>,
}

/// How much the coordinator takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoordinatorLimits {
    /// Commands whose client waits. Default 4,096. As many whose client was answered may be asked on.
    pub requests: u32,
    /// Bytes of all commands under way. Default 256 MiB: a node that is asked for more is asked for more
    /// than it can send on.
    pub bytes: usize,
}

impl Default for CoordinatorLimits {
    fn default() -> Self {
        Self { requests: 4_096, bytes: 256 * 1024 * 1024 }
    }
}

/// Counts of what a coordinator did since it started.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorReport {
    /// Commands whose client waits.
    pub waiting: u64,
    /// Commands whose client was answered and whose other replicas are still asked.
    pub tails: u64,
    /// Commands that met their quorum.
    pub met: u64,
    /// Of those, the ones that needed stand-ins.
    pub met_sloppily: u64,
    /// Commands that did not meet it.
    pub failed: u64,
    /// Commands that were refused before anything was sent.
    pub refused: u64,
    /// Answers that named a higher token.
    pub moved: u64,
    /// Attempts beyond the first at each replica.
    pub retries: u64,
    /// Attempts at stand-ins.
    pub hints: u64,
    /// Answers to requests that were over.
    pub late: u64,
    /// Tails given up to make room for newer commands.
    pub tails_dropped: u64,
}

/// What did the coordinator do? Asking changes nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "CoordinatorReport")]
pub struct ObserveCoordinator;

/// A stamp was seen that another coordinator minted. Later commands of this one get higher stamps, so that
/// a client that read the one and writes through the other is not overruled by its own read.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StampSeen(pub Stamp);

/// A command under way.
struct UnderWay {
    request: Request,
    kind: Arc<dyn VnodeKind>,
    envelope: Envelope,
    deadline: Moment,
    ring_size: RingSize,
    /// `None` once the client is answered.
    reply: Option<Reply<CommandAnswer>>,
}

/// Whether commands are taken.
enum Serving {
    /// Yes.
    Open,
    /// Not yet or not any more; this is what the node waits for.
    Closed(String),
}

/// The coordinator of one node.
pub struct Coordinator {
    env: Env,
    me: NodeId,
    timers: Timers,
    links: CoordinatorLinks,
    limits: CoordinatorLimits,
    kinds: BTreeMap<VnodeType, Arc<dyn VnodeKind>>,
    serving: Serving,
    knowledge: Knowledge,
    /// `None` until the record was read.
    mint: Option<Mint>,
    /// Whether a write of the record is under way.
    is_reserving: bool,
    requests: BTreeMap<RequestNumber, Box<UnderWay>>,
    /// Requests whose client is answered, the oldest first.
    tails: BTreeSet<RequestNumber>,
    bytes: usize,
    begun: RequestNumber,
    agenda: Agenda,
    /// When it rings. `None` in it when no timer was free and a task of its own waits instead.
    alarm: Option<(Moment, Option<TimerId>)>,
    report: CoordinatorReport,
}

/// An attempt has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct AttemptEnded {
    request: RequestNumber,
    event: Event,
}

/// Something on the agenda is due.
#[derive(Message)]
#[rtype(result = "()")]
struct Alarm;

impl Coordinator {
    /// The coordinator of a node that starts: it knows no ring and takes no commands yet.
    #[must_use]
    pub fn starting(
        env: &Env,
        timers: &Timers,
        me: NodeId,
        links: CoordinatorLinks,
        kinds: Vec<Arc<dyn VnodeKind>>,
    ) -> Self {
        Self {
            me,
            links,
            limits: CoordinatorLimits::default(),
            kinds: kinds.into_iter().map(|kind| (kind.name().clone(), kind)).collect(),
            serving: Serving::Closed("the node is starting".to_owned()),
            knowledge: Knowledge::default(),
            mint: None,
            is_reserving: false,
            requests: BTreeMap::new(),
            tails: BTreeSet::new(),
            bytes: 0,
            begun: 0,
            agenda: Agenda::default(),
            alarm: None,
            report: CoordinatorReport::default(),
            timers: timers.clone(),
            env: env.clone(),
        }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: CoordinatorLimits) -> Self {
        Self { limits, ..self }
    }

    fn load_mint(&self, ctx: &mut Context<Self>) {
        let disk = Arc::clone(&self.env.disk);
        let loading = async move { records::load::<Reserved>(disk.as_ref(), RECORD).await };
        ctx.spawn(loading.into_actor(self).map(|loaded, this, ctx| this.mint_loaded(loaded, ctx)));
    }

    fn mint_loaded(
        &mut self,
        loaded: Result<Option<Loaded<Reserved>>, LoadError>,
        ctx: &mut Context<Self>,
    ) {
        match loaded {
            Ok(earlier) => {
                self.mint = Some(Mint::after(&self.me, earlier.as_ref()));
                self.reserve(ctx);
            }
            Err(error) => {
                log::error!(error:%; "commands are not taken: the numbers of earlier ones cannot be read");
                self.remind(RESERVE_AGAIN, Due::Reservation, ctx);
            }
        }
    }

    /// Reserves the next block of numbers, if it is time to and no other block is being written.
    fn reserve(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.mint.as_ref().and_then(Mint::wants) else { return };
        if self.is_reserving {
            return;
        }
        self.is_reserving = true;
        let saving = records::save(self.env.disk.as_ref(), RECORD, &next);
        ctx.spawn(
            saving
                .into_actor(self)
                .map(move |saved, this, ctx| this.reserved(next.upper, saved, ctx)),
        );
    }

    fn reserved(&mut self, upper: u64, saved: Result<(), SaveError>, ctx: &mut Context<Self>) {
        self.is_reserving = false;
        match (saved, &mut self.mint) {
            (Ok(()), Some(mint)) => mint.reserved(upper),
            (Ok(()), None) => {}
            (Err(error), _) => {
                log::error!(error:%; "no numbers for commands could be reserved");
                self.remind(RESERVE_AGAIN, Due::Reservation, ctx);
            }
        }
    }

    fn do_due(&mut self, due: Due, ctx: &mut Context<Self>) {
        match due {
            Due::Pause(request, pause) => self.advance(request, Event::TimerFired(pause), ctx),
            Due::Deadline(request) => self.advance(request, Event::DeadlinePassed, ctx),
            Due::Reservation if self.mint.is_none() => self.load_mint(ctx),
            Due::Reservation => self.reserve(ctx),
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.load_mint(ctx);
    }
}

impl Handler<RunCommand> for Coordinator {
    type Result = ();

    fn handle(&mut self, run: RunCommand, ctx: &mut Self::Context) {
        if let Err((reply, refusal)) = self.begin(run, ctx) {
            self.report.refused += 1;
            reply.answer(CommandAnswer::Failed(refusal));
        }
        self.reserve(ctx);
    }
}

impl Handler<AttemptEnded> for Coordinator {
    type Result = ();

    fn handle(&mut self, ended: AttemptEnded, ctx: &mut Self::Context) {
        if !self.requests.contains_key(&ended.request) {
            self.report.late += 1;
        }
        self.advance(ended.request, ended.event, ctx);
    }
}

impl Handler<Alarm> for Coordinator {
    type Result = ();

    fn handle(&mut self, _: Alarm, ctx: &mut Self::Context) {
        self.alarm = None;
        let now = self.env.clock.now();
        while let Some(due) = self.agenda.take(now) {
            self.do_due(due, ctx);
        }
        self.set_alarm(ctx);
    }
}

impl Handler<RingChanged> for Coordinator {
    type Result = ();

    fn handle(&mut self, RingChanged(ring): RingChanged, _: &mut Self::Context) {
        self.knowledge.adopt(ring);
    }
}

impl Handler<TokensLearned> for Coordinator {
    type Result = ();

    fn handle(&mut self, TokensLearned(learned): TokensLearned, ctx: &mut Self::Context) {
        let news = learned.iter().filter(|(vnode, held)| self.knowledge.learn(vnode, held));
        let news: BTreeMap<_, _> = news.map(|(vnode, held)| (vnode, held)).collect();
        if news.is_empty() {
            return;
        }
        let about = |number: RequestNumber, under_way: &UnderWay| {
            let mut vnode = under_way.envelope.vnode.clone();
            let partitions = under_way.request.partitions();
            let of_this = partitions.filter_map(|partition| {
                vnode.partition = partition;
                let held = (*news.get(&vnode)?).clone();
                Some((number, Event::TokenLearned { partition, held }))
            });
            of_this.collect::<Vec<_>>()
        };
        let requests = self.requests.iter();
        let events: Vec<_> =
            requests.flat_map(|(&number, under_way)| about(number, under_way)).collect();
        for (number, event) in events {
            self.advance(number, event, ctx);
        }
    }
}

impl Handler<LivenessChanged> for Coordinator {
    type Result = ();

    fn handle(&mut self, LivenessChanged(up): LivenessChanged, ctx: &mut Self::Context) {
        let gone = self.knowledge.alive(up);
        if gone.is_empty() {
            return;
        }
        let numbers: Vec<RequestNumber> = self.requests.keys().copied().collect();
        for number in numbers {
            for node in &gone {
                self.advance(number, Event::PeerDown(node.clone()), ctx);
            }
        }
    }
}

impl Handler<ServingChanged> for Coordinator {
    type Result = ();

    fn handle(&mut self, changed: ServingChanged, _: &mut Self::Context) {
        self.serving = match changed.waits_for {
            None => Serving::Open,
            Some(reason) => Serving::Closed(reason),
        };
    }
}

impl Handler<StampSeen> for Coordinator {
    type Result = ();

    fn handle(&mut self, StampSeen(stamp): StampSeen, _: &mut Self::Context) {
        if let Some(mint) = &mut self.mint {
            mint.observe(stamp, self.env.clock.wall_millis());
        }
    }
}

impl Handler<ObserveCoordinator> for Coordinator {
    type Result = MessageResult<ObserveCoordinator>;

    fn handle(&mut self, _: ObserveCoordinator, _: &mut Self::Context) -> Self::Result {
        let tails = self.tails.len();
        let waiting = self.requests.len().saturating_sub(tails);
        let report =
            CoordinatorReport { waiting: waiting as u64, tails: tails as u64, ..self.report };
        MessageResult(report)
    }
}

#[cfg(test)]
mod tests;
