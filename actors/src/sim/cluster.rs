//! A cluster in one process: nodes with names, lives, clocks and disks, started by the function that starts a
//! node in a process of its own.
//!
//! Everything here is called from outside of virtual time: a call changes the world at one instant, or lets
//! time pass. What clients do while time passes is a task of theirs ([`Cluster::spawn`]).
//!
//! Owns: who runs where, and what is checked after every step. Faults of links are the
//! [`Network`]'s, of disks the [`SimDisk`]'s.

mod host;
mod pending;
mod story;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::host::{Host, Power};
pub use self::pending::Pending;
use super::disk::SimDisk;
use super::driver::{Driver, HomeId, Look, Returned};
use super::failure::Failure;
use super::invariant::{Invariants, Requests};
use super::network::{Network, NetworkSettings};
use super::trace::{Seen, Trace};
use super::watch::Watch;
use crate::protocol::hash::RingSize;
use crate::runtime::node::{Node, NodeSettings, StartError};
use crate::runtime::rng::Rng;
use crate::runtime::vnode::kind::VnodeKind;

/// The time of day at which every run begins, in milliseconds since 1970.
pub const WALL_START_MILLIS: u64 = 1_700_000_000_000;

/// How long a story waits for anything, in virtual time.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How often something that is waited for is looked at, in virtual time.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Makes the kinds of vnodes that a node hosts, anew for each start.
pub type Kinds = Rc<dyn Fn() -> Vec<Arc<dyn VnodeKind>>>;

/// What a cluster is made of.
#[derive(Clone)]
pub struct ClusterSettings {
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// Limits and periods of every node. The addresses are set for each.
    pub node: NodeSettings,
    /// How good the network is.
    pub network: NetworkSettings,
    /// What every node hosts.
    pub kinds: Kinds,
}

impl ClusterSettings {
    /// Nodes with the usual settings on a ring of 8 partitions, a usual network, and these kinds of vnodes.
    #[must_use]
    pub fn new(seed: u64, kinds: impl Fn() -> Vec<Arc<dyn VnodeKind>> + 'static) -> Self {
        let ring_size = RingSize::new(8).unwrap_or_default();
        Self {
            seed,
            node: NodeSettings { ring_size, ..NodeSettings::default() },
            network: NetworkSettings::default(),
            kinds: Rc::new(kinds),
        }
    }
}

/// See the module.
pub struct Cluster {
    // The tasks go before what they use.
    driver: Driver,
    settings: ClusterSettings,
    hosts: BTreeMap<Arc<str>, Host>,
    clients: HomeId,
    network: Network,
    watch: Watch,
    requests: Requests,
    trace: Trace,
    rng: Rng,
    began: Instant,
    chapter: String,
    failure: Option<Failure>,
}

impl Cluster {
    /// An empty cluster.
    #[must_use]
    pub fn new(settings: ClusterSettings) -> Self {
        let rng = Rng::seeded(settings.seed);
        let mut driver = Driver::new(rng.fork("order"));
        let trace = {
            let _inside = driver.enter();
            Trace::begun()
        };
        let network = Network::new(settings.network, rng.fork("network"), trace.clone());
        let clients = driver.open(std::future::pending());
        Self {
            began: driver.now(),
            driver,
            hosts: BTreeMap::new(),
            clients,
            network,
            watch: Watch::new(trace.clone()),
            requests: Requests::default(),
            trace,
            rng,
            chapter: "the beginning".to_owned(),
            failure: None,
            settings,
        }
    }

    /// The seed that everything drawn follows from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// Chance for whoever plays with the cluster: another stream for each label.
    #[must_use]
    pub fn rng(&self, label: &str) -> Rng {
        self.rng.fork(label)
    }

