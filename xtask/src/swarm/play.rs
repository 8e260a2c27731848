//! Plays a plan in the simulator, and judges what came of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tanodb::kv::{KvVnode, vnode_type};
use tanodb_actors::protocol::id::Epoch;
use tanodb_actors::protocol::preference::primaries;
use tanodb_actors::protocol::rules::Rules;
use tanodb_actors::protocol::time::Moment;
use tanodb_actors::runtime::items::PageLimits;
use tanodb_actors::runtime::node::NodeSettings;
use tanodb_actors::runtime::ring_manager::TransferSettings;
use tanodb_actors::sim::cluster::{Cluster, ClusterSettings, Pending};
use tanodb_actors::sim::failure::Failure;
use tanodb_actors::sim::network::NetworkSettings;
use tanodb_actors::wire::admin::PlanShown;
use tanodb_actors::{ItemsKind, RingSize};

use super::clients::{Clients, counter_hash_of, counter_name, key_hash_of, key_name};
use super::counter::{Counter, counters};
use super::operators;
use super::plan::{Ask, Broken, Change, Changed, NAMES, Plan, Quality, When, name};
use super::tally::Counts;
use super::tracker::{Entered, Tracker};

/// Replicas of a key.
const N: usize = 3;

/// Owners of a key that may lose their memory without a write being lost: one less than acknowledge it.
const LOSSES_MAX: usize = 1;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
    /// The run in words, if something went wrong.
    pub account: String,
    /// The sum of its trace.
    pub sum: u64,
    /// What it was worth.
    pub counts: Counts,
}

/// Something that is due.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    Ask(Ask),
    Change(Changed),
    JoinWhenStarted { who: u8, through: u8, tries: u32 },
    Break(Broken),
    Mend(Mend),
}

/// The end of a fault.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mend {
    Start(u8),
    Heal(u8, u8),
    Rejoin(u8),
    Speed(u8, u8),
    Resume(u8),
    Disk(u8),
}

/// A run under way.
pub(super) struct Play {
    pub(super) plan: Plan,
    pub(super) cluster: Cluster,
    pub(super) clients: Clients,
    pub(super) tracker: Rc<RefCell<Tracker>>,
    pub(super) agenda: BTreeMap<(Duration, u64), Due>,
    pub(super) numbered: u64,
    pub(super) waiting: Vec<super::plan::Fault>,
    /// From when on the plan's times count.
    pub(super) zero: Duration,
    pub(super) counts: Counts,
    /// Nodes that lost their memory when their process ended.
    pub(super) dead: BTreeSet<String>,
    /// What operators committed.
    pub(super) commits: Vec<Pending<Option<(PlanShown, Epoch)>>>,
    /// When processes stood still.
    pub(super) pauses: Vec<Paused>,
    lost: BTreeMap<(bool, u32), usize>,
}

/// A time in which a process stood still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paused {
    pub(super) who: u8,
    pub(super) from: Duration,
    pub(super) until: Duration,
}

/// Plays a plan to its end.
pub fn play(plan: &Plan) -> Outcome {
    play_under(plan, Rules::default())
}

/// Plays a plan to its end with nodes that decide by these rules.
pub fn play_under(plan: &Plan, rules: Rules) -> Outcome {
    let mut play = Play::new(plan.clone(), rules);
    let result = play.run();
    play.count();
    let account = match &result {
        Ok(()) => String::new(),
        Err(failure) => play.cluster.account(failure),
    };
    let sum = play.cluster.trace().sum();
    Outcome { failure: result.err(), account, sum, counts: play.counts }
}

fn network(quality: Quality) -> NetworkSettings {
    let usual = NetworkSettings::default();
    match quality {
        Quality::Good => NetworkSettings {
            delay_min: Duration::from_micros(50),
            delay_max: Duration::from_micros(900),
            lost_per_mille: 0,
            ..usual
        },
        Quality::Busy => usual,
        Quality::Poor => NetworkSettings {
            delay_min: Duration::from_millis(1),
            delay_max: Duration::from_millis(25),
            lost_per_mille: 20,
            ..usual
        },
    }
}

