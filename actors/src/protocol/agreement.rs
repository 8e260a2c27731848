//! How the members decide what the next epoch is: one value per epoch, never two.
//!
//! Each epoch is a single-decree Paxos of its own. The [`Acceptor`] here is one member's vote; the
//! [`Proposer`] in [`proposer`] asks them all and needs a majority of *all* of them, also of those that
//! are down. What is decided (a ring) and who has a vote (the members of the ring before) is the caller's.
//!
//! ```text
//! proposer                     each acceptor
//!    | Prepare { ballot }   ------>  promises: nothing below this ballot any more
//!    | <------ Promise { what it accepted before, if anything }
//!    |  a majority promised: propose what was accepted under the highest ballot, else the own value
//!    | Accept { ballot, value } -->  accepts, unless it promised a higher ballot meanwhile
//!    | <------ Accepted
//!    v  a majority accepted: decided
//! ```
//!
//! Source: Lamport, "Paxos Made Simple", 2001, section 2.2.

use serde::{Deserialize, Serialize};

use super::id::{Epoch, VoterId};
#[cfg(tanodb_mutants)]
use super::mutant::Mutant;
use super::rules::Rules;

pub mod proposer;

pub use proposer::Proposer;

/// Tells a node's proposals apart, over restarts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProposalId {
    /// The proposing node's count of its starts.
    pub boot: u64,
    /// Proposals since that start, from 1.
    pub number: u64,
}

/// One attempt of one proposal to get a value decided; the higher one wins.
///
/// No two attempts share a ballot: `voter` and `proposal` differ between proposals, `round` between the
/// attempts of one. A node that asked again under an old ballot after a restart could take promises that
/// were made to its former life for its own, and decide a second value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// From 1; grows until it is above what others have promised.
    pub round: u64,
    /// Who proposes.
    pub voter: VoterId,
    /// Which of that node's proposals.
    pub proposal: ProposalId,
}

/// A value and the ballot under which an acceptor last accepted it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AcceptedValue<V> {
    /// The ballot.
    pub ballot: Ballot,
    /// The value.
    pub value: V,
}

/// What a proposer asks an acceptor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ask<V> {
    /// Promise to accept nothing below this ballot. Answered by `Promise` or `Nack`.
    Prepare {
        /// The epoch to decide.
        epoch: Epoch,
        /// The attempt.
        ballot: Ballot,
    },
    /// Accept this value. Answered by `Accepted` or `Nack`.
    Accept {
        /// The epoch to decide.
        epoch: Epoch,
        /// The attempt, for which a majority has promised.
        ballot: Ballot,
        /// What is to be decided.
        value: V,
    },
}

impl<V> Ask<V> {
    /// The epoch that is to be decided.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Prepare { epoch, .. } | Self::Accept { epoch, .. } => *epoch,
        }
    }

    /// The attempt the question belongs to. Its answer must name the same.
    #[must_use]
    pub fn ballot(&self) -> Ballot {
        match self {
            Self::Prepare { ballot, .. } | Self::Accept { ballot, .. } => *ballot,
        }
    }
}

/// What an acceptor says to a question. It travels with the question's ballot and the acceptor's voter id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer<V> {
    /// It will accept nothing below the ballot.
    Promise {
        /// What it accepted before, if anything.
        accepted: Option<AcceptedValue<V>>,
    },
    /// It has accepted the value.
    Accepted,
    /// It has promised a higher ballot. Nothing changed.
    Nack {
        /// That ballot.
        promised: Ballot,
    },
    /// The epoch was decided before; the acceptor knows its ring. Nothing changed.
    EpochOver {
        /// The epoch the acceptor is to decide.
        deciding: Epoch,
    },
    /// The acceptor does not know the ring before that epoch, so it cannot judge. Nothing changed.
    EpochAhead {
        /// The epoch the acceptor is to decide.
        deciding: Epoch,
    },
}

/// Whether the acceptor changed by answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Persist {
    /// The acceptor must be durable before the answer leaves.
    BeforeAnswering,
    /// It is as it was. The answer may leave as soon as *that* is durable: while an earlier answer waits for
    /// the disk, this one waits with it.
    Unchanged,
}

