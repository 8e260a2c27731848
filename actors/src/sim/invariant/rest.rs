//! What must be true when all is at rest: faults have stopped, and the nodes had the time they need.
//!
//! What the nodes say of themselves is gathered here, once for all checks; each check has a file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::world::World;
use super::{answered, no_orphan, one_owner, plan_kept, slots_return, terminates, why_named};
use crate::protocol::hash::RingHash;
use crate::protocol::id::{ClusterId, Epoch, Incarnation, NodeName, VnodeRef, VnodeType};
use crate::protocol::ring::MemberStatus;
use crate::runtime::coordinator::CoordinatorReport;
use crate::runtime::node::Node;
use crate::sim::cluster::Cluster;
use crate::sim::failure::Failure;
use crate::wire::admin::{
    AdminRefusal, MemberTable, PartitionRow, PlanShown, RingReport, TransferReport,
};

/// How long the nodes may take until everything is as it must be, in virtual time.
const WITHIN: Duration = Duration::from_secs(900);

/// How often they are asked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a run is expected to have left behind.
#[derive(Debug, Clone, Default)]
pub struct Rest {
    /// First names of members whose memory is gone: they are dead, or came back in another life that no ring
    /// lists. What they hold or are to receive may wait for them; nothing else may.
    pub lost: BTreeSet<String>,
    /// The plan that was committed last, and the number of the ring it became. Not looked at once there is a
    /// newer ring.
    pub plan: Option<(PlanShown, Epoch)>,
}

/// What one node says of itself.
pub(super) struct Account {
    pub(super) name: Arc<str>,
    pub(super) node: NodeName,
    pub(super) incarnation: Incarnation,
    pub(super) ring: RingReport,
    pub(super) members: MemberTable,
    pub(super) rows: Vec<PartitionRow>,
    /// Only the rows of its own transfers.
    pub(super) transfers: TransferReport,
    pub(super) requests: CoordinatorReport,
}

/// What all nodes of one cluster say.
pub(super) struct Judged<'a> {
    pub(super) cluster: ClusterId,
    pub(super) accounts: Vec<&'a Account>,
    /// Members whose memory is gone.
    pub(super) lost: BTreeSet<NodeName>,
    pub(super) world: &'a World,
    pub(super) expected: &'a Rest,
}

impl Judged<'_> {
    /// The accounts of members that the ring lists in the life they are in.
    pub(super) fn sound(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().copied().filter(|account| account.is_listed())
    }

    /// Whether a vnode waits for a lost member, and what is meant for it with it.
    pub(super) fn is_stalled(&self, vnode_type: &VnodeType, partition: RingHash) -> bool {
        let of = self.accounts.first().and_then(|account| {
            let partition = account.ring.ring_size.partition_at(partition)?;
            Some(VnodeRef { vnode_type: vnode_type.clone(), partition })
        });
        let waits = |vnode: VnodeRef| {
            let lost = self.lost_lives();
            self.world.is_granted_to_the_dead(self.cluster, &vnode)
                || self.world.awaits(self.cluster, &vnode, |life| lost.contains(&life))
        };
        if of.is_some_and(waits) {
            return true;
        }
        let mut pending = self.accounts.iter().flat_map(|account| &account.ring.pending);
        pending.any(|row| {
            (&row.vnode_type, row.partition) == (vnode_type, partition)
                && (self.lost.contains(&row.holder) || self.lost.contains(&row.next))
        })
    }

    /// The numbers of the lives in which the newest ring lists lost members.
    fn lost_lives(&self) -> BTreeSet<u32> {
        let newest = self.accounts.iter().max_by_key(|account| account.members.epoch);
        let members = newest.iter().flat_map(|account| &account.members.members);
        let lost = members.filter(|member| self.lost.contains(&member.node));
        lost.map(|member| member.incarnation.nonce).collect()
    }

    /// Whether what a node has staged is of an attempt whose source is lost.
    pub(super) fn is_staged_from_the_lost(&self, at: &Account, row: &PartitionRow) -> bool {
        let Some(partition) = at.ring.ring_size.partition_at(row.partition) else { return false };
        let vnode = VnodeRef { vnode_type: row.vnode_type.clone(), partition };
        let lost = self.lost_lives();
        self.world.is_anywhere(self.cluster, &vnode, |(node, _), stands| {
            let attempt = stands.staged().filter(|_| *node == at.name);
            attempt.is_some_and(|attempt| lost.contains(&attempt.nonce))
        })
    }

    /// Whether no new transfer can start, because a lost member has not seen the ring.
    pub(super) fn is_held_up(&self, account: &Account) -> bool {
        account.ring.not_seen_by.iter().any(|name| self.lost.contains(name))
    }
}

