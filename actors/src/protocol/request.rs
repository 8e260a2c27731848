//! One client command, from its preference list to its answer.
//!
//! A [`Request`] asks the n replicas of a hash, each at its owner or at a stand-in that keeps hints. It
//! takes one [`Event`] and returns the [`Effect`]s to carry out, in order: send, wait, answer. Whether enough
//! replicas answered is told by its [`Tally`], and who stands in by [`super::preference`]; what a command
//! is and what its replies mean is not looked at.
//! Where each replica stands:
//!
//! ```text
//!                                 Done
//!           +------> Asked ----------------------------------> Executed
//!           |        |   |  Stopped, Refused, asked too often
//!  TimerFired        |   +-----------------------------------> GaveUp
//!           |        |  Busy, Retry, Behind, NotSent, Lost, ...
//!           +---- Pausing
//!           |        |  nobody is there to be asked
//!           +---- Unreachable
//! ```
//!
//! `Moved` asks the named holder at once, under its higher token. A replica is `Unreachable` while its
//! holder is down and nobody may stand in; it is looked at again after a pause. A holder that is fenced
//! or moving is slow, not down: nobody stands in for it, except when it says that it is stalled.
//!
//! A replica that holds something newer than the command's stamp says `Overtaken` and does not execute it. As long
//! as the client waits, a higher stamp is minted and every replica asked again; only executions under the
//! last stamp count. With quorums that overlap, an acknowledged write thus has a higher stamp than every
//! write that was acknowledged before it began, whatever the coordinators' clocks say.
//!
//! What a stand-in tells counts when no owner that is up is waited for: a stand-in knows only what was written
//! while it stood in, and "nothing" from two of them must not hide what the third replica holds.
//!
//! Every attempt carries the same operation. Executing it twice is harmless: replicas that merge hold the
//! same write again, and a single owner finds its stored reply. So an attempt whose answer was lost is
//! repeated; until it is answered it counts as one that may have run.
//!
//! The request is answered exactly once. A quorum that was met leaves a tail: the replicas that were not
//! heard are asked on until the deadline.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gossip::Held;
use super::hash::RingSize;
use super::id::{NodeName, Partition, Token};
#[cfg(tanodb_mutants)]
use super::mutant::Mutant;
use super::preference::primaries;
use super::quorum::{
    AnswerKind, FailureReason, QuorumError, ReplicaFault, ReplicaOutcome, Tally, TallyEvent,
    TallyStep, Verdict,
};

mod asking;
mod event;
mod stamping;
mod telling;
pub use event::{AttemptId, Effect, Event, PauseId, Role, Said, Start};

/// Times one replica is asked for one request. With pauses of 200 ms they last for most of a minute; whoever
/// is busy for longer is not helped by being asked more.
pub const ATTEMPTS_MAX: u16 = 256;

/// Higher stamps minted for one operation at most. Each is above all that was heard of, so more than one is needed
/// only when others write the same item at the same time. Past it the replica that says so is given up.
pub const RESTAMPS_MAX: u16 = 16;

/// The first pause before a replica is asked again, before jitter. Each further one is twice as long.
pub const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest pause, before jitter.
pub const PAUSE_MAX: Duration = Duration::from_millis(200);

/// What a request asks when it decides where to send: the node's knowledge at this moment.
pub trait Directory {
    /// Partitions of the ring.
    fn size(&self) -> RingSize;

    /// The highest token known for the partition, and its holder.
    fn held(&self, partition: Partition) -> Held;

    /// Whether the node is up, as far as is known here.
    fn is_up(&self, node: &NodeName) -> bool;

    /// Whether the node may keep hints: it is up, and the ring lists it in the life it is in. Of another life no
    /// owner would take them.
    fn may_stand_in(&self, node: &NodeName) -> bool;
}

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Stage {
    /// This attempt is under way; what earlier ones say is late.
    Asked(AttemptId),
    /// Asked again after this pause.
    Pausing(PauseId),
    /// Its holder is down and nobody stands in; looked at again after this pause.
    Unreachable(PauseId),
    /// By its holder, or by a stand-in.
    Executed,
    /// Not asked any more.
    GaveUp,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Replica {
    partition: Partition,
    /// The highest token known, and its holder.
    held: Held,
    stage: Stage,
    attempts: u16,
    /// Pauses since it was first asked; each is twice as long as the one before.
    pauses: u16,
    /// The token under which the holder said that it is stalled.
    stalled: Option<Token>,
    /// Whether its holder said that the data is lost: there is nothing to wait for.
    is_lost: bool,
    /// Who was asked last instead of the holder.
    stood_in_by: Option<NodeName>,
}

/// A sending that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Attempt {
    id: AttemptId,
    /// The place of its replica.
    place: usize,
    partition: Partition,
    node: NodeName,
    token: Token,
    role: Role,
    /// How many higher stamps had been minted when it was sent.
    restamps: u16,
}

