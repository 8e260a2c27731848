//! What stories say: the calls that end the test when something goes wrong, with an account of the run.

use std::time::Duration;

use super::{Cluster, LOOK_EVERY, PATIENCE};
use crate::protocol::id::{Epoch, Partition};
use crate::runtime::node::Node;
use crate::sim::failure::Failure;
use crate::sim::network::Network;
use crate::sim::trace::Seen;
use crate::wire::admin::{PartitionRow, PlanShown};

/// How long nodes may take until everything is where the ring wants it, in virtual time.
const SETTLING: Duration = Duration::from_secs(600);

impl Cluster {
    /// The result, or the end of the test.
    ///
    /// # Panics
    ///
    /// Something went wrong; the message is the account of the run.
    #[track_caller]
    pub fn must<T>(&self, result: Result<T, Failure>) -> T {
        match result {
            Ok(value) => value,
            Err(failure) => panic!("{}", self.account(&failure)),
        }
    }

    /// Starts nodes, one after another.
    #[track_caller]
    pub fn start(&mut self, names: &[&str]) {
        for name in names {
            let started = self.try_start(name);
            self.must(started);
        }
    }

    /// A node that runs.
    ///
    /// # Panics
    ///
    /// There is none of this name.
    #[must_use]
    #[track_caller]
    pub fn node(&self, name: &str) -> Node {
        let Some(node) = self.find(name) else { panic!("{name} does not run") };
        node
    }

    /// Lets time pass.
    #[track_caller]
    pub fn run_for(&mut self, time: Duration) {
        let result = self.advance(time);
        self.must(result);
    }

