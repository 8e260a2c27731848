//! What a node tells of itself while it works, to whoever watches it from outside: a simulator that checks
//! promises, a program that counts.
//!
//! Watching changes nothing: no actor reads what it told, and without an observer nothing is even put
//! together.

use std::sync::Arc;

use super::vnode::record::Receipt;
use crate::protocol::handoff::Handoff;
use crate::protocol::id::{Dot, Epoch, OpId, Stamp, Token, TransferId, VnodeRef};
use crate::protocol::ring::RingDigest;

/// Something a node did.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Observed {
    /// A vnode actor was started, or started again, in this state.
    VnodeStarted {
        /// Which vnode.
        vnode: VnodeRef,
        /// Where it stands.
        state: Handoff,
    },
    /// An event moved a vnode's machine. Its effects have not been carried out yet.
    VnodeMoved {
        /// Which vnode.
        vnode: VnodeRef,
        /// Where it stood.
        before: Handoff,
        /// Where it stands.
        after: Handoff,
    },
    /// A vnode executed a command.
    Executed {
        /// Which vnode.
        vnode: VnodeRef,
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
    },
    /// A set of hints is at home, and deleted here.
    HintsDropped {
        /// The vnode it was meant for.
        vnode: VnodeRef,
        /// The set.
        generation: u64,
    },
    /// A ring is durable here and followed from now on.
    RingAdopted {
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
            Self::VnodeStarted { vnode, state } => write!(f, "{} starts as {state}", place(vnode)),
            Self::VnodeMoved { vnode, before, after } => {
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
            Self::Executed { vnode, token, op, stamp, changes, .. } => {
                let place = place(vnode);
                write!(f, "{place} executed {op:?} under {token:?}, {changes} changes, {stamp:?}")
            }
            Self::Deleted { vnode, transfer, .. } => {
                write!(f, "{} deleted its copy, transfer {transfer}", place(vnode))
            }
            Self::Hinted { vnode, generation, op } => {
                write!(f, "{} keeps {op:?} as a hint, set {generation}", place(vnode))
            }
            Self::HintsDropped { vnode, generation } => {
                write!(f, "{} dropped hints, set {generation}", place(vnode))
            }
            Self::RingAdopted { epoch, digest } => write!(f, "ring {epoch} adopted ({digest})"),
        }
    }
}
