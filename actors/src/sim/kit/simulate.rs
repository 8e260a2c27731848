//! An author's vnode in a simulated cluster: nodes that join, clients that ask, faults in between, rest, and the
//! author's own check at the end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::Draw;
use super::check::encode;
use super::counting::{Counts, Transfers};
use super::faults::{Faults, Nemesis};
use super::told::{Directory, Generator, Heard, Told, Workload};
use crate::protocol::hash::{RingHash, RingSize};
use crate::protocol::id::VnodeType;
use crate::runtime::items::PageLimits;
use crate::runtime::node::{Ask, Node, NodeSettings};
use crate::runtime::vnode::kind::{ItemsKind, VnodeKind};
use crate::runtime::vnode::{Class, Vnode};
use crate::sim::cluster::{Cluster, ClusterSettings, PATIENCE, Pending};
use crate::sim::failure::Failure;
use crate::sim::harness::SEED_VARIABLE;
use crate::sim::trace::Seen;
use crate::wire::admin::AdminRequest;

/// How failures name what the author has checked.
const AUTHORS_CHECK: &str = "the author's check";

/// How failures name a run in which nothing was tried.
const TRIED: &str = "a run tries something";

/// How long nodes may take to come to rest when nothing goes wrong any more, in virtual time.
const RESTING: Duration = Duration::from_secs(600);

/// How long a cluster with a dead member is left alone before it is checked: it does not come to rest.
const RESTING_MAIMED: Duration = Duration::from_secs(60);

/// A client waits so long for an answer; of class `Single` it then asks again.
const DEADLINE: Duration = Duration::from_secs(2);

/// Pages are small, so that transfers have many steps.
const PAGE: PageLimits = PageLimits { items: 8, bytes: 4_096 };

/// Hints go home soon, so that the cluster comes to rest soon.
const HINTED_IDLE: Duration = Duration::from_secs(2);

/// A run of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulation {
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// Nodes in the end. The first runs from the start, the others join while clients work. Default 3.
    pub nodes: usize,
    /// Partitions. Default 8.
    pub ring_size: RingSize,
    /// Clients, each with one command at a time, through nodes drawn anew for each. Default 4.
    pub clients: usize,
    /// The mean pause of a client between two commands. Default 50 ms.
    pub pause: Duration,
    /// How long clients work, in virtual time. Default 20 s.
    pub lasts: Duration,
    /// How commands are asked. Default: one replica in class `Single`, two of three in class `Merged`, with 2 s.
    pub ask: Option<Ask>,
    /// What goes wrong meanwhile. Default: everything there is.
    pub faults: Faults,
}

impl Simulation {
    /// The usual run.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            nodes: 3,
            ring_size: RingSize::new(8).unwrap_or_default(),
            clients: 4,
            pause: Duration::from_millis(50),
            lasts: Duration::from_secs(20),
            ask: None,
            faults: Faults::default(),
        }
    }
}

/// What happened in a run that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Transfers that ended with a new owner.
    pub transfers_completed: u64,
    /// Transfers that were cancelled on their way.
    pub transfers_cancelled: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Commands that clients asked.
    pub asked: u64,
    /// Commands of which clients were told that they are done.
    pub acked: u64,
    /// Commands of which nobody can say whether they were executed.
    pub unknown: u64,
    /// The invariants of the simulator that were checked all along, and how often each could have been broken.
    pub exercised: BTreeMap<&'static str, u64>,
    /// How long the run took, in virtual time.
    pub virtual_time: Duration,
    /// A sum over all that happened: the same for the same seed.
    pub trace_sum: u64,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{account}\nrun it again with {SEED_VARIABLE}={seed} and the name of this test")]
pub struct SimulateFailure {
    /// What went wrong first. The author's own check is the invariant "the author's check".
    pub failure: Failure,
    /// Where the run stood, and the last events of every node.
    pub account: String,
    /// The seed.
    pub seed: u64,
}

