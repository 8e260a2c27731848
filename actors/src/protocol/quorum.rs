//! How many replicas must answer, and the tally of one request.
//!
//! ```text
//!            enough answered                        Met
//! Waiting ----------------------------------------> or
//!            no longer possible, or the deadline    Failed    then: late answers are counted, that is all
//! ```
//!
//! Whom to ask, and whom to ask instead of a node that failed, is the coordinator's; the order is in
//! [`super::preference`]. What several replies come to is the vnode's `merge`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::id::{NodeName, Partition};

/// Most replicas of a key.
pub const REPLICAS_MAX: u8 = 16;

/// Why numbers are not a quorum. Nothing was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// `n` is 0 or above [`REPLICAS_MAX`].
    #[error("a key has 1 to {REPLICAS_MAX} replicas, not {n}")]
    BadReplicas {
        /// What was given.
        n: u8,
    },
    /// The answers needed are none, or more than there are replicas.
    #[error("1 to {n} of {n} replicas can be needed, not {needed}")]
    BadNeeded {
        /// Replicas.
        n: u8,
        /// What was given.
        needed: u8,
    },
    /// More owners are needed than there are replicas.
    #[error("at most {n} owners of {n} replicas can be needed, not {primaries_needed}")]
    BadPrimaries {
        /// Replicas.
        n: u8,
        /// What was given.
        primaries_needed: u8,
    },
    /// The replicas of the request are not `n` different partitions.
    #[error("{n} different partitions must be asked, not {asked}")]
    BadAsked {
        /// Replicas.
        n: u8,
        /// Different partitions that were given.
        asked: usize,
    },
}

/// How many of a key's `n` replicas must execute a command (r or w), and how many of them as owners
/// rather than fallbacks (pr or pw).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "QuorumForm")]
pub struct Quorum {
    n: u8,
    needed: u8,
    primaries_needed: u8,
}

/// A quorum as it was written, before anybody checked it.
#[derive(Deserialize)]
struct QuorumForm {
    n: u8,
    needed: u8,
    primaries_needed: u8,
}

impl TryFrom<QuorumForm> for Quorum {
    type Error = QuorumError;

    fn try_from(form: QuorumForm) -> Result<Self, QuorumError> {
        Self::new(form.n, form.needed, form.primaries_needed)
    }
}

impl Quorum {
    /// Checks a quorum. `primaries_needed` may be above `needed`: then it decides.
    ///
    /// # Errors
    ///
    /// [`QuorumError`] names the number that is out of range.
    pub fn new(n: u8, needed: u8, primaries_needed: u8) -> Result<Self, QuorumError> {
        if n == 0 || n > REPLICAS_MAX {
            return Err(QuorumError::BadReplicas { n });
        }
        if needed == 0 || needed > n {
            return Err(QuorumError::BadNeeded { n, needed });
        }
        if primaries_needed > n {
            return Err(QuorumError::BadPrimaries { n, primaries_needed });
        }
        Ok(Self { n, needed, primaries_needed })
    }

    /// Replicas of the key.
    #[must_use]
    pub fn n(self) -> u8 {
        self.n
    }

    /// Answers needed, from whomever.
    #[must_use]
    pub fn needed(self) -> u8 {
        self.needed
    }

    /// Answers of owners needed.
    #[must_use]
    pub fn primaries_needed(self) -> u8 {
        self.primaries_needed
    }
}

/// As what a node answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AnswerKind {
    /// As a fallback, from its hints.
    Sloppy,
    /// As the owner.
    Strict,
}

/// Why a replica did not execute a command.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[non_exhaustive]
pub enum FailureReason {
    /// It holds no token, and nobody with a higher one could be asked in time. Not executed.
    #[error("moved away")]
    Moved,
    /// It knows an older token than the coordinator. Not executed.
    #[error("behind: does not know yet that it owns the partition")]
    Behind,
    /// It asked to be asked again, until no time was left. Not executed.
    #[error("not ready")]
    Retry,
    /// All its permits are taken. Not executed.
    #[error("busy")]
    Busy,
    /// It holds something newer than the command's stamp, again and again. Not executed.
    #[error("overtaken by newer writes")]
    Overtaken,
    /// The vnode's author dropped it during a handoff. Not executed.
    #[error("dropped during a handoff")]
    Dropped,
    /// Its deadline passed while it was parked. Not executed.
    #[error("expired before it was executed")]
    Expired,
    /// The node lost the vnode's data, or is still rebuilding it. Not executed.
    #[error("lost its data")]
    Lost,
    /// The vnode's grant is on its way to a node that is down. Not executed.
    #[error("stalled: it waits for a node that is down")]
    Stalled,
    /// The vnode stopped or its store failed meanwhile. May have been executed.
    #[error("stopped: {0}")]
    Stopped(String),
    /// The command could not be decoded or is not legal there. Not executed.
    #[error("refused: {0}")]
    Refused(String),
    /// The node could not be reached.
    #[error("unreachable")]
    Unreachable {
        /// Whether the command had left when the connection ended.
        may_have_run: bool,
    },
    /// It told what it keeps as a stand-in, and an owner that is up did not answer in time.
    #[error("stands in, and an owner that is up did not answer")]
    Unconfirmed,
    /// No answer came before the deadline. May have been, or yet be, executed.
    #[error("no answer in time")]
    Silent,
}

