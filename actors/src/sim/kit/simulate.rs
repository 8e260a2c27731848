//! An author's vnode in a simulated cluster: nodes that join, clients that ask, faults in between, rest, and the
//! author's own check at the end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Draw;
use super::check::encode;
use super::counting::{Counts, Transfers};
use super::faults::{Faults, Nemesis};
use super::joining::admit;
use super::rested::{Rested, decode};
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

/// How failures name what the author has checked.
const AUTHORS_CHECK: &str = "the author's check";

/// How failures name a run in which nothing was tried.
const TRIED: &str = "a run tries something";

/// How long nodes may take to come to rest when nothing goes wrong any more, in virtual time.
const RESTING: Duration = Duration::from_secs(300);

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
        self.workload.nodes.borrow_mut().push(("n1".to_owned(), first));
        self.town.chapter("clients work");
        for number in 1..=simulation.clients {
            let draw = Draw::new(self.town.rng(&format!("client {number}")));
            let client = self.town.spawn(self.workload.clone().client(number, draw));
            self.clients.push(client);
        }
        let ends = self.town.elapsed() + simulation.lasts;
        // The others come in the first half, one after another.
        let pause =
            simulation.lasts / u32::try_from(2 * simulation.nodes.max(1)).unwrap_or(u32::MAX);
        for number in 2..=simulation.nodes {
            self.trouble_until(self.town.elapsed() + self.part_of(2 * pause))?;
            self.join(&format!("n{number}"), number == simulation.nodes)?;
        }
        self.trouble_until(ends)?;
        self.rest()
    }

    fn part_of(&self, time: Duration) -> Duration {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.draw.below(millis))
    }

    fn start(&mut self, name: &str) -> Result<Node, Failure> {
        self.town.try_start(name)?;
        let lost =
            || Failure::NotStarted { node: name.to_owned(), why: "it ended at once".to_owned() };
        self.town.find(name).ok_or_else(lost)
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

    /// Starts a node and has it join. It may be killed before it is a member, and start anew; the last one may
    /// die when the first partition is on its way to it.
    fn join(&mut self, name: &str, is_last: bool) -> Result<(), Failure> {
        let kills = self.simulation.faults.kills;
        if kills && self.draw.one_in(1, 3) {
            self.town.try_start(name)?;
            self.trouble_until(self.town.elapsed() + self.part_of(Duration::from_secs(1)))?;
            self.end(name);
            self.town.wipe(name);
            self.nemesis.count("joiners killed");
        }
        let joiner = self.start(name)?;
        let Some((_, contact)) = self.workload.nodes.borrow().first().cloned() else {
            return Err(Failure::InVain { what: "a node runs".to_owned(), waited: Duration::ZERO });
        };
        self.town.chapter(&format!("{name} joins"));
        let workload = self.workload.clone();
        let joined = self.town.spawn(admit(contact, name.to_owned(), joiner, workload));
        let is_safe = self.simulation.nodes > 2 && self.workload.class == Class::Single;
        if kills && is_last && is_safe && self.draw.one_in(1, 4) && self.kill_target(name)? {
            return Ok(());
        }
        let ends = self.town.elapsed() + PATIENCE;
        while !joined.is_done() {
            if self.town.elapsed() > ends {
                let what = format!("{name} becomes a member");
                return Err(Failure::InVain { what, waited: PATIENCE });
            }
            self.trouble_until(self.town.elapsed() + Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Waits for the first partition on its way to a node, and ends the node then.
    fn kill_target(&mut self, name: &str) -> Result<bool, Failure> {
        let mut is_on_its_way =
            |seen: &Seen| *seen.node == *name && Counts::is_staging(&seen.event);
        let within = Duration::from_secs(10);
        if self.town.advance_until(within, &mut is_on_its_way)?.is_none() {
            return Ok(false);
        }
        self.end(name);
        self.workload.nodes.borrow_mut().retain(|(other, _)| other != name);
        self.nemesis.count("targets killed");
        self.is_maimed = true;
        Ok(true)
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
            let waits = node.clone();
            let settling = async move { waits.settled(RESTING).await };
            if !self.town.try_ask("the cluster comes to rest", settling)? {
                let ring = self.town.try_ask("a ring", async move { node.ring().await })?;
                let what = format!("{name} sees everything where the ring wants it: {ring:?}");
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
        let mut rested = Rested { town, workload, asked: 0, op: 0, failure: None };
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
