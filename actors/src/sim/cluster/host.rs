//! One machine of the cluster: its disk, its clock, and the node that runs on it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::WALL_START_MILLIS;
use crate::protocol::id::NodeName;
use crate::runtime::arbiters::Arbiters;
use crate::runtime::clock::Clock;
use crate::runtime::env::Env;
use crate::runtime::node::{Node, StartError};
use crate::runtime::observe::Watched;
use crate::runtime::rng::Rng;
use crate::sim::disk::SimDisk;
use crate::sim::driver::HomeId;
use crate::sim::network::Network;

/// Whether a machine has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    On,
    Off,
}

/// What has become of a start.
pub(super) type Started = Rc<RefCell<Option<Result<Node, StartError>>>>;

pub(super) struct Host {
    name: Arc<str>,
    pub(super) disk: SimDisk,
    pub(super) power: Power,
    pub(super) lives: u64,
    /// Where its tasks run, while its process does.
    pub(super) home: Option<HomeId>,
    pub(super) node: Started,
    skew_millis: i64,
    clock: Option<Clock>,
}

impl Host {
    pub(super) fn new(name: &Arc<str>, disk: SimDisk) -> Self {
        Self {
            name: Arc::clone(name),
            disk,
            power: Power::On,
            lives: 0,
            home: None,
            node: Rc::default(),
            skew_millis: 0,
            clock: None,
        }
    }

    pub(super) fn set_skew(&mut self, millis: i64) {
        self.skew_millis = millis;
        if let Some(clock) = &self.clock {
            clock.set_wall_skew_millis(millis);
        }
    }

    /// The world of the node's next life. To be called inside the runtime.
    ///
    /// # Panics
    ///
    /// The host's name cannot be part of a node's.
    #[expect(clippy::expect_used, reason = "names of hosts are chosen by the test's author")]
    pub(super) fn env(
        &mut self,
        network: &Network,
        rng: &Rng,
        watched: Watched,
        began: Instant,
    ) -> Env {
        let passed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let clock = Clock::starting_at(WALL_START_MILLIS.saturating_add(passed));
        clock.set_wall_skew_millis(self.skew_millis);
        self.clock = Some(clock.clone());
        Env {
            node: node_name(&self.name).expect("a host's name is part of a node's"),
            transport: network.transport_of(&self.name),
            arbiters: Arbiters::Here,
            rng: rng.fork(&format!("{} in life {}", self.name, self.lives)),
            clock,
            disk: Arc::new(self.disk.clone()),
            watched,
        }
    }
}

/// The full name of the node on a host.
fn node_name(host: &str) -> Option<NodeName> {
    NodeName::new(&format!("{host}@sim")).ok()
}
