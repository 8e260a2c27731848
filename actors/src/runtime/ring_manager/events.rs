//! Ownership events: what the ring manager tells whoever subscribes, in this node or in the program around it.

use std::sync::Arc;

use actix::prelude::*;

use super::RingManager;
use crate::protocol::id::{NodeId, Token, TransferId, VnodeRef};
use crate::protocol::ring::Ring;
use crate::wire::message::CancelReason;

/// Something about who owns what has changed, or is about to.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub enum OwnershipChanged {
    /// A new ring was adopted here.
    RingAdopted {
        /// The ring.
        ring: Arc<Ring>,
    },
    /// Somebody speaks for a vnode under a higher token, by this node's doing or by gossip.
    HolderChanged {
        /// The vnode.
        vnode: VnodeRef,
        /// The token.
        token: Token,
        /// Its holder.
        holder: NodeId,
    },
    /// This node has begun to give a vnode away.
    TransferStarted {
        /// The attempt.
        transfer: TransferId,
        /// The vnode.
        vnode: VnodeRef,
        /// Where to.
        target: NodeId,
    },
    /// An attempt of this node has ended.
    TransferEnded {
        /// The attempt.
        transfer: TransferId,
        /// The vnode.
        vnode: VnodeRef,
        /// `None`: the target owns the vnode.
        cancelled: Option<CancelReason>,
    },
    /// This node has deleted its old copy.
    OldCopyDeleted {
        /// The attempt that moved the vnode.
        transfer: TransferId,
        /// The vnode.
        vnode: VnodeRef,
    },
}

/// Subscribes to ownership events from now on. The subscriber ends it by ending.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub Recipient<OwnershipChanged>);

impl Handler<Subscribe> for RingManager {
    type Result = ();

    fn handle(&mut self, subscribe: Subscribe, _: &mut Self::Context) {
        self.subscribers.retain(Recipient::connected);
        subscribe.0.do_send(OwnershipChanged::RingAdopted { ring: Arc::clone(self.ring()) });
        self.subscribers.push(subscribe.0);
    }
}
