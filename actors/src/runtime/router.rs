//! The router: hands what other members and clients ask to the actor that answers it.
//!
//! Owns: nothing but addresses.
//! Hears: sessions.
//! Tells: the ring manager, the vnode host, the coordinator.

use std::time::Duration;

use actix::prelude::*;

use crate::protocol::id::{NodeId, VnodeRef};
use crate::protocol::rules::Rules;
use crate::protocol::time::Moment;
use crate::runtime::env::Env;
use crate::runtime::message::{ClientAsked, ExecuteHere, HintHere, PeerAsked, RunCommand};
use crate::runtime::network::message::{DigestArrived, GossipArrived};
use crate::runtime::reply::{Reply, reply};
use crate::runtime::ring_manager::{AdminAsked, RingManager};
use crate::runtime::vnode::actor::VnodeActor;
use crate::runtime::vnode::message::{
    GrantArrived, HeldArrived, OverArrived, RetiredArrived, TransferAsked,
};
use crate::runtime::vnode_host::{FindVnode, VnodeHost};
use crate::wire::admin::{AdminAnswer, AdminRefusal, Effect};
use crate::wire::message::{
    ClientMessage, CommandAnswer, CommandError, Grant, Outcome, PeerMessage,
};
use crate::wire::offer::is_granted_to;

/// The router of one node.
pub struct Router {
    /// The world outside.
    pub env: Env,
    /// Answers for the ring.
    pub manager: Addr<RingManager>,
    /// Answers for the vnodes.
    pub host: Addr<VnodeHost>,
    /// Answers clients' commands.
    pub coordinator: Recipient<RunCommand>,
    /// Compares gossip.
    pub digests: Recipient<DigestArrived>,
    /// This node in this life.
    pub me: NodeId,
    /// The rules it judges grants by.
    pub rules: Rules,
}

impl Actor for Router {
    type Context = Context<Self>;
}

impl Router {
    /// Finds a vnode and hands it what `give` makes.
    fn to_vnode(
        &self,
        vnode: VnodeRef,
        ctx: &mut Context<Self>,
        give: impl FnOnce(Addr<VnodeActor>) + 'static,
    ) {
        let finding = self.host.send(FindVnode(vnode)).into_actor(self);
        ctx.spawn(finding.map(move |found, _, _| {
            // A vnode that is not here now is asked again by the other side.
            if let Ok(Some(address)) = found {
                give(address);
            }
        }));
    }

    fn grant(&self, grant: Grant, reply: Reply<PeerMessage>, ctx: &mut Context<Self>) {
        if !is_granted_to(&grant, &self.me, self.rules) {
            // Only the incarnation that was granted to may answer; what it did is not known here.
            let detail = format!("the grant is for {}, this is {}", grant.target, self.me);
            log::warn!(transfer:% = grant.transfer, detail = detail.as_str(); "a grant for another life is not answered");
            reply.answer(PeerMessage::NotUnderstood { detail });
            return;
        }
        let vnode = grant.vnode.clone();
        self.to_vnode(vnode, ctx, move |vnode| vnode.do_send(GrantArrived { grant, reply }));
    }

    fn until(&self, millis: u32) -> Moment {
        self.env.clock.now().plus(Duration::from_millis(u64::from(millis)))
    }

    /// Has the outcome of a command sent back, also when the vnode ends on the way.
    fn outcome_for(&self, asked: Reply<PeerMessage>, ctx: &mut Context<Self>) -> Reply<Outcome> {
        let (outcome, answered) = reply(Outcome::Stopped { reason: "the vnode ended".to_owned() });
        ctx.spawn(answered.into_actor(self).map(move |outcome, _, _| {
            asked.answer(PeerMessage::Outcome(outcome));
        }));
        outcome
    }
}

impl Handler<PeerAsked> for Router {
    type Result = ();

