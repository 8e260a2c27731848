//! Commands at a vnode: admission by token, execution, the author's choice during a handoff, forwarding to
//! the target of a fence, and the queue of a target that waits for its grant.

use actix::prelude::*;
use bytes::Bytes;

use super::actor::{CHANGES_WAITING_BYTES_MAX, VnodeActor};
use super::message::Admitted;
use super::over_items::position_of;
use super::raw::{Change, Changes, RawAnswer};
use super::{CommandContext, HandoffChoice};
use crate::protocol::handoff::{Admission, Asked, Handoff, Outgoing, Refused};
use crate::protocol::id::Token;
use crate::protocol::time::Moment;
#[cfg(tanodb_mutants)]
use crate::protocol::{id::OpId, mutant::Mutant};
use crate::runtime::message::{AskPeer, PeerError};
use crate::runtime::observe::Observed;
use crate::runtime::reply::reply;
use crate::wire::message::{CancelReason, Outcome, PeerMessage};

impl Handler<Admitted> for VnodeActor {
    type Result = ();

    fn handle(&mut self, admitted: Admitted, ctx: &mut Self::Context) {
        self.admit(admitted, ctx);
    }
}

impl VnodeActor {
    /// Sends a command where the vnode's state says it runs.
    pub(super) fn admit(&mut self, admitted: Admitted, ctx: &mut Context<Self>) {
        if self.links.env.clock.now() >= admitted.deadline {
            admitted.reply.answer(Outcome::Expired);
            #[cfg(tanodb_mutants)]
            if self.links.settings.rules.breaks(Mutant::ExpiredKeepPermits) {
                admitted.permit.forget();
            }
            return;
        }
        let asked =
            Asked { believed: admitted.execute.token, forwarded: admitted.execute.forwarded };
        let (known, rules) = (admitted.known.as_ref(), self.links.settings.rules);
        match self.handoff.admit(asked, known, &self.links.me, rules) {
            Admission::Execute => self.execute(admitted, ctx),
            Admission::AuthorChooses => self.ask_author(admitted, ctx),
            Admission::Forward(outgoing) => self.forward(&outgoing, admitted, ctx),
            Admission::Queue => self.park(admitted, Shelf::Queue, ctx),
            Admission::Refuse(refused) => admitted.reply.answer(match refused {
                Refused::Moved(token, holder) => Outcome::Moved { token, holder },
                Refused::Behind(token) => Outcome::Behind { token },
                Refused::Retry => Outcome::Retry,
                Refused::Lost => Outcome::Lost,
            }),
        }
    }

    fn ask_author(&mut self, admitted: Admitted, ctx: &mut Context<Self>) {
        let Some(owned) = &mut self.owned else {
            admitted.reply.answer(Outcome::Retry);
            return;
        };
        match owned.handle_handoff_command(&admitted.execute.envelope.command) {
            HandoffChoice::Handle => self.execute(admitted, ctx),
            HandoffChoice::Forward => self.park(admitted, Shelf::Parked, ctx),
            HandoffChoice::Drop => admitted.reply.answer(Outcome::Dropped),
        }
    }

    /// Executes a command on the owned items; its changes join the stream of a running attempt.
    pub(super) fn execute(&mut self, admitted: Admitted, ctx: &mut Context<Self>) {
        let (envelope, believed) = (&admitted.execute.envelope, admitted.execute.token);
        let context = CommandContext {
            op: envelope.op,
            stamp: envelope.stamp,
            dot: envelope.dot,
            partition: self.vnode.partition,
        };
        let asked = context;
        #[cfg(tanodb_mutants)]
        let asked = if self.links.settings.rules.breaks(Mutant::RetryExecutedAgain) {
            // Each attempt has a little less time left than the one before.
            let attempt = u64::from(envelope.deadline_ms) << 32;
            let op = OpId { counter: asked.op.counter ^ attempt, ..asked.op };
            CommandContext { op, ..asked }
        } else {
            asked
        };
        #[cfg(tanodb_mutants)]
        if self.owned.is_none() && self.links.settings.rules.breaks(Mutant::EmptyStoreAnswers) {
            self.owned = Some(self.open_container());
        }
        let Some(owned) = &mut self.owned else {
            admitted.reply.answer(Outcome::Retry);
            return;
        };
        match owned.handle_command(&envelope.command, &asked) {
            RawAnswer::Reply(reply, changes) => {
                self.executed(&context, believed, &changes);
                self.changed(changes, ctx);
                admitted.reply.answer(Outcome::Done { reply });
            }
            RawAnswer::NoReply(changes) => {
                self.executed(&context, believed, &changes);
                self.changed(changes, ctx);
                admitted.reply.answer(Outcome::Done { reply: Bytes::new() });
            }
            RawAnswer::Async(work) => self.work(work, admitted, ctx),
            RawAnswer::Overtaken(stamp) => admitted.reply.answer(Outcome::Overtaken { stamp }),
            RawAnswer::Stop(reason) => {
                admitted.reply.answer(Outcome::Stopped { reason: reason.clone() });
                self.stop(reason, ctx);
            }
            RawAnswer::Refused(reason) => admitted.reply.answer(Outcome::Refused { reason }),
        }
    }

