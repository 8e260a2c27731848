//! The side that wants a value decided: asks every acceptor, counts, tries again, gives up in the end.
//!
//! ```text
//!        Started           a majority promised         a majority accepted
//! Ready ---------> Preparing ---------------> Accepting ------------------> Decided
//!                    ^   |                        |
//!           RetryDue |   | no majority left,      |
//!                    |   v or TimedOut            |
//!                  BackingOff <-------------------+----> GivenUp (attempts used up, or epoch over)
//! ```
//!
//! It draws no random number: the runtime draws the pause of a [`ProposerEffect::Retry`] from its step.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{AcceptedValue, Answer, Ask, Ballot, ProposalId};
use crate::protocol::id::{Epoch, NodeName, VoterId};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;

/// Attempts before a proposer gives up, unless it is told otherwise. With a pause that doubles, two
/// operators who commit in the same second both have their answer before that.
pub const ATTEMPTS_MAX_DEFAULT: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);

/// What is proposed, by whom, to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proposal<V> {
    /// Never used twice by one node.
    pub id: ProposalId,
    /// The vote of the proposing node. It need not be one of `acceptors`.
    pub proposer: VoterId,
    /// The epoch to decide.
    pub epoch: Epoch,
    /// What ought to be decided.
    pub value: V,
    /// Everybody who has a vote on that epoch, with the identity whose vote counts.
    pub acceptors: BTreeMap<NodeName, VoterId>,
    /// How often to try.
    pub attempts_max: NonZeroU32,
    /// The rules it is decided by.
    #[serde(skip)]
    pub rules: Rules,
}

/// Why an acceptor's vote is missing in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Absence {
    /// The question could not be delivered.
    NotReached,
    /// It did not answer in time.
    Silent,
    /// It has promised a higher ballot to somebody else.
    Outbid {
        /// That ballot.
        promised: Ballot,
    },
    /// It lost its control records: this identity has no vote until an epoch lists it.
    OtherVoter {
        /// The identity that answered.
        voter: VoterId,
    },
    /// It does not know the ring before this epoch yet.
    Behind {
        /// The epoch it is to decide.
        deciding: Epoch,
    },
}

/// Why a proposer gave up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GiveUp {
    /// The last attempt, like each before it, did not get a majority.
    NoMajority {
        /// Whose votes were missing last, and why.
        missing: BTreeMap<NodeName, Absence>,
        /// How many votes make the majority.
        needed: usize,
    },
    /// The epoch was decided before. Fetch the ring to see whether it is what was proposed.
    EpochOver {
        /// Who knows that ring.
        at: NodeName,
        /// The epoch it is to decide.
        deciding: Epoch,
    },
}

/// What a proposer is told. Whatever concerns an attempt names its ballot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposerEvent<V> {
    /// Begin.
    Started,
    /// An acceptor answered.
    Answered {
        /// Who.
        from: NodeName,
        /// The identity it votes under.
        voter: VoterId,
        /// The ballot of the question.
        ballot: Ballot,
        /// What it said.
        answer: Answer<V>,
    },
    /// The question could not be delivered.
    NotReached {
        /// To whom.
        who: NodeName,
        /// The ballot of the question.
        ballot: Ballot,
    },
    /// The attempt's timer went off.
    TimedOut(Ballot),
    /// The pause before this attempt is over.
    RetryDue(Ballot),
}

/// What the runtime must do after a step, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposerEffect<V> {
    /// Limit the attempt in time, over both of its rounds; then say `TimedOut`.
    StartTimer(Ballot),
    /// Send a question. Say `NotReached` when that is impossible.
    Ask(NodeName, Ask<V>),
    /// Send this acceptor the ring before the epoch, so that the next attempt finds it ready.
    BringUpToDate(NodeName),
    /// The epoch has its value. Spread it.
    Decided {
        /// What was decided.
        value: V,
        /// Whether it is what was proposed here. If not, propose again for the next epoch.
        own: bool,
    },
    /// Pause for a time drawn at random from this step's range, then say `RetryDue`.
    Retry {
        /// The attempt to come.
        ballot: Ballot,
        /// Attempts so far: 1, 2, 3.
        backoff_step: u32,
    },
    /// Tell who proposed.
    GaveUp {
        /// The reason.
        reason: GiveUp,
        /// Whether what was proposed may be decided already, or yet be by somebody else: an acceptor may
        /// have accepted it. If not, it never will be.
        may_be_decided: bool,
    },
}