    fn handle(&mut self, asked: PeerAsked, ctx: &mut Self::Context) {
        let PeerAsked { from, message, reply } = asked;
        match message {
            PeerMessage::Ping => reply.answer(PeerMessage::Pong),
            PeerMessage::Gossip(part) => {
                self.manager.do_send(GossipArrived { from: from.node.name, part: *part });
                reply.answer(PeerMessage::Pong);
            }
            PeerMessage::GossipDigest(digest) => {
                self.digests.do_send(DigestArrived { from: from.node.name, digest, reply });
            }
            PeerMessage::Execute(execute) => {
                let deadline = self.until(execute.envelope.deadline_ms);
                let reply = self.outcome_for(reply, ctx);
                self.host.do_send(ExecuteHere { execute: *execute, deadline, reply });
            }
            PeerMessage::Hint(hint) => {
                let deadline = self.until(hint.envelope.deadline_ms);
                let reply = self.outcome_for(reply, ctx);
                self.host.do_send(HintHere { hint: *hint, deadline, reply });
            }
            PeerMessage::Grant(grant) => self.grant(*grant, reply, ctx),
            PeerMessage::GrantHeld { transfer, vnode, token: _ } => {
                self.to_vnode(vnode, ctx, move |vnode| {
                    vnode.do_send(HeldArrived { transfer, reply });
                });
            }
            PeerMessage::GrantRetired { transfer, vnode } => {
                self.to_vnode(vnode, ctx, move |vnode| vnode.do_send(RetiredArrived(transfer)));
                reply.answer(PeerMessage::Pong);
            }
            PeerMessage::AskTransfer { transfer, vnode, source } => {
                if source == self.me {
                    self.to_vnode(vnode, ctx, move |vnode| {
                        vnode.do_send(TransferAsked { transfer, reply });
                    });
                }
            }
            PeerMessage::TransferOver { transfer, vnode } => {
                self.to_vnode(vnode, ctx, move |vnode| vnode.do_send(OverArrived(transfer)));
                reply.answer(PeerMessage::Pong);
            }
            message @ (PeerMessage::Ask(_)
            | PeerMessage::StoreCandidate(_)
            | PeerMessage::ReportRequest(_)
            | PeerMessage::FetchRing
            | PeerMessage::StageJoin(_)) => {
                self.manager.do_send(PeerAsked { from, message, reply });
            }
            PeerMessage::Pong
            | PeerMessage::TransferRuns
            | PeerMessage::Outcome(_)
            | PeerMessage::Answer { .. }
            | PeerMessage::CandidateStored { .. }
            | PeerMessage::GrantDeclined { .. }
            | PeerMessage::Report(_)
            | PeerMessage::JoinStaged { .. }
            | PeerMessage::NotUnderstood { .. } => {
                let detail = "an answer where a request was expected".to_owned();
                reply.answer(PeerMessage::NotUnderstood { detail });
            }
        }
    }
}

impl Handler<ClientAsked> for Router {
    type Result = ();

    fn handle(&mut self, asked: ClientAsked, ctx: &mut Self::Context) {
        let ClientAsked { message, reply: answer } = asked;
        match message {
            ClientMessage::Command(command) => {
                let dropped = CommandAnswer::Failed(CommandError::NotServing {
                    node: self.env.node.clone(),
                    reason: "its coordinator ended; the command may have been executed".to_owned(),
                });
                let (reply, answered) = reply(dropped);
                self.coordinator.do_send(RunCommand { command: *command, reply });
                ctx.spawn(answered.into_actor(self).map(move |answered, _, _| {
                    answer.answer(ClientMessage::CommandAnswer(Box::new(answered)));
                }));
            }
            ClientMessage::Admin(request) => {
                let dropped = AdminAnswer::Refused(AdminRefusal {
                    reason: "Failed: the node dropped the request, see its log".to_owned(),
                    hint: "look at 'tanodb member-status', then try again".to_owned(),
                    effect: Effect::Unknown,
                });
                let (reply, answered) = reply(dropped);
                self.manager.do_send(AdminAsked { request: *request, reply });
                ctx.spawn(answered.into_actor(self).map(move |answered, _, _| {
                    answer.answer(ClientMessage::AdminAnswer(Box::new(answered)));
                }));
            }
            ClientMessage::CommandAnswer(_)
            | ClientMessage::AdminAnswer(_)
            | ClientMessage::NotUnderstood { .. } => {
                let detail = "an answer where a request was expected".to_owned();
                answer.answer(ClientMessage::NotUnderstood { detail });
            }
        }
    }
}
