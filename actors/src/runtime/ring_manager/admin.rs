//! What operators ask of the ring: status, plan, commit, clear.

use std::collections::BTreeMap;

use actix::prelude::*;

use super::RingManager;
use crate::protocol::agreement::ProposalId;
use crate::protocol::claim::Verdict;
use crate::protocol::gossip::News;
use crate::protocol::id::{NodeName, Partition, VnodeRef};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::plan::{Change, Plan, PlanId, plan};
use crate::protocol::ring::{MemberStatus, Ring};
use crate::runtime::proposer::{Commit, CommitDuty};
use crate::runtime::reply::Reply;
use crate::wire::admin::{
    AdminAnswer, AdminRefusal, AdminRequest, ChangeShown, Effect, MemberRow, MemberTable,
    PendingMove, PlanShown, Pong, RingReport, TransferCount,
};

/// An operator asks.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AdminAsked {
    /// What.
    pub request: AdminRequest,
    /// Always answered.
    pub reply: Reply<AdminAnswer>,
}

/// A refusal that changed nothing.
#[must_use]
pub(super) fn refused(reason: &str, hint: &str) -> AdminAnswer {
    let (reason, hint) = (reason.to_owned(), hint.to_owned());
    AdminAnswer::Refused(AdminRefusal { reason, hint, effect: Effect::Nothing })
}

/// A request whose outcome is not known.
#[must_use]
pub(super) fn unknown(reason: &str, hint: &str) -> AdminAnswer {
    let (reason, hint) = (reason.to_owned(), hint.to_owned());
    AdminAnswer::Refused(AdminRefusal { reason, hint, effect: Effect::Unknown })
}

impl Handler<AdminAsked> for RingManager {
    type Result = ();

    fn handle(&mut self, asked: AdminAsked, ctx: &mut Self::Context) {
        let AdminAsked { request, reply } = asked;
        match request {
            AdminRequest::Ping => reply.answer(AdminAnswer::Pong(self.pong())),
            AdminRequest::Join { contact } => self.join(contact, reply, ctx),
            AdminRequest::Plan => reply.answer(self.show_plan()),
            AdminRequest::Commit { plan } => self.commit(plan, reply, ctx),
            AdminRequest::Clear => reply.answer(self.clear(ctx)),
            AdminRequest::MemberStatus => {
                reply.answer(AdminAnswer::MemberStatus(self.member_table()));
            }
            AdminRequest::RingStatus => {
                reply.answer(AdminAnswer::RingStatus(Box::new(self.ring_report())));
            }
            AdminRequest::Partitions => self.report_partitions(reply, ctx),
            AdminRequest::Transfers => self.report_transfers(reply, ctx),
            AdminRequest::Resolve { name } => reply.answer(self.resolve(&name)),
        }
    }
}

impl RingManager {
    fn pong(&self) -> Pong {
        let size = self.ring().size();
        let number = self.links.env.rng.below(u64::from(size.count()));
        let partition = Partition(u32::try_from(number).unwrap_or(0));
        Pong {
            node: self.me().name.clone(),
            cluster: self.gossip.cluster(),
            epoch: self.ring().epoch(),
            partition: size.index_of(partition),
        }
    }

    fn resolve(&self, name: &NodeName) -> AdminAnswer {
        match self.gossip.addresses().get(name) {
            Some(record) => AdminAnswer::Resolved { address: record.address.clone() },
            None => refused(
                &format!("Failed: '{name}' is not a member of the cluster"),
                "'tanodb member-status' lists the members; HOST:PORT works for any node",
            ),
        }
    }

    /// Whether a vnode stays where it is: the ring gives its partition to a node that does not host its type.
    pub(super) fn stays(&self, vnode: &VnodeRef) -> bool {
        let ring = self.ring();
        let is_hosted = || self.gossip.hosts(ring.owner(vnode.partition), &vnode.vnode_type);
        ring.size().contains(vnode.partition) && !is_hosted()
    }