impl Play {
    pub(super) fn new(plan: Plan, rules: Rules) -> Self {
        let node = NodeSettings {
            rules,
            ring_size: RingSize::new(plan.ring_size).unwrap_or_default(),
            transfers: TransferSettings {
                limit: plan.transfer_limit,
                ..TransferSettings::default()
            },
            page: PageLimits { items: plan.page_items, bytes: 16 * 1024 },
            permits: plan.permits,
            hinted_idle: plan.hinted_idle,
            ..NodeSettings::default()
        };
        let settings = ClusterSettings {
            node,
            network: network(plan.quality),
            ..ClusterSettings::new(plan.seed, || {
                vec![
                    ItemsKind::<KvVnode>::in_memory(vnode_type()),
                    ItemsKind::<Counter>::in_memory(counters()),
                ]
            })
        };
        let mut cluster = Cluster::new(settings);
        let tracker = Rc::new(RefCell::new(Tracker::default()));
        let ear = Rc::clone(&tracker);
        cluster.listen(move |seen| {
            log::debug!("{:>10.3} {} {}", seen.at.as_secs_f64(), seen.node, seen.event);
            ear.borrow_mut().saw(seen);
        });
        let began = cluster.began();
        Self {
            clients: Clients::new(began, Rc::clone(&tracker)),
            cluster,
            tracker,
            agenda: BTreeMap::new(),
            numbered: 0,
            waiting: Vec::new(),
            zero: Duration::ZERO,
            counts: Counts::default(),
            dead: BTreeSet::new(),
            commits: Vec::new(),
            pauses: Vec::new(),
            lost: BTreeMap::new(),
            plan,
        }
    }