impl Account {
    /// Whether its ring lists it in this life.
    pub(super) fn is_listed(&self) -> bool {
        self.lists(self)
    }

    /// Whether its ring lists another in this life.
    pub(super) fn lists(&self, other: &Self) -> bool {
        let listed = |row: &&crate::wire::admin::MemberRow| {
            row.node == other.node && row.status != MemberStatus::Joining
        };
        self.members
            .members
            .iter()
            .find(listed)
            .is_some_and(|row| row.incarnation == other.incarnation)
    }
}

/// A check of one cluster's accounts: how often its promise could have been broken, or what is wrong.
type Check = fn(&Judged<'_>) -> Result<u64, String>;

/// Each with the name of its promise.
const CHECKS: [(&str, Check); 7] = [
    (terminates::NAME, terminates::at_rest),
    (one_owner::NAME, one_owner::at_rest),
    (no_orphan::NAME, no_orphan::at_rest),
    (slots_return::NAME, slots_return::at_rest),
    (why_named::NAME, why_named::at_rest),
    (plan_kept::NAME, plan_kept::at_rest),
    (answered::NAME, answered::at_rest),
];

/// Waits until everything is as it must be at rest. To be called when faults have stopped: links are healed,
/// disks are well, nobody is paused.
///
/// # Errors
///
/// What is still wrong after 15 minutes of virtual time, or what went wrong meanwhile.
pub fn check_at_rest(cluster: &mut Cluster, expected: &Rest) -> Result<(), Failure> {
    let ends = cluster.elapsed() + WITHIN;
    loop {
        let accounts = gather(cluster)?;
        let judged = judge(cluster, &accounts, expected);
        match judged {
            Ok(counts) => {
                cluster.requests().check_all(cluster.now())?;
                cluster.invariants_mut().rested(counts);
                return Ok(());
            }
            Err(failure) if cluster.elapsed() >= ends => return Err(failure),
            Err(_) => cluster.advance(LOOK_EVERY)?,
        }
    }
}

type Counts = BTreeMap<&'static str, u64>;

fn judge(cluster: &Cluster, accounts: &[Account], expected: &Rest) -> Result<Counts, Failure> {
    let world = cluster.invariants().world();
    let mut counts = Counts::new();
    let clusters: BTreeSet<ClusterId> =
        accounts.iter().map(|account| account.ring.cluster).collect();
    for id in clusters {
        let of_it = |account: &&Account| account.ring.cluster == id;
        let accounts: Vec<&Account> = accounts.iter().filter(of_it).collect();
        let lost = lost(&accounts);
        let judged = Judged { cluster: id, accounts, lost, world, expected };
        for (invariant, check) in CHECKS {
            let tried = check(&judged).map_err(|what| Failure::Broken { invariant, what })?;
            *counts.entry(invariant).or_default() += tried;
        }
    }
    Ok(counts)
}

/// Members of a cluster that do not run in the life in which their ring lists them.
fn lost(accounts: &[&Account]) -> BTreeSet<NodeName> {
    let newest = accounts.iter().max_by_key(|account| account.members.epoch);
    let members = newest.iter().flat_map(|account| &account.members.members);
    let members = members.filter(|row| row.status != MemberStatus::Joining);
    let runs = |node: &NodeName, incarnation: Incarnation| {
        accounts.iter().any(|it| it.node == *node && it.incarnation == incarnation)
    };
    members.filter(|row| !runs(&row.node, row.incarnation)).map(|row| row.node.clone()).collect()
}

/// Asks every node that runs.
fn gather(cluster: &mut Cluster) -> Result<Vec<Account>, Failure> {
    let mut accounts = Vec::new();
    for name in cluster.running() {
        let Some(node) = cluster.find(&name) else { continue };
        let asked = cluster.try_ask("an account", account(Arc::clone(&name), node))?;
        let account = asked.map_err(|refusal| {
            let what = format!("{name} gives no account of itself: {refusal}");
            Failure::Broken { invariant: answered::NAME, what }
        })?;
        accounts.push(account);
    }
    Ok(accounts)
}

async fn account(name: Arc<str>, node: Node) -> Result<Account, AdminRefusal> {
    let mut transfers = node.transfers().await?;
    let me = node.id().clone();
    transfers.waiting.retain(|row| row.node == me.name);
    transfers.active.retain(|row| row.source == me.name);
    transfers.ended.retain(|row| row.source == me.name);
    Ok(Account {
        name,
        incarnation: me.incarnation,
        ring: node.ring().await?,
        members: node.members().await?,
        rows: node.partitions().await,
        transfers,
        requests: node.requests().await,
        node: me.name,
    })
}
