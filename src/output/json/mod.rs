//! A node's answers as JSON documents of a stable form, described in `docs/json.md`.
//!
//! Every document says which form it has in `schema`, a name and a number. Fields may be added under the
//! same number; when one is removed or changes its meaning, the number grows. Partitions' indices have 160
//! bits and ids up to 96, more than many readers keep of a number, so both are texts.

use serde::Serialize;
use tanodb_actors::protocol::id::{NodeName, Token};
use tanodb_actors::protocol::ring::MemberStatus;
use tanodb_actors::wire::admin::{MemberRow, MemberTable, PlanShown, Pong, RingReport};

mod moves;
mod values;

pub use moves::{partitions, transfers};
pub use values::{DevrelNode, deleted, devrel, devrel_joins, got, stored};

/// A document with the name of its form.
#[derive(Debug, Serialize)]
struct Document<Body> {
    schema: &'static str,
    #[serde(flatten)]
    body: Body,
}

/// The document as indented text with a line end.
fn text<Body: Serialize>(schema: &'static str, body: Body) -> String {
    // Only maps with keys that are not texts, or a failing `Serialize`, could fail; there are none.
    let written = serde_json::to_string_pretty(&Document { schema, body });
    written.unwrap_or_else(|error| {
        format!("{{\"schema\":{schema:?},\"error\":{:?}}}", error.to_string())
    }) + "\n"
}

/// An owner token.
#[derive(Debug, Serialize)]
struct TokenJson {
    epoch: u64,
    hop: u32,
}

impl From<Token> for TokenJson {
    fn from(token: Token) -> Self {
        Self { epoch: token.epoch.0, hop: token.hop }
    }
}

#[derive(Debug, Serialize)]
struct PingJson<'a> {
    node: &'a NodeName,
    cluster: String,
    epoch: u64,
    partition: String,
}

/// `ping`.
#[must_use]
pub fn ping(pong: &Pong) -> String {
    let body = PingJson {
        node: &pong.node,
        cluster: pong.cluster.to_string(),
        epoch: pong.epoch.0,
        partition: pong.partition.to_string(),
    };
    text("tanodb.ping/1", body)
}

#[derive(Debug, Serialize)]
struct JoinJson<'a> {
    node: &'a NodeName,
    contact: &'a NodeName,
}

/// `cluster join`.
#[must_use]
pub fn join_staged(node: &NodeName, contact: &NodeName) -> String {
    text("tanodb.cluster-join/1", JoinJson { node, contact })
}

#[derive(Debug, Serialize)]
struct CommitJson {
    epoch: u64,
}

/// `cluster commit`.
#[must_use]
pub fn committed(epoch: u64) -> String {
    text("tanodb.cluster-commit/1", CommitJson { epoch })
}

#[derive(Debug, Serialize)]
struct ClearJson {
    cleared: u32,
}

/// `cluster clear`.
#[must_use]
pub fn cleared(count: u32) -> String {
    text("tanodb.cluster-clear/1", ClearJson { cleared: count })
}

#[derive(Debug, Serialize)]
struct MembersJson<'a> {
    epoch: u64,
    ring_size: u32,
    pending: bool,
    members: Vec<MemberJson<'a>>,
}

#[derive(Debug, Serialize)]
struct MemberJson<'a> {
    node: &'a NodeName,
    status: MemberStatus,
    up: bool,
    holds: u32,
    will_hold: u32,
    incarnation: String,
}

impl<'a> From<&'a MemberTable> for MembersJson<'a> {
    fn from(table: &'a MemberTable) -> Self {
        let member = |row: &'a MemberRow| MemberJson {
            node: &row.node,
            status: row.status,
            up: row.up,
            holds: row.holds,
            will_hold: row.will_hold,
            incarnation: row.incarnation.to_string(),
        };
        Self {
            epoch: table.epoch.0,
            ring_size: table.ring_size.count(),
            pending: table.pending,
            members: table.members.iter().map(member).collect(),
        }
    }
}

/// `member-status`.
#[must_use]
pub fn member_status(table: &MemberTable) -> String {
    text("tanodb.member-status/1", MembersJson::from(table))
}

#[derive(Debug, Serialize)]
struct PlanJson<'a> {
    id: String,
    base_epoch: u64,
    changes: Vec<ChangeJson<'a>>,
    after: MembersJson<'a>,
    replicas_distinct: bool,
    transfers: Vec<PairJson<'a>>,
    transfers_min: u32,
    verdict: &'a str,
}

#[derive(Debug, Serialize)]
struct ChangeJson<'a> {
    action: &'a str,
    node: &'a NodeName,
    void: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct PairJson<'a> {
    source: &'a NodeName,
    target: &'a NodeName,
    count: u32,
}

/// `cluster plan`.
#[must_use]
pub fn plan(plan: &PlanShown) -> String {
    let changes = plan.changes.iter().map(|change| ChangeJson {
        action: &change.action,
        node: &change.node,
        void: change.void.as_deref(),
    });
    let pairs = plan.transfers.iter().map(|pair| PairJson {
        source: &pair.source,
        target: &pair.target,
        count: pair.count,
    });
    let body = PlanJson {
        id: plan.id.to_string(),
        base_epoch: plan.base.0,
        changes: changes.collect(),
        after: MembersJson::from(&plan.after),
        replicas_distinct: plan.replicas_distinct,
        transfers: pairs.collect(),
        transfers_min: plan.transfers_min,
        verdict: &plan.verdict,
    };
    text("tanodb.cluster-plan/1", body)
}

#[derive(Debug, Serialize)]
struct RingJson<'a> {
    node: &'a NodeName,
    cluster: String,
    epoch: u64,
    ring_size: u32,
    ready: bool,
    not_seen_by: &'a [NodeName],
    pending: Vec<PendingJson<'a>>,
    unreachable: &'a [NodeName],
}

#[derive(Debug, Serialize)]
struct PendingJson<'a> {
    vnode_type: &'a str,
    partition: String,
    holder: &'a NodeName,
    next: &'a NodeName,
}

/// `ring-status`.
#[must_use]
pub fn ring_status(report: &RingReport) -> String {
    let pending = report.pending.iter().map(|pending| PendingJson {
        vnode_type: pending.vnode_type.as_str(),
        partition: pending.partition.to_string(),
        holder: &pending.holder,
        next: &pending.next,
    });
    let body = RingJson {
        node: &report.node,
        cluster: report.cluster.to_string(),
        epoch: report.epoch.0,
        ring_size: report.ring_size.count(),
        ready: report.not_seen_by.is_empty(),
        not_seen_by: &report.not_seen_by,
        pending: pending.collect(),
        unreachable: &report.unreachable,
    };
    text("tanodb.ring-status/1", body)
}

#[cfg(test)]
mod tests;
