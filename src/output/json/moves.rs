//! `partitions` and `transfers` as JSON.

use serde::Serialize;
use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::wire::admin::{
    ActiveRow, EndedRow, PartitionRow, PartitionTable, TransferReport, WaitingRow,
};

use super::{TokenJson, text};

#[derive(Debug, Serialize)]
struct PartitionsJson<'a> {
    partitions: Vec<PartitionJson<'a>>,
    silent: &'a [NodeName],
}

#[derive(Debug, Serialize)]
struct PartitionJson<'a> {
    vnode_type: &'a str,
    partition: String,
    node: &'a NodeName,
    container: &'a str,
    token: Option<TokenJson>,
    objects: u64,
    bytes: u64,
    state: &'a str,
}

impl<'a> From<&'a PartitionRow> for PartitionJson<'a> {
    fn from(row: &'a PartitionRow) -> Self {
        Self {
            vnode_type: row.vnode_type.as_str(),
            partition: row.partition.to_string(),
            node: &row.node,
            container: &row.container,
            token: row.token.map(TokenJson::from),
            objects: row.objects,
            bytes: row.bytes,
            state: &row.state,
        }
    }
}

/// `partitions`.
#[must_use]
pub fn partitions(table: &PartitionTable) -> String {
    let partitions = table.rows.iter().map(PartitionJson::from).collect();
    text("tanodb.partitions/1", PartitionsJson { partitions, silent: &table.silent })
}

#[derive(Debug, Serialize)]
struct TransfersJson<'a> {
    down: &'a [NodeName],
    silent: &'a [NodeName],
    waiting: Vec<WaitingJson<'a>>,
    active: Vec<ActiveJson<'a>>,
    ended: Vec<EndedJson<'a>>,
}

#[derive(Debug, Serialize)]
struct WaitingJson<'a> {
    node: &'a NodeName,
    kind: &'a str,
    vnode_type: &'a str,
    partition: String,
    target: &'a NodeName,
    why: &'a str,
    since_ms: u64,
    attempts: u32,
    last_error: Option<&'a str>,
}

impl<'a> From<&'a WaitingRow> for WaitingJson<'a> {
    fn from(row: &'a WaitingRow) -> Self {
        Self {
            node: &row.node,
            kind: &row.kind,
            vnode_type: row.vnode_type.as_str(),
            partition: row.partition.to_string(),
            target: &row.target,
            why: &row.why,
            since_ms: row.since_ms,
            attempts: row.attempts,
            last_error: row.last_error.as_deref(),
        }
    }
}

#[derive(Debug, Serialize)]
struct ActiveJson<'a> {
    transfer: String,
    kind: &'a str,
    vnode_type: &'a str,
    partition: String,
    source: &'a NodeName,
    target: &'a NodeName,
    state: &'a str,
    why: Option<&'a str>,
    started_ms: u64,
    running_ms: u64,
    idle_ms: Option<u64>,
    objects_total: u64,
    objects_sent: u64,
    bytes_total: u64,
    bytes_sent: u64,
}

impl<'a> From<&'a ActiveRow> for ActiveJson<'a> {
    fn from(row: &'a ActiveRow) -> Self {
        Self {
            transfer: row.transfer.to_string(),
            kind: &row.kind,
            vnode_type: row.vnode_type.as_str(),
            partition: row.partition.to_string(),
            source: &row.source,
            target: &row.target,
            state: &row.state,
            why: row.why.as_deref(),
            started_ms: row.started_ms,
            running_ms: row.running_ms,
            idle_ms: row.idle_ms,
            objects_total: row.objects_total,
            objects_sent: row.objects_sent,
            bytes_total: row.bytes_total,
            bytes_sent: row.bytes_sent,
        }
    }
}

#[derive(Debug, Serialize)]
struct EndedJson<'a> {
    transfer: String,
    kind: &'a str,
    vnode_type: &'a str,
    partition: String,
    source: &'a NodeName,
    target: &'a NodeName,
    objects: u64,
    bytes: u64,
    took_ms: u64,
    deleted: bool,
    cancelled: Option<&'a str>,
}

impl<'a> From<&'a EndedRow> for EndedJson<'a> {
    fn from(row: &'a EndedRow) -> Self {
        Self {
            transfer: row.transfer.to_string(),
            kind: &row.kind,
            vnode_type: row.vnode_type.as_str(),
            partition: row.partition.to_string(),
            source: &row.source,
            target: &row.target,
            objects: row.objects,
            bytes: row.bytes,
            took_ms: row.took_ms,
            deleted: row.deleted,
            cancelled: row.cancelled.as_deref(),
        }
    }
}

/// `transfers`.
#[must_use]
pub fn transfers(report: &TransferReport) -> String {
    let body = TransfersJson {
        down: &report.down,
        silent: &report.silent,
        waiting: report.waiting.iter().map(WaitingJson::from).collect(),
        active: report.active.iter().map(ActiveJson::from).collect(),
        ended: report.ended.iter().map(EndedJson::from).collect(),
    };
    text("tanodb.transfers/1", body)
}
