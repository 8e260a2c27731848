//! One commit: shows the candidate to the joiners, then has a majority of the members decide it.
//!
//! Owns: one [`Proposer`]. Ends with the outcome.
//! Hears: answers of joiners and acceptors, its own timers.
//! Tells: the ring manager what became of it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use actix::prelude::*;

use crate::protocol::agreement::proposer::{
    GiveUp, Proposal, ProposerEffect, ProposerEvent, ProposerStep,
};
use crate::protocol::agreement::{Ask, Ballot, ProposalId, Proposer};
use crate::protocol::id::{NodeId, NodeName, VoterId};
use crate::protocol::ring::Ring;
use crate::protocol::rules::Rules;
use crate::protocol::time::Moment;
use crate::runtime::env::Env;
use crate::runtime::message::{AskPeer, PeerAsked, PeerError};
use crate::runtime::reply::{Reply, reply};
use crate::wire::admin::AdminAnswer;
use crate::wire::message::{Introduction, PeerMessage};

/// How long a joiner may take to store the candidate, and an acceptor to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// When a commit's last attempt ends. Sooner than an operator's command waits, so that it is told who is missing.
const COMMIT_MAX: Duration = Duration::from_secs(6);

/// What every attempt has, also the last: those who are there answer within it.
const ATTEMPT_MIN: Duration = Duration::from_millis(250);

/// How long to wait for a link that is being made before asking again.
const LINK_AGAIN: Duration = Duration::from_millis(25);

/// The wait before a second attempt; doubles.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Attempts before the commit is given up.
const ATTEMPTS_MAX: NonZeroU32 = NonZeroU32::new(8).expect("eight is not zero");

/// What became of a commit.
pub enum CommitOutcome {
    /// A ring is decided.
    Decided {
        /// The ring.
        ring: Ring,
        /// Whether it is the one that was proposed.
        own: bool,
    },
    /// Nothing changed.
    Refused {
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// It may be decided, or become so.
    Unknown {
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
}

/// A commit has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CommitEnded {
    /// How.
    pub outcome: CommitOutcome,
    /// The operator who waits.
    pub reply: Reply<AdminAnswer>,
}

/// What to commit.
pub struct CommitDuty {
    /// The world outside.
    pub env: Env,
    /// What this node says of itself.
    pub me: Introduction,
    /// Its vote.
    pub voter: VoterId,
    /// Tells this proposal from others of this node.
    pub proposal: ProposalId,
    /// The ring to decide.
    pub candidate: Ring,
    /// Who decides.
    pub acceptors: BTreeMap<NodeName, VoterId>,
    /// The rules they are asked by.
    pub rules: Rules,
    /// Who must have stored the candidate first.
    pub joiners: Vec<NodeId>,
    /// Other members.
    pub ask_peer: Recipient<AskPeer>,
    /// This node's own vote.
    pub ask_me: Recipient<PeerAsked>,
    /// The ring manager.
    pub ended: Recipient<CommitEnded>,
    /// The operator who waits.
    pub reply: Reply<AdminAnswer>,
}

/// The actor of one commit.
pub struct Commit {
    duty: CommitDuty,
    proposer: Option<Proposer<Ring>>,
    reply: Option<Reply<AdminAnswer>>,
    missing_joiners: usize,
    /// No attempt begins after the one that is under way then.
    ends: Moment,
}

impl Commit {
    /// A commit that starts when the actor does.
    #[must_use]
    pub fn starting(mut duty: CommitDuty) -> Self {
        let (nobody, _) = reply(AdminAnswer::Cleared { count: 0 });
        let waiting = std::mem::replace(&mut duty.reply, nobody);
        let proposal = Proposal {
            id: duty.proposal,
            proposer: duty.voter,
            epoch: duty.candidate.epoch(),
            value: duty.candidate.clone(),
            acceptors: duty.acceptors.clone(),
            attempts_max: ATTEMPTS_MAX,
            rules: duty.rules,
        };
        let missing_joiners = duty.joiners.len();
        Self {
            ends: duty.env.clock.now().plus(COMMIT_MAX),
            duty,
            proposer: Some(Proposer::new(proposal)),
            reply: Some(waiting),
            missing_joiners,
        }
    }

    fn end(&mut self, outcome: CommitOutcome, ctx: &mut Context<Self>) {
        if let Some(reply) = self.reply.take() {
            self.duty.ended.do_send(CommitEnded { outcome, reply });
        }
        ctx.stop();
    }

    fn show_candidate(&mut self, ctx: &mut Context<Self>) {
        for joiner in self.duty.joiners.clone() {
            let message = PeerMessage::StoreCandidate(Box::new(self.duty.candidate.clone()));
            let asking = self.ask(&joiner.name, message);
            ctx.spawn(asking.into_actor(self).map(move |answered, actor, ctx| {
                actor.joiner_answered(&joiner, answered, ctx);
            }));
        }
    }

    fn joiner_answered(
        &mut self,
        joiner: &NodeId,
        answered: Result<PeerMessage, PeerError>,
        ctx: &mut Context<Self>,
    ) {
        let why = match answered {
            Ok(PeerMessage::CandidateStored { refused: None }) => {
                self.missing_joiners = self.missing_joiners.saturating_sub(1);
                if self.missing_joiners == 0 {
                    self.happened(ProposerEvent::Started, ctx);
                }
                return;
            }
            Ok(PeerMessage::CandidateStored { refused: Some(why) }) => why,
            Ok(_) => "it does not understand the request".to_owned(),
            Err(error) => error.to_string(),
        };
        let name = &joiner.name;
        self.end(
            CommitOutcome::Refused {
                reason: format!("Failed: '{name}' cannot join now: {why}"),
                hint: format!("start '{name}' again and join it, or 'tanodb cluster clear'"),
            },
            ctx,
        );
    }

