//! The connections of a client: a few to each node, made when they are needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::ClientSettings;
use super::error::{Unreachable, UnreachableReason};
use super::link::Link;

/// How long a node that could not be reached is taken for unreachable without trying. Callers that waited
/// for the same connection are so told at once, one after another.
const REST: Duration = Duration::from_millis(100);

/// All nodes of a client.
#[derive(Debug)]
pub(super) struct Pool {
    nodes: Vec<Node>,
    turns: AtomicUsize,
}

impl Pool {
    pub(super) fn of(addresses: Vec<String>, settings: ClientSettings) -> Self {
        let node = |address| Node {
            address,
            slots: (0..settings.connections_per_node.max(1)).map(|_| Mutex::default()).collect(),
            turns: AtomicUsize::new(0),
            settings: settings.clone(),
        };
        Self { nodes: addresses.into_iter().map(node).collect(), turns: AtomicUsize::new(0) }
    }

    /// Every node once; the next call begins with the next node.
    pub(super) fn turn(&self) -> impl Iterator<Item = &Node> {
        let first = self.turns.fetch_add(1, Ordering::Relaxed) % self.nodes.len().max(1);
        let (before, from) = self.nodes.split_at(first);
        from.iter().chain(before)
    }
}

/// One node and the connections to it.
#[derive(Debug)]
pub(super) struct Node {
    address: String,
    /// Whoever finds a slot without a connection makes one, while others wait at its lock.
    slots: Vec<Mutex<Slot>>,
    turns: AtomicUsize,
    settings: ClientSettings,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Open(Arc<Link>),
    Resting {
        until: Instant,
        why: UnreachableReason,
    },
}

impl Node {
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A connection that takes calls.
    pub(super) async fn link(&self) -> Result<Arc<Link>, Unreachable> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) % self.slots.len().max(1);
        let Some(slot) = self.slots.get(turn) else { return Err(self.unreachable("no slot")) };
        let mut slot = slot.lock().await;
        match &*slot {
            Slot::Open(link) if link.is_usable() => return Ok(Arc::clone(link)),
            Slot::Resting { until, why } if Instant::now() < *until => {
                return Err(self.because(why.clone()));
            }
            Slot::Open(_) | Slot::Resting { .. } | Slot::Empty => *slot = Slot::Empty,
        }
        let limit = self.settings.connect_timeout;
        let connecting = Link::connect(&self.address, self.settings.calls_per_connection.max(1));
        let connected = match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(UnreachableReason::Network(format!("no welcome within {limit:?}"))),
        };
        match connected {
            Ok(link) => {
                let link = Arc::new(link);
                *slot = Slot::Open(Arc::clone(&link));
                Ok(link)
            }
            Err(why) => {
                *slot = Slot::Resting { until: Instant::now() + REST, why: why.clone() };
                Err(self.because(why))
            }
        }
    }

    /// The node as one that could not be reached.
    pub(super) fn unreachable(&self, why: &str) -> Unreachable {
        self.because(UnreachableReason::Network(why.to_owned()))
    }

    fn because(&self, reason: UnreachableReason) -> Unreachable {
        Unreachable { address: self.address.clone(), reason }
    }
}