    /// Who holds each partition: a partition has moved when the vnodes of all its types have that can.
    fn holders(&self) -> BTreeMap<Partition, NodeName> {
        let ring = self.ring();
        let mut holders: BTreeMap<Partition, NodeName> = BTreeMap::new();
        for (vnode, held) in self.gossip.tokens().iter().filter(|(vnode, _)| !self.stays(vnode)) {
            let partition = vnode.partition;
            let name = &held.holder.name;
            let is_behind = ring.size().contains(partition) && *name != *ring.owner(partition);
            if is_behind || !holders.contains_key(&partition) {
                holders.insert(partition, name.clone());
            }
        }
        holders
    }

    /// The plan for what is staged now. Every node computes the same one.
    fn planned(&self) -> Result<Plan, AdminAnswer> {
        if let Err(names) = self.ring().ring_ready(self.gossip.seen()) {
            return Err(refused(
                "Cannot plan until cluster state has converged.",
                &format!(
                    "waiting for {}; check 'Ring Ready' in 'tanodb ring-status'",
                    quoted(&names)
                ),
            ));
        }
        let seed = self.ring().cluster().0 ^ self.ring().epoch().0;
        plan(self.ring(), &self.holders(), self.gossip.staged(), self.n_val, seed).map_err(
            |error| {
                let text = error.to_string();
                let (reason, hint) = text.split_once(": ").unwrap_or((
                    text.as_str(),
                    "stage a change, for example with 'tanodb cluster join NODE'",
                ));
                let mut reason = reason.to_owned();
                if let Some(first) = reason.get_mut(0..1) {
                    first.make_ascii_uppercase();
                }
                refused(&reason, hint)
            },
        )
    }

    fn show_plan(&mut self) -> AdminAnswer {
        match self.planned() {
            Ok(plan) => {
                let shown = self.plan_shown(&plan);
                self.shown = Some(plan);
                AdminAnswer::Plan(Box::new(shown))
            }
            Err(refusal) => refusal,
        }
    }

    fn plan_shown(&self, plan: &Plan) -> PlanShown {
        let changes = plan.changes.iter().map(|staged| match &staged.change {
            Change::Join { node, .. } => {
                ChangeShown { action: "join".to_owned(), node: node.name.clone(), void: None }
            }
        });
        let void = self.gossip.staged().void(self.ring().epoch()).map(|staged| ChangeShown {
            action: "join".to_owned(),
            node: staged.change.node().name.clone(),
            void: Some(format!("staged before epoch {}", self.ring().epoch())),
        });
        let transfers = plan.transfers.iter().map(|((source, target), count)| TransferCount {
            source: source.clone(),
            target: target.clone(),
            count: *count,
        });
        PlanShown {
            id: plan.id,
            base: plan.base,
            changes: changes.chain(void).collect(),
            after: self.table_of(&plan.candidate),
            replicas_distinct: plan.distinct_nodes,
            transfers: transfers.collect(),
            transfers_min: plan.lower_bound,
            verdict: match &plan.verdict {
                Verdict::Optimal => "optimal: no balanced ring takes fewer transfers".to_owned(),
                Verdict::Gap(gap) => {
                    format!("{gap} transfers more than the lower bound")
                }
                Verdict::Infeasible { why } => why.to_string(),
            },
        }
    }

    fn commit(
        &mut self,
        wanted: Option<PlanId>,
        reply: Reply<AdminAnswer>,
        ctx: &mut Context<Self>,
    ) {
        if self.is_committing {
            reply.answer(refused("Failed: a commit is under way", "wait for it, then plan again"));
            return;
        }
        let Some(wanted) = wanted.or_else(|| self.shown.as_ref().map(|shown| shown.id)) else {
            reply.answer(refused(
                "You must verify the plan with 'tanodb cluster plan' before committing",
                "run 'tanodb cluster plan', read it, and commit",
            ));
            return;
        };
        let plan = match self.planned() {
            Ok(plan) => plan,
            Err(AdminAnswer::Refused(mut refusal)) => {
                refusal.reason = refusal.reason.replace("Cannot plan", "Cannot commit");
                reply.answer(AdminAnswer::Refused(refusal));
                return;
            }
            Err(other) => return reply.answer(other),
        };
        let is_shown = plan.id == wanted;
        #[cfg(tanodb_mutants)]
        let is_shown = is_shown || self.rules.breaks(Mutant::PlanNotCompared);
        if !is_shown {
            reply.answer(refused(
                "The plan has changed. Verify with 'tanodb cluster plan' before committing",
                "run 'tanodb cluster plan' again; nothing was applied",
            ));
            return;
        }
        self.propose(plan, reply, ctx);
    }

