//! What an operator asks of a node, and what the node answers.
//!
//! The answers are data, not text: the command line lays them out, and prints the same data as JSON.

use serde::{Deserialize, Serialize};

use crate::protocol::hash::{RingHash, RingSize};
use crate::protocol::id::{
    ClusterId, Epoch, Incarnation, NodeId, NodeName, Partition, Token, TransferId, VnodeType,
};
use crate::protocol::plan::PlanId;
use crate::protocol::ring::MemberStatus;

/// One request of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Who are you?
    Ping,
    /// Join the cluster of `contact`. Asked of the new node.
    Join {
        /// A member's name, or HOST:PORT.
        contact: String,
    },
    /// Compute and show what a commit would do. Changes nothing.
    Plan,
    /// Apply the staged changes.
    Commit {
        /// The plan that was shown; `None` means the one this node showed last.
        plan: Option<PlanId>,
    },
    /// Drop the staged changes this node knows.
    Clear,
    /// Members, and their shares now and after all transfers.
    MemberStatus,
    /// The ring: epoch, whether all have seen it, what moves, who cannot be reached.
    RingStatus,
    /// What every member holds of every partition.
    Partitions,
    /// Running, waiting and finished transfers of every member.
    Transfers,
    /// Where a member listens.
    Resolve {
        /// Its name.
        name: NodeName,
    },
}

/// A node's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminAnswer {
    /// To `Ping`.
    Pong(Pong),
    /// To `Join`: staged.
    JoinStaged {
        /// The new node.
        node: NodeName,
        /// The member that staged it.
        contact: NodeName,
    },
    /// To `Plan`.
    Plan(Box<PlanShown>),
    /// To `Commit`: decided.
    Committed {
        /// The new ring's number.
        epoch: Epoch,
    },
    /// To `Clear`.
    Cleared {
        /// How many changes were dropped; 0 means none were staged.
        count: u32,
    },
    /// To `MemberStatus`.
    MemberStatus(MemberTable),
    /// To `RingStatus`.
    RingStatus(Box<RingReport>),
    /// To `Partitions`.
    Partitions(PartitionTable),
    /// To `Transfers`.
    Transfers(Box<TransferReport>),
    /// To `Resolve`.
    Resolved {
        /// HOST:PORT.
        address: String,
    },
    /// To anything: no.
    Refused(AdminRefusal),
}

/// Who answered a ping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The node.
    pub node: NodeName,
    /// Its cluster.
    pub cluster: ClusterId,
    /// The newest ring it has.
    pub epoch: Epoch,
    /// The partition a random ping was answered by, as the tutorial's first command prints it.
    pub partition: RingHash,
}

/// Why an operator's request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{reason}; {hint}")]
pub struct AdminRefusal {
    /// What happened, in the words of the console.
    pub reason: String,
    /// What to do next.
    pub hint: String,
    /// What became of the request.
    pub effect: Effect,
}

/// What became of a refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing changed.
    Nothing,
    /// It may have been carried out: the answer was lost, or a majority was.
    Unknown,
}

/// What `cluster plan` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanShown {
    /// Name it in `cluster commit --plan`.
    pub id: PlanId,
    /// The ring it starts from.
    pub base: Epoch,
    /// Staged changes, in the order of staging.
    pub changes: Vec<ChangeShown>,
    /// Members after the transition, with shares before and after the transfers.
    pub after: MemberTable,
    /// Whether every preference list of `n_val` names distinct nodes after the transition.
    pub replicas_distinct: bool,
    /// From present holders to desired owners, sorted by source, then target.
    pub transfers: Vec<TransferCount>,
    /// No plan could move fewer partitions.
    pub transfers_min: u32,
    /// Whether the plan is provably the best, in words.
    pub verdict: String,
}

/// One staged change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeShown {
    /// The verb, for example `join`.
    pub action: String,
    /// The node.
    pub node: NodeName,
    /// Why it no longer applies, if so.
    pub void: Option<String>,
}

/// Partitions that go from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferCount {
    /// From.
    pub source: NodeName,
    /// To.
    pub target: NodeName,
    /// How many partitions.
    pub count: u32,
}

/// Members and shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberTable {
    /// The ring it was read from.
    pub epoch: Epoch,
    /// Partitions of the ring.
    pub ring_size: RingSize,
    /// Sorted by status, then name.
    pub members: Vec<MemberRow>,
    /// Whether any partition's holder is not its desired owner.
    pub pending: bool,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// The member.
    pub node: NodeName,
    /// Its status; staged joiners are `Joining`.
    pub status: MemberStatus,
    /// Partitions it holds now.
    pub holds: u32,
    /// Partitions it will hold when nothing moves any more.
    pub will_hold: u32,
    /// Whether the answering node hears it.
    pub up: bool,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// What `ring-status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingReport {
    /// Who answered.
    pub node: NodeName,
    /// The cluster.
    pub cluster: ClusterId,
    /// The ring's number.
    pub epoch: Epoch,
    /// Partitions of the ring.
    pub ring_size: RingSize,
    /// Members that have not seen this epoch; empty means ring ready.
    pub not_seen_by: Vec<NodeName>,
    /// Partitions that have yet to move.
    pub pending: Vec<PendingMove>,
    /// Members the answering node does not hear (those marked down excluded).
    pub unreachable: Vec<NodeName>,
}

