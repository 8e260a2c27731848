//! Commands on their way: from the check of a command to the answer of its client.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::agenda::{Due, RequestNumber};
use super::numbers::NO_NUMBERS;
use super::{Alarm, AttemptEnded, Coordinator, DEADLINE_MAX, Serving, UnderWay, answers};
use crate::protocol::id::{NodeName, Partition, Stamp, Token, VnodeRef};
use crate::protocol::quorum::{Quorum, Verdict};
use crate::protocol::request::{AttemptId, Directory, Effect, Event, Request, Role, Said, Start};
use crate::protocol::time::Moment;
use crate::runtime::message::{AskPeer, ExecuteHere, HintHere, PeerError, RunCommand};
use crate::runtime::observe::Observed;
use crate::runtime::reply::{self as replies, Reply};
use crate::runtime::vnode::Class;
use crate::runtime::vnode::kind::VnodeKind;
use crate::wire::message::{
    COMMAND_BYTES_MAX, Command, CommandAnswer, CommandError, Envelope, Execute, Hint, PeerMessage,
};

/// A command that is not run, and the one to tell.
type NotRun = (Reply<CommandAnswer>, CommandError);

impl Coordinator {
    /// Runs a command, or says why not.
    pub(super) fn run(&mut self, run: RunCommand, deadline: Moment, ctx: &mut Context<Self>) {
        if let Err((reply, refusal)) = self.begin(run, deadline, ctx) {
            self.report.refused += 1;
            reply.answer(CommandAnswer::Failed(refusal));
        }
    }

    /// Mints for a command and asks its replicas.
    fn begin(
        &mut self,
        run: RunCommand,
        deadline: Moment,
        ctx: &mut Context<Self>,
    ) -> Result<(), NotRun> {
        let RunCommand { command, reply } = run;
        let (kind, quorum) = match self.check(&command) {
            Ok(checked) => checked,
            Err(refusal) => return Err((reply, refusal)),
        };
        let Some(view) = self.knowledge.view(&command.vnode_type) else {
            return Err((reply, self.not_serving("it has no ring yet")));
        };
        let wall_millis = self.env.clock.wall_millis();
        let mint = self.mint.as_mut();
        let Some(Ok(minted)) = mint.map(|mint| mint.mint(command.op, wall_millis)) else {
            return Err((reply, self.not_serving(NO_NUMBERS)));
        };
        self.env.watched.saw(|| Observed::Minted {
            op: minted.op,
            dot: minted.dot,
            is_clients: command.op.is_some(),
        });
        let start = Start {
            hash: command.hash,
            quorum,
            stand_ins: kind.class() == Class::Merged && quorum.n() > 1,
            jitter: minted.dot.minter ^ minted.dot.counter,
            rules: self.rules,
        };
        let (request, effects) = match Request::start(start, &view) {
            Ok(started) => started,
            Err(error) => return Err((reply, CommandError::Illegal { reason: error.to_string() })),
        };
        let ring_size = view.size();
        let partition = ring_size.partition_of(command.hash);
        let envelope = Envelope {
            vnode: VnodeRef { vnode_type: command.vnode_type, partition },
            op: minted.op,
            stamp: minted.stamp,
            dot: minted.dot,
            deadline_ms: command.deadline_ms,
            command: command.command,
        };
        self.begun += 1;
        let number = self.begun;
        self.bytes += envelope.command.len();
        let under_way =
            UnderWay { request, kind, envelope, deadline, ring_size, reply: Some(reply) };
        self.requests.insert(number, Box::new(under_way));
        self.agenda.add(deadline, Due::Deadline(number));
        self.perform(number, effects, ctx);
        self.set_alarm(ctx);
        Ok(())
    }

    pub(super) fn not_serving(&self, reason: &str) -> CommandError {
        CommandError::NotServing { node: self.me.name.clone(), reason: reason.to_owned() }
    }

    /// Whether a command is legal and there is room for it.
    fn check(&mut self, command: &Command) -> Result<(Arc<dyn VnodeKind>, Quorum), CommandError> {
        if let Serving::Closed(waits_for) = &self.serving {
            return Err(self.not_serving(waits_for));
        }
        let illegal = |reason: String| Err(CommandError::Illegal { reason });
        let vnode_type = &command.vnode_type;
        let Some(kind) = self.kinds.get(vnode_type).cloned() else {
            return illegal(format!("this node hosts no vnode type '{vnode_type}'"));
        };
        let quorum = match Quorum::new(command.n, command.needed, command.owners_needed) {
            Ok(quorum) => quorum,
            Err(error) => return illegal(error.to_string()),
        };
        if kind.class() == Class::Single && quorum.n() != 1 {
            return illegal(format!(
                "'{vnode_type}' keeps one copy: n must be 1, not {}",
                command.n
            ));
        }
        let deadline_max = DEADLINE_MAX.as_millis();
        if command.deadline_ms == 0 || u128::from(command.deadline_ms) > deadline_max {
            let given = command.deadline_ms;
            return illegal(format!("a deadline is 1 to {deadline_max} ms, not {given}"));
        }
        let bytes = command.command.len();
        if bytes > COMMAND_BYTES_MAX {
            return illegal(format!(
                "a command has at most {COMMAND_BYTES_MAX} bytes, not {bytes}"
            ));
        }
        if !self.make_room(bytes) {
            let (node, limit) = (self.me.name.clone(), self.limits.requests);
            return Err(CommandError::Overloaded { node, limit });
        }
        Ok((kind, quorum))
    }