/// Why an event changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ignored {
    /// It speaks of an attempt, or a round of it, that is over.
    Late,
    /// It comes from a node that has no vote.
    NotAnAcceptor,
    /// It cannot happen in this phase, unless the runtime is wrong.
    Unexpected,
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the effects are not carried out until the runtime performs them"]
pub enum ProposerStep<V> {
    /// It counted.
    Moved(Proposer<V>, Vec<ProposerEffect<V>>),
    /// It changed nothing.
    Stayed(Proposer<V>, Ignored),
}

/// One attempt, whichever round it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Attempt {
    ballot: Ballot,
    /// From 1.
    number: u32,
    /// Whether this or an earlier attempt asked anybody to accept what is proposed here.
    offered: bool,
    absent: BTreeMap<NodeName, Absence>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Phase<V> {
    Ready,
    Preparing {
        attempt: Attempt,
        promised: BTreeSet<NodeName>,
        /// Of what those accepted before, the one under the highest ballot.
        highest: Option<AcceptedValue<V>>,
    },
    Accepting {
        attempt: Attempt,
        value: V,
        accepted: BTreeSet<NodeName>,
    },
    BackingOff {
        next: Attempt,
    },
    Decided,
    GivenUp,
}

/// One proposal on its way to a decision. The runtime keeps it in memory only: when the node restarts,
/// the proposal is gone, and its ballots with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proposer<V> {
    proposal: Proposal<V>,
    phase: Phase<V>,
}

impl<V: Clone + Eq> Proposer<V> {
    /// A proposer that asks nobody before `Started`.
    #[must_use]
    pub fn new(proposal: Proposal<V>) -> Self {
        Self { proposal, phase: Phase::Ready }
    }

    /// What is proposed.
    #[must_use]
    pub fn proposal(&self) -> &Proposal<V> {
        &self.proposal
    }

    /// Has the attempt that is under way, or the next one, be the last.
    pub fn attempt_no_more(&mut self) {
        self.proposal.attempts_max = NonZeroU32::MIN;
    }

    /// How many votes make a majority: of all acceptors, reachable or not.
    #[must_use]
    pub fn needed(&self) -> usize {
        #[cfg(tanodb_mutants)]
        if self.proposal.rules.breaks(Mutant::MajorityOfTheReached)
            && let Phase::Preparing { attempt, .. } | Phase::Accepting { attempt, .. } = &self.phase
        {
            let is_reached =
                |name: &&NodeName| attempt.absent.get(*name) != Some(&Absence::NotReached);
            return self.proposal.acceptors.keys().filter(is_reached).count() / 2 + 1;
        }
        self.proposal.acceptors.len() / 2 + 1
    }

    /// Answers one event.
    pub fn step(self, event: ProposerEvent<V>) -> ProposerStep<V> {
        use ProposerEvent as On;
        match (&self.phase, event) {
            (Phase::Ready, On::Started) => {
                let Proposal { proposer, id, .. } = self.proposal;
                let ballot = Ballot { round: 1, voter: proposer, proposal: id };
                let absent = BTreeMap::new();
                self.prepare(Attempt { ballot, number: 1, offered: false, absent })
            }
            (Phase::BackingOff { next }, On::RetryDue(ballot)) if next.ballot == ballot => {
                let next = next.clone();
                self.prepare(next)
            }
            (
                Phase::Preparing { attempt, .. } | Phase::Accepting { attempt, .. },
                On::Answered { from, voter, ballot, answer },
            ) if attempt.ballot == ballot => self.hear(from, voter, answer),
            (
                Phase::Preparing { attempt, .. } | Phase::Accepting { attempt, .. },
                On::NotReached { who, ballot },
            ) if attempt.ballot == ballot => self.miss(who, Absence::NotReached, None),
            (
                Phase::Preparing { attempt, .. } | Phase::Accepting { attempt, .. },
                On::TimedOut(ballot),
            ) if attempt.ballot == ballot => self.time_out(),

            (
                Phase::Ready
                | Phase::Preparing { .. }
                | Phase::Accepting { .. }
                | Phase::BackingOff { .. }
                | Phase::Decided
                | Phase::GivenUp,
                On::Answered { .. } | On::NotReached { .. } | On::TimedOut(_) | On::RetryDue(_),
            ) => ProposerStep::Stayed(self, Ignored::Late),
            (
                Phase::Preparing { .. }
                | Phase::Accepting { .. }
                | Phase::BackingOff { .. }
                | Phase::Decided
                | Phase::GivenUp,
                On::Started,
            ) => ProposerStep::Stayed(self, Ignored::Unexpected),
        }
    }