/// A partition whose holder is not its desired owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingMove {
    /// The kind of vnode.
    pub vnode_type: VnodeType,
    /// The partition's index.
    pub partition: RingHash,
    /// Who holds it.
    pub holder: NodeName,
    /// Who will.
    pub next: NodeName,
}

/// What `partitions` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionTable {
    /// Sorted by type, partition, node.
    pub rows: Vec<PartitionRow>,
    /// Members that did not answer in time.
    pub silent: Vec<NodeName>,
}

/// What one node holds of one partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionRow {
    /// The kind of vnode.
    pub vnode_type: VnodeType,
    /// The partition's index.
    pub partition: RingHash,
    /// Who holds this container.
    pub node: NodeName,
    /// `owned`, `staging`, `hints`, `retained`.
    pub container: String,
    /// The token, where the container has one.
    pub token: Option<Token>,
    /// Items, tombstones included.
    pub objects: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The vnode's state, in the words of ARCHITECTURE.md's table.
    pub state: String,
}

/// What `transfers` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferReport {
    /// Members the answering node does not hear.
    pub down: Vec<NodeName>,
    /// Members that did not answer in time.
    pub silent: Vec<NodeName>,
    /// What waits, and for what.
    pub waiting: Vec<WaitingRow>,
    /// What runs, as its source sees it.
    pub active: Vec<ActiveRow>,
    /// The latest ended transfers of every source, oldest first; at most 1,024 a node.
    pub ended: Vec<EndedRow>,
}

/// Partitions that wait for the same thing on one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaitingRow {
    /// The source.
    pub node: NodeName,
    /// `ownership` or `hinted`.
    pub kind: String,
    /// The kind of vnode.
    pub vnode_type: VnodeType,
    /// The partition's index.
    pub partition: RingHash,
    /// The target.
    pub target: NodeName,
    /// Why it waits and what would end it.
    pub why: String,
    /// For how long, in milliseconds.
    pub since_ms: u64,
    /// Attempts that ended without success.
    pub attempts: u32,
    /// How the last one ended.
    pub last_error: Option<String>,
}

/// A running transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRow {
    /// This attempt.
    pub transfer: TransferId,
    /// `ownership` or `hinted`.
    pub kind: String,
    /// The kind of vnode.
    pub vnode_type: VnodeType,
    /// The partition's index.
    pub partition: RingHash,
    /// From.
    pub source: NodeName,
    /// To.
    pub target: NodeName,
    /// When it started, milliseconds since 1970 by the source's clock.
    pub started_ms: u64,
    /// How long it has run, in milliseconds.
    pub running_ms: u64,
    /// Since the last part was acknowledged, in milliseconds; `None` before the first.
    pub idle_ms: Option<u64>,
    /// Items the source holds, an estimate.
    pub objects_total: u64,
    /// Bytes the source holds, an estimate.
    pub bytes_total: u64,
    /// Items sent.
    pub objects_sent: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Its state: `Offered`, `Sending`, `Fenced`, `Granting`.
    pub state: String,
    /// What it waits for, if it waits.
    pub why: Option<String>,
}

/// An ended transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRow {
    /// That attempt.
    pub transfer: TransferId,
    /// `ownership` or `hinted`.
    pub kind: String,
    /// The kind of vnode.
    pub vnode_type: VnodeType,
    /// The partition's index.
    pub partition: RingHash,
    /// From.
    pub source: NodeName,
    /// To.
    pub target: NodeName,
    /// Items moved.
    pub objects: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether the source has deleted its copy.
    pub deleted: bool,
    /// Why it was cancelled; `None`: completed.
    pub cancelled: Option<String>,
}

/// One node's part of a status command, asked by another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportRequest {
    /// What it holds.
    Partitions,
    /// What moves.
    Transfers,
}

/// One node's part of a status command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Its containers.
    Partitions(Vec<PartitionRow>),
    /// Its transfers as a source.
    Transfers {
        /// What waits.
        waiting: Vec<WaitingRow>,
        /// What runs.
        active: Vec<ActiveRow>,
        /// What ended.
        ended: Vec<EndedRow>,
    },
}

/// A vnode of one partition, as JSON and tables name it.
#[must_use]
pub fn shown(size: RingSize, partition: Partition) -> RingHash {
    size.index_of(partition)
}

/// Who speaks for a vnode, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderShown {
    /// The holder.
    pub node: NodeId,
    /// Its token.
    pub token: Token,
}
