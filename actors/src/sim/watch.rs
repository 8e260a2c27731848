//! What the nodes tell, as it comes: into the trace, and before the invariants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::failure::Failure;
use super::invariant::Invariants;
use super::trace::{Seen, Trace};
use crate::runtime::observe::{Observed, Observer, Watched};

/// What was told and not looked at.
type Queue = Arc<Mutex<VecDeque<Seen>>>;

pub(super) struct Watch {
    told: Queue,
    trace: Trace,
    invariants: Invariants,
    listeners: Vec<Listener>,
    failed: Option<Failure>,
}

/// Somebody who wants to hear everything.
pub(super) type Listener = Box<dyn FnMut(&Seen)>;

/// The ear at one node in one life.
struct Ear {
    node: Arc<str>,
    life: u64,
    began: Instant,
    told: Queue,
}

impl Observer for Ear {
    fn observe(&self, event: Observed) {
        let seen =
            Seen { at: self.began.elapsed(), node: Arc::clone(&self.node), life: self.life, event };
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push_back(seen);
    }
}

impl Watch {
    pub(super) fn new(trace: Trace) -> Self {
        Self {
            told: Queue::default(),
            trace,
            invariants: Invariants::default(),
            listeners: Vec::new(),
            failed: None,
        }
    }

    pub(super) fn observer(&self, node: Arc<str>, life: u64, began: Instant) -> Watched {
        Watched::by(Arc::new(Ear { node, life, began, told: Arc::clone(&self.told) }))
    }

    pub(super) fn invariants(&self) -> &Invariants {
        &self.invariants
    }

    pub(super) fn invariants_mut(&mut self) -> &mut Invariants {
        &mut self.invariants
    }

    pub(super) fn listen(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    /// A node's process has ended. What it told until then comes first; what is wrong with that is said when it is
    /// looked at the next time.
    pub(super) fn ended(&mut self, node: &str) {
        if let Err(failure) = self.look(&mut |_| false) {
            self.failed.get_or_insert(failure);
        }
        self.invariants.ended(node);
    }

    /// Looks at everything that was told since the last time. Stops behind the first that is waited for; the
    /// rest is looked at next time.
    pub(super) fn look(
        &mut self,
        is_it: &mut dyn FnMut(&Seen) -> bool,
    ) -> Result<Option<Seen>, Failure> {
        if let Some(failure) = self.failed.take() {
            return Err(failure);
        }
        loop {
            let next = self.told.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(seen) = next else { return Ok(None) };
            self.trace.seen(&seen);
            for listener in &mut self.listeners {
                listener(&seen);
            }
            self.invariants.saw(&seen)?;
            if is_it(&seen) {
                return Ok(Some(seen));
            }
        }
    }
}