/// The cluster at rest, for the author's check to look at.
pub struct Rested<'a> {
    town: &'a mut Cluster,
    workload: &'a Workload,
    asked: usize,
    failure: Option<Failure>,
}

impl Rested<'_> {
    /// Asks a command, each time through another node.
    ///
    /// # Errors
    ///
    /// Why there is no reply, in words.
    pub fn ask<V: Vnode>(
        &mut self,
        hash: RingHash,
        command: &V::Command,
    ) -> Result<V::Reply, String> {
        let reply = self.ask_raw(hash, encode(command))?;
        decode(&reply).ok_or_else(|| "the reply cannot be read".to_owned())
    }

    /// Asks an encoded command, each time through another node.
    ///
    /// # Errors
    ///
    /// Why there is no reply, in words.
    pub fn ask_raw(&mut self, hash: RingHash, command: Bytes) -> Result<Bytes, String> {
        let nodes = self.workload.nodes.borrow().clone();
        self.asked += 1;
        let Some((_, node)) = nodes.get(self.asked % nodes.len().max(1)).cloned() else {
            return Err("no node runs".to_owned());
        };
        let (name, ask) = (self.workload.name.clone(), self.workload.ask);
        let asking = async move { node.run(&name, hash, command, ask).await };
        match self.town.try_ask("the check is answered", asking) {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(failure) => {
                let what = failure.to_string();
                self.failure.get_or_insert(failure);
                Err(what)
            }
        }
    }
}