    fn propose(&mut self, plan: Plan, reply: Reply<AdminAnswer>, ctx: &mut Context<Self>) {
        self.is_committing = true;
        self.proposals += 1;
        let joiners = plan.changes.iter().map(|staged| staged.change.node().clone()).collect();
        let me = ctx.address();
        let duty = CommitDuty {
            env: self.links.env.clone(),
            me: self.introduction(),
            voter: self.identity.voter,
            proposal: ProposalId { boot: self.me().incarnation.boot, number: self.proposals },
            candidate: plan.candidate,
            acceptors: self.ring().acceptors(),
            rules: self.rules,
            joiners,
            ask_peer: self.links.ask_peer.clone(),
            ask_me: me.clone().recipient(),
            ended: me.recipient(),
            reply,
        };
        self.links.env.arbiters.start(0, move |_| Commit::starting(duty));
    }

    fn clear(&mut self, ctx: &mut Context<Self>) -> AdminAnswer {
        let cleared = self.gossip.clear_staged();
        self.shown = None;
        if cleared > 0 {
            self.announce(&News { staged: true, ..News::default() }, super::Source::Own, ctx);
        }
        AdminAnswer::Cleared { count: u32::try_from(cleared).unwrap_or(u32::MAX) }
    }

    fn member_table(&self) -> MemberTable {
        let mut table = self.table_of(self.ring());
        for node in self.staged_nodes() {
            if self.ring().is_member(&node.name) {
                continue;
            }
            table.members.push(MemberRow {
                up: self.up.contains(&node.name),
                node: node.name,
                status: MemberStatus::Joining,
                holds: 0,
                will_hold: 0,
                incarnation: node.incarnation,
            });
        }
        table.members.sort_by(|a, b| (a.status, &a.node).cmp(&(b.status, &b.node)));
        table
    }

    fn table_of(&self, ring: &Ring) -> MemberTable {
        let holders = self.holders();
        let mut holds: BTreeMap<&NodeName, u32> = BTreeMap::new();
        for name in holders.values() {
            *holds.entry(name).or_default() += 1;
        }
        let row = |(name, member): (&NodeName, &crate::protocol::ring::Member)| MemberRow {
            node: name.clone(),
            status: member.status,
            holds: holds.get(name).copied().unwrap_or(0),
            will_hold: ring.owned_count(name),
            up: self.up.contains(name),
            incarnation: member.incarnation,
        };
        let pending = holders.iter().any(|(partition, name)| ring.owner(*partition) != name);
        MemberTable {
            epoch: ring.epoch(),
            ring_size: ring.size(),
            members: ring.members().iter().map(row).collect(),
            pending,
        }
    }

    fn ring_report(&self) -> RingReport {
        let ring = self.ring();
        let pending = self.gossip.tokens().iter().filter_map(|(vnode, held)| {
            let next = ring.owner(vnode.partition);
            (held.holder.name != *next && !self.stays(vnode)).then(|| PendingMove {
                vnode_type: vnode.vnode_type.clone(),
                partition: ring.size().index_of(vnode.partition),
                holder: held.holder.name.clone(),
                next: next.clone(),
            })
        });
        let unreachable = ring.members().iter().filter(|(name, member)| {
            member.status != MemberStatus::Down && !self.up.contains(*name)
        });
        RingReport {
            node: self.me().name.clone(),
            cluster: ring.cluster(),
            epoch: ring.epoch(),
            ring_size: ring.size(),
            not_seen_by: ring.ring_ready(self.gossip.seen()).err().unwrap_or_default(),
            pending: pending.collect(),
            unreachable: unreachable.map(|(name, _)| name.clone()).collect(),
        }
    }
}

fn quoted(names: &[NodeName]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