    /// Whether one more command may be under way. Tails give way to it, the oldest first.
    fn make_room(&mut self, bytes: usize) -> bool {
        let requests_max = self.limits.requests as usize;
        if self.requests.len() - self.tails.len() >= requests_max {
            return false;
        }
        while self.tails.len() >= requests_max || self.bytes + bytes > self.limits.bytes {
            let Some(oldest) = self.tails.first().copied() else { break };
            self.report.tails_dropped += 1;
            self.forget(oldest);
        }
        self.bytes + bytes <= self.limits.bytes
    }

    /// Tells a request what happened, and does what follows.
    pub(super) fn advance(&mut self, number: RequestNumber, event: Event, ctx: &mut Context<Self>) {
        let Some(under_way) = self.requests.get_mut(&number) else { return };
        if let Event::Replied { said: Said::Moved(_), .. } = &event {
            self.report.moved += 1;
        }
        let vnode_type = &under_way.envelope.vnode.vnode_type;
        let Some(view) = self.knowledge.view(vnode_type) else { return };
        let kind = under_way.kind.as_ref();
        let event = answers::understood(event, &under_way.request, kind);
        let effects = under_way.request.step(event, &view);
        let sends = effects.iter().filter(|effect| matches!(effect, Effect::Send { .. }));
        self.report.retries += sends.count() as u64;
        self.perform(number, effects, ctx);
        self.set_alarm(ctx);
    }

    /// Ends all commands: this node goes to another cluster, where they would mean something else.
    pub(super) fn end_all(&mut self) {
        for early in std::mem::take(&mut self.early) {
            self.report.refused += 1;
            let refusal = self.not_serving("it has just changed to another cluster");
            early.run.reply.answer(CommandAnswer::Failed(refusal));
        }
        let numbers: Vec<RequestNumber> = self.requests.keys().copied().collect();
        for number in numbers {
            if let Some(verdict) = self.verdict_of_now(number) {
                self.answer(number, verdict);
            }
            self.forget(number);
        }
    }

