//! The start of every conversation: who connects, for what, and why not.

use serde::{Deserialize, Serialize};

use crate::protocol::hash::RingSize;
use crate::protocol::id::{ClusterId, Epoch, NodeId, NodeName};
use crate::protocol::ring::RingDigest;

/// What a connection is for. The first message decides which others are legal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// A node of the cluster, or one staged to join it: requests, gossip, agreement.
    Member,
    /// A node that is in no cluster yet. It may fetch the ring and stage its own join, nothing else.
    Join,
    /// One transfer, from its source.
    Transfer,
    /// Commands and administration.
    Client,
}

/// The first message of every connection, from the side that connects. Answered by [`Welcome`] or
/// [`Refusal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the connection is for.
    pub purpose: Purpose,
    /// [`super::PROTOCOL_VERSION`] of the sender.
    pub protocol: u16,
    /// Who connects; `None` for a client.
    pub from: Option<Introduction>,
    /// Whom the sender means to reach. Another node behind this address refuses.
    pub to: Option<NodeName>,
}

/// What a node says of itself in [`Hello`] and [`Welcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The node and the life of its data.
    pub node: NodeId,
    /// Where others reach it, HOST:PORT.
    pub address: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The newest ring it has.
    pub epoch: Epoch,
    /// That ring's digest: two different rings never carry one number.
    pub ring: RingDigest,
    /// Partitions of that ring.
    pub ring_size: RingSize,
}

/// Accepts a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Who answers.
    pub from: Introduction,
}

/// Why a connection is not accepted. Nothing was changed on either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The two sides speak different protocol versions.
    #[error(
        "{node} speaks protocol {theirs}, the connecting side {yours}; run the same version on both"
    )]
    OtherProtocol {
        /// Who refuses.
        node: NodeName,
        /// Its protocol.
        theirs: u16,
        /// The connecting side's.
        yours: u16,
    },
    /// The connecting node belongs to another cluster. Clusters never merge.
    #[error("{node} is in cluster {theirs}, the connecting node in {yours}; clusters never merge")]
    OtherCluster {
        /// Who refuses.
        node: NodeName,
        /// Its cluster.
        theirs: ClusterId,
        /// The connecting side's.
        yours: ClusterId,
    },
    /// Somebody else lives at this address.
    #[error("this address belongs to {is}, not to {meant}")]
    NotMe {
        /// Who was meant.
        meant: NodeName,
        /// Who is here.
        is: NodeName,
    },
    /// The same epoch with another ring: one of the two rings was decided elsewhere.
    #[error("{node} has another ring of epoch {epoch}; one of the two sides must give its ring up")]
    OtherRing {
        /// Who refuses.
        node: NodeName,
        /// The epoch both have.
        epoch: Epoch,
    },
    /// The ring of the answering node lists neither the name nor the incarnation.
    #[error(
        "{node} does not list {who} as a member; it may have been removed, or restarted without its data"
    )]
    NotListed {
        /// Who refuses.
        node: NodeName,
        /// Who asked.
        who: NodeId,
    },
    /// A message that is not legal here, or could not be decoded.
    #[error("{node} does not understand this: {detail}")]
    Malformed {
        /// Who refuses.
        node: NodeName,
        /// What was wrong.
        detail: String,
    },
    /// The node is starting or stopping.
    #[error("{node} is not ready; try again")]
    NotReady {
        /// Who refuses.
        node: NodeName,
    },
}
