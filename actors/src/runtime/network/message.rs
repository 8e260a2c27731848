//! Messages of the network's own actors, beside those in [`crate::runtime::message`].

use actix::Message;

use crate::protocol::gossip::{GossipDigest, Part};
use crate::protocol::id::{NodeId, NodeName};
use crate::runtime::reply::Reply;
use crate::wire::message::{Introduction, PeerMessage};

// ---- heard by the Watcher ------------------------------------------------------------------------

/// A member introduced itself in another life than the ring lists, and was refused.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct OtherLifeSeen(pub Introduction);

// ---- heard by the RingManager --------------------------------------------------------------------

/// The machine of a member answers, and nobody listens at the member's address: its process has ended.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct NobodyListens(pub NodeName);

/// A member was met in this incarnation, for the first time or after another one. The ring may list it
/// or not.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct IncarnationSeen {
    /// The member in this life.
    pub node: NodeId,
    /// Where it says that others reach it, HOST:PORT.
    pub address: String,
}

/// What another member knows arrived: sent of its own accord, or asked for by the gossiper.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct GossipArrived {
    /// Who knows it.
    pub from: NodeName,
    /// What. Not checked yet.
    pub part: Part,
}

/// Asks what this node knows.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GossipWanted {
    /// What another member knows, to tell what it lacks.
    pub theirs: Option<Box<GossipDigest>>,
    /// `None` only if it is dropped.
    pub reply: Reply<Option<GossipGiven>>,
}

/// What this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipGiven {
    /// In short.
    pub digest: GossipDigest,
    /// What the other member lacks; empty if nobody was named.
    pub missing: Part,
}

// ---- heard by the Gossiper -----------------------------------------------------------------------

/// Tells the other members, all or so many that all will hear of it. Something this node itself decided, staged
/// or found.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Spread(pub Part);

/// Tells other members what was news to this node when it arrived. In a small cluster whoever spread it has
/// told everybody, and nothing is sent.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct PassOn(pub Part);

/// Another member asks what it lacks.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DigestArrived {
    /// Who asks.
    pub from: NodeName,
    /// What it knows.
    pub digest: Box<GossipDigest>,
    /// [`PeerMessage::Gossip`] with what it lacks, possibly nothing.
    pub reply: Reply<PeerMessage>,
}