impl FailureReason {
    /// Whether the command may have taken effect there.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Stopped(_) | Self::Silent => true,
            Self::Unreachable { may_have_run } => *may_have_run,
            Self::Moved
            | Self::Behind
            | Self::Retry
            | Self::Busy
            | Self::Overtaken
            | Self::Dropped
            | Self::Expired
            | Self::Lost
            | Self::Stalled
            | Self::Refused(_)
            | Self::Unconfirmed => false,
        }
    }
}

/// What a node said to a command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReplicaOutcome {
    /// Executed; the vnode's reply in its own encoding.
    Ok(Bytes),
    /// Not executed, or nobody knows.
    Failed(FailureReason),
}

/// What a tally is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TallyEvent {
    /// A node answered for a partition. A failure is said here only when nobody else will be asked.
    Answered {
        /// The partition.
        partition: Partition,
        /// Who answered.
        from: NodeName,
        /// As what.
        kind: AnswerKind,
        /// What it said.
        outcome: ReplicaOutcome,
    },
    /// A stand-in told what it keeps. It knows only what was written while it stood in, so this counts from
    /// [`TallyEvent::OwnersHeard`] on.
    Told {
        /// The partition.
        partition: Partition,
        /// Who told.
        from: NodeName,
        /// What.
        reply: Bytes,
    },
    /// No owner that is up is waited for at this moment.
    OwnersHeard,
    /// The node could not be reached, and nobody else will be asked for the partition.
    Unreachable {
        /// The partition.
        partition: Partition,
        /// Who could not be reached.
        node: NodeName,
        /// Whether the command had left when the connection ended.
        may_have_run: bool,
    },
    /// A node failed, and another one was asked for the partition.
    AskedInstead {
        /// The partition.
        partition: Partition,
        /// Who failed.
        failed: NodeName,
        /// How.
        reason: FailureReason,
        /// Who was asked instead.
        instead: NodeName,
    },
    /// A node did not execute the command, and will be asked again or somebody else will.
    Postponed {
        /// The partition.
        partition: Partition,
        /// Who did not.
        node: NodeName,
        /// Why.
        reason: FailureReason,
    },
    /// A node is asked for a partition that was postponed, or for which nobody could be asked.
    AskedAgain {
        /// The partition.
        partition: Partition,
        /// Who is asked.
        node: NodeName,
    },
    /// A node holds something newer than the command's stamp. All are asked again under a higher one, and
    /// what was executed under the old one does not count any more.
    Overtaken {
        /// The partition.
        partition: Partition,
        /// Who.
        node: NodeName,
    },
    /// The request's time is over.
    DeadlinePassed,
}

/// One replica's reply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaAnswer {
    /// For which partition.
    pub partition: Partition,
    /// Who answered.
    pub from: NodeName,
    /// As what.
    pub kind: AnswerKind,
    /// The vnode's reply.
    pub reply: Bytes,
}

/// One node that did not execute the command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaFault {
    /// For which partition it was asked.
    pub partition: Partition,
    /// Who.
    pub node: NodeName,
    /// Why.
    pub reason: FailureReason,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Enough replicas executed the command.
    Met {
        /// Whether owners alone are enough.
        strict: bool,
        /// The replies so far, in the order of the replicas.
        answers: Vec<ReplicaAnswer>,
    },
    /// Too few did.
    Failed {
        /// Partitions that executed it.
        ok: u8,
        /// Partitions needed.
        needed: u8,
        /// Of `ok`, those at their owner.
        primaries_ok: u8,
        /// Owners needed.
        primaries_needed: u8,
        /// Whether time ran out; else too many failed.
        deadline_passed: bool,
        /// Whether some node executed it, or may have, or yet may.
        may_have_been_stored: bool,
        /// Every node that failed, in the order in which it was heard of.
        failures: Vec<ReplicaFault>,
    },
}

/// Why an event changed nothing in the tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TallyIgnored {
    /// The verdict is out. The event was counted.
    Late,
    /// The partition has a better answer already, or this one.
    Duplicate,
    /// The partition is not one of the request's.
    NotAsked,
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the verdict is told once"]
pub enum TallyStep {
    /// It counted; the verdict is open.
    Counted(Tally),
    /// It counted and decided the request. Said once in a tally's life.
    Reached(Tally, Verdict),
    /// It changed nothing.
    Ignored(Tally, TallyIgnored),
}

mod tally;
pub use tally::Tally;

#[cfg(test)]
mod tests;