/// An acceptor's answer, and the acceptor afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a promise that is not kept lets two values be decided"]
pub struct Answered<V> {
    /// Replaces the acceptor that was asked.
    pub acceptor: Acceptor<V>,
    /// What must happen before `answer` leaves.
    pub persist: Persist,
    /// What the proposer is told.
    pub answer: Answer<V>,
}

/// One member's vote on the next epoch. A control record: an answer leaves only once it is durable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Acceptor<V> {
    /// The epoch that is to be decided: one above the member's ring.
    epoch: Epoch,
    promised: Option<Ballot>,
    accepted: Option<AcceptedValue<V>>,
    #[serde(skip)]
    rules: Rules,
}

impl<V: Clone + Eq> Acceptor<V> {
    /// A vote that was not asked for anything yet, on the epoch after `ring`.
    #[must_use]
    pub fn after(ring: Epoch) -> Self {
        Self { epoch: ring.next(), promised: None, accepted: None, rules: Rules::default() }
    }

    /// The same by given rules.
    #[must_use]
    pub fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The epoch that is to be decided.
    #[must_use]
    pub fn deciding(&self) -> Epoch {
        self.epoch
    }

    /// The vote once the member has the ring of epoch `ring`. A ring it already knew changes nothing.
    ///
    /// Make the ring durable first: between the two, a restart finds the old vote, and calls this again.
    #[must_use]
    pub fn learned(self, ring: Epoch) -> Self {
        if ring < self.epoch { self } else { Self::after(ring).under(self.rules) }
    }

    /// Answers one question. Asked the same again, it answers the same.
    pub fn answer(self, question: Ask<V>) -> Answered<V> {
        let deciding = self.epoch;
        if question.epoch() < deciding {
            return self.unchanged(Answer::EpochOver { deciding });
        }
        if question.epoch() > deciding {
            return self.unchanged(Answer::EpochAhead { deciding });
        }
        let ballot = question.ballot();
        let outbid_by = self.promised.filter(|promised| ballot < *promised);
        #[cfg(tanodb_mutants)]
        let outbid_by = outbid_by.filter(|_| match &question {
            Ask::Prepare { .. } => true,
            Ask::Accept { .. } => !self.rules.breaks(Mutant::AcceptBelowPromise),
        });
        if let Some(promised) = outbid_by {
            return self.unchanged(Answer::Nack { promised });
        }
        match question {
            Ask::Prepare { .. } => self.promise(ballot),
            Ask::Accept { value, .. } => self.accept(AcceptedValue { ballot, value }),
        }
    }

    fn promise(mut self, ballot: Ballot) -> Answered<V> {
        let answer = Answer::Promise { accepted: self.accepted.clone() };
        if self.promised == Some(ballot) {
            return self.unchanged(answer);
        }
        self.promised = Some(ballot);
        #[cfg(tanodb_mutants)]
        if self.rules.breaks(Mutant::PromiseNotDurable) {
            return self.unchanged(answer);
        }
        Answered { acceptor: self, persist: Persist::BeforeAnswering, answer }
    }

    fn accept(mut self, offered: AcceptedValue<V>) -> Answered<V> {
        if let Some(earlier) = self.accepted.as_ref().filter(|old| old.ballot == offered.ballot) {
            // One ballot never carries two values, unless its proposer is broken.
            let promised = earlier.ballot;
            let same = earlier.value == offered.value;
            return self.unchanged(if same { Answer::Accepted } else { Answer::Nack { promised } });
        }
        self.promised = Some(offered.ballot);
        self.accepted = Some(offered);
        Answered { acceptor: self, persist: Persist::BeforeAnswering, answer: Answer::Accepted }
    }

    fn unchanged(self, answer: Answer<V>) -> Answered<V> {
        Answered { acceptor: self, persist: Persist::Unchanged, answer }
    }
}

#[cfg(test)]
mod exploration;
#[cfg(test)]
mod tests;
