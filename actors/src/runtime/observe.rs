//! What a node tells of itself while it works, to whoever watches it from outside: a simulator that checks
//! promises, a program that counts.
//!
//! Watching changes nothing: no actor reads what it told, and without an observer nothing is even put
//! together.

use std::sync::Arc;

use super::vnode::Class;
use super::vnode::record::Receipt;
use crate::protocol::digest::Summary;
use crate::protocol::handoff::Handoff;
use crate::protocol::id::{
    ClusterId, Dot, Epoch, NodeId, OpId, Stamp, Token, TransferId, VnodeRef,
};
use crate::protocol::ring::RingDigest;
use crate::wire::message::CancelReason;

/// Something a node did.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Observed {
    /// A vnode actor was started, or started again, in this state.
    VnodeStarted {
        /// The cluster whose tokens it speaks under.
        cluster: ClusterId,
        /// Which vnode.
        vnode: VnodeRef,
        /// Where it stands.
        state: Handoff,
    },
    /// An event moved a vnode's machine. Its effects have not been carried out yet.
    VnodeMoved {
        /// The cluster whose tokens it speaks under.
        cluster: ClusterId,
        /// Which vnode.
        vnode: VnodeRef,
        /// Where it stood.
        before: Handoff,
        /// Where it stands.
        after: Handoff,
    },
    /// A vnode's record is durable: what follows from it may be told.
    RecordKept {
        /// Which vnode.
        vnode: VnodeRef,
        /// The state it speaks of.
        state: Handoff,
        /// The attempt whose receipt it holds, if it holds one.
        receipt: Option<TransferId>,
    },
    /// A vnode executed a command.
    Executed {
        /// The cluster whose tokens it speaks under.
        cluster: ClusterId,
        /// Which vnode.
        vnode: VnodeRef,
        /// How its replicas relate to each other.
        class: Class,
        /// The token under which this node speaks for it.
        token: Token,
        /// The operation.
        op: OpId,
        /// The operation's stamp.
        stamp: Stamp,
        /// The operation's dot.
        dot: Dot,
        /// Items and ranges it changed. None for a read, and for an operation that was executed before.
        changes: usize,
    },
    /// A source has stopped executing; this is all that it holds.
    FenceSet {
        /// Which vnode.
        vnode: VnodeRef,
        /// The attempt.
        transfer: TransferId,
        /// What the source holds.
        summary: Summary,
    },
    /// A target confirms that it holds everything up to the fence.
    FenceHeld {
        /// Which vnode.
        vnode: VnodeRef,
        /// The attempt.
        transfer: TransferId,
        /// What the target holds.
        summary: Summary,
    },
    /// A target speaks for the vnode from now on; that it does is durable.
    TookOver {
        /// Which vnode.
        vnode: VnodeRef,
        /// The attempt.
        transfer: TransferId,
        /// The new holder.
        holder: NodeId,
        /// The token it speaks under.
        token: Token,
        /// What it begins with.
        summary: Summary,
    },
    /// A fenced source passes a command on to the target.
    Forwarded {
        /// Which vnode.
        vnode: VnodeRef,
        /// The operation.
        op: OpId,
        /// The attempt that fenced the source.
        transfer: TransferId,
        /// The attempt under which it was passed on before, which must not be.
        before: Option<TransferId>,
    },
    /// A command waits at a vnode for the end of a handoff.
    Parked {
        /// Which vnode.
        vnode: VnodeRef,
        /// Commands that wait there, this one included.
        waiting: usize,
        /// How many may.
        limit: usize,
    },
    /// A container that was owned is deleted: nothing of it is left here.
    Deleted {
        /// Which vnode.
        vnode: VnodeRef,
        /// The transfer that moved it.
        transfer: TransferId,
        /// The proof that stood on disk before anything was deleted.
        receipt: Option<Receipt>,
    },
    /// A stand-in keeps a write for an owner that is away.
    Hinted {
        /// The vnode it is meant for.
        vnode: VnodeRef,
        /// The set it was added to.
        generation: u64,
        /// The operation.
        op: OpId,
        /// The operation's stamp.
        stamp: Stamp,
    },
    /// The owner has all of a set of hints.
    HintsHeld {
        /// The vnode.
        vnode: VnodeRef,
        /// The attempt that brought them.
        transfer: TransferId,
        /// What was received.
        summary: Summary,
    },
    /// A set of hints is at home, and deleted here.
    HintsDropped {
        /// The cluster the owner speaks in.
        cluster: ClusterId,
        /// The vnode it was meant for.
        vnode: VnodeRef,
        /// The set.
        generation: u64,
        /// The attempt that brought it home, and what was sent. `None`: this node owns the vnode now, and the
        /// set has joined it.
        sent: Option<(TransferId, Summary)>,
    },
    /// An attempt is over for the ring manager of its source.
    AttemptEnded {
        /// Which.
        transfer: TransferId,
        /// Why it was cancelled. `None`: it brought over what it was to bring.
        cancelled: Option<CancelReason>,
    },
    /// A coordinator has named an operation, before it is sent anywhere.
    Minted {
        /// The operation.
        op: OpId,
        /// Its dot.
        dot: Dot,
        /// Whether the operation's id came from the client.
        is_clients: bool,
    },
    /// The leases of slots for transfers have changed.
    SlotsHeld {
        /// Leases of transfers to others.
        outbound: usize,
        /// Leases of transfers from others.
        inbound: usize,
        /// How many there may be in each direction.
        limit: u16,
    },
    /// A ring is durable here and followed from now on.
    RingAdopted {
        /// The cluster it is a ring of.
        cluster: ClusterId,
        /// Its number.
        epoch: Epoch,
        /// Its digest: the same number never goes with another one.
        digest: RingDigest,
    },
}