    fn executed(&self, context: &CommandContext, believed: Token, changes: &Changes) {
        self.links.env.watched.saw(|| Observed::Executed {
            cluster: self.links.cluster,
            vnode: self.vnode.clone(),
            class: self.kind.class(),
            token: self.handoff.token().unwrap_or(believed),
            op: context.op,
            stamp: context.stamp,
            dot: context.dot,
            changes: changes.items.len() + changes.ranges.len(),
        });
    }

    /// Hands the changes of a command to the stream, in the order in which they were made.
    pub(super) fn changed(&mut self, changes: Changes, ctx: &mut Context<Self>) {
        let Some(sending) = &mut self.sending else { return };
        for range in &changes.ranges {
            sending.stream.note_range(range);
        }
        let items = changes.items.into_iter();
        #[cfg(tanodb_mutants)]
        let items = {
            let forgets = self.links.settings.rules.breaks(Mutant::RemovalsNotShipped);
            items.filter(move |change| !forgets || !matches!(change, Change::Remove { .. }))
        };
        sending.stream.note(items.map(|change| {
            let bytes = match &change {
                Change::Put { key, value } => key.len() + value.len(),
                Change::Remove { key } => key.len(),
            };
            (position_of(&change), bytes as u64 + 16, change)
        }));
        if sending.stream.waiting_bytes() > CHANGES_WAITING_BYTES_MAX {
            self.give_up("the target takes changes more slowly than they are made", ctx);
            return;
        }
        self.wake_sender(false);
    }

    fn give_up(&mut self, why: &str, ctx: &mut Context<Self>) {
        let Some(transfer) = self.handoff.outgoing().map(|outgoing| outgoing.transfer) else {
            return;
        };
        self.cancel(transfer, CancelReason::Disconnected(why.to_owned()), ctx);
    }

    /// Runs the author's work off the arbiter; the command it yields is admitted like any other.
    fn work(&mut self, work: super::Work<Bytes>, admitted: Admitted, ctx: &mut Context<Self>) {
        let workers = self.links.workers.clone();
        let running = async move { (workers.run(work).await, admitted) };
        ctx.spawn(running.into_actor(self).map(
            |(result, mut admitted), actor, ctx| match result {
                Ok(command) => {
                    admitted.execute.envelope.command = command;
                    actor.admit(admitted, ctx);
                }
                Err(crate::runtime::workers::WorkFailed::Full) => {
                    admitted.reply.answer(Outcome::Busy);
                }
                Err(error @ crate::runtime::workers::WorkFailed::Panicked) => {
                    admitted.reply.answer(Outcome::Stopped { reason: error.to_string() });
                }
            },
        ));
    }

    /// Passes a command to the target of the fence, once, and its answer back.
    pub(super) fn forward(
        &mut self,
        outgoing: &Outgoing,
        admitted: Admitted,
        ctx: &mut Context<Self>,
    ) {
        let Admitted { mut execute, deadline, reply: asked, permit, known: _ } = admitted;
        let now = self.links.env.clock.now();
        let left = deadline.answer_by(now).since(now).as_millis();
        execute.envelope.deadline_ms = u32::try_from(left).unwrap_or(u32::MAX);
        self.links.env.watched.saw(|| Observed::Forwarded {
            vnode: self.vnode.clone(),
            op: execute.envelope.op,
            transfer: outgoing.transfer,
            before: execute.forwarded,
        });
        execute.forwarded = Some(outgoing.transfer);
        let (answer, answered) = reply(Err(PeerError::Lost));
        self.links.ask_peer.do_send(AskPeer {
            to: outgoing.target.name.clone(),
            message: PeerMessage::Execute(Box::new(execute)),
            deadline,
            reply: answer,
        });
        ctx.spawn(answered.into_actor(self).map(move |answered, actor, _| {
            let outcome = match answered {
                Ok(PeerMessage::Outcome(outcome)) => outcome,
                Ok(_) => Outcome::Retry,
                Err(error) if !error.may_have_run() => actor.not_forwarded(),
                Err(_) => Outcome::Unanswered,
            };
            asked.answer(outcome);
            drop(permit);
        }));
    }

