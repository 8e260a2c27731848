//! Messages that a vnode actor hears and sends: from the host, the ring manager, and the sender or receiver
//! of a transfer.

use actix::{Message, Recipient};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::raw::RawVnode;
use super::record::Receipt;
use crate::protocol::digest::Summary;
use crate::protocol::gossip::Held;
use crate::protocol::handoff::{Handoff, Incoming, Outgoing};
use crate::protocol::id::{NodeId, NodeName, Token, TransferId, VnodeRef};
use crate::protocol::time::Moment;
use crate::runtime::reply::Reply;
use crate::wire::admin::PartitionRow;
use crate::wire::message::{
    CancelReason, Execute, Grant, Hint, Outcome, PartContent, PeerMessage, Rejection,
};

// ---- from the host -------------------------------------------------------------------------------

/// A command with a permit of its vnode.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Admitted {
    /// The command.
    pub execute: Execute,
    /// When its deadline passes.
    pub deadline: Moment,
    /// What this node knows of the vnode's owner.
    pub known: Option<Held>,
    /// Always answered.
    pub reply: Reply<Outcome>,
    /// Given back when the command is answered.
    pub permit: OwnedSemaphorePermit,
}

/// A command for the hints, with a permit of its vnode.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AdmittedHint {
    /// The command.
    pub hint: Hint,
    /// When its deadline passes.
    pub deadline: Moment,
    /// Always answered.
    pub reply: Reply<Outcome>,
    /// Given back when the command is answered.
    pub permit: OwnedSemaphorePermit,
}

/// What this vnode holds, for reports. Reading it changes nothing.
#[derive(Message)]
#[rtype(result = "Vec<PartitionRow>")]
pub struct ObserveVnode;

/// Ends the vnode for good: this node has become part of another cluster.
#[derive(Message)]
#[rtype(result = "()")]
pub struct EndVnode;

/// A grant arrived from another member.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GrantArrived {
    /// The grant.
    pub grant: Grant,
    /// Answered with `GrantHeld` or `GrantDeclined`; nothing else settles it.
    pub reply: Reply<PeerMessage>,
}

/// The target of a grant says that it holds it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HeldArrived {
    /// The transfer.
    pub transfer: TransferId,
    /// Answered with `GrantRetired` once that is durable.
    pub reply: Reply<PeerMessage>,
}

/// The source of a grant says that it is not granting any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RetiredArrived(pub TransferId);

/// The target asks whether an attempt is under way.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TransferAsked {
    /// The transfer.
    pub transfer: TransferId,
    /// Answered with `TransferOver` or `TransferRuns`.
    pub reply: Reply<PeerMessage>,
}

/// The source says that the attempt is over.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OverArrived(pub TransferId);

/// A member is down, or was seen in a later incarnation: what it had begun to send will not be ended by it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SourceGone {
    /// Who.
    pub node: NodeName,
    /// The incarnation that is alive, if any.
    pub alive: Option<NodeId>,
}

// ---- from and to the ring manager ----------------------------------------------------------------

/// What to give away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptKind {
    /// The vnode itself.
    Ownership,
    /// The hints of one generation.
    Hinted {
        /// The generation.
        generation: u64,
    },
}

/// A slot is leased for this attempt: begin it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct BeginAttempt {
    /// What.
    pub kind: AttemptKind,
    /// The attempt.
    pub outgoing: Outgoing,
}

/// This node speaks for the vnode itself: join this generation of hints with what it owns.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct MergeOwnHints(pub u64);

/// The attempt is over, unless a grant is under way.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct CancelAttempt {
    /// The attempt.
    pub transfer: TransferId,
    /// Why.
    pub reason: CancelReason,
}

/// What a vnode tells the ring manager.
#[derive(Message)]
#[rtype(result = "()")]
pub struct VnodeTold {
    /// Who speaks.
    pub vnode: VnodeRef,
    /// What it says.
    pub news: VnodeNews,
}

/// What a vnode tells the ring manager.
pub enum VnodeNews {
    /// Spawn a sender for this attempt.
    StartSender {
        /// What.
        kind: AttemptKind,
        /// The attempt.
        outgoing: Outgoing,
        /// The source's token.
        token: Token,
        /// Whether it is still rebuilding.
        rebuilding: bool,
        /// What the source holds, for progress.
        estimate: Summary,
        /// Where the sender asks for parts.
        vnode: Recipient<SenderAsked>,
    },
    /// An attempt ended: `None` means completed.
    AttemptEnded {
        /// The attempt.
        transfer: TransferId,
        /// Why it was cancelled.
        cancelled: Option<CancelReason>,
    },
    /// The attempt's state, for reports.
    AttemptMoved {
        /// The attempt.
        transfer: TransferId,
        /// The vnode's state.
        state: String,
    },
    /// The old copy is gone.
    Deleted {
        /// The attempt that moved it.
        transfer: TransferId,
    },
    /// Who speaks for the vnode has changed, by this node's own doing.
    Holder {
        /// The token.
        token: Token,
        /// Its holder.
        holder: NodeId,
    },
    /// Hints of a generation have been idle for long enough, or are old enough, to go home.
    HintsDue {
        /// The generation.
        generation: u64,
        /// Whom they are kept for.
        instead_of: NodeName,
    },
}

