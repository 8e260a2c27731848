//! All messages between nodes, and between a client and a node, with their numbers.
//!
//! A conversation starts with [`Hello`]. After [`Welcome`] both sides speak the messages of the hello's
//! [`Purpose`]: members send requests that are answered under the same frame id, a transfer connection
//! carries one transfer, a client sends commands and administration.
//!
//! Bodies are MessagePack maps with named fields, so that a later version can add fields. Stored items
//! travel as raw `bin` behind a small header (see [`super::page`]).

mod hello;
mod request;
mod transfer;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::protocol::agreement::{Answer, Ask};
use crate::protocol::gossip::{GossipDigest, Part};
use crate::protocol::hash::RingSize;
use crate::protocol::id::{NodeId, Token, TransferId, VnodeRef, VnodeType, VoterId};
use crate::protocol::ring::Ring;
use crate::wire::admin::{AdminAnswer, AdminRequest, Report, ReportRequest};

pub use hello::{Hello, Introduction, Purpose, Refusal, Welcome};
pub use request::{
    COMMAND_BYTES_MAX, Command, CommandAnswer, CommandError, Envelope, Execute, Hint, Outcome,
    ReplicaFailure,
};
pub use transfer::{
    CancelReason, Grant, Offer, PartContent, PartHead, Rejection, TransferKind, TransferMessage,
};

/// The protocol this build speaks. A peer with another one is refused by name.
pub const PROTOCOL_VERSION: u16 = 1;

/// A node that wants to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joiner {
    /// Who.
    pub node: NodeId,
    /// Its vote.
    pub voter: VoterId,
    /// Where it listens.
    pub address: String,
    /// Its own ring size; another one is refused.
    pub ring_size: RingSize,
    /// The vnode types it hosts.
    pub types: BTreeSet<VnodeType>,
}

/// What travels between members besides transfers. Requests are answered under the same frame id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// Are you there? Answered by `Pong`.
    Ping,
    /// Yes.
    Pong,
    /// Here is news. No answer.
    Gossip(Box<Part>),
    /// This is what I know, in short. Answered by `Gossip` with what differs (possibly nothing).
    GossipDigest(Box<GossipDigest>),
    /// Execute as owner. Answered by `Outcome`.
    Execute(Box<Execute>),
    /// Execute in the hints. Answered by `Outcome`.
    Hint(Box<Hint>),
    /// The answer to `Execute` and `Hint`.
    Outcome(Outcome),
    /// Agreement on the next ring, proposer to acceptor. Answered by `Answer`.
    Ask(Box<Ask<Ring>>),
    /// Acceptor to proposer.
    Answer {
        /// Who votes.
        voter: VoterId,
        /// The vote.
        answer: Box<Answer<Ring>>,
    },
    /// To a joiner before a commit: store this candidate. Answered by `CandidateStored`.
    StoreCandidate(Box<Ring>),
    /// It is stored; `Some` says why not.
    CandidateStored {
        /// Why not.
        refused: Option<String>,
    },
    /// Source to target: the token is yours. Answered by `GrantHeld` or `GrantDeclined`. Sent again until
    /// it is answered.
    Grant(Box<Grant>),
    /// Target to source: `Owner` is durable here. Also sent by itself until `GrantRetired` is heard.
    GrantHeld {
        /// The transfer.
        transfer: TransferId,
        /// The vnode.
        vnode: VnodeRef,
        /// The granted token.
        token: Token,
    },
    /// Target to source: never; resume.
    GrantDeclined {
        /// The transfer.
        transfer: TransferId,
        /// The vnode.
        vnode: VnodeRef,
    },
    /// Source to target: I am not granting this any more (`Retired` is durable, or long over).
    GrantRetired {
        /// The transfer.
        transfer: TransferId,
        /// The vnode.
        vnode: VnodeRef,
    },
    /// Target to source: is this attempt still under way? Answered by `TransferOver` or `TransferRuns`. Only
    /// the life of the source that began it can tell.
    AskTransfer {
        /// The transfer.
        transfer: TransferId,
        /// The vnode.
        vnode: VnodeRef,
        /// Who began it.
        source: NodeId,
    },
    /// It is.
    TransferRuns,
    /// Source to target: this attempt is over, whatever became of its connection. No answer.
    TransferOver {
        /// The transfer.
        transfer: TransferId,
        /// The vnode.
        vnode: VnodeRef,
    },
    /// What do you see? Answered by `Report`.
    ReportRequest(ReportRequest),
    /// One node's part of a status command.
    Report(Box<Report>),
    /// From a joiner: give me the ring. Answered by `Gossip` with everything.
    FetchRing,
    /// From a joiner: stage my join. Answered by `JoinStaged`.
    StageJoin(Box<Joiner>),
    /// The join is staged; `Some` says why not.
    JoinStaged {
        /// Why not, in the words of the console.
        refused: Option<String>,
    },
    /// The request could not be decoded or is not legal here. Answered instead of anything else.
    NotUnderstood {
        /// What was wrong.
        detail: String,
    },
}

/// What a client and a node say to each other after the hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// Run a command. Answered by `CommandAnswer`.
    Command(Box<Command>),
    /// The answer.
    CommandAnswer(Box<CommandAnswer>),
    /// Administration. Answered by `AdminAnswer`.
    Admin(Box<AdminRequest>),
    /// The answer.
    AdminAnswer(Box<AdminAnswer>),
    /// The request could not be decoded or is not legal here.
    NotUnderstood {
        /// What was wrong.
        detail: String,
    },
}

/// Frame kinds: one number for each group of messages. Next free: 10.
pub mod kind {
    /// [`super::Hello`].
    pub const HELLO: u16 = 1;
    /// [`super::Welcome`].
    pub const WELCOME: u16 = 2;
    /// [`super::Refusal`].
    pub const REFUSAL: u16 = 3;
    /// [`super::PeerMessage`], a request or news.
    pub const PEER: u16 = 4;
    /// [`super::PeerMessage`], an answer under the request's frame id.
    pub const PEER_ANSWER: u16 = 5;
    /// [`super::TransferMessage`].
    pub const TRANSFER: u16 = 6;
    /// [`super::PartHead`] and items.
    pub const PART: u16 = 7;
    /// [`super::ClientMessage`], a request.
    pub const CLIENT: u16 = 8;
    /// [`super::ClientMessage`], an answer under the request's frame id.
    pub const CLIENT_ANSWER: u16 = 9;
}