/// Is told what a node does, at the moment it does it and on its thread. Must not block.
pub trait Observer: Send + Sync {
    /// One thing that happened.
    fn observe(&self, seen: Observed);
}

/// Whom a node tells what it does. Cheap to clone.
#[derive(Clone, Default)]
pub struct Watched(Option<Arc<dyn Observer>>);

impl Watched {
    /// Nobody: nothing is told.
    #[must_use]
    pub fn by_nobody() -> Self {
        Self(None)
    }

    /// This observer is told everything.
    #[must_use]
    pub fn by(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }

    /// Whether anybody is told.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.is_some()
    }

    /// Tells what happened, if anybody listens.
    pub fn saw(&self, what: impl FnOnce() -> Observed) {
        if let Some(observer) = &self.0 {
            observer.observe(what());
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_watched() { "Watched" } else { "Unwatched" })
    }
}

impl std::fmt::Display for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = |vnode: &VnodeRef| format!("{} {}", vnode.vnode_type, vnode.partition.0);
        match self {
            Self::VnodeStarted { vnode, state, .. } => {
                write!(f, "{} starts as {state}", place(vnode))
            }
            Self::VnodeMoved { vnode, before, after, .. } => {
                write!(f, "{} {before} -> {after}", place(vnode))?;
                match (after.outgoing(), after.incoming()) {
                    (Some(outgoing), _) => {
                        write!(f, " (transfer {} to {})", outgoing.transfer, outgoing.target)
                    }
                    (None, Some(incoming)) => {
                        write!(f, " (transfer {} from {})", incoming.transfer, incoming.source)
                    }
                    (None, None) => Ok(()),
                }
            }
            Self::RecordKept { vnode, state, .. } => {
                write!(f, "{} is durable as {state}", place(vnode))
            }
            Self::Executed { vnode, token, op, stamp, changes, .. } => {
                let place = place(vnode);
                let Stamp { millis, logical } = stamp;
                write!(
                    f,
                    "{place} executed {op} under {token}, {changes} changes, stamp {millis}.{logical}"
                )
            }
            Self::FenceSet { vnode, transfer, summary } => {
                write!(f, "{} is fenced with {summary}, transfer {transfer}", place(vnode))
            }
            Self::FenceHeld { vnode, transfer, summary } => {
                write!(f, "{} holds {summary} at the fence, transfer {transfer}", place(vnode))
            }
            Self::TookOver { vnode, transfer, token, summary, .. } => {
                let place = place(vnode);
                write!(f, "{place} is taken over under {token} with {summary}, transfer {transfer}")
            }
            Self::Forwarded { vnode, op, transfer, .. } => {
                write!(f, "{} passes {op} on, transfer {transfer}", place(vnode))
            }
            Self::Parked { vnode, waiting, .. } => {
                write!(f, "{} has {waiting} commands waiting", place(vnode))
            }
            Self::Deleted { vnode, transfer, .. } => {
                write!(f, "{} deleted its copy, transfer {transfer}", place(vnode))
            }
            Self::Hinted { vnode, generation, op, .. } => {
                write!(f, "{} keeps {op} as a hint, set {generation}", place(vnode))
            }
            Self::HintsHeld { vnode, transfer, summary } => {
                write!(f, "{} has hints of {summary}, transfer {transfer}", place(vnode))
            }
            Self::HintsDropped { vnode, generation, .. } => {
                write!(f, "{} dropped hints, set {generation}", place(vnode))
            }
            Self::AttemptEnded { transfer, cancelled } => {
                write!(f, "transfer {transfer} ended, cancelled: {cancelled:?}")
            }
            Self::Minted { op, dot, .. } => write!(f, "{op} begins, with {dot:?}"),
            Self::SlotsHeld { outbound, inbound, .. } => {
                write!(f, "slots: {outbound} outbound, {inbound} inbound")
            }
            Self::RingAdopted { epoch, digest, .. } => {
                write!(f, "ring {epoch} adopted ({digest})")
            }
        }
    }
}
