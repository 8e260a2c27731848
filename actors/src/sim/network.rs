//! The simulated network: connections between hosts that behave as TCP does.
//!
//! A connection is two ordered pipes of bytes. What is written arrives after a drawn delay, in order and
//! whole; a lost segment only costs its retransmission. On a cut link bytes wait and go on when it heals; who
//! waits too long for an acknowledgement is told `TimedOut`. A process that ends closes its connections; a
//! machine without power says nothing. Who writes to an end that is gone is told `ConnectionReset`.
//!
//! Nothing of the product sends datagrams, so there are none to lose, double or reorder.
//!
//! Owns: hosts, doors, connections and the state of the links. Time is the runtime's.

mod door;
mod io;
mod link;
mod pipe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::door::{Door, SimTransport};
use self::link::{Cuts, Links};
use self::pipe::{Connection, Presence};
use super::trace::Trace;
use crate::runtime::rng::Rng;
use crate::runtime::transport::Transport;

/// The first name of a node, and of the machine it runs on.
pub type Host = Arc<str>;

/// How good the network is. The default is a busy local one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The least time a segment takes.
    pub delay_min: Duration,
    /// The longest time a segment takes that is not lost; each between the two is equally likely.
    pub delay_max: Duration,
    /// Segments of a thousand that are lost, and sent again.
    pub lost_per_mille: u32,
    /// How long the sender of a lost segment waits before it sends it again; doubles with each loss.
    pub retransmit: Duration,
    /// How long a sender goes without any acknowledgement before the connection is dead.
    pub dead_after: Duration,
    /// How long a connection may take to open.
    pub connect_within: Duration,
    /// Bytes on the way in one direction of a connection. More have to wait.
    pub window: usize,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(100),
            delay_max: Duration::from_micros(1_800),
            lost_per_mille: 2,
            retransmit: Duration::from_millis(200),
            dead_after: Duration::from_secs(20),
            connect_within: Duration::from_secs(10),
            window: 1 << 20,
        }
    }
}

/// What the network did that a good one does not do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NetworkCounts {
    /// Segments that were lost and sent again.
    pub retransmitted: u64,
    /// Links that were cut, each direction for itself.
    pub cut: u64,
    /// Connections that were reset at both ends.
    pub reset: u64,
    /// Connections of which one end was forgotten.
    pub half_opened: u64,
    /// Connections that died of silence.
    pub timed_out: u64,
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

struct State {
    settings: NetworkSettings,
    rng: Rng,
    trace: Trace,
    links: Links,
    /// Machines without power.
    off: BTreeSet<Host>,
    doors: BTreeMap<String, Door>,
    connections: BTreeMap<u64, Connection>,
    connected: u64,
    counts: NetworkCounts,
}

