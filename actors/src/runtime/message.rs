//! All messages inside a node, grouped by the actor that hears them.
//!
//! Requests are imperative and carry a [`Reply`] that is always answered; events are in the past tense and
//! have no answer. Actor files import this file, not one another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::Message;

use crate::protocol::gossip::Held;
use crate::protocol::id::{NodeId, NodeName, TransferId, VnodeRef};
use crate::protocol::ring::Ring;
use crate::protocol::time::Moment;
use crate::runtime::network::connection::Connection;
use crate::runtime::reply::Reply;
use crate::wire::message::{
    ClientMessage, Command, CommandAnswer, Execute, Hint, Introduction, Outcome, PeerMessage,
    Refusal,
};

// ---- heard by Peers, which owns the links to other members --------------------------------------

/// Asks another member and waits for its answer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AskPeer {
    /// Whom.
    pub to: NodeName,
    /// What.
    pub message: PeerMessage,
    /// Past it the answer is [`PeerError::DeadlinePassed`].
    pub deadline: Moment,
    /// Always answered.
    pub reply: Reply<Result<PeerMessage, PeerError>>,
}

/// Tells another member something that needs no answer. Lost when the link is down or its queue is full.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TellPeer {
    /// Whom.
    pub to: NodeName,
    /// What.
    pub message: PeerMessage,
}

/// Why a peer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Nothing was sent: there is no connection, or its queue is full.
    #[error("not connected: {0}")]
    NotSent(String),
    /// Nothing was executed: the peer refused the connection.
    #[error(transparent)]
    Refused(Refusal),
    /// It was sent, and the connection ended before the answer came: it may have been executed.
    #[error("the connection ended before the answer came")]
    Lost,
    /// It was sent, and no answer came in time: it may have been executed.
    #[error("no answer before the deadline")]
    DeadlinePassed,
}

impl PeerError {
    /// Whether the peer may have carried the request out.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Refused(_) => false,
            Self::Lost | Self::DeadlinePassed => true,
        }
    }
}

/// Where members listen. Links are made to all but this node, and ended for those not named.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct AddressesChanged(pub BTreeMap<NodeName, String>);

// ---- heard by Peers and the Listener: whom to let in, and what to say of oneself -----------------

/// What a hello is checked against.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct DoorRulesChanged(pub Arc<DoorRules>);

/// What this node says of itself, and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorRules {
    /// What this node says of itself.
    pub me: Introduction,
    /// Members of its ring.
    pub ring: Arc<Ring>,
    /// Nodes that are staged to join; they may connect as members.
    pub staged: BTreeSet<NodeId>,
    /// Whether this node is about to take another cluster's ring: members of that one come before it has.
    pub joining: bool,
    /// Whether the node serves; before and after it refuses with `NotReady`.
    pub ready: bool,
}

// ---- heard by the Router, from sessions ----------------------------------------------------------

/// A member asked something.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PeerAsked {
    /// Who.
    pub from: Introduction,
    /// What. News has a reply too; it is answered with anything and never sent.
    pub message: PeerMessage,
    /// Answered under the frame id of the request.
    pub reply: Reply<PeerMessage>,
}

/// A client asked something.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ClientAsked {
    /// What.
    pub message: ClientMessage,
    /// Answered under the frame id of the request.
    pub reply: Reply<ClientMessage>,
}

/// A member opened a transfer connection; nothing was read from it since its hello.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TransferArrived {
    /// Who.
    pub from: Introduction,
    /// Its address, for the log.
    pub peer: String,
    /// The connection, after the hello.
    pub connection: Connection,
}

// ---- heard by the Watcher ------------------------------------------------------------------------

/// A frame arrived from this node, or it answered a hello.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct PeerHeard(pub Introduction);

/// The link to this node ended or could not be made.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct PeerLost {
    /// Who.
    pub node: NodeName,
    /// Why.
    pub reason: String,
}

// ---- heard by all who need to know where things are (Coordinator, VnodeHost, RingManager) --------

/// A new ring was adopted.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct RingChanged(pub Arc<Ring>);

/// Higher tokens were learned.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct TokensLearned(pub Arc<Vec<(VnodeRef, Held)>>);

/// Who is up changed. Contains this node.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct LivenessChanged(pub Arc<BTreeSet<NodeName>>);

// ---- heard by the Coordinator --------------------------------------------------------------------

/// Runs a client's command with its quorum.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RunCommand {
    /// The command.
    pub command: Command,
    /// Always answered, by the command's deadline.
    pub reply: Reply<CommandAnswer>,
}

/// Whether the coordinator takes commands. A node that joins, starts or stops does not.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ServingChanged {
    /// `None`: it serves. `Some`: what it waits for.
    pub waits_for: Option<String>,
}

// ---- heard by the VnodeHost ----------------------------------------------------------------------

/// Executes a command at a vnode of this node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ExecuteHere {
    /// The command.
    pub execute: Execute,
    /// When its deadline passes, by this node's clock.
    pub deadline: Moment,
    /// Always answered.
    pub reply: Reply<Outcome>,
}

/// Executes a command in hints kept by this node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HintHere {
    /// The command.
    pub hint: Hint,
    /// When its deadline passes, by this node's clock.
    pub deadline: Moment,
    /// Always answered.
    pub reply: Reply<Outcome>,
}

/// The connection of a transfer, for whoever runs its side.
pub struct TransferConnection {
    /// The transfer.
    pub transfer: TransferId,
    /// The other side.
    pub peer: NodeId,
    /// The connection, after hello and offer.
    pub connection: Connection,
}