    fn hear(self, from: NodeName, voter: VoterId, answer: Answer<V>) -> ProposerStep<V> {
        let Some(&listed) = self.proposal.acceptors.get(&from) else {
            return ProposerStep::Stayed(self, Ignored::NotAnAcceptor);
        };
        let is_listed = voter == listed;
        #[cfg(tanodb_mutants)]
        let is_listed = is_listed || self.proposal.rules.breaks(Mutant::AnyIdentityVotes);
        match answer {
            // No vote but news of a ring, so it does not matter which identity brings it.
            Answer::EpochOver { deciding } => {
                self.give_up(GiveUp::EpochOver { at: from, deciding })
            }
            Answer::Promise { .. }
            | Answer::Accepted
            | Answer::Nack { .. }
            | Answer::EpochAhead { .. }
                if !is_listed =>
            {
                self.miss(from, Absence::OtherVoter { voter }, None)
            }
            Answer::Promise { accepted } => self.count_promise(from, accepted),
            Answer::Accepted => self.count_accepted(from),
            Answer::Nack { promised } => self.miss(from, Absence::Outbid { promised }, None),
            Answer::EpochAhead { deciding } => {
                let update = ProposerEffect::BringUpToDate(from.clone());
                self.miss(from, Absence::Behind { deciding }, Some(update))
            }
        }
    }

    fn count_promise(
        mut self,
        from: NodeName,
        accepted: Option<AcceptedValue<V>>,
    ) -> ProposerStep<V> {
        let needed = self.needed();
        match &mut self.phase {
            Phase::Preparing { attempt, promised, highest } => {
                attempt.absent.remove(&from);
                promised.insert(from);
                #[cfg(tanodb_mutants)]
                let accepted =
                    accepted.filter(|_| !self.proposal.rules.breaks(Mutant::OwnValueFirst));
                if accepted.as_ref().map(|it| it.ballot) > highest.as_ref().map(|it| it.ballot) {
                    *highest = accepted;
                }
                if promised.len() < needed {
                    return ProposerStep::Moved(self, vec![]);
                }
                // What a majority may already have accepted must be decided, and nothing else.
                let value =
                    highest.take().map_or_else(|| self.proposal.value.clone(), |it| it.value);
                let offered = attempt.offered || value == self.proposal.value;
                let attempt = Attempt { offered, absent: BTreeMap::new(), ..attempt.clone() };
                self.accept(attempt, value)
            }
            Phase::Ready
            | Phase::Accepting { .. }
            | Phase::BackingOff { .. }
            | Phase::Decided
            | Phase::GivenUp => ProposerStep::Stayed(self, Ignored::Late),
        }
    }

    fn count_accepted(mut self, from: NodeName) -> ProposerStep<V> {
        let needed = self.needed();
        match &mut self.phase {
            Phase::Accepting { attempt, value, accepted } => {
                attempt.absent.remove(&from);
                accepted.insert(from);
                if accepted.len() < needed {
                    return ProposerStep::Moved(self, vec![]);
                }
                let own = *value == self.proposal.value;
                let decided = ProposerEffect::Decided { value: value.clone(), own };
                self.phase = Phase::Decided;
                ProposerStep::Moved(self, vec![decided])
            }
            Phase::Ready
            | Phase::Preparing { .. }
            | Phase::BackingOff { .. }
            | Phase::Decided
            | Phase::GivenUp => ProposerStep::Stayed(self, Ignored::Late),
        }
    }

    /// Counts a vote as missing, and ends the attempt once too many are.
    fn miss(
        mut self,
        who: NodeName,
        why: Absence,
        and_do: Option<ProposerEffect<V>>,
    ) -> ProposerStep<V> {
        if !self.proposal.acceptors.contains_key(&who) {
            return ProposerStep::Stayed(self, Ignored::NotAnAcceptor);
        }
        let (attempt, given) = match &mut self.phase {
            Phase::Preparing { attempt, promised, .. } => (attempt, promised),
            Phase::Accepting { attempt, accepted, .. } => (attempt, accepted),
            Phase::Ready | Phase::BackingOff { .. } | Phase::Decided | Phase::GivenUp => {
                return ProposerStep::Stayed(self, Ignored::Late);
            }
        };
        // A vote that was given stands, whatever overtook it.
        if given.contains(&who) {
            return ProposerStep::Stayed(self, Ignored::Late);
        }
        attempt.absent.insert(who, why);
        let mut effects: Vec<_> = and_do.into_iter().collect();
        let possible = self.proposal.acceptors.len() - attempt.absent.len();
        if possible >= self.needed() {
            return ProposerStep::Moved(self, effects);
        }
        match self.end_attempt() {
            ProposerStep::Moved(next, more) => {
                effects.extend(more);
                ProposerStep::Moved(next, effects)
            }
            stayed @ ProposerStep::Stayed(..) => stayed,
        }
    }

