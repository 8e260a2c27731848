//! Commands: from a client to any node, and from the coordinator to the replicas.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::hash::RingHash;
use crate::protocol::id::{
    Dot, NodeId, NodeName, OpId, Stamp, Token, TransferId, VnodeRef, VnodeType,
};

/// One operation as every replica sees it. Minted once by the coordinator; retries and forwards carry
/// the same one, with a higher stamp after [`Outcome::Overtaken`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Which vnode.
    pub vnode: VnodeRef,
    /// The client's operation.
    pub op: OpId,
    /// When the coordinator saw it.
    pub stamp: Stamp,
    /// Names the write.
    pub dot: Dot,
    /// Time left, in milliseconds. Past it the command is answered `Expired` and not executed.
    pub deadline_ms: u32,
    /// The vnode type's own encoding. At most [`COMMAND_BYTES_MAX`].
    pub command: Bytes,
}

/// Longest command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Coordinator to owner: execute this. Answered by [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execute {
    /// The operation.
    pub envelope: Envelope,
    /// The token the coordinator believes in.
    pub token: Token,
    /// Set on the one hop from a fenced source to its target: the transfer that fenced it.
    pub forwarded: Option<TransferId>,
}

/// Coordinator to fallback: execute this in the hints kept for an owner that is down. Answered by
/// [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The operation.
    pub envelope: Envelope,
    /// The owner token the coordinator believes in.
    pub token: Token,
    /// The owner that is down.
    pub instead_of: NodeName,
}

/// What became of a command at one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Executed once; the vnode's reply in its own encoding.
    Done {
        /// Empty when the vnode gave no reply.
        reply: Bytes,
    },
    /// Not executed: another node holds a higher token.
    Moved {
        /// The higher token.
        token: Token,
        /// Its holder.
        holder: NodeId,
    },
    /// Not executed: the coordinator knows a higher token than this node does.
    Behind {
        /// The highest token known here.
        token: Token,
    },
    /// Not executed: something newer than the command's stamp is stored. Asked again with a higher stamp, under
    /// the same operation id and dot.
    Overtaken {
        /// The stamp of what is stored.
        stamp: Stamp,
    },
    /// Not executed: ask again shortly, with the same operation id.
    Retry,
    /// Not executed: all permits of this vnode are taken.
    Busy,
    /// Not executed: the vnode's author chose to drop this command during a handoff. Retryable.
    Dropped,
    /// Not executed: its deadline passed while it was parked.
    Expired,
    /// Not executed: this node lost the vnode's data and has not been readmitted.
    Lost,
    /// Not executed: the vnode's grant is on its way to a node that is down.
    Stalled,
    /// Passed on to the target of a fence, and no answer came back: it may have been executed. Asking again with
    /// the same operation id is safe.
    Unanswered,
    /// The vnode stopped while it executed; the command may have taken effect.
    Stopped {
        /// In the words of the vnode.
        reason: String,
    },
    /// Not executed: the command could not be decoded, or this node does not host the type.
    Refused {
        /// What was wrong.
        reason: String,
    },
}

impl Outcome {
    /// Whether the command may have taken effect at this replica.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Done { .. } | Self::Unanswered | Self::Stopped { .. } => true,
            Self::Moved { .. }
            | Self::Behind { .. }
            | Self::Overtaken { .. }
            | Self::Retry
            | Self::Busy
            | Self::Dropped
            | Self::Expired
            | Self::Lost
            | Self::Stalled
            | Self::Refused { .. } => false,
        }
    }
}

/// Client to any node: run a command with a quorum. Answered by [`CommandAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The kind of vnode.
    pub vnode_type: VnodeType,
    /// Where on the ring.
    pub hash: RingHash,
    /// Replicas asked, 1 to 16.
    pub n: u8,
    /// Answers needed, 1 to n.
    pub needed: u8,
    /// How many of them must come from owners rather than fallbacks.
    pub owners_needed: u8,
    /// Time left, in milliseconds.
    pub deadline_ms: u32,
    /// Set by clients that retry: kept over every retry. `None`: the node mints one.
    pub op: Option<OpId>,
    /// The vnode type's own encoding.
    pub command: Bytes,
}

/// Answer to [`Command`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandAnswer {
    /// The quorum was met.
    Met {
        /// The replies, combined by the vnode type.
        reply: Bytes,
        /// Whether owners alone met it.
        strict: bool,
    },
    /// It was not.
    Failed(CommandError),
}

/// Why a command did not meet its quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Fewer replicas answered than were needed. See `may_have_been_stored`.
    #[error("{ok} of {needed} needed replicas answered ({})", list(failures))]
    QuorumNotMet {
        /// Replicas that executed it.
        ok: u8,
        /// Replicas needed.
        needed: u8,
        /// Whether some replica may have executed it.
        may_have_been_stored: bool,
        /// What the others said: partition index, node, reason.
        failures: Vec<ReplicaFailure>,
    },
    /// The deadline passed first.
    #[error("{ok} of {needed} needed replicas answered before the deadline ({})", list(failures))]
    DeadlinePassed {
        /// Replicas that executed it.
        ok: u8,
        /// Replicas needed.
        needed: u8,
        /// Whether some replica may have executed it.
        may_have_been_stored: bool,
        /// What the others said.
        failures: Vec<ReplicaFailure>,
    },
    /// Too many commands under way in this node. Nothing was stored; try again.
    #[error("{node} has {limit} commands under way and takes no more; try again")]
    Overloaded {
        /// The node asked.
        node: NodeName,
        /// Its limit.
        limit: u32,
    },
    /// Nothing was stored: the command itself is not legal.
    #[error("{reason}")]
    Illegal {
        /// What was wrong and what would be legal.
        reason: String,
    },
    /// The node is starting, joining or stopping. Nothing was stored; ask another node.
    #[error("{node} does not serve yet: {reason}")]
    NotServing {
        /// The node asked.
        node: NodeName,
        /// What it waits for.
        reason: String,
    },
}

/// One replica that did not execute a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaFailure {
    /// The partition's index on the ring.
    pub partition: RingHash,
    /// Who was asked.
    pub node: NodeName,
    /// What it said, or why it could not be asked.
    pub reason: String,
}

fn list(failures: &[ReplicaFailure]) -> String {
    if failures.is_empty() {
        return "no replica said why".to_owned();
    }
    let one = |failure: &ReplicaFailure| format!("{}: {}", failure.node, failure.reason);
    failures.iter().map(one).collect::<Vec<_>>().join("; ")
}