    /// When the run began, by the virtual clock.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Time since the run began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.driver.now().duration_since(self.began)
    }

    /// The links between the hosts. Cut, heal and reset them through [`Cluster::with_network`].
    pub fn with_network<T>(&mut self, change: impl FnOnce(&Network) -> T) -> T {
        let _inside = self.driver.enter();
        change(&self.network)
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The promises that are checked, and how often each was tried.
    #[must_use]
    pub fn invariants(&self) -> &Invariants {
        self.watch.invariants()
    }

    /// The same, to tell them what only the outside knows.
    pub fn invariants_mut(&mut self) -> &mut Invariants {
        self.watch.invariants_mut()
    }

    /// What clients have asked and been answered: to be told of every request, so that none is forgotten.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.driver.now()
    }

    /// Has somebody hear everything that nodes tell from now on, as it happens.
    pub fn listen(&mut self, listener: impl FnMut(&Seen) + 'static) {
        self.watch.listen(Box::new(listener));
    }

    /// Polls of tasks so far.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.driver.polls()
    }

    /// Panics of tasks are a part of this run.
    pub fn expect_panics(&mut self) {
        self.driver.expect_panics();
    }

    /// What fails from now on fails in this chapter.
    pub fn chapter(&mut self, chapter: &str) {
        chapter.clone_into(&mut self.chapter);
        let _inside = self.driver.enter();
        self.trace.said("story", chapter.to_owned());
    }

    // ---- nodes -------------------------------------------------------------------------------------

    /// Begins a start of a node, the first or another one, and does not wait for it. A machine that was off
    /// is switched on.
    ///
    /// # Panics
    ///
    /// The node runs already.
    pub fn start_soon(&mut self, name: &str) {
        let name: Arc<str> = name.into();
        let disks = self.rng.fork("disks");
        let _inside = self.driver.enter();
        let host = self
            .hosts
            .entry(Arc::clone(&name))
            .or_insert_with(|| Host::new(&name, SimDisk::new(&name, disks.fork(&name))));
        assert!(host.home.is_none(), "{name} runs already");
        if host.power == Power::Off {
            host.power = Power::On;
            self.network.power_on(&name);
        }
        host.disk = host.disk.reopen();
        host.lives += 1;
        let life = host.lives;
        self.trace.said(&name, format!("starts, life {life}"));
        let observer = self.watch.observer(Arc::clone(&name), life, self.began);
        let env = host.env(&self.network, &self.rng, observer, self.began);
        let settings = NodeSettings {
            listen: format!("{name}:7650"),
            advertise: None,
            ..self.settings.node.clone()
        };
        let kinds = (self.settings.kinds)();
        let slot = Rc::new(RefCell::new(None));
        host.node = Rc::clone(&slot);
        drop(_inside);
        let home = self.driver.open(async move {
            let started = Node::start(env, settings, kinds).await;
            *slot.borrow_mut() = Some(started);
        });
        if let Some(host) = self.hosts.get_mut(&name) {
            host.home = Some(home);
        }
    }

    /// Starts a node and waits until it is there.
    ///
    /// # Errors
    ///
    /// [`Failure::NotStarted`], or what went wrong meanwhile.
    pub fn try_start(&mut self, name: &str) -> Result<(), Failure> {
        self.start_soon(name);
        let slot = self.slot(name);
        let is_there = || slot.borrow().is_some();
        self.wait_until("the node has started", PATIENCE, &mut |_| is_there())?;
        let why = match &*slot.borrow() {
            Some(Err(error)) => error.to_string(),
            Some(Ok(_)) | None => return Ok(()),
        };
        self.close(name);
        Err(Failure::NotStarted { node: name.to_owned(), why })
    }

    fn slot(&self, name: &str) -> Rc<RefCell<Option<Result<Node, StartError>>>> {
        self.hosts.get(name).map_or_else(Rc::default, |host| Rc::clone(&host.node))
    }

    /// The node, if it has started and was not ended.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Node> {
        let host = self.hosts.get(name).filter(|host| host.home.is_some())?;
        host.node.borrow().as_ref().and_then(|started| started.as_ref().ok()).cloned()
    }

    /// The nodes that run, by name.
    #[must_use]
    pub fn running(&self) -> Vec<Arc<str>> {
        let running = self.hosts.iter().filter(|(_, host)| host.home.is_some());
        running.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Whether this host was switched off and not on again.
    #[must_use]
    pub fn is_off(&self, name: &str) -> bool {
        self.hosts.get(name).is_some_and(|host| host.power == Power::Off)
    }

    /// Which start of the node this is, from 1. 0: it was never started.
    #[must_use]
    pub fn life_of(&self, name: &str) -> u64 {
        self.hosts.get(name).map_or(0, |host| host.lives)
    }

    fn close(&mut self, name: &str) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let home = host.home.take();
        host.node = Rc::default();
        if let Some(home) = home {
            self.driver.close(home);
        }
    }

    /// Ends the node's process as `kill -9` does: its connections close, what the disk was given is kept.
    pub fn kill(&mut self, name: &str) {
        self.said(name, "is killed");
        self.close(name);
        let _inside = self.driver.enter();
        if let Some(host) = self.hosts.get(name) {
            host.disk.kill();
        }
        self.watch.ended(name);
    }

    /// Takes the power from the node's machine: nobody is told, and what was not synced is gone.
    pub fn power_off(&mut self, name: &str) {
        self.said(name, "loses power");
        {
            let _inside = self.driver.enter();
            self.network.power_off(name);
            if let Some(host) = self.hosts.get_mut(name) {
                host.power = Power::Off;
                host.disk.power_off();
            }
        }
        self.close(name);
        // What it told last is noted at this instant of virtual time.
        let _inside = self.driver.enter();
        self.watch.ended(name);
    }

    /// Throws the disk of a node away that does not run: its next start is that of a new node.
    pub fn wipe(&mut self, name: &str) {
        self.said(name, "loses its disk");
        let _inside = self.driver.enter();
        if let Some(host) = self.hosts.get(name) {
            host.disk.wipe();
        }
    }

    /// Stops the node's process without ending it, as a stopped machine or a long pause of a scheduler does.
    pub fn pause(&mut self, name: &str) {
        self.said(name, "is paused");
        self.requests.paused(name);
        if let Some(home) = self.hosts.get(name).and_then(|host| host.home) {
            self.driver.pause(home);
        }
    }

    /// Lets it go on.
    pub fn resume(&mut self, name: &str) {
        self.said(name, "goes on");
        self.requests.resumed(name);
        if let Some(home) = self.hosts.get(name).and_then(|host| host.home) {
            self.driver.resume(home);
        }
    }

    /// Makes the time of day of a node wrong by so many milliseconds, in this life and later ones.
    pub fn skew(&mut self, name: &str, millis: i64) {
        self.said(name, &format!("has a clock that is off by {millis} ms"));
        if let Some(host) = self.hosts.get_mut(name) {
            host.set_skew(millis);
        }
    }

    /// The disk of a node, to make it slow, full or failing. `None` for a node that was never started.
    #[must_use]
    pub fn disk(&self, name: &str) -> Option<SimDisk> {
        self.hosts.get(name).map(|host| host.disk.clone())
    }

    fn said(&self, name: &str, what: &str) {
        let _inside = self.driver.enter();
        self.trace.said(name, what.to_owned());
    }

    // ---- time --------------------------------------------------------------------------------------

    /// Lets time pass.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that ended it.
    pub fn advance(&mut self, time: Duration) -> Result<(), Failure> {
        self.advance_until(time, &mut |_| false).map(|_| ())
    }

    /// Lets time pass, and stops at once when a node tells something that `is_it` waits for: before anybody
    /// else does anything. `None` when the time passed without it.
    ///
    /// # Errors
    ///
    /// The [`Failure`] that ended it.
    pub fn advance_until(
        &mut self,
        time: Duration,
        is_it: &mut dyn FnMut(&Seen) -> bool,
    ) -> Result<Option<Seen>, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let deadline = self.driver.now() + time;
        let (watch, requests, mut found) = (&mut self.watch, &self.requests, None);
        let mut look = || match watch.look(is_it) {
            Ok(None) => requests.check().map_or_else(Look::Failed, |()| Look::On),
            Ok(Some(seen)) => {
                found = Some(seen);
                Look::Stop
            }
            Err(failure) => Look::Failed(failure),
        };
        let returned = self.driver.run_until(deadline, &mut look);
        match returned {
            Ok(Returned::Elapsed) => Ok(None),
            Ok(Returned::Stopped) => Ok(found),
            Err(failure) => {
                self.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Lets time pass until something holds.
    ///
    /// # Errors
    ///
    /// [`Failure::InVain`] after `within`, or what went wrong meanwhile.
    pub fn wait_until(
        &mut self,
        what: &str,
        within: Duration,
        holds: &mut dyn FnMut(&mut Self) -> bool,
    ) -> Result<(), Failure> {
        let ends = self.driver.now() + within;
        loop {
            if holds(self) {
                return Ok(());
            }
            if self.driver.now() >= ends {
                return Err(Failure::InVain { what: what.to_owned(), waited: within });
            }
            self.advance(LOOK_EVERY)?;
        }
    }

    /// Has a client do something while time passes.
    pub fn spawn<T: 'static>(&mut self, task: impl Future<Output = T> + 'static) -> Pending<T> {
        let (pending, task) = Pending::of(task);
        self.driver.spawn(self.clients, task);
        pending
    }

    /// Has a client do something and waits for it.
    ///
    /// # Errors
    ///
    /// [`Failure::InVain`] if it takes longer than [`PATIENCE`], or what went wrong meanwhile.
    pub fn try_ask<T: 'static>(
        &mut self,
        what: &str,
        task: impl Future<Output = T> + 'static,
    ) -> Result<T, Failure> {
        let pending = self.spawn(task);
        let ends = self.driver.now() + PATIENCE;
        loop {
            if let Some(done) = pending.take() {
                return Ok(done);
            }
            if self.driver.now() >= ends {
                return Err(Failure::InVain { what: what.to_owned(), waited: PATIENCE });
            }
            self.advance(Duration::from_millis(1))?;
        }
    }

    /// Where the run stands, in words: for the one who reads that it failed.
    #[must_use]
    pub fn account(&self, failure: &Failure) -> String {
        format!(
            "seed {}, chapter '{}', after {:.3} virtual seconds: {failure}\n\nthe last events of every node:\n{}",
            self.settings.seed,
            self.chapter,
            self.elapsed().as_secs_f64(),
            self.trace.latest(),
        )
    }
}
