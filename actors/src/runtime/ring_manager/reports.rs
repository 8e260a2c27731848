//! Reports over all members: what everybody holds, and what moves. Reading them changes nothing.

use std::time::Duration;

use actix::prelude::*;
use futures_util::future::join_all;

use super::RingManager;
use crate::protocol::id::NodeName;
use crate::runtime::message::{AskPeer, PeerError};
use crate::runtime::reply::{Reply, reply};
use crate::runtime::vnode::message::AttemptKind;
use crate::runtime::vnode_host::ObserveVnodes;
use crate::wire::admin::{
    ActiveRow, AdminAnswer, PartitionRow, PartitionTable, Report, ReportRequest, TransferReport,
    WaitingRow,
};
use crate::wire::message::PeerMessage;

/// How long another member may take for its part.
const REPORT_MAX: Duration = Duration::from_secs(3);

impl RingManager {
    /// This node's part of a report.
    pub(super) fn report(
        &mut self,
        request: &ReportRequest,
        reply: Reply<PeerMessage>,
        ctx: &mut Context<Self>,
    ) {
        match request {
            ReportRequest::Partitions => {
                let observing = self.links.host.send(ObserveVnodes).into_actor(self);
                ctx.spawn(observing.map(move |rows, _, _| {
                    let report = Report::Partitions(rows.unwrap_or_default());
                    reply.answer(PeerMessage::Report(Box::new(report)));
                }));
            }
            ReportRequest::Transfers => {
                reply.answer(PeerMessage::Report(Box::new(self.my_transfers())));
            }
        }
    }

    fn my_transfers(&self) -> Report {
        Report::Transfers {
            waiting: self.waiting_rows(),
            active: self.active_rows(),
            ended: self.transfers.ended.iter().cloned().collect(),
        }
    }

