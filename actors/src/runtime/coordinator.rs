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
mod numbers;
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde::{Deserialize, Serialize};

use self::agenda::{Agenda, Due, RequestNumber};
use self::knowledge::Knowledge;
use self::minting::Mint;
use self::numbers::LINKS_WAIT_MAX;
use crate::protocol::hash::RingSize;
use crate::protocol::id::{NodeId, Stamp, VnodeType};
use crate::protocol::request::{Event, Request};
use crate::protocol::rules::Rules;
use crate::protocol::time::Moment;
use crate::runtime::env::Env;
use crate::runtime::message::{
    AskPeer, ExecuteHere, HintHere, LivenessChanged, RingChanged, RunCommand, ServingChanged,
    TokensLearned,
};
use crate::runtime::network::message::IncarnationSeen;
use crate::runtime::reply::Reply;
use crate::runtime::timers::{TimerId, Timers};
use crate::runtime::vnode::kind::VnodeKind;
use crate::wire::message::{CommandAnswer, Envelope};

/// The longest time a client may give a command.
pub const DEADLINE_MAX: Duration = Duration::from_secs(600);

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
    /// Times a write was given a higher stamp because a replica held something newer.
    pub restamped: u64,
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

/// Answered as soon as commands are taken: there is a ring, this node is up, numbers are reserved and nothing
/// is waited for.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UntilServing(pub Reply<()>);

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

/// A command that came before there were numbers for it, or links.
struct EarlyCommand {
    run: RunCommand,
    /// When it is too late to run it.
    deadline: Moment,
    /// When it is refused at the latest.
    until: Moment,
}

/// How the record of numbers stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reservation {
    /// Nothing is asked of the disk.
    Idle,
    /// The record is read or written.
    UnderWay,
    /// The disk refused; it is asked again later.
    Failed,
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
    rules: Rules,
    kinds: BTreeMap<VnodeType, Arc<dyn VnodeKind>>,
    serving: Serving,
    /// Who waits until commands are taken.
    waiting: Vec<Reply<()>>,
    knowledge: Knowledge,
    /// `None` until the record was read.
    mint: Option<Mint>,
    reservation: Reservation,
    /// Until then commands wait for members that were never met.
    links_by: Moment,
    /// Commands that wait for the first numbers or links, in the order in which they came.
    early: Vec<EarlyCommand>,
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
        let mut knowledge = Knowledge::default();
        knowledge.meet(me.clone());
        Self {
            me,
            links,
            limits: CoordinatorLimits::default(),
            rules: Rules::default(),
            kinds: kinds.into_iter().map(|kind| (kind.name().clone(), kind)).collect(),
            serving: Serving::Closed("the node is starting".to_owned()),
            waiting: Vec::new(),
            knowledge,
            mint: None,
            reservation: Reservation::UnderWay,
            links_by: Moment::START,
            early: Vec::new(),
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

    /// The same by given rules.
    #[must_use]
    pub fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Tells those who wait for it that commands are taken, if they are.
    fn tell_if_serving(&mut self) {
        let is_open = matches!(self.serving, Serving::Open);
        let can_mint = self.mint.as_ref().is_some_and(Mint::has_numbers);
        if is_open && can_mint && self.knowledge.is_complete(&self.me.name) {
            for waits in std::mem::take(&mut self.waiting) {
                waits.answer(());
            }
        }
    }

    fn do_due(&mut self, due: Due, ctx: &mut Context<Self>) {
        match due {
            Due::Pause(request, pause) => self.advance(request, Event::TimerFired(pause), ctx),
            Due::Deadline(request) => self.advance(request, Event::DeadlinePassed, ctx),
            Due::Reservation => self.reserve_again(ctx),
            Due::EarlyCommand => self.end_early(ctx),
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
        let left = Duration::from_millis(u64::from(run.command.deadline_ms));
        let deadline = self.env.clock.now().plus(left);
        if self.numbers_are_near() || self.links_are_near(&run.command) {
            self.keep_early(run, deadline, ctx);
        } else {
            self.run(run, deadline, ctx);
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
        if self.knowledge.is_of_another_cluster(&ring) {
            self.end_all();
        }
        if self.knowledge.adopt(ring) {
            self.links_by = self.env.clock.now().plus(LINKS_WAIT_MAX);
        }
        self.tell_if_serving();
    }
}

impl Handler<IncarnationSeen> for Coordinator {
    type Result = ();

    fn handle(&mut self, IncarnationSeen { node, .. }: IncarnationSeen, _: &mut Self::Context) {
        self.knowledge.meet(node);
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
        self.tell_if_serving();
        self.run_early(ctx);
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
        self.tell_if_serving();
    }
}

impl Handler<UntilServing> for Coordinator {
    type Result = ();

    fn handle(&mut self, UntilServing(waits): UntilServing, _: &mut Self::Context) {
        self.waiting.push(waits);
        self.tell_if_serving();
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