    fn time_out(mut self) -> ProposerStep<V> {
        match &mut self.phase {
            Phase::Preparing { attempt, promised: given, .. }
            | Phase::Accepting { attempt, accepted: given, .. } => {
                for name in self.proposal.acceptors.keys().filter(|name| !given.contains(*name)) {
                    attempt.absent.entry(name.clone()).or_insert(Absence::Silent);
                }
                self.end_attempt()
            }
            Phase::Ready | Phase::BackingOff { .. } | Phase::Decided | Phase::GivenUp => {
                ProposerStep::Stayed(self, Ignored::Late)
            }
        }
    }

    fn prepare(mut self, attempt: Attempt) -> ProposerStep<V> {
        let ballot = attempt.ballot;
        let question = Ask::Prepare { epoch: self.proposal.epoch, ballot };
        self.phase = Phase::Preparing { attempt, promised: BTreeSet::new(), highest: None };
        let mut effects = vec![ProposerEffect::StartTimer(ballot)];
        effects.extend(self.ask_everybody(&question));
        ProposerStep::Moved(self, effects)
    }

    fn accept(mut self, attempt: Attempt, value: V) -> ProposerStep<V> {
        let (epoch, ballot) = (self.proposal.epoch, attempt.ballot);
        let question = Ask::Accept { epoch, ballot, value: value.clone() };
        self.phase = Phase::Accepting { attempt, value, accepted: BTreeSet::new() };
        let effects = self.ask_everybody(&question).collect();
        ProposerStep::Moved(self, effects)
    }

    fn ask_everybody(&self, question: &Ask<V>) -> impl Iterator<Item = ProposerEffect<V>> {
        let names = self.proposal.acceptors.keys();
        names.map(|name| ProposerEffect::Ask(name.clone(), question.clone()))
    }

    /// Tries again above every ballot that was heard of, or gives up.
    fn end_attempt(mut self) -> ProposerStep<V> {
        let attempt = match &self.phase {
            Phase::Preparing { attempt, .. } | Phase::Accepting { attempt, .. } => attempt.clone(),
            Phase::Ready | Phase::BackingOff { .. } | Phase::Decided | Phase::GivenUp => {
                return ProposerStep::Stayed(self, Ignored::Late);
            }
        };
        if attempt.number >= self.proposal.attempts_max.get() {
            let needed = self.needed();
            return self.give_up(GiveUp::NoMajority { missing: attempt.absent, needed });
        }
        let outbid = attempt.absent.values().filter_map(|why| match why {
            Absence::Outbid { promised } => Some(promised.round),
            Absence::NotReached
            | Absence::Silent
            | Absence::OtherVoter { .. }
            | Absence::Behind { .. } => None,
        });
        let highest = outbid.max().unwrap_or(0).max(attempt.ballot.round);
        let ballot = Ballot { round: highest.saturating_add(1), ..attempt.ballot };
        let retry = ProposerEffect::Retry { ballot, backoff_step: attempt.number };
        let number = attempt.number.saturating_add(1);
        let next = Attempt { ballot, number, absent: BTreeMap::new(), ..attempt };
        self.phase = Phase::BackingOff { next };
        ProposerStep::Moved(self, vec![retry])
    }

    fn give_up(mut self, reason: GiveUp) -> ProposerStep<V> {
        let may_be_decided = match &self.phase {
            Phase::Preparing { attempt, .. } | Phase::Accepting { attempt, .. } => attempt.offered,
            Phase::BackingOff { next } => next.offered,
            Phase::Ready | Phase::Decided | Phase::GivenUp => false,
        };
        self.phase = Phase::GivenUp;
        ProposerStep::Moved(self, vec![ProposerEffect::GaveUp { reason, may_be_decided }])
    }
}
