//! All messages between nodes, and between a client and a node, with their numbers.
//!
//! A conversation starts with [`Hello`]. After [`Welcome`] both sides speak the messages of the hello's
//! [`Purpose`]: members send requests that are answered under the same frame id, a transfer connection
//! carries one transfer, a client sends commands and administration.
//!
//! Bodies are MessagePack maps with named fields, so that a later version can add fields. Stored items
//! travel as raw `bin` behind a small header (see [`super::page`]).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::agreement::{Answer, Ask};
use crate::protocol::digest::{ItemRange, Summary};
use crate::protocol::gossip::{GossipDigest, Part};
use crate::protocol::hash::{RingHash, RingSize};
use crate::protocol::id::{
    ClusterId, Dot, Epoch, NodeId, NodeName, OpId, Stamp, Token, TransferId, VnodeRef, VnodeType,
    VoterId,
};
use crate::protocol::ring::{Ring, RingDigest};
use crate::wire::admin::{AdminAnswer, AdminRequest, Report, ReportRequest};

/// The protocol this build speaks. A peer with another one is refused by name.
pub const PROTOCOL_VERSION: u16 = 1;

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
    /// [`PROTOCOL_VERSION`] of the sender.
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
    #[error("{node} speaks protocol {theirs}, the connecting side {yours}; run the same version on both")]
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
    #[error("{node} does not list {who} as a member; it may have been removed, or restarted without its data")]
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

/// One operation as every replica sees it. Minted once by the coordinator; retries and forwards carry
/// the same one.
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
            Self::Done { .. } | Self::Stopped { .. } => true,
            Self::Moved { .. }
            | Self::Behind { .. }
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CancelReason {
    /// The vnode's author answered `handoff_starting` with false.
    #[error("the vnode refused to start")]
    VnodeRefused,
    /// The target said no.
    #[error("the target refused: {0}")]
    Rejected(String),
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
    StageJoin {
        /// The joiner.
        node: NodeId,
        /// Its vote.
        voter: VoterId,
        /// Where it listens.
        address: String,
        /// Its own ring size; another one is refused.
        ring_size: RingSize,
    },
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
