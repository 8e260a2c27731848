//! What follows when a replica holds something newer than the command's stamp.

use super::{
    Attempt, Directory, Effect, FailureReason, Phase, RESTAMPS_MAX, Request, Stage, TallyEvent,
    Verdict,
};
use crate::protocol::id::Stamp;

impl Request {
    /// Asks everybody again under a higher stamp. The replicas that executed the command under the lower one too:
    /// a stamp counts when enough replicas hold it, and the next write is compared with it.
    pub(super) fn overtaken(
        &mut self,
        attempt: &Attempt,
        held: Stamp,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        let is_current = self.replica(attempt.place).stage == Stage::Asked(attempt.id);
        match self.phase {
            Phase::Waiting(_) if attempt.restamps == self.restamps => {}
            // Somebody was told that the stamp counts: it stays, and the newer write wins there.
            Phase::Tail if is_current => {
                self.replica(attempt.place).stage = Stage::GaveUp;
                return;
            }
            Phase::Waiting(_) | Phase::Tail | Phase::Over => return,
        }
        if self.restamps >= RESTAMPS_MAX {
            if is_current {
                self.give_up(attempt, FailureReason::Overtaken, effects);
            }
            return;
        }
        self.restamps += 1;
        self.may_have_run |= self.replicas.iter().any(|one| one.stage == Stage::Executed);
        effects.push(Effect::Restamp { above: held });
        let (partition, node) = (attempt.partition, attempt.node.clone());
        self.tell(TallyEvent::Overtaken { partition, node }, effects);
        for place in 0..self.replicas.len() {
            let stage = self.replica(place).stage;
            match stage {
                Stage::Asked(_) | Stage::Executed if !self.is_over() => {
                    self.look_again(place, directory, effects);
                }
                // What pauses is asked under the new stamp when its pause is over.
                Stage::Asked(_)
                | Stage::Executed
                | Stage::Pausing(_)
                | Stage::Unreachable(_)
                | Stage::GaveUp => {}
            }
        }
    }

    /// A failure is told with what ran under an earlier stamp, or may yet.
    pub(super) fn doubt(&self, verdict: &mut Verdict) {
        match verdict {
            Verdict::Failed { may_have_been_stored, .. } => {
                *may_have_been_stored |= self.may_have_run || !self.under_way.is_empty();
            }
            Verdict::Met { .. } => {}
        }
    }
}
