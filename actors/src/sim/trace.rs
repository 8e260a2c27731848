//! What happened in a run, in order: a sum over all of it, and the last of it in words.
//!
//! Two runs with one seed have one sum. If they do not, something in them is decided by chance, by real time
//! or by the order of a hashed map, and no failure could be played again.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::runtime::observe::Observed;

/// Events that are kept in words for each node.
const LATEST: usize = 24;

/// One thing a node told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When, since the run began.
    pub at: Duration,
    /// The first name of the node that told it.
    pub node: Arc<str>,
    /// Which of its starts, from 1.
    pub life: u64,
    /// What it told.
    pub event: Observed,
}

/// The trace of a run. Clones are the same one.
#[derive(Clone)]
pub struct Trace {
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    began: Instant,
    sum: Xxh3,
    events: u64,
    bytes: u64,
    latest: BTreeMap<Arc<str>, VecDeque<(Duration, Latest)>>,
}

/// Kept as it is, and put in words only if the run fails.
enum Latest {
    Seen(Box<Observed>),
    Said(String),
}

impl Trace {
    /// An empty trace that begins now. To be made inside the runtime.
    #[must_use]
    pub fn begun() -> Self {
        let kept = Kept {
            began: Instant::now(),
            sum: Xxh3::new(),
            events: 0,
            bytes: 0,
            latest: BTreeMap::new(),
        };
        Self { kept: Arc::new(Mutex::new(kept)) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes arrived at one end of a connection.
    pub(super) fn bytes(&self, connection: u64, side: usize, bytes: &[u8]) {
        let mut kept = self.kept();
        kept.note(&(connection, side));
        kept.sum.update(bytes);
        kept.bytes += bytes.len() as u64;
    }

    /// A node told something.
    pub(super) fn seen(&self, seen: &Seen) {
        let mut kept = self.kept();
        kept.note(&(&*seen.node, seen.life, &seen.event));
        kept.keep(&seen.node, Latest::Seen(Box::new(seen.event.clone())));
    }

    /// Something was done to a node, or by a client of it.
    pub fn said(&self, node: &str, what: String) {
        let mut kept = self.kept();
        kept.note(&(node, &what));
        kept.keep(&node.into(), Latest::Said(what));
    }

    /// The sum over everything so far.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.kept().sum.digest()
    }

    /// Events so far, and bytes that arrived anywhere.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let kept = self.kept();
        (kept.events, kept.bytes)
    }

    /// The last events of every node, a line each.
    #[must_use]
    pub fn latest(&self) -> String {
        let kept = self.kept();
        let mut lines = String::new();
        for (node, events) in &kept.latest {
            lines.push_str(&format!("{node}:\n"));
            for (at, event) in events {
                let words = match event {
                    Latest::Seen(event) => event.to_string(),
                    Latest::Said(said) => said.clone(),
                };
                lines.push_str(&format!("  {:>10.3} s  {words}\n", at.as_secs_f64()));
            }
        }
        lines
    }
}

impl Kept {
    fn note(&mut self, what: &impl Hash) {
        let at = self.began.elapsed().as_nanos();
        self.sum.write_u128(at);
        what.hash(&mut self.sum);
        self.events += 1;
    }

    fn keep(&mut self, node: &Arc<str>, what: Latest) {
        let at = self.began.elapsed();
        let latest = match self.latest.get_mut(node) {
            Some(latest) => latest,
            None => self.latest.entry(Arc::clone(node)).or_default(),
        };
        if latest.len() >= LATEST {
            latest.pop_front();
        }
        latest.push_back((at, what));
    }
}
