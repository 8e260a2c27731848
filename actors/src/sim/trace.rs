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
    gathered: Gathered,
    events: u64,
    bytes: u64,
    latest: BTreeMap<Arc<str>, Told>,
}

/// The last of one node, the oldest first.
type Told = VecDeque<(Duration, Latest)>;

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
            gathered: Gathered::default(),
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
    pub(super) fn bytes(&self, connection: u64, side: usize, bytes: &[u8], now: Instant) {
        let mut kept = self.kept();
        let at = now.duration_since(kept.began);
        kept.note(at, &(connection, side));
        kept.sum.update(bytes);
        kept.bytes += bytes.len() as u64;
    }

    /// A node told something.
    pub(super) fn seen(&self, seen: &Seen) {
        let mut kept = self.kept();
        // Not the time of this call: what a node told before it ended is looked at from outside of virtual time.
        let at = seen.at;
        kept.note(at, &(&*seen.node, seen.life, &seen.event));
        let told = kept.latest_of(&seen.node);
        let event = match make_room(told) {
            Some(Latest::Seen(mut room)) => {
                (*room).clone_from(&seen.event);
                room
            }
            Some(Latest::Said(_)) | None => Box::new(seen.event.clone()),
        };
        told.push_back((at, Latest::Seen(event)));
    }

    /// Something was done to a node, or by a client of it. To be called inside the runtime.
    pub fn said(&self, node: &str, what: String) {
        let mut kept = self.kept();
        let at = kept.began.elapsed();
        kept.note(at, &(node, &what));
        let told = kept.latest_of(&node.into());
        make_room(told);
        told.push_back((at, Latest::Said(what)));
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
    fn note(&mut self, at: Duration, what: &impl Hash) {
        self.gathered.0.clear();
        self.gathered.write_u128(at.as_nanos());
        what.hash(&mut self.gathered);
        self.sum.update(&self.gathered.0);
        self.events += 1;
    }

    fn latest_of(&mut self, node: &Arc<str>) -> &mut Told {
        self.latest.entry(Arc::clone(node)).or_default()
    }
}

/// Takes the oldest away, if there is no room for one more.
fn make_room(told: &mut Told) -> Option<Latest> {
    if told.len() < LATEST { None } else { told.pop_front().map(|(_, oldest)| oldest) }
}

/// What is to be hashed, in a row: one large step costs less than many small ones.
#[derive(Default)]
struct Gathered(Vec<u8>);

impl Hasher for Gathered {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("it is the sum that is asked")
    }
}