    /// Forms the first cluster, and notes what happens when.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.cluster.chapter("the founders form a cluster");
        self.found()?;
        self.zero = self.cluster.elapsed();
        self.tracker.borrow_mut().count_from_here();
        self.cluster.chapter("clients ask, operators change, and things break");
        for ask in std::mem::take(&mut self.plan.asks) {
            self.later(ask.at, Due::Ask(ask));
        }
        for Change { at, what } in std::mem::take(&mut self.plan.changes) {
            self.later(at, Due::Change(what));
        }
        for fault in std::mem::take(&mut self.plan.faults) {
            match fault.when {
                When::At(at) => self.later(at, Due::Break(fault.what)),
                When::Entered { .. } => self.waiting.push(fault),
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Failure> {
        self.begin()?;
        self.run_to(self.plan.active)?;
        self.cluster.chapter("everything is mended");
        self.mend_all();
        // The answers to what is under way, and the ends of what failed and is tried again.
        self.run_to(self.plan.active + Duration::from_secs(30))?;
        self.rest()
    }

    /// Time since the founders were there.
    fn now(&self) -> Duration {
        self.cluster.elapsed().saturating_sub(self.zero)
    }

    pub(super) fn later(&mut self, at: Duration, due: Due) {
        self.numbered += 1;
        self.agenda.insert((at, self.numbered), due);
    }

    pub(super) fn after(&mut self, wait: Duration, due: Due) {
        self.later(self.now() + wait, due);
    }

    pub(super) fn run_to(&mut self, end: Duration) -> Result<(), Failure> {
        loop {
            let now = self.now();
            while let Some(first) = self.agenda.first_entry() {
                if first.key().0 > now {
                    break;
                }
                let due = first.remove();
                self.do_due(due);
            }
            if now >= end {
                return Ok(());
            }
            let next = self.agenda.first_key_value().map_or(end, |((at, _), _)| (*at).min(end));
            let (tracker, waiting) = (&self.tracker, &self.waiting);
            let mut is_waited_for = |_: &_| {
                let entered = &tracker.borrow().entered_last;
                entered.as_ref().is_some_and(|entered| {
                    waiting.iter().any(|fault| waits_for(fault.when, entered))
                })
            };
            let wait = next.saturating_sub(now).max(Duration::from_millis(1));
            if self.cluster.advance_until(wait, &mut is_waited_for)?.is_some() {
                self.break_what_waited();
            }
        }
    }

    fn break_what_waited(&mut self) {
        let Some(entered) = self.tracker.borrow_mut().entered_last.take() else { return };
        let (hit, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|fault| waits_for(fault.when, &entered));
        self.waiting = waiting;
        let hit: Vec<super::plan::Fault> = hit;
        for fault in hit {
            self.break_now(fault.what, Some(&entered));
        }
    }

    fn do_due(&mut self, due: Due) {
        match due {
            Due::Ask(ask) => self.ask(ask),
            Due::Change(change) => self.change(change),
            Due::JoinWhenStarted { who, through, tries } => self.join(who, through, tries),
            Due::Break(what) => self.break_now(what, None),
            Due::Mend(mend) => self.mend(mend),
        }
    }

    /// Who runs and is in the cluster: a node that has not joined is a cluster of its own.
    pub(super) fn members(&self) -> Vec<std::sync::Arc<str>> {
        let tracker = self.tracker.borrow();
        let founders = usize::from(self.plan.founders);
        let is_member = |node: &std::sync::Arc<str>| {
            let is_founder = NAMES.iter().take(founders).any(|founder| **founder == **node);
            is_founder || tracker.members.contains(node)
        };
        self.cluster.running().into_iter().filter(is_member).collect()
    }

    pub(super) fn ask(&mut self, ask: Ask) {
        // Somebody who runs, the one that was meant if it does.
        let running = self.members();
        let is_member = running.iter().any(|member| **member == *name(ask.of));
        let place = usize::from(ask.of).checked_rem(running.len());
        let of = if is_member {
            Some(name(ask.of))
        } else {
            place.and_then(|at| running.get(at)).map(|at| &**at)
        };
        let node = of.and_then(|of| self.cluster.find(of));
        if let Some(node) = node {
            let task = self.clients.task(node, ask.of, ask.what);
            self.cluster.spawn(task);
        }
    }

    fn change(&mut self, change: Changed) {
        match change {
            Changed::Join { who, through } => {
                if self.cluster.life_of(name(who)) == 0 {
                    self.cluster.start_soon(name(who));
                }
                let due = Due::JoinWhenStarted { who, through, tries: 100 };
                self.after(Duration::from_millis(50), due);
            }
            Changed::Commit { through, thinks } => self.commit(through, thinks),
            Changed::CommitTwice { one, other } => {
                self.commit(one, Duration::ZERO);
                self.commit(other, Duration::ZERO);
            }
            Changed::Watch => self.watch(),
        }
    }

    fn join(&mut self, who: u8, through: u8, tries: u32) {
        let (joiner, contact) = (self.cluster.find(name(who)), self.cluster.find(name(through)));
        match (joiner, contact) {
            (Some(joiner), Some(contact)) => {
                let address = contact.address().to_owned();
                self.cluster.spawn(operators::join(joiner, address));
            }
            _ if tries > 0 => {
                let due = Due::JoinWhenStarted { who, through, tries: tries - 1 };
                self.after(Duration::from_millis(100), due);
            }
            _ => {}
        }
    }

    fn commit(&mut self, through: u8, thinks: Duration) {
        if let Some(node) = self.cluster.find(name(through)) {
            let committed = self.cluster.spawn(operators::commit(node, thinks));
            self.commits.push(committed);
        }
    }

    fn watch(&mut self) {
        for running in self.cluster.running() {
            if let Some(node) = self.cluster.find(&running) {
                self.cluster.spawn(operators::watch(node));
            }
        }
    }

    /// The memory of a node is gone: which keys and counters nobody owes any more.
    pub(super) fn memory_is_lost(&mut self, node: &str) {
        let lost = self.tracker.borrow_mut().lost(node);
        let now = Moment::START.plus(self.cluster.elapsed());
        self.dead.insert(node.to_owned());
        let mut told = self.clients.told.borrow_mut();
        for vnode in lost {
            let is_counters = vnode.vnode_type == counters();
            *self.lost.entry((is_counters, vnode.partition.0)).or_default() += 1;
        }
        let size = RingSize::new(self.plan.ring_size).unwrap_or_default();
        for key in 0..super::draw::KEYS {
            let replicas = primaries(size, key_hash_of(key), N);
            let of_key = |partition: &&tanodb_actors::Partition| {
                self.lost.contains_key(&(false, partition.0))
            };
            if replicas.iter().filter(of_key).count() > LOSSES_MAX {
                told.history.data_lost(&key_name(key), now);
            }
        }
        for counter in 0..super::draw::COUNTERS {
            let partition = size.partition_of(counter_hash_of(counter));
            if self.lost.contains_key(&(true, partition.0)) {
                told.counters.data_lost(&counter_name(counter), now);
            }
        }
    }

    fn count(&mut self) {
        let tracker = self.tracker.borrow();
        let told = self.clients.told.borrow();
        let size = RingSize::new(self.plan.ring_size).unwrap_or_default();
        self.counts.take(&tracker, &told, |key| {
            let replicas = primaries(size, key_hash_of(key), N);
            replicas.iter().map(|partition| partition.0).collect()
        });
        self.counts.virtual_time = self.cluster.elapsed();
        self.counts.seeds = 1;
        for (name, times) in self.cluster.invariants().exercised() {
            *self.counts.exercised.entry(name).or_default() += times;
        }
    }
}

fn waits_for(when: When, entered: &Entered) -> bool {
    match when {
        When::At(_) => false,
        When::Entered { stage, nth } => entered.stage == stage && entered.nth == nth,
    }
}