    /// The target cannot be reached: only while a grant is under way is that more than slowness.
    fn not_forwarded(&self) -> Outcome {
        match &self.handoff {
            Handoff::Granting { .. } => Outcome::Stalled,
            Handoff::Absent { .. }
            | Handoff::Owner(_)
            | Handoff::Sending(..)
            | Handoff::Fenced { .. }
            | Handoff::Resuming(_)
            | Handoff::Retired { .. }
            | Handoff::Purging { .. }
            | Handoff::Staging(_)
            | Handoff::CaughtUp(_)
            | Handoff::Holding { .. }
            | Handoff::Accepting { .. }
            | Handoff::Lost { .. } => Outcome::Retry,
        }
    }

    /// Keeps a command until its turn comes or its deadline passes.
    fn park(&mut self, admitted: Admitted, shelf: Shelf, ctx: &mut Context<Self>) {
        if self.parked.len() + self.queued.len() >= self.links.settings.parked_max {
            admitted.reply.answer(Outcome::Busy);
            return;
        }
        self.sweep_at(admitted.deadline, ctx);
        match shelf {
            Shelf::Parked => self.parked.push_back(admitted),
            Shelf::Queue => self.queued.push_back(admitted),
        }
        self.links.env.watched.saw(|| Observed::Parked {
            vnode: self.vnode.clone(),
            waiting: self.parked.len() + self.queued.len(),
            limit: self.links.settings.parked_max,
        });
    }

    /// Looks for commands whose deadline has passed at this moment, or before it if that is planned.
    fn sweep_at(&mut self, deadline: Moment, ctx: &mut Context<Self>) {
        match self.sweep {
            Some((planned, _)) if planned <= deadline => return,
            Some((_, later)) => drop(ctx.cancel_future(later)),
            None => {}
        }
        let sleeping = self.links.env.clock.sleep_until(deadline).into_actor(self);
        let sweep = ctx.spawn(sleeping.map(|(), _, ctx| ctx.notify(DeadlinePassed)));
        self.sweep = Some((deadline, sweep));
    }

    /// Executes what was parked: the attempt is over and this node still speaks for the vnode.
    pub(super) fn run_parked(&mut self, ctx: &mut Context<Self>) {
        for admitted in std::mem::take(&mut self.parked) {
            self.admit(admitted, ctx);
        }
    }

    /// Executes what the source forwarded: this node speaks for the vnode now.
    pub(super) fn run_queued(&mut self, ctx: &mut Context<Self>) {
        for admitted in std::mem::take(&mut self.queued) {
            self.admit(admitted, ctx);
        }
    }

    /// Answers what waits here when the actor ends: none of it was executed, so it may be asked again.
    pub(super) fn refuse_waiting(&mut self) {
        for admitted in self.parked.drain(..).chain(self.queued.drain(..)) {
            admitted.reply.answer(Outcome::Retry);
        }
    }

    /// Answers what the source forwarded: none of it was executed.
    pub(super) fn refuse_queued(&mut self) {
        for admitted in std::mem::take(&mut self.queued) {
            admitted.reply.answer(Outcome::Retry);
        }
    }
}

/// Where a command is kept.
enum Shelf {
    /// At the source, by the author's choice.
    Parked,
    /// At the target, until the grant.
    Queue,
}

/// Some parked command's deadline has passed.
#[derive(Message)]
#[rtype(result = "()")]
struct DeadlinePassed;

impl Handler<DeadlinePassed> for VnodeActor {
    type Result = ();

    fn handle(&mut self, _: DeadlinePassed, ctx: &mut Self::Context) {
        self.sweep = None;
        let now = self.links.env.clock.now();
        for shelf in [&mut self.parked, &mut self.queued] {
            let (late, waiting): (Vec<_>, Vec<_>) =
                std::mem::take(shelf).into_iter().partition(|admitted| admitted.deadline <= now);
            *shelf = waiting.into();
            for admitted in late {
                admitted.reply.answer(Outcome::Expired);
                #[cfg(tanodb_mutants)]
                if self.links.settings.rules.breaks(Mutant::ExpiredKeepPermits) {
                    admitted.permit.forget();
                }
            }
        }
        let waiting = self.parked.iter().chain(&self.queued);
        if let Some(next) = waiting.map(|admitted| admitted.deadline).min() {
            self.sweep_at(next, ctx);
        }
    }
}