    /// What a command ends with that is given up, if its client still waits.
    fn verdict_of_now(&mut self, number: RequestNumber) -> Option<Verdict> {
        let under_way = self.requests.get_mut(&number)?;
        let view = self.knowledge.view(&under_way.envelope.vnode.vnode_type)?;
        let effects = under_way.request.step(Event::DeadlinePassed, &view);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Answer(Verdict::Failed {
                ok,
                needed,
                primaries_ok,
                primaries_needed,
                may_have_been_stored,
                failures,
                ..
            }) => Some(Verdict::Failed {
                ok,
                needed,
                primaries_ok,
                primaries_needed,
                deadline_passed: false,
                may_have_been_stored,
                failures,
            }),
            Effect::Answer(met @ Verdict::Met { .. }) => Some(met),
            Effect::Send { .. }
            | Effect::Restamp { .. }
            | Effect::After { .. }
            | Effect::Learned { .. } => None,
        })
    }

    fn perform(&mut self, number: RequestNumber, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                Effect::Send { attempt, partition, to, token, role } => {
                    self.send(number, Sending { attempt, partition, to, token, role }, ctx);
                }
                Effect::Restamp { above } => self.restamp(number, above),
                Effect::After { pause, wait } => {
                    let at = self.env.clock.now().plus(wait);
                    self.agenda.add(at, Due::Pause(number, pause));
                }
                Effect::Learned { partition, held } => {
                    if let Some(under_way) = self.requests.get(&number) {
                        let vnode_type = under_way.envelope.vnode.vnode_type.clone();
                        self.knowledge.learn(&VnodeRef { vnode_type, partition }, &held);
                    }
                }
                Effect::Answer(verdict) => self.answer(number, verdict),
            }
        }
        if self.requests.get(&number).is_some_and(|under_way| under_way.request.is_over()) {
            self.forget(number);
        }
    }

    /// What is sent from now on is newer than what a replica holds.
    fn restamp(&mut self, number: RequestNumber, held: Stamp) {
        let wall_millis = self.env.clock.wall_millis();
        if let (Some(under_way), Some(mint)) = (self.requests.get_mut(&number), &mut self.mint) {
            under_way.envelope.stamp = mint.restamp(held, wall_millis);
            self.report.restamped += 1;
            let (op, stamp) = (under_way.envelope.op, under_way.envelope.stamp);
            log::debug!(op:%, held:?, stamp:?; "a write was overtaken and is stamped anew");
        }
    }

    fn send(&mut self, number: RequestNumber, sending: Sending, ctx: &mut Context<Self>) {
        let Some(under_way) = self.requests.get(&number) else { return };
        let Sending { attempt, partition, to, token, role } = sending;
        let (deadline, now) = (under_way.deadline, self.env.clock.now());
        // A replica that did not execute it in time can still say so.
        let answer_by = deadline.answer_by(now);
        let mut envelope = under_way.envelope.clone();
        envelope.vnode.partition = partition;
        envelope.deadline_ms = millis_until(answer_by, now);
        let is_here = to == self.me.name;
        let coordinator = ctx.address();
        match (role, is_here) {
            (Role::Owner, true) => {
                let (reply, answer) = replies::reply(answers::UNANSWERED);
                let execute = Execute { envelope, token, forwarded: None };
                self.links.execute_here.do_send(ExecuteHere {
                    execute,
                    deadline: answer_by,
                    reply,
                });
                hear(coordinator, number, async move { answers::here(attempt, answer.await) });
            }
            (Role::StandIn { instead_of }, true) => {
                self.report.hints += 1;
                let (reply, answer) = replies::reply(answers::UNANSWERED);
                let hint = Hint { envelope, token, instead_of };
                self.links.hint_here.do_send(HintHere { hint, deadline: answer_by, reply });
                hear(coordinator, number, async move { answers::here(attempt, answer.await) });
            }
            (role, false) => {
                let message = match role {
                    Role::Owner => {
                        PeerMessage::Execute(Box::new(Execute { envelope, token, forwarded: None }))
                    }
                    Role::StandIn { instead_of } => {
                        self.report.hints += 1;
                        PeerMessage::Hint(Box::new(Hint { envelope, token, instead_of }))
                    }
                };
                let (reply, answer) = replies::reply(Err(PeerError::Lost));
                self.links.ask_peer.do_send(AskPeer { to, message, deadline, reply });
                hear(coordinator, number, async move { answers::there(attempt, answer.await) });
            }
        }
    }

    fn answer(&mut self, number: RequestNumber, verdict: Verdict) {
        let Some(under_way) = self.requests.get_mut(&number) else { return };
        let Some(reply) = under_way.reply.take() else { return };
        match &verdict {
            Verdict::Met { strict, .. } => {
                self.report.met += 1;
                self.report.met_sloppily += u64::from(!strict);
                self.tails.insert(number);
            }
            Verdict::Failed { .. } => {
                self.report.failed += 1;
                log::debug!(op:% = under_way.envelope.op, verdict:?; "a command failed");
            }
        }
        let (kind, size) = (under_way.kind.as_ref(), under_way.ring_size);
        reply.answer(answers::told(verdict, kind, size, &self.me.name));
    }

    /// Makes sure that the coordinator is woken when the next thing is due.
    pub(super) fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.agenda.next_at() else { return };
        match self.alarm {
            Some((at, _)) if at <= next => return,
            Some((_, Some(timer))) => drop(self.timers.cancel(timer)),
            Some((_, None)) | None => {}
        }
        let coordinator = ctx.address();
        let timer = match self.timers.at(next, coordinator.clone().recipient(), Alarm) {
            Ok(timer) => Some(timer),
            Err(error) => {
                log::warn!(error:%; "the coordinator waits by itself");
                let waiting = self.env.clock.sleep_until(next);
                actix_rt::spawn(async move {
                    waiting.await;
                    coordinator.do_send(Alarm);
                });
                None
            }
        };
        self.alarm = Some((next, timer));
    }

    /// Puts something on the agenda.
    pub(super) fn remind(&mut self, wait: Duration, due: Due, ctx: &mut Context<Self>) {
        self.agenda.add(self.env.clock.now().plus(wait), due);
        self.set_alarm(ctx);
    }

    fn forget(&mut self, number: RequestNumber) {
        if let Some(under_way) = self.requests.remove(&number) {
            self.bytes -= under_way.envelope.command.len();
            self.agenda.remove(under_way.deadline, Due::Deadline(number));
            self.tails.remove(&number);
        }
    }
}

/// Passes an attempt's end on to the coordinator. Dropping the wait would not stop the attempt, only lose
/// its end.
fn hear(
    coordinator: Addr<Coordinator>,
    request: RequestNumber,
    ending: impl Future<Output = Event> + 'static,
) {
    actix_rt::spawn(async move {
        let event = ending.await;
        coordinator.do_send(AttemptEnded { request, event });
    });
}

/// Time left, rounded up, so that the last replica asked has some.
fn millis_until(deadline: Moment, now: Moment) -> u32 {
    let micros = deadline.since(now).as_micros();
    u32::try_from(micros.div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// [`Effect::Send`], apart from the other effects.
struct Sending {
    attempt: AttemptId,
    partition: Partition,
    to: NodeName,
    token: Token,
    role: Role,
}