// ---- between a vnode and its sender --------------------------------------------------------------

/// What a sender asks of its vnode.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SenderAsked {
    /// The attempt.
    pub transfer: TransferId,
    /// What.
    pub ask: SenderAsk,
}

/// What a sender asks of its vnode.
pub enum SenderAsk {
    /// Here I am.
    Started(Recipient<SenderTold>),
    /// The next part.
    Read {
        /// Most bytes of a page; one item is always read.
        bytes_max: u64,
    },
    /// The fence.
    Fence {
        /// Most bytes of changes that may go with it.
        tail_bytes_max: u64,
    },
    /// Find out what differs from these bucket sums, and repair it.
    Repair(Bytes),
    /// The target holds everything up to the fence.
    Confirmed(u64),
    /// The attempt failed.
    Ended(CancelReason),
}

/// What a vnode tells its sender.
#[derive(Message)]
#[rtype(result = "()")]
pub enum SenderTold {
    /// A part to send.
    Part(Part),
    /// Nothing to send at the moment.
    Nothing,
    /// There is something to send again, or the fence has become possible.
    More,
    /// The vnode is fenced.
    Fenced {
        /// The number of the last part.
        fence: u64,
        /// What is left to send before it.
        tail: Option<Part>,
        /// What the vnode holds.
        summary: Summary,
    },
    /// Not yet.
    FenceNotYet,
    /// Stop; the attempt is over.
    Stop(CancelReason),
}

/// One part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub sequence: u64,
    /// What the bytes are.
    pub content: PartContent,
    /// The items or changes.
    pub items: Bytes,
    /// How many.
    pub count: u64,
}

// ---- between a vnode and its receiver ------------------------------------------------------------

/// What a receiver asks of its vnode.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReceiverAsked {
    /// The attempt.
    pub transfer: TransferId,
    /// What.
    pub ask: ReceiverAsk,
}

/// What a receiver asks of its vnode.
pub enum ReceiverAsk {
    /// Take this attempt.
    Open {
        /// What.
        kind: AttemptKind,
        /// The attempt.
        incoming: Incoming,
        /// Where to answer.
        receiver: Recipient<ReceiverTold>,
    },
    /// Store this part.
    Store(Part),
    /// Compare what is stored with this.
    Compare {
        /// The fence.
        fence: u64,
        /// What the source holds, or has sent.
        summary: Summary,
    },
    /// The source has said that the attempt is over.
    SourceEnded,
    /// The connection is over.
    Ended(CancelReason),
}

/// What a vnode tells its receiver.
#[derive(Message)]
#[rtype(result = "()")]
pub enum ReceiverTold {
    /// It is open.
    Opened,
    /// No.
    Refused(Rejection),
    /// Stored.
    Stored {
        /// The number of the part.
        sequence: u64,
        /// Items in it.
        count: u64,
        /// Bytes in it.
        bytes: u64,
    },
    /// Not stored.
    Failed(String),
    /// Compared.
    Compared {
        /// Whether both sides hold the same.
        is_equal: bool,
        /// What is held here.
        summary: Summary,
        /// The bucket sums, when they differ.
        buckets: Bytes,
    },
    /// The attempt is over.
    Stop(CancelReason),
}

// ---- to the host, from a vnode that ends ----------------------------------------------------------

/// What a vnode leaves behind when its actor ends: the host starts it again with this.
pub struct Remains {
    /// Where it stood.
    pub handoff: Handoff,
    /// The items it speaks for, or spoke for until they are deleted.
    pub owned: Option<Box<dyn RawVnode>>,
    /// What a transfer had staged.
    pub staging: Option<Box<dyn RawVnode>>,
    /// The proof by which the owned items may be deleted, once they have moved.
    pub receipt: Option<Receipt>,
    /// Hints, by generation.
    pub hints: Vec<(u64, NodeName, Box<dyn RawVnode>)>,
}

/// A vnode actor has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct VnodeFell {
    /// Which.
    pub vnode: VnodeRef,
    /// Which start of it: a late message about an earlier one is told apart.
    pub start: u64,
    /// Its author's reason; `None`: it panicked.
    pub reason: Option<String>,
    /// What it leaves behind.
    pub remains: Remains,
}
