//! Transfers: the offer, the stream, the fence, the grant.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::digest::{ItemRange, Summary};
use crate::protocol::id::{ClusterId, Epoch, NodeId, Token, TransferId, VnodeRef, VnodeType};

/// What is moved, and by which rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferKind {
    /// The vnode itself moves with its token.
    Ownership {
        /// The source's token.
        token: Token,
        /// Whether the source is still rebuilding; the target inherits it.
        rebuilding: bool,
    },
    /// Hints go home to the holder of the token.
    Hinted {
        /// The generation of hints.
        generation: u64,
    },
}

/// First message of a transfer, source to target. Answered by [`TransferMessage::Accepted`] or
/// [`TransferMessage::Rejected`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// This attempt.
    pub transfer: TransferId,
    /// What is moved.
    pub vnode: VnodeRef,
    /// How.
    pub kind: TransferKind,
    /// From whom.
    pub source: NodeId,
    /// To whom; anyone else refuses.
    pub target: NodeId,
    /// In which cluster.
    pub cluster: ClusterId,
    /// By which ring.
    pub epoch: Epoch,
    /// What the source holds now: an estimate, for progress.
    pub estimate: Summary,
}

/// Why a target does not take a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The offer names another node, incarnation or cluster.
    #[error("the offer is meant for {meant}, this is {is}")]
    NotMe {
        /// Whom the offer names.
        meant: NodeId,
        /// Who is here.
        is: NodeId,
    },
    /// The target's ring does not list the source's incarnation.
    #[error("the ring of epoch {epoch} does not list {source_node}")]
    SourceNotListed {
        /// The target's epoch.
        epoch: Epoch,
        /// The source.
        source_node: NodeId,
    },
    /// The target has an older ring; it fetches it. Try again.
    #[error("the target is at epoch {epoch} and fetches the newer ring")]
    Behind {
        /// The target's epoch.
        epoch: Epoch,
    },
    /// The target has a newer ring: the offer is out of date.
    #[error("the target is at epoch {epoch}, the offer is out of date")]
    Superseded {
        /// The target's epoch.
        epoch: Epoch,
    },
    /// All inbound slots are taken. Try again when one is free.
    #[error("all {limit} inbound slots of the target are taken")]
    SlotsFull {
        /// The target's limit.
        limit: u16,
    },
    /// The target's vnode is in a state that cannot take it: it still purges, or takes another transfer.
    #[error("the target's vnode is busy: {state}")]
    VnodeBusy {
        /// Its state.
        state: String,
    },
    /// The target knows a token that is not older than the offered one.
    #[error("the target knows token {token}")]
    TokenNotNewer {
        /// The token it knows.
        token: Token,
    },
    /// The target does not host this type of vnode.
    #[error("the target hosts no vnode type '{vnode_type}'")]
    TypeNotHosted {
        /// The type.
        vnode_type: VnodeType,
    },
    /// The target has lost its data and waits for readmission, or it is stopping.
    #[error("the target does not serve: {reason}")]
    NotServing {
        /// Why.
        reason: String,
    },
}

/// Why a transfer ends before its grant. The source keeps its data.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[non_exhaustive]
pub enum CancelReason {
    /// The vnode's author answered `handoff_starting` with false.
    #[error("the vnode refused to start")]
    VnodeRefused,
    /// The target said no.
    #[error("the target refused: {0}")]
    Rejected(String),
    /// The target takes no more transfers at the moment.
    #[error("all {0} inbound slots of the target are taken")]
    SlotsFull(u16),
    /// The connection could not be made or ended.
    #[error("the connection failed: {0}")]
    Disconnected(String),
    /// The other side said nothing for too long.
    #[error("the peer was silent for {0} ms")]
    Silent(u64),
    /// The sender or receiver actor ended.
    #[error("the {0} ended")]
    ActorEnded(String),
    /// A new ring gives the partition to somebody else.
    #[error("superseded by epoch {0}")]
    Superseded(Epoch),
    /// What the target stored differs from what the source holds, also after repair.
    #[error("the target's content differs from the source's after {0} repairs")]
    DigestDiffers(u32),
    /// The target vanished from the cluster or came back without what it had.
    #[error("the target is down")]
    TargetDown,
    /// The vnode stopped or failed.
    #[error("the vnode stopped: {0}")]
    VnodeStopped(String),
    /// A message that does not fit the state of the transfer.
    #[error("protocol error: {0}")]
    Protocol(String),
}

/// What travels on a transfer connection, both ways. The direction stands at each variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferMessage {
    /// Source: the first message.
    Offer(Box<Offer>),
    /// Target: send up to `window_bytes` beyond what is acknowledged.
    Accepted {
        /// Credit, in bytes.
        window_bytes: u64,
    },
    /// Target: no. The source keeps everything and may try again after `retry_after_ms`.
    Rejected {
        /// Why.
        reason: Rejection,
        /// Milliseconds; 0 when it is pointless.
        retry_after_ms: u32,
    },
    /// Target: part `sequence` and all before it are stored.
    Received {
        /// The number of the part.
        sequence: u64,
    },
    /// Source: nothing changes here any more; this is what I hold. Answered by `FenceOk` or
    /// `FenceDiffers`.
    Fence {
        /// The number of the last part before the fence.
        fence: u64,
        /// What the source holds.
        summary: Summary,
    },
    /// Target: everything up to `fence` is stored and equal.
    FenceOk {
        /// The fence.
        fence: u64,
    },
    /// Target: it is not equal; these are my bucket sums. The source repairs and fences again.
    FenceDiffers {
        /// The fence.
        fence: u64,
        /// 1,024 sums of 16 bytes, big-endian, in bucket order.
        buckets: Bytes,
    },
    /// Source: all hints of the generation were sent; this is what they were.
    HintsSent {
        /// What was sent.
        summary: Summary,
    },
    /// Target: all of them are stored or were already known.
    HintsKept {
        /// What arrived; equal to what was sent, or the source keeps its hints.
        summary: Summary,
    },
    /// Either side: the transfer is over. The source keeps its data, the target discards what is staged.
    Cancel {
        /// Why.
        reason: CancelReason,
    },
    /// Either side, when it has nothing to say for a third of the silence limit.
    Beat,
}

/// The head of a frame that carries items; the items follow as raw MessagePack `bin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHead {
    /// Counts parts of one transfer from 1, pages and deltas alike, in stream order.
    pub sequence: u64,
    /// What the bytes are.
    pub content: PartContent,
}

/// What a part carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartContent {
    /// The complete content of a range: what is absent there is removed.
    Page(ItemRange),
    /// The fold ends with this part: what comes behind it are changes.
    LastPage(ItemRange),
    /// Changes in order, each the state after it.
    Delta,
    /// Hints, to be merged.
    Hints,
}

/// The token of a fenced vnode, handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The transfer.
    pub transfer: TransferId,
    /// The vnode.
    pub vnode: VnodeRef,
    /// Who grants.
    pub source: NodeId,
    /// To whom.
    pub target: NodeId,
    /// The fence the target confirmed.
    pub fence: u64,
    /// The new token.
    pub token: Token,
    /// Whether the vnode is still rebuilding.
    pub rebuilding: bool,
}