/// How far the request is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Phase {
    /// The client waits.
    Waiting(Tally),
    /// It was told that the quorum is met; the rest of the replicas are still asked.
    Tail,
    /// Nothing is left to do.
    Over,
}

/// One client command on its way through its replicas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Request {
    start: Start,
    phase: Phase,
    replicas: Vec<Replica>,
    under_way: Vec<Attempt>,
    /// Whether an attempt ended without telling whether it ran, or ran under a stamp that does not count any more.
    may_have_run: bool,
    /// Higher stamps minted since the first.
    restamps: u16,
    /// Whether a stand-in told something that does not count yet.
    has_told: bool,
    attempts: u32,
    pauses: u32,
}

impl Request {
    /// Begins: asks all replicas, or answers at once, with nothing sent, when too few can be reached.
    ///
    /// # Errors
    ///
    /// [`QuorumError::BadAsked`] when the ring has fewer partitions than replicas are asked for. Nothing was
    /// sent.
    pub fn start(
        start: Start,
        directory: &impl Directory,
    ) -> Result<(Self, Vec<Effect>), QuorumError> {
        let partitions = primaries(directory.size(), start.hash, usize::from(start.quorum.n()));
        let replica = |partition| Replica {
            partition,
            held: directory.held(partition),
            stage: Stage::GaveUp,
            attempts: 0,
            pauses: 0,
            stalled: None,
            is_lost: false,
            stood_in_by: None,
        };
        let replicas: Vec<Replica> = partitions.into_iter().map(replica).collect();
        let asked = |one: &Replica| (one.partition, one.held.holder.name.clone());
        let tally = Tally::new(start.quorum, replicas.iter().map(asked).collect())?;
        let tally = tally.under(start.rules);
        let mut request = Self {
            phase: Phase::Waiting(tally),
            replicas,
            under_way: Vec::new(),
            may_have_run: false,
            restamps: 0,
            has_told: false,
            attempts: 0,
            pauses: 0,
            start,
        };
        if let Some(verdict) = request.cannot_begin(directory) {
            request.phase = Phase::Over;
            return Ok((request, vec![Effect::Answer(verdict)]));
        }
        let mut effects = Vec::with_capacity(request.replicas.len());
        for place in 0..request.replicas.len() {
            request.look_again(place, directory, &mut effects);
        }
        Ok((request, effects))
    }

    /// The answer to a request for which too few nodes are up.
    fn cannot_begin(&self, directory: &impl Directory) -> Option<Verdict> {
        let is_owner = |place| {
            let chosen = self.choose(place, directory);
            chosen.map(|(_, role)| role == Role::Owner)
        };
        let chosen: Vec<Option<bool>> = (0..self.replicas.len()).map(is_owner).collect();
        let reached = chosen.iter().flatten().count();
        let owners = chosen.iter().flatten().filter(|&&is_owner| is_owner).count();
        let quorum = self.start.quorum;
        let (needed, primaries_needed) = (quorum.needed(), quorum.primaries_needed());
        if reached >= usize::from(needed) && owners >= usize::from(primaries_needed) {
            return None;
        }
        let down = self.replicas.iter().zip(chosen).filter(|(_, chosen)| *chosen != Some(true));
        let fault = |(replica, _): (&Replica, _)| ReplicaFault {
            partition: replica.partition,
            node: replica.held.holder.name.clone(),
            reason: FailureReason::Unreachable { may_have_run: false },
        };
        Some(Verdict::Failed {
            ok: 0,
            needed,
            primaries_ok: 0,
            primaries_needed,
            deadline_passed: false,
            may_have_been_stored: false,
            failures: down.map(fault).collect(),
        })
    }