impl Network {
    /// A network without hosts.
    #[must_use]
    pub fn new(settings: NetworkSettings, rng: Rng, trace: Trace) -> Self {
        let state = State {
            settings,
            rng,
            trace,
            links: Links::default(),
            off: BTreeSet::new(),
            doors: BTreeMap::new(),
            connections: BTreeMap::new(),
            connected: 0,
            counts: NetworkCounts::default(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way into the network from a host.
    #[must_use]
    pub fn transport_of(&self, host: &str) -> Arc<dyn Transport> {
        Arc::new(SimTransport { network: self.clone(), host: host.into() })
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> NetworkCounts {
        self.state().counts
    }

    /// Makes all links better or worse from now on.
    pub fn set_quality(&self, settings: NetworkSettings) {
        self.state().settings = settings;
    }

    /// Nothing that `from` sends reaches `to`, from now on. Neither is told.
    pub fn cut_one_way(&self, from: &str, to: &str) {
        let now = Instant::now();
        let mut state = self.state();
        if state.links.cut(from, to, now) {
            state.counts.cut += 1;
        }
        state.cut_off(from, to, now);
    }

    /// What waits on the link between two hosts goes on, after a retransmission.
    pub fn heal(&self, one: &str, other: &str) {
        let now = Instant::now();
        let mut state = self.state();
        let was_cut = state.links.heal(one, other);
        state.healed(&was_cut, now);
    }

    /// All links are well again. Links that are slow stay slow.
    pub fn heal_all(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let was_cut = state.links.heal_all();
        state.healed(&was_cut, now);
    }

    /// The link from one host to another takes so many bytes in a second; `None` for as many as come.
    pub fn limit(&self, from: &str, to: &str, bytes_per_second: Option<u64>) {
        self.state().links.limit(from, to, bytes_per_second);
    }

    /// Breaks all connections between two hosts; both ends are told.
    pub fn reset(&self, one: &str, other: &str) {
        let now = Instant::now();
        let mut state = self.state();
        let broken = state.between(one, other, |connection| connection.break_both(now));
        state.counts.reset += broken;
    }

    /// `forgetful` loses its ends of all connections with `other`, and is told. The other side is not told
    /// before it writes.
    pub fn half_open(&self, forgetful: &str, other: &str) {
        let now = Instant::now();
        let mut state = self.state();
        let broken =
            state.between(forgetful, other, |connection| connection.break_one(forgetful, now));
        state.counts.half_opened += broken;
    }

    /// Takes the power from a host: what its connections still hold is gone, nobody is told. To be called
    /// before the host's tasks are dropped.
    pub fn power_off(&self, host: &str) {
        let now = Instant::now();
        let mut state = self.state();
        state.off.insert(host.into());
        for connection in state.connections.values_mut() {
            connection.silence(host, now);
        }
        let closed: Vec<Door> = state
            .doors
            .extract_if(.., |_, door| &*door.host == host)
            .map(|(_, door)| door)
            .collect();
        // Unlocked: who waits at a door ends connections.
        drop(state);
        drop(closed);
    }

    /// Gives it back: who still writes to what the host has forgotten is told.
    pub fn power_on(&self, host: &str) {
        let now = Instant::now();
        let mut state = self.state();
        if state.off.remove(host) {
            for connection in state.connections.values_mut() {
                connection.refuse_what_waits_for(host, now);
            }
        }
    }

    /// Connections that at least one end still holds.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.state().connections.len()
    }
}

impl State {
    /// Whether something that `from` sends now does not arrive.
    fn is_blocked(&self, from: &str, to: &str) -> bool {
        self.links.is_cut(from, to) || self.off.contains(to) || self.off.contains(from)
    }

    /// How long a segment takes on its way.
    fn draw_delay(&mut self) -> Duration {
        draw_delay(&self.settings, &self.rng, &mut self.counts)
    }

    fn between(&mut self, one: &str, other: &str, mut change: impl FnMut(&mut Connection)) -> u64 {
        let mut changed = 0;
        for connection in self.connections.values_mut() {
            if connection.is_between(one, other) {
                change(connection);
                changed += 1;
            }
        }
        changed
    }

    /// Who has something on the way over a link that was cut begins to wait.
    fn cut_off(&mut self, from: &str, to: &str, now: Instant) {
        for connection in self.connections.values_mut() {
            if connection.is_between(from, to) {
                connection.begin_to_wait(now);
            }
        }
    }

    /// What waited on links that were cut goes on, unless a machine without power is in its way.
    fn healed(&mut self, was_cut: &Cuts, now: Instant) {
        let retransmit = u64::try_from(self.settings.retransmit.as_micros()).unwrap_or(u64::MAX);
        for connection in self.connections.values_mut() {
            let [one, other] = connection.hosts();
            let cut_since =
                |from: &Host, to: &Host| was_cut.get(&(from.clone(), to.clone())).copied();
            let since = [cut_since(&other, &one), cut_since(&one, &other)];
            let is_off = self.off.contains(&one) || self.off.contains(&other);
            if !is_off && since != [None, None] {
                let pause = Duration::from_micros(self.rng.below(retransmit.saturating_add(1)));
                connection.go_on(now + pause, since);
            }
        }
    }

    /// A connection nobody holds any more.
    fn forget_if_over(&mut self, number: u64) {
        let is_over = self.connections.get(&number).is_some_and(|connection| {
            connection.ends.iter().all(|end| end.presence != Presence::Held)
        });
        if is_over {
            self.connections.remove(&number);
        }
    }
}

fn draw_delay(settings: &NetworkSettings, rng: &Rng, counts: &mut NetworkCounts) -> Duration {
    let NetworkSettings { delay_min, delay_max, lost_per_mille, retransmit, .. } = *settings;
    let spread = delay_max.saturating_sub(delay_min).as_micros();
    let spread = u64::try_from(spread).unwrap_or(u64::MAX);
    let mut delay = delay_min + Duration::from_micros(rng.below(spread.saturating_add(1)));
    let mut again = retransmit;
    while rng.below(1_000) < u64::from(lost_per_mille.min(900)) {
        counts.retransmitted += 1;
        delay += again;
        again = (again * 2).min(Duration::from_secs(60));
    }
    delay
}

/// What the other side sees when an end is gone.
const GONE: ErrorKind = ErrorKind::ConnectionReset;
