//! What a request hears and what it asks for.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::gossip::Held;
use crate::protocol::hash::RingHash;
use crate::protocol::id::{NodeName, Partition, Stamp, Token};
use crate::protocol::quorum::{FailureReason, Quorum, Verdict};
use crate::protocol::rules::Rules;

/// What a request starts from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Start {
    /// Where on the ring.
    pub hash: RingHash,
    /// How many replicas there are, and how many must execute the command.
    pub quorum: Quorum,
    /// Whether others may keep hints for an owner that is down: replicas that merge, and more than one.
    pub stand_ins: bool,
    /// Any number that differs from request to request. Pauses are drawn from it.
    pub jitter: u64,
    /// The rules it is run by.
    #[serde(skip)]
    pub rules: Rules,
}

/// Names one sending of the command to one replica. Unique within its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId(pub u32);

/// Names one pause. Unique within its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PauseId(pub u32);

/// In which capacity a node is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// It holds the token.
    Owner,
    /// It keeps a hint.
    StandIn {
        /// The holder that is down or stalled.
        instead_of: NodeName,
    },
}

/// What a replica said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Said {
    /// Executed.
    Done {
        /// The vnode's reply in its own encoding.
        reply: Bytes,
    },
    /// Executed: the reply tells what is stored there.
    Read {
        /// The vnode's reply in its own encoding.
        reply: Bytes,
    },
    /// Not executed: another node holds a higher token.
    Moved(Held),
    /// Not executed: something newer than the command's stamp is stored there, under this one.
    Overtaken(Stamp),
    /// Not executed, or stopped while it was.
    Failed(FailureReason),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// A replica answered.
    Replied {
        /// Which attempt.
        attempt: AttemptId,
        /// What it said.
        said: Said,
    },
    /// The attempt did not reach the replica.
    NotSent {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The attempt was sent, and no answer will come: it may have run.
    Lost {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A node is down. The directory says so too.
    PeerDown(NodeName),
    /// A higher token is known for a partition.
    TokenLearned {
        /// Which partition.
        partition: Partition,
        /// The token and its holder.
        held: Held,
    },
    /// A pause is over.
    TimerFired(PauseId),
    /// The request's time is up.
    DeadlinePassed,
}

/// What the runtime must do after a step, in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Send the command. Ends in exactly one `Replied`, `NotSent` or `Lost`.
    Send {
        /// This sending.
        attempt: AttemptId,
        /// The replica.
        partition: Partition,
        /// Whom to ask.
        to: NodeName,
        /// The token believed in.
        token: Token,
        /// As what it is asked.
        role: Role,
    },
    /// Mint a higher stamp than this one for the operation: what is sent from now on carries it.
    Restamp {
        /// What a replica holds.
        above: Stamp,
    },
    /// Say `TimerFired` after this time.
    After {
        /// This pause.
        pause: PauseId,
        /// How long it is.
        wait: Duration,
    },
    /// Note a token that a replica named, so that other requests need not find it out for themselves.
    Learned {
        /// Which partition.
        partition: Partition,
        /// The token and its holder.
        held: Held,
    },
    /// Answer the client. Comes exactly once.
    Answer(Verdict),
}