    /// Answers one event. Events of attempts and pauses that are over change nothing.
    #[must_use = "the effects are not carried out until the runtime performs them"]
    pub fn step(&mut self, event: Event, directory: &impl Directory) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_over() {
            return effects;
        }
        match event {
            Event::Replied { attempt, said } => {
                self.replied(attempt, said, directory, &mut effects);
            }
            Event::NotSent { attempt } => {
                let reason = FailureReason::Unreachable { may_have_run: false };
                self.replied(attempt, Said::Failed(reason), directory, &mut effects);
            }
            Event::Lost { attempt } => {
                let may_have_run = true;
                #[cfg(tanodb_mutants)]
                let may_have_run = may_have_run && !self.start.rules.breaks(Mutant::LostIsNotRun);
                let reason = FailureReason::Unreachable { may_have_run };
                self.replied(attempt, Said::Failed(reason), directory, &mut effects);
            }
            Event::PeerDown(node) => self.peer_down(&node, directory, &mut effects),
            Event::TokenLearned { partition, held } => {
                self.token_learned(partition, held, directory, &mut effects);
            }
            Event::TimerFired(pause) => {
                let waits =
                    |stage| stage == Stage::Pausing(pause) || stage == Stage::Unreachable(pause);
                if let Some(place) = self.replicas.iter().position(|one| waits(one.stage)) {
                    self.look_again(place, directory, &mut effects);
                }
            }
            #[cfg(tanodb_mutants)]
            Event::DeadlinePassed
                if self.under_way.is_empty()
                    && self.start.rules.breaks(Mutant::PauseOutlivesDeadline) => {}
            Event::DeadlinePassed => match self.phase {
                Phase::Waiting(_) => self.tell(TallyEvent::DeadlinePassed, &mut effects),
                Phase::Tail | Phase::Over => self.phase = Phase::Over,
            },
        }
        self.count_what_was_told(directory, &mut effects);
        let is_heard = |stage| match stage {
            Stage::Executed | Stage::GaveUp => true,
            Stage::Asked(_) | Stage::Pausing(_) | Stage::Unreachable(_) => false,
        };
        if self.phase == Phase::Tail && self.replicas.iter().all(|one| is_heard(one.stage)) {
            self.phase = Phase::Over;
        }
        effects
    }

    /// Whether nothing is left to do: the client is answered and no replica will be asked again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the client was answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        match self.phase {
            Phase::Waiting(_) => false,
            Phase::Tail | Phase::Over => true,
        }
    }

    /// The partitions it asks, in the order of the preference list.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        self.replicas.iter().map(|replica| replica.partition)
    }

    /// Counts, and answers the client when the tally has its verdict. After a failure nothing more is sent:
    /// what this step was about to send stays here.
    fn tell(&mut self, event: TallyEvent, effects: &mut Vec<Effect>) {
        let tally = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Waiting(tally) => tally,
            told @ (Phase::Tail | Phase::Over) => {
                self.phase = told;
                return;
            }
        };
        match tally.step(event) {
            TallyStep::Counted(tally) | TallyStep::Ignored(tally, _) => {
                self.phase = Phase::Waiting(tally);
            }
            TallyStep::Reached(_, verdict @ Verdict::Met { .. }) => {
                self.phase = Phase::Tail;
                effects.push(Effect::Answer(verdict));
            }
            TallyStep::Reached(_, mut verdict @ Verdict::Failed { .. }) => {
                self.doubt(&mut verdict);
                effects.retain(|effect| matches!(effect, Effect::Learned { .. }));
                effects.push(Effect::Answer(verdict));
            }
        }
    }

    fn replied(
        &mut self,
        id: AttemptId,
        said: Said,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        let Some(at) = self.under_way.iter().position(|attempt| attempt.id == id) else { return };
        let attempt = self.under_way.swap_remove(at);
        let is_current = self.replica(attempt.place).stage == Stage::Asked(id);
        let is_overtaken = attempt.restamps != self.restamps;
        #[cfg(tanodb_mutants)]
        let is_overtaken = is_overtaken && !self.start.rules.breaks(Mutant::OldStampsCount);
        match said {
            Said::Done { .. } | Said::Read { .. } if is_overtaken => {
                self.may_have_run = true;
            }
            Said::Read { reply } => self.told(attempt, reply, effects),
            Said::Done { reply } => self.executed(attempt, reply, effects),
            Said::Overtaken(held) => self.overtaken(&attempt, held, directory, effects),
            Said::Moved(held) => {
                if self.learn(attempt.place, held.clone()) {
                    effects.push(Effect::Learned { partition: attempt.partition, held });
                }
                // One that names no higher token comes from a node that is itself behind: it is asked again.
                if is_current {
                    self.postpone(&attempt, FailureReason::Moved, directory, effects);
                }
            }
            Said::Failed(reason) if is_current => {
                self.failed(&attempt, reason, directory, effects);
            }
            // Somebody else has been asked since, or the same one under a higher stamp.
            Said::Failed(reason) => self.may_have_run |= reason.may_have_run(),
        }
    }

    /// What follows when the replica's current attempt did not execute the command, or nobody knows.
    fn failed(
        &mut self,
        attempt: &Attempt,
        reason: FailureReason,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        self.may_have_run |= reason.may_have_run();
        self.replica(attempt.place).is_lost |=
            reason == FailureReason::Lost && attempt.role == Role::Owner;
        match &reason {
            // Who has run out of time would run out of it again.
            FailureReason::Stopped(_) | FailureReason::Refused(_) | FailureReason::Expired => {
                self.give_up(attempt, reason, effects);
            }
            FailureReason::Unreachable { .. } if !directory.is_up(&attempt.node) => {
                self.ask_instead(attempt, reason, directory, effects);
            }
            FailureReason::Stalled if attempt.role == Role::Owner => {
                self.replica(attempt.place).stalled = Some(attempt.token);
                match self.choose(attempt.place, directory) {
                    Some((_, Role::StandIn { .. })) => {
                        self.ask_instead(attempt, reason, directory, effects);
                    }
                    Some((_, Role::Owner)) | None => {
                        self.postpone(attempt, reason, directory, effects);
                    }
                }
            }
            FailureReason::Moved
            | FailureReason::Behind
            | FailureReason::Retry
            | FailureReason::Busy
            | FailureReason::Overtaken
            | FailureReason::Dropped
            | FailureReason::Lost
            | FailureReason::Stalled
            | FailureReason::Unreachable { .. }
            | FailureReason::Unconfirmed
            | FailureReason::Silent => self.postpone(attempt, reason, directory, effects),
        }
    }

    fn peer_down(
        &mut self,
        node: &NodeName,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        for at in 0..self.under_way.len() {
            let Some(attempt) = self.under_way.get(at).filter(|attempt| attempt.node == *node)
            else {
                continue;
            };
            let attempt = attempt.clone();
            self.may_have_run = true;
            // Its answer may still come, and then counts; nobody waits for it.
            if self.replica(attempt.place).stage == Stage::Asked(attempt.id) {
                let reason = FailureReason::Unreachable { may_have_run: true };
                self.failed(&attempt, reason, directory, effects);
            }
        }
    }

    fn token_learned(
        &mut self,
        partition: Partition,
        held: Held,
        directory: &impl Directory,
        effects: &mut Vec<Effect>,
    ) {
        let place = self.replicas.iter().position(|one| one.partition == partition);
        let Some(place) = place else { return };
        let is_news = self.learn(place, held);
        match self.replica(place).stage {
            Stage::Pausing(_) | Stage::Unreachable(_) if is_news => {
                self.look_again(place, directory, effects);
            }
            Stage::Pausing(_)
            | Stage::Unreachable(_)
            | Stage::Asked(_)
            | Stage::Executed
            | Stage::GaveUp => {}
        }
    }

    /// Takes a token over if it is higher than the one known.
    fn learn(&mut self, place: usize, held: Held) -> bool {
        let replica = self.replica(place);
        let is_news = held.token > replica.held.token;
        if is_news {
            replica.held = held;
            replica.is_lost = false;
        }
        is_news
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "places are those of the list, which stays as it is"
    )]
    fn replica(&mut self, place: usize) -> &mut Replica {
        &mut self.replicas[place]
    }
}

#[cfg(test)]
mod exploration;
#[cfg(test)]
mod ordering;
#[cfg(test)]
mod tests;
