//! What the ends of attempts count for, and when what a stand-in tells does.

use bytes::Bytes;

use super::{
    AnswerKind, Attempt, AttemptId, Directory, Effect, FailureReason, Phase, ReplicaOutcome,
    Request, Role, Stage, TallyEvent,
};

impl Request {
    /// Whether this attempt, which has not ended, went to a stand-in.
    #[must_use]
    pub fn is_at_stand_in(&self, attempt: AttemptId) -> bool {
        let asked = self.under_way.iter().find(|one| one.id == attempt);
        asked.is_some_and(|one| one.role != Role::Owner)
    }

    /// An execution counts whenever it is heard: a replica given up or asked anew did execute it.
    pub(super) fn executed(&mut self, attempt: Attempt, reply: Bytes, effects: &mut Vec<Effect>) {
        self.replica(attempt.place).stage = Stage::Executed;
        let kind = match attempt.role {
            Role::Owner => AnswerKind::Strict,
            Role::StandIn { .. } => AnswerKind::Sloppy,
        };
        let (partition, from) = (attempt.partition, attempt.node);
        let outcome = ReplicaOutcome::Ok(reply);
        self.tell(TallyEvent::Answered { partition, from, kind, outcome }, effects);
    }

    pub(super) fn give_up(
        &mut self,
        attempt: &Attempt,
        reason: FailureReason,
        effects: &mut Vec<Effect>,
    ) {
        self.replica(attempt.place).stage = Stage::GaveUp;
        let (partition, from) = (attempt.partition, attempt.node.clone());
        let kind = AnswerKind::Strict;
        let outcome = ReplicaOutcome::Failed(reason);
        self.tell(TallyEvent::Answered { partition, from, kind, outcome }, effects);
    }

    /// A replica told what is stored there. A stand-in's word has to wait for those who ought to know.
    pub(super) fn told(&mut self, attempt: Attempt, reply: Bytes, effects: &mut Vec<Effect>) {
        match attempt.role {
            Role::Owner => self.executed(attempt, reply, effects),
            Role::StandIn { .. } => {
                self.replica(attempt.place).stage = Stage::Executed;
                self.has_told = true;
                let (partition, from) = (attempt.partition, attempt.node);
                self.tell(TallyEvent::Told { partition, from, reply }, effects);
            }
        }
    }

    /// Counts what stand-ins told, unless an owner is waited for.
    pub(super) fn count_what_was_told(
        &mut self,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        match self.phase {
            Phase::Waiting(_) if self.has_told && !self.waits_for_an_owner(directory) => {
                self.has_told = false;
                self.tell(TallyEvent::OwnersHeard, effects);
            }
            Phase::Waiting(_) | Phase::Tail | Phase::Over => {}
        }
    }

    /// Whether the holder of some replica is up and may yet answer: it was not given up, is not stalled, and has
    /// not lost what it held.
    fn waits_for_an_owner(&self, directory: &impl Directory) -> bool {
        self.replicas.iter().any(|replica| match replica.stage {
            _ if replica.is_lost => false,
            Stage::Asked(id) => {
                let mut asked = self.under_way.iter().filter(|attempt| attempt.id == id);
                asked.any(|one| one.role == Role::Owner && directory.is_up(&one.node))
            }
            Stage::Pausing(_) => {
                let is_stalled = replica.stalled == Some(replica.held.token);
                !is_stalled && directory.is_up(&replica.held.holder.name)
            }
            Stage::Unreachable(_) | Stage::Executed | Stage::GaveUp => false,
        })
    }
}