/// Runs vnodes of type `V` in a simulated cluster. Clients ask what `commands` draws, each with the hash of the
/// place where it belongs; when all is at rest, `check` is given what they were told and asks for the rest.
///
/// The items live in memory. By the default faults nothing that was acknowledged may be missing in the end, in
/// either class; see [`Faults`].
///
/// # Errors
///
/// [`SimulateFailure`]: an invariant of the simulator or the author's check is broken, a node panicked, the
/// cluster did not come to rest, or no command was acknowledged.
pub fn simulate<V: Vnode>(
    simulation: &Simulation,
    commands: impl Fn(&Draw) -> (RingHash, V::Command) + 'static,
    check: impl FnOnce(&[Told<V::Command, V::Reply>], &mut Rested<'_>) -> Result<(), String>,
) -> Result<Report, SimulateFailure> {
    let Ok(name) = VnodeType::new("simulated") else { unreachable!("a fixed, legal name") };
    let encoded = move |draw: &Draw| {
        let (hash, command) = commands(draw);
        (hash, encode(&command))
    };
    simulate_raw(simulation, ItemsKind::<V>::in_memory(name), encoded, |told, rested| {
        let told: Option<Vec<_>> = told.iter().map(decode_told::<V>).collect();
        check(&told.ok_or("a reply or a command cannot be read")?, rested)
    })
}

/// As [`simulate`], for any kind of vnode, a [`RawVnode`](crate::runtime::vnode::raw::RawVnode) of the author's
/// own among them. Commands and replies are encoded; the reply of a vnode that answers `NoReply` is empty.
///
/// # Errors
///
/// [`SimulateFailure`], as for [`simulate`].
pub fn simulate_raw(
    simulation: &Simulation,
    kind: Arc<dyn VnodeKind>,
    commands: impl Fn(&Draw) -> (RingHash, Bytes) + 'static,
    check: impl FnOnce(&[Told<Bytes, Bytes>], &mut Rested<'_>) -> Result<(), String>,
) -> Result<Report, SimulateFailure> {
    let mut run = Run::new(*simulation, kind, Rc::new(commands));
    let ended = run.play().and_then(|()| run.judge(check));
    ended.map_err(|failure| SimulateFailure {
        account: run.account(&failure),
        failure,
        seed: simulation.seed,
    })?;
    Ok(run.report())
}

fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Option<T> {
    let nil: &[u8] = &[0xc0];
    rmp_serde::from_slice(if bytes.is_empty() { nil } else { bytes }).ok()
}

fn decode_told<V: Vnode>(told: &Told<Bytes, Bytes>) -> Option<Told<V::Command, V::Reply>> {
    let heard = match &told.heard {
        Heard::Done(reply) => Heard::Done(decode(reply)?),
        Heard::NotExecuted(why) => Heard::NotExecuted(why.clone()),
        Heard::Unknown(why) => Heard::Unknown(why.clone()),
    };
    let Told { client, asked, heard_at, hash, .. } = *told;
    Some(Told { client, asked, heard_at, hash, command: decode(&told.command)?, heard })
}

/// A run under way.
struct Run {
    simulation: Simulation,
    town: Cluster,
    draw: Draw,
    nemesis: Nemesis,
    workload: Workload,
    clients: Vec<Pending<()>>,
    counts: Counts,
    /// A member was killed: the cluster serves on, and never comes to rest.
    is_maimed: bool,
}

impl Run {
    fn new(simulation: Simulation, kind: Arc<dyn VnodeKind>, commands: Generator) -> Self {
        let (name, class) = (kind.name().clone(), kind.class());
        let settings = ClusterSettings::new(simulation.seed, move || vec![Arc::clone(&kind)]);
        let node = NodeSettings {
            ring_size: simulation.ring_size,
            page: PAGE,
            hinted_idle: HINTED_IDLE,
            ..settings.node.clone()
        };
        let mut town = Cluster::new(ClusterSettings { node, ..settings });
        let counts = Counts::default();
        town.invariants_mut().add(Box::new(Transfers(counts.clone())));
        let usual = match class {
            Class::Single => Ask::single(),
            Class::Merged => Ask::quorum(3, 2),
        };
        let draw = Draw::new(town.rng("kit"));
        let nemesis = Nemesis::new(simulation.faults, Draw::new(town.rng("faults")));
        let elapsed = town.elapsed();
        let workload = Workload {
            name,
            class,
            ask: simulation.ask.unwrap_or(Ask { deadline: DEADLINE, ..usual }),
            commands,
            pause: simulation.pause,
            nodes: Directory::default(),
            stop: Rc::new(Cell::new(false)),
            told: Rc::new(RefCell::new(Vec::new())),
            trace: town.trace().clone(),
            began: town.with_network(|_| Instant::now()) - elapsed,
        };
        let clients = Vec::new();
        Self { simulation, town, draw, nemesis, workload, clients, counts, is_maimed: false }
    }

    fn play(&mut self) -> Result<(), Failure> {
        let simulation = self.simulation;
        let first = self.start("n1")?;
        self.workload.nodes.borrow_mut().push(first);
        self.town.chapter("clients work");
        for number in 1..=simulation.clients {
            let draw = Draw::new(self.town.rng(&format!("client {number}")));
            let client = self.town.spawn(self.workload.clone().client(number, draw));
            self.clients.push(client);
        }
        let ends = self.town.elapsed() + simulation.lasts;
        // The others come in the first half, one batch or two.
        let mut joiners: Vec<String> = (2..=simulation.nodes).map(|n| format!("n{n}")).collect();
        let mut joins = Vec::new();
        while !joiners.is_empty() {
            self.trouble_until(self.town.elapsed() + self.part_of(simulation.lasts / 4))?;
            let count = 1 + self.draw.below(joiners.len() as u64);
            let batch = joiners.drain(..usize::try_from(count).unwrap_or(1)).collect();
            let is_last = joiners.is_empty();
            let join = self.join(batch, is_last)?;
            // Two joins are not staged at once: the second waits for the first.
            self.trouble_until_done(&join)?;
            joins.push(join);
        }
        self.trouble_until(ends)?;
        self.rest()
    }

    fn part_of(&self, time: Duration) -> Duration {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.draw.below(millis))
    }

    fn start(&mut self, name: &str) -> Result<(String, Node), Failure> {
        self.town.try_start(name)?;
        let why = "it ended at once".to_owned();
        let lost = || Failure::NotStarted { node: name.to_owned(), why };
        let node = self.town.find(name).ok_or_else(lost)?;
        Ok((name.to_owned(), node))
    }

    /// Lets time pass, with faults.
    fn trouble_until(&mut self, ends: Duration) -> Result<(), Failure> {
        while self.town.elapsed() < ends {
            let next = self.nemesis.next().min(ends);
            self.town.advance(next.saturating_sub(self.town.elapsed()))?;
            self.nemesis.act(&mut self.town);
        }
        Ok(())
    }

    fn trouble_until_done(&mut self, join: &Pending<()>) -> Result<(), Failure> {
        let ends = self.town.elapsed() + PATIENCE;
        while !join.is_done() {
            if self.town.elapsed() > ends {
                let what = "joiners become members".to_owned();
                return Err(Failure::InVain { what, waited: PATIENCE });
            }
            self.trouble_until(self.town.elapsed() + Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Starts joiners and has them join. Some are killed before they are members, and start anew; of the last
    /// batch one may die when the first partition is on its way to it.
    fn join(&mut self, batch: Vec<String>, is_last: bool) -> Result<Pending<()>, Failure> {
        let mut joining = Vec::new();
        for name in &batch {
            if self.simulation.faults.kills && self.draw.one_in(1, 3) {
                self.town.try_start(name)?;
                self.trouble_until(self.town.elapsed() + self.part_of(Duration::from_secs(1)))?;
                self.end(name);
                self.town.wipe(name);
                self.nemesis.count("joiners killed");
            }
            joining.push(self.start(name)?);
        }
        let Some((_, contact)) = self.workload.nodes.borrow().first().cloned() else {
            return Err(Failure::InVain { what: "a node runs".to_owned(), waited: Duration::ZERO });
        };
        self.town.chapter(&format!("{} join", batch.join(", ")));
        let pending = self.town.spawn(admit(contact, joining, self.workload.clone()));
        let is_safe = self.simulation.nodes > 2 && self.workload.class == Class::Single;
        if self.simulation.faults.kills && is_last && is_safe && self.draw.one_in(1, 4) {
            self.kill_target(&batch)?;
        }
        Ok(pending)
    }

    /// Waits for the first partition on its way to one of these, and ends that node then.
    fn kill_target(&mut self, batch: &[String]) -> Result<(), Failure> {
        let is_on_its_way = |seen: &Seen| {
            let is_theirs = batch.iter().any(|name| **name == *seen.node);
            is_theirs && Counts::is_staging(&seen.event)
        };
        let found = self.town.advance_until(Duration::from_secs(10), &mut { is_on_its_way })?;
        let Some(found) = found else { return Ok(()) };
        self.end(&found.node);
        self.workload.nodes.borrow_mut().retain(|(name, _)| **name != *found.node);
        self.nemesis.count("targets killed");
        self.is_maimed = true;
        Ok(())
    }

    /// Its process ends, or its machine does.
    fn end(&mut self, name: &str) {
        if self.draw.one_in(1, 2) {
            self.town.kill(name);
        } else {
            self.town.power_off(name);
        }
    }

    /// Nothing goes wrong any more; clients stop, and everything comes to where it belongs.
    fn rest(&mut self) -> Result<(), Failure> {
        self.town.chapter("rest");
        self.nemesis.rest(&mut self.town);
        self.workload.stop.set(true);
        let clients = std::mem::take(&mut self.clients);
        let mut are_done = |_: &mut Cluster| clients.iter().all(Pending::is_done);
        self.town.wait_until("all clients are answered", PATIENCE, &mut are_done)?;
        if self.is_maimed {
            return self.town.advance(RESTING_MAIMED);
        }
        for name in self.town.running() {
            let Some(node) = self.town.find(&name) else { continue };
            let what = format!("{name} sees everything where the ring wants it");
            let is_settled =
                self.town.try_ask(&what, async move { node.settled(RESTING).await })?;
            if !is_settled {
                return Err(Failure::InVain { what, waited: RESTING });
            }
        }
        self.hints_go_home()
    }

    /// Waits until no node keeps anything for another one.
    fn hints_go_home(&mut self) -> Result<(), Failure> {
        let ends = self.town.elapsed() + RESTING;
        while self.town.elapsed() < ends {
            self.town.advance(HINTED_IDLE)?;
            let mut rows = Vec::new();
            for name in self.town.running() {
                let Some(node) = self.town.find(&name) else { continue };
                let held = async move { node.partitions().await };
                rows.extend(self.town.try_ask("what a node holds", held)?);
            }
            if rows.iter().all(|row| row.container == "owned") {
                return Ok(());
            }
        }
        let what = "nothing is left of hints and moves".to_owned();
        Err(Failure::InVain { what, waited: RESTING })
    }

    fn judge(
        &mut self,
        check: impl FnOnce(&[Told<Bytes, Bytes>], &mut Rested<'_>) -> Result<(), String>,
    ) -> Result<(), Failure> {
        self.town.chapter("the check");
        let told = self.workload.told.borrow().clone();
        let broken = |invariant, what| Failure::Broken { invariant, what };
        if !told.iter().any(|told| matches!(told.heard, Heard::Done(_))) {
            let what = format!("none of {} commands was acknowledged", told.len());
            return Err(broken(TRIED, what));
        }
        let (town, workload) = (&mut self.town, &self.workload);
        let mut rested = Rested { town, workload, asked: 0, failure: None };
        let judged = check(&told, &mut rested);
        match rested.failure.take() {
            Some(failure) => Err(failure),
            None => judged.map_err(|what| broken(AUTHORS_CHECK, what)),
        }
    }

    fn account(&self, failure: &Failure) -> String {
        let faults = &self.nemesis.counts;
        format!("{}\nfaults: {faults:?}", self.town.account(failure))
    }

    fn report(self) -> Report {
        let told = self.workload.told.borrow();
        let count = |is: fn(&Heard<Bytes>) -> bool| {
            told.iter().filter(|told| is(&told.heard)).count() as u64
        };
        let exercised = self.town.invariants().exercised();
        Report {
            transfers_completed: self.counts.completed(),
            transfers_cancelled: self.counts.cancelled(),
            asked: told.len() as u64,
            acked: count(|heard| matches!(heard, Heard::Done(_))),
            unknown: count(|heard| matches!(heard, Heard::Unknown(_))),
            exercised: exercised.filter(|(name, _)| *name != Transfers::NAME).collect(),
            virtual_time: self.town.elapsed(),
            trace_sum: self.town.trace().sum(),
            faults: self.nemesis.counts.clone(),
        }
    }
}

/// Has joiners become members, and then take commands: before, each is a cluster of its own. Asks again until
/// they are: links may be cut and nodes paused.
async fn admit(contact: Node, mut joiners: Vec<(String, Node)>, workload: Workload) {
    loop {
        let Ok(ring) = contact.ring().await else { return };
        let mut outside = Vec::new();
        for (name, joiner) in joiners {
            match joiner.ring().await {
                Ok(theirs) if theirs.cluster == ring.cluster => {
                    workload.nodes.borrow_mut().push((name, joiner));
                }
                Ok(_) => outside.push((name, joiner)),
                // One that has ended joins nothing.
                Err(_) => {}
            }
        }
        if outside.is_empty() {
            return;
        }
        for (name, joiner) in &outside {
            // It may be staged already, or cannot reach the contact: both are seen below.
            if let Err(refusal) = joiner.join(contact.address()).await {
                workload.trace.said(name, format!("cannot join: {}", refusal.reason));
            }
        }
        let committed = match contact.plan().await {
            Ok(plan) if plan.changes.len() == outside.len() => {
                contact.commit(plan.id).await.map(|_| ())
            }
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = committed {
            workload.trace.said("operator", format!("cannot commit: {}", refusal.reason));
            // A joiner whose staging was answered over a link that was cut does not know of it.
            contact.admin(AdminRequest::Clear).await;
        }
        joiners = outside;
        sleep(Duration::from_millis(200)).await;
    }
}