    /// Asks a member or a joiner. A link that is being made is waited for: a joiner was in no cluster a moment
    /// ago.
    fn ask(
        &self,
        to: &NodeName,
        message: PeerMessage,
    ) -> impl Future<Output = Result<PeerMessage, PeerError>> + use<> {
        let is_me = *to == self.duty.me.node.name;
        let (ask_me, ask_peer) = (self.duty.ask_me.clone(), self.duty.ask_peer.clone());
        let (from, to) = (self.duty.me.clone(), to.clone());
        let clock = self.duty.env.clock.clone();
        let deadline = self.no_later(ANSWER_MAX);
        async move {
            if is_me {
                let (mine, answered) =
                    reply(PeerMessage::NotUnderstood { detail: "no answer".to_owned() });
                ask_me.do_send(PeerAsked { from, message, reply: mine });
                return Ok(answered.await);
            }
            loop {
                let (answer, answered) = reply(Err(PeerError::Lost));
                let (to, message) = (to.clone(), message.clone());
                ask_peer.do_send(AskPeer { to, message, deadline, reply: answer });
                match answered.await {
                    Err(error) if !error.may_have_run() && clock.now() < deadline => {
                        clock.sleep(LINK_AGAIN).await;
                    }
                    other => return other,
                }
            }
        }
    }

    fn happened(&mut self, event: ProposerEvent<Ring>, ctx: &mut Context<Self>) {
        let Some(mut proposer) = self.proposer.take() else { return };
        if self.duty.env.clock.now() >= self.ends {
            proposer.attempt_no_more();
        }
        match proposer.step(event) {
            ProposerStep::Moved(proposer, effects) => {
                self.proposer = Some(proposer);
                for effect in effects {
                    self.perform(effect, ctx);
                }
            }
            ProposerStep::Stayed(proposer, _) => self.proposer = Some(proposer),
        }
    }

    fn perform(&mut self, effect: ProposerEffect<Ring>, ctx: &mut Context<Self>) {
        match effect {
            ProposerEffect::StartTimer(ballot) => {
                self.later(ANSWER_MAX, ProposerEvent::TimedOut(ballot), ctx);
            }
            ProposerEffect::Ask(who, question) => self.put(who, question, ctx),
            // An acceptor with an older ring hears of this one by gossip; the attempt goes on without it.
            ProposerEffect::BringUpToDate(_) => {}
            ProposerEffect::Decided { value, own } => {
                self.end(CommitOutcome::Decided { ring: value, own }, ctx);
            }
            ProposerEffect::Retry { ballot, backoff_step } => {
                let jitter = Duration::from_millis(self.duty.env.rng.below(20));
                let doubled = RETRY_AFTER.saturating_mul(1 << backoff_step.min(6));
                self.later(doubled + jitter, ProposerEvent::RetryDue(ballot), ctx);
            }
            ProposerEffect::GaveUp { reason, may_be_decided } => {
                self.end(gave_up(&reason, may_be_decided), ctx);
            }
        }
    }

    fn put(&mut self, who: NodeName, question: Ask<Ring>, ctx: &mut Context<Self>) {
        let ballot: Ballot = question.ballot();
        let asking = self.ask(&who, PeerMessage::Ask(Box::new(question)));
        ctx.spawn(asking.into_actor(self).map(move |answered, actor, ctx| {
            let event = match answered {
                Ok(PeerMessage::Answer { voter, answer }) => {
                    ProposerEvent::Answered { from: who, voter, ballot, answer: *answer }
                }
                Ok(_) | Err(_) => ProposerEvent::NotReached { who, ballot },
            };
            actor.happened(event, ctx);
        }));
    }

    /// The end of a wait, which is not put off beyond the end of the commit.
    fn no_later(&self, wait: Duration) -> Moment {
        let now = self.duty.env.clock.now();
        now.plus(wait).min(self.ends.max(now.plus(ATTEMPT_MIN)))
    }

    fn later(&self, pause: Duration, event: ProposerEvent<Ring>, ctx: &mut Context<Self>) {
        let sleeping = self.duty.env.clock.sleep_until(self.no_later(pause));
        ctx.spawn(sleeping.into_actor(self).map(move |(), actor, ctx| actor.happened(event, ctx)));
    }
}

fn gave_up(reason: &GiveUp, may_be_decided: bool) -> CommitOutcome {
    let (reason, hint) = match reason {
        GiveUp::NoMajority { missing, needed } => {
            let names: Vec<String> = missing.keys().map(|name| format!("'{name}'")).collect();
            (
                format!(
                    "Failed: {needed} members must agree and these did not answer: {}",
                    names.join(", ")
                ),
                "start them, then commit again; data is served meanwhile".to_owned(),
            )
        }
        GiveUp::EpochOver { at, .. } => (
            format!("Failed: '{at}' knows a newer ring already"),
            "look at it with 'tanodb cluster plan', then commit again".to_owned(),
        ),
    };
    if may_be_decided {
        CommitOutcome::Unknown { reason, hint }
    } else {
        CommitOutcome::Refused { reason, hint }
    }
}

impl Drop for Commit {
    /// An operator who waits is told, also after a panic.
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            let outcome = CommitOutcome::Unknown {
                reason: "Failed: the commit ended before it was decided".to_owned(),
                hint: "look at it with 'tanodb ring-status', then plan again".to_owned(),
            };
            self.duty.ended.do_send(CommitEnded { outcome, reply });
        }
    }
}

impl Actor for Commit {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.duty.joiners.is_empty() {
            self.happened(ProposerEvent::Started, ctx);
        } else {
            self.show_candidate(ctx);
        }
    }
}
