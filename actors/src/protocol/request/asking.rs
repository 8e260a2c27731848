//! Whom a request asks for a replica, and when again.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    ATTEMPTS_MAX, Attempt, AttemptId, Directory, Effect, FailureReason, PAUSE_MAX, PAUSE_MIN,
    PauseId, Replica, Request, Role, Stage, TallyEvent,
};
use crate::protocol::id::NodeName;
use crate::protocol::preference::{PlaceRole, places};

impl Request {
    /// Asks for a replica for which nobody is asked at this moment.
    pub(super) fn look_again(
        &mut self,
        place: usize,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        let partition = self.replica(place).partition;
        match self.choose(place, directory) {
            Some((node, role)) => {
                self.send(place, node.clone(), role, effects);
                self.tell(TallyEvent::AskedAgain { partition, node }, effects);
            }
            None => self.unreachable(place, false, effects),
        }
    }

    /// Asks somebody at once after an attempt that failed.
    pub(super) fn ask_instead(
        &mut self,
        attempt: &Attempt,
        reason: FailureReason,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        let (partition, failed) = (attempt.partition, attempt.node.clone());
        if self.replica(attempt.place).attempts >= ATTEMPTS_MAX {
            return self.give_up(attempt, reason, effects);
        }
        match self.choose(attempt.place, directory) {
            Some((instead, role)) => {
                self.send(attempt.place, instead.clone(), role, effects);
                let event = TallyEvent::AskedInstead { partition, failed, reason, instead };
                self.tell(event, effects);
            }
            None => {
                let may_have_run = reason.may_have_run();
                self.tell(TallyEvent::Postponed { partition, node: failed, reason }, effects);
                self.unreachable(attempt.place, may_have_run, effects);
            }
        }
    }

    /// Asks again after a pause, or at once if the partition is known to have moved since.
    pub(super) fn postpone(
        &mut self,
        attempt: &Attempt,
        reason: FailureReason,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        if self.replica(attempt.place).held.token > attempt.token {
            return self.ask_instead(attempt, reason, directory, effects);
        }
        if self.replica(attempt.place).attempts >= ATTEMPTS_MAX {
            return self.give_up(attempt, reason, effects);
        }
        let pause = self.next_pause();
        let replica = self.replica(attempt.place);
        let doubled = 1 << replica.pauses.min(10);
        let wait = PAUSE_MIN.saturating_mul(doubled).min(PAUSE_MAX);
        replica.pauses = replica.pauses.saturating_add(1);
        replica.stage = Stage::Pausing(pause);
        effects.push(Effect::After { pause, wait: self.jittered(wait, pause) });
        let (partition, node) = (attempt.partition, attempt.node.clone());
        self.tell(TallyEvent::Postponed { partition, node, reason }, effects);
    }

    /// Nobody is there to be asked. That fails the request early, unless the command may have run: then an
    /// answer is worth waiting for.
    fn unreachable(&mut self, place: usize, may_have_run: bool, effects: &mut Vec<Effect>) {
        let pause = self.next_pause();
        effects.push(Effect::After { pause, wait: self.jittered(PAUSE_MAX, pause) });
        let is_worth_waiting = self.may_have_run;
        let replica = self.replica(place);
        replica.stage = Stage::Unreachable(pause);
        let (partition, node) = (replica.partition, replica.held.holder.name.clone());
        self.tell(
            if is_worth_waiting {
                let reason = FailureReason::Unreachable { may_have_run };
                TallyEvent::Postponed { partition, node, reason }
            } else {
                TallyEvent::Unreachable { partition, node, may_have_run }
            },
            effects,
        );
    }

    fn send(&mut self, place: usize, node: NodeName, role: Role, effects: &mut Vec<Effect>) {
        let id = AttemptId(self.attempts);
        self.attempts = self.attempts.wrapping_add(1);
        let replica = self.replica(place);
        replica.attempts = replica.attempts.saturating_add(1);
        replica.stage = Stage::Asked(id);
        replica.stood_in_by = match role {
            Role::Owner => None,
            Role::StandIn { .. } => Some(node.clone()),
        };
        let (partition, token) = (replica.partition, replica.held.token);
        let (restamps, node_asked, as_what) = (self.restamps, node.clone(), role.clone());
        self.under_way.push(Attempt {
            id,
            place,
            partition,
            node: node_asked,
            token,
            role: as_what,
            restamps,
        });
        effects.push(Effect::Send { attempt: id, partition, to: node, token, role });
    }

    /// The holder if it is up. If not, or if it is stalled, a stand-in where there may be one.
    pub(super) fn choose(
        &self,
        place: usize,
        directory: &impl Directory,
    ) -> Option<(NodeName, Role)> {
        let replica = self.replicas.get(place)?;
        let holder = &replica.held.holder.name;
        let is_up = directory.is_up(holder);
        if is_up && replica.stalled != Some(replica.held.token) {
            return Some((holder.clone(), Role::Owner));
        }
        let stand_in = if self.start.stand_ins { self.stand_in(replica, directory) } else { None };
        match stand_in {
            Some(node) => Some((node, Role::StandIn { instead_of: holder.clone() })),
            None => is_up.then(|| (holder.clone(), Role::Owner)),
        }
    }

    /// Who stands in for a replica's holder. Nodes that stand in for other replicas of this request count as
    /// the holders of those, so that two replicas do not end on one node while there is another.
    fn stand_in(&self, replica: &Replica, directory: &impl Directory) -> Option<NodeName> {
        let missing = &replica.held.holder.name;
        let holder = |partition| {
            let asked = self.replicas.iter().find(|other| other.partition == partition);
            match asked {
                Some(other) if other.partition != replica.partition => {
                    other.stood_in_by.clone().unwrap_or_else(|| other.held.holder.name.clone())
                }
                Some(itself) => itself.held.holder.name.clone(),
                None => directory.held(partition).holder.name,
            }
        };
        let may_be_asked = |node: &NodeName| node != missing && directory.may_stand_in(node);
        let n = self.replicas.len();
        let list = places(directory.size(), self.start.hash, n, holder, may_be_asked);
        let of_this = list.into_iter().find(|place| place.partition == replica.partition);
        of_this.filter(|place| place.role != PlaceRole::Primary).map(|place| place.node)
    }

    fn next_pause(&mut self) -> PauseId {
        let pause = PauseId(self.pauses);
        self.pauses = self.pauses.wrapping_add(1);
        pause
    }

    /// Between half of `wait` and all of it, so that requests refused together do not come back together.
    fn jittered(&self, wait: Duration, pause: PauseId) -> Duration {
        let drawn = xxh3_64_with_seed(&pause.0.to_be_bytes(), self.start.jitter);
        let half = u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX / 2);
        Duration::from_micros(half.saturating_add(drawn % half.saturating_add(1)))
    }
}