    /// Lets time pass until something holds.
    #[track_caller]
    pub fn run_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let result = self.wait_until(what, PATIENCE, &mut holds);
        self.must(result);
    }

    /// Lets time pass until a node tells this, and stops before anybody does anything more.
    #[track_caller]
    pub fn run_until_seen(&mut self, what: &str, mut is_it: impl FnMut(&Seen) -> bool) -> Seen {
        let found = self.advance_until(PATIENCE, &mut is_it).and_then(|found| {
            found.ok_or_else(|| Failure::InVain { what: what.to_owned(), waited: PATIENCE })
        });
        self.must(found)
    }

    /// Has a client do something and waits for it.
    #[track_caller]
    pub fn ask<T: 'static>(&mut self, what: &str, task: impl Future<Output = T> + 'static) -> T {
        let result = self.try_ask(what, task);
        self.must(result)
    }

    // ---- membership --------------------------------------------------------------------------------

    /// Has each of the joiners, which run, stage to join the cluster of `contact`.
    #[track_caller]
    pub fn stage_joins(&mut self, contact: &str, joiners: &[&str]) {
        for joiner in joiners {
            let (node, address) = (self.node(joiner), self.node(contact).address().to_owned());
            let staged = self.ask("the join is staged", async move { node.join(&address).await });
            if let Err(refusal) = staged {
                let what = format!("{joiner} can join: {refusal}");
                self.must::<()>(Err(Failure::InVain { what, waited: Duration::ZERO }));
            }
        }
    }

    /// What a commit through this node would do, once it knows of so many staged changes.
    #[track_caller]
    pub fn plan(&mut self, contact: &str, changes: usize) -> PlanShown {
        let mut shown = None;
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            let node = self.node(contact);
            let plan = self.ask("a plan", async move { node.plan().await });
            if let Ok(plan) = plan
                .map_err(|_| ())
                .and_then(|plan| if plan.changes.len() == changes { Ok(plan) } else { Err(()) })
            {
                shown = Some(plan);
                break;
            }
            self.run_for(LOOK_EVERY);
        }
        let what = format!("{contact} knows of {changes} staged changes");
        self.must(shown.ok_or(Failure::InVain { what, waited: PATIENCE }))
    }

    /// Starts nodes, has them join through `contact` and commits. Does not wait for the partitions.
    #[track_caller]
    pub fn join(&mut self, contact: &str, joiners: &[&str]) -> Epoch {
        self.start(joiners);
        self.stage_joins(contact, joiners);
        let mut committed = None;
        // A plan is void as soon as something else is learned: it is made again.
        for _ in 0..100 {
            let plan = self.plan(contact, joiners.len());
            let node = self.node(contact);
            let answer = self.ask("a commit", async move { node.commit(plan.id).await });
            if let Ok(epoch) = answer {
                committed = Some(epoch);
                break;
            }
            self.run_for(LOOK_EVERY);
        }
        let what = "the staged joins are committed".to_owned();
        self.must(committed.ok_or(Failure::InVain { what, waited: PATIENCE }))
    }

    /// Waits until every partition is where the ring wants it, by the account of every node that runs.
    #[track_caller]
    pub fn settle(&mut self) {
        for name in self.running() {
            let node = self.node(&name);
            let settled = self.ask("it settles", async move { node.settled(SETTLING).await });
            if !settled {
                let what = format!("{name} sees everything where the ring wants it");
                self.must::<()>(Err(Failure::InVain { what, waited: SETTLING }));
            }
        }
    }

    /// Changes the links.
    pub fn links(&mut self, change: impl FnOnce(&Network)) {
        self.with_network(change);
    }

    /// Cuts the link between two nodes, both ways.
    pub fn cut(&mut self, one: &str, other: &str) {
        self.links(|network| {
            network.cut_one_way(one, other);
            network.cut_one_way(other, one);
        });
    }

    /// Heals the link between two nodes.
    pub fn heal(&mut self, one: &str, other: &str) {
        self.links(|network| network.heal(one, other));
    }

    // ---- what every story ends on ------------------------------------------------------------------

    /// All nodes that run follow the same ring.
    ///
    /// # Panics
    ///
    /// They do not.
    #[track_caller]
    pub fn assert_rings_agree(&mut self) {
        let mut rings = Vec::new();
        for name in self.running() {
            let node = self.node(&name);
            if let Ok(ring) = self.ask("a ring", async move { node.ring().await }) {
                rings.push((name, ring.epoch));
            }
        }
        let agree = rings.iter().zip(rings.iter().skip(1)).all(|(one, next)| one.1 == next.1);
        assert!(agree, "seed {}: rings differ: {rings:?}", self.seed());
    }

    /// Every partition of every vnode type is owned once among the nodes that run, and nothing else is left
    /// of any move.
    ///
    /// # Panics
    ///
    /// One is owned twice or not at all, or a copy is left.
    #[track_caller]
    pub fn assert_each_partition_has_one_owner(&mut self) {
        let rows = self.partitions();
        let sizes = self.settings.node.ring_size;
        let types: std::collections::BTreeSet<_> =
            rows.iter().map(|row| row.vnode_type.clone()).collect();
        for vnode_type in types {
            for number in 0..sizes.count() {
                let index = sizes.index_of(Partition(number));
                let owners: Vec<_> = rows
                    .iter()
                    .filter(|row| row.vnode_type == vnode_type && row.partition == index)
                    .filter(|row| row.container == "owned")
                    .map(|row| row.node.as_str())
                    .collect();
                assert!(
                    owners.len() == 1,
                    "seed {}: partition {number} of {vnode_type} is owned by {owners:?}",
                    self.seed()
                );
            }
        }
        let left: Vec<_> = rows.iter().filter(|row| row.container != "owned").collect();
        assert!(left.is_empty(), "seed {}: left over: {left:?}", self.seed());
    }

    /// What every node that runs holds.
    #[track_caller]
    pub fn partitions(&mut self) -> Vec<PartitionRow> {
        let mut rows = Vec::new();
        for name in self.running() {
            let node = self.node(&name);
            rows.extend(self.ask("what it holds", async move { node.partitions().await }));
        }
        rows
    }
}
