//! This node's vote on the next ring, and what comes of a commit.

use std::sync::Arc;

use actix::prelude::*;

use super::RingManager;
use super::membership::Membership;
use crate::protocol::agreement::{Answer, Ask, Persist};
use crate::protocol::gossip::Part;
use crate::protocol::ring::Ring;
use crate::runtime::proposer::{CommitEnded, CommitOutcome};
use crate::runtime::records;
use crate::runtime::reply::Reply;
use crate::wire::admin::AdminAnswer;
use crate::wire::message::PeerMessage;

/// The control record that holds this node's promises.
pub const AGREEMENT_RECORD: &str = "agreement";

/// The control record that holds a ring a joiner was shown before it was decided.
pub const CANDIDATE_RECORD: &str = "candidate";

impl RingManager {
    /// Votes. The answer is given only when what it promises is durable.
    pub(super) fn vote(
        &mut self,
        question: Ask<Ring>,
        reply: Reply<PeerMessage>,
        ctx: &mut Context<Self>,
    ) {
        let voter = self.identity.voter;
        let answered = self.acceptor.clone().answer(question);
        self.acceptor = answered.acceptor;
        let answer = answered.answer;
        let is_saved = self.votes_saving == 0 && !self.is_vote_unsaved;
        let is_durable = answered.persist == Persist::Unchanged && is_saved;
        if is_durable {
            self.bring_up_to_date(&answer);
            reply.answer(PeerMessage::Answer { voter, answer: Box::new(answer) });
            return;
        }
        self.votes_saving += 1;
        let saved = records::save(self.links.env.disk.as_ref(), AGREEMENT_RECORD, &self.acceptor);
        ctx.spawn(saved.into_actor(self).map(move |saved, actor, _| {
            actor.votes_saving -= 1;
            actor.is_vote_unsaved = saved.is_err();
            match saved {
                Ok(()) => reply.answer(PeerMessage::Answer { voter, answer: Box::new(answer) }),
                Err(error) => {
                    log::error!(error:%; "a vote is not durable and is not given");
                    drop(reply);
                }
            }
        }));
    }

    /// Whoever asks about an epoch that is over has missed a ring: gossip tells it.
    fn bring_up_to_date(&self, answer: &Answer<Ring>) {
        if let Answer::EpochOver { .. } = answer {
            let ring = self.ring().clone();
            self.links
                .spread
                .do_send(crate::runtime::network::message::Spread(Part::of_ring(ring)));
        }
    }

    /// A joiner keeps the ring that will make it a member, so that it is one as soon as it is decided.
    pub(super) fn store_candidate(
        &mut self,
        ring: &Ring,
        reply: Reply<PeerMessage>,
        ctx: &mut Context<Self>,
    ) {
        // Who has begun to go back to a cluster of its own does not come any more.
        let comes = matches!(self.membership, Membership::Staged { .. })
            || self.ring().is_member(&self.me().name);
        if !comes || ring.cluster() != self.gossip.cluster() || !ring.lists(self.me()) {
            let refused = Some(format!("{} is not the node that was staged", self.me()));
            reply.answer(PeerMessage::CandidateStored { refused });
            return;
        }
        self.candidate = Some(ring.epoch());
        let saved = records::save(self.links.env.disk.as_ref(), CANDIDATE_RECORD, ring);
        ctx.spawn(saved.into_actor(self).map(move |saved, _, _| {
            let refused = saved.err().map(|error| error.to_string());
            reply.answer(PeerMessage::CandidateStored { refused });
        }));
    }
}

impl Handler<CommitEnded> for RingManager {
    type Result = ();

    fn handle(&mut self, ended: CommitEnded, ctx: &mut Self::Context) {
        self.is_committing = false;
        let CommitEnded { outcome, reply } = ended;
        match outcome {
            CommitOutcome::Decided { ring, own } => {
                let answer = if own {
                    AdminAnswer::Committed { epoch: ring.epoch() }
                } else {
                    super::admin::refused(
                        "another change was committed at the same time; this one was not applied",
                        "look at it with 'tanodb cluster plan', then commit again",
                    )
                };
                // Whoever is told that it is decided finds it here: what is asked next is asked of this ring.
                let told = move || reply.answer(answer);
                self.learn_and(Part::of_ring(Arc::new(ring)), told, ctx);
            }
            CommitOutcome::Refused { reason, hint } => {
                reply.answer(super::admin::refused(&reason, &hint));
            }
            CommitOutcome::Unknown { reason, hint } => {
                reply.answer(super::admin::unknown(&reason, &hint));
            }
        }
    }
}