    fn waiting_rows(&self) -> Vec<WaitingRow> {
        let (now, size) = (self.links.env.clock.now(), self.ring().size());
        let moves = self.due().into_iter().filter_map(|due| {
            let wait = due.wait?;
            let failures = self.transfers.failures.get(&due.vnode);
            let since = self.transfers.waiting_since.get(&due.vnode).copied().unwrap_or(now);
            Some(WaitingRow {
                node: self.me().name.clone(),
                kind: "ownership".to_owned(),
                vnode_type: due.vnode.vnode_type.clone(),
                partition: size.index_of(due.vnode.partition),
                target: due.target.name,
                why: wait.to_string(),
                since_ms: u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX),
                attempts: failures.map_or(0, |failures| failures.count),
                last_error: failures.map(|failures| failures.last_error.clone()),
            })
        });
        let hints = self.transfers.hints.iter().map(|((vnode, generation), instead_of)| {
            let failures = self.transfers.hint_failures.get(vnode);
            // They go to whoever speaks for the vnode by then.
            let held = self.gossip.tokens().get(vnode);
            let owner = held.map_or(instead_of, |held| &held.holder.name);
            let why = if !self.up.contains(owner) {
                format!("the owner '{owner}' is down; generation {generation} waits for it")
            } else if failures.is_some_and(|failures| failures.until > now) {
                format!("the last attempt failed; generation {generation} is sent again shortly")
            } else {
                format!("generation {generation} waits for a slot")
            };
            WaitingRow {
                node: self.me().name.clone(),
                kind: "hinted".to_owned(),
                vnode_type: vnode.vnode_type.clone(),
                partition: size.index_of(vnode.partition),
                target: owner.clone(),
                why,
                since_ms: 0,
                attempts: failures.map_or(0, |failures| failures.count),
                last_error: failures.map(|failures| failures.last_error.clone()),
            }
        });
        moves.chain(hints).collect()
    }

    fn active_rows(&self) -> Vec<ActiveRow> {
        let (now, size) = (self.links.env.clock.now(), self.ring().size());
        let millis = |from| u64::try_from(now.since(from).as_millis()).unwrap_or(u64::MAX);
        let row = |(transfer, attempt): (&_, &super::transfers::Attempt)| ActiveRow {
            transfer: *transfer,
            kind: match attempt.kind {
                AttemptKind::Ownership => "ownership".to_owned(),
                AttemptKind::Hinted { .. } => "hinted".to_owned(),
            },
            vnode_type: attempt.vnode.vnode_type.clone(),
            partition: size.index_of(attempt.vnode.partition),
            source: self.me().name.clone(),
            target: attempt.target.name.clone(),
            started_ms: attempt.started_ms,
            running_ms: millis(attempt.started),
            idle_ms: attempt.last_progress.map(millis),
            objects_total: attempt.estimate.count,
            bytes_total: attempt.estimate.bytes,
            objects_sent: attempt.objects,
            bytes_sent: attempt.bytes,
            state: attempt.state.clone(),
            why: (!self.up.contains(&attempt.target.name)).then(|| {
                let target = &attempt.target.name;
                format!("the target '{target}' is down; start it, or remove it from the cluster")
            }),
        };
        self.transfers.attempts.iter().map(row).collect()
    }

    /// Asks every other member for its part; who does not answer in time is named.
    fn gather(
        &self,
        request: &ReportRequest,
    ) -> impl Future<Output = Vec<(NodeName, Option<Report>)>> + use<> {
        let me = self.me().name.clone();
        let deadline = self.links.env.clock.now().plus(REPORT_MAX);
        let others: Vec<NodeName> =
            self.ring().members().keys().filter(|name| **name != me).cloned().collect();
        let asked: Vec<_> = others
            .into_iter()
            .map(|to| {
                let (answer, answered) = reply(Err(PeerError::Lost));
                let message = PeerMessage::ReportRequest(request.clone());
                self.links.ask_peer.do_send(AskPeer {
                    to: to.clone(),
                    message,
                    deadline,
                    reply: answer,
                });
                async move {
                    match answered.await {
                        Ok(PeerMessage::Report(report)) => (to, Some(*report)),
                        Ok(_) | Err(_) => (to, None),
                    }
                }
            })
            .collect();
        join_all(asked)
    }

    pub(super) fn report_partitions(&mut self, reply: Reply<AdminAnswer>, ctx: &mut Context<Self>) {
        let mine = self.links.host.send(ObserveVnodes);
        let others = self.gather(&ReportRequest::Partitions);
        let gathering = async move {
            let mut rows: Vec<PartitionRow> = mine.await.unwrap_or_default();
            let mut silent = Vec::new();
            for (name, report) in others.await {
                match report {
                    Some(Report::Partitions(theirs)) => rows.extend(theirs),
                    Some(Report::Transfers { .. }) | None => silent.push(name),
                }
            }
            rows.sort();
            reply.answer(AdminAnswer::Partitions(PartitionTable { rows, silent }));
        };
        ctx.spawn(gathering.into_actor(self));
    }

    pub(super) fn report_transfers(&mut self, reply: Reply<AdminAnswer>, ctx: &mut Context<Self>) {
        let mine = self.my_transfers();
        let others = self.gather(&ReportRequest::Transfers);
        let members = self.ring().members().keys();
        let down = members.filter(|name| !self.up.contains(*name)).cloned().collect();
        let gathering = async move {
            let mut report = TransferReport {
                down,
                silent: Vec::new(),
                waiting: Vec::new(),
                active: Vec::new(),
                ended: Vec::new(),
            };
            add(&mut report, mine);
            for (name, theirs) in others.await {
                match theirs {
                    Some(theirs @ Report::Transfers { .. }) => add(&mut report, theirs),
                    Some(Report::Partitions(_)) | None => report.silent.push(name),
                }
            }
            reply.answer(AdminAnswer::Transfers(Box::new(report)));
        };
        ctx.spawn(gathering.into_actor(self));
    }
}

fn add(whole: &mut TransferReport, part: Report) {
    if let Report::Transfers { waiting, active, ended } = part {
        whole.waiting.extend(waiting);
        whole.active.extend(active);
        whole.ended.extend(ended);
    }
}
