//! The requests of a simulated disk: their order, their time, and which of them a cut finds under way.
//!
//! Owns: the queue and the one group that is under way. As on a real node, writes of different records
//! that wait together share one sync: they take effect together, and a cut decides about each of them.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::platter::{Change, Platter};
use crate::runtime::disk::{DiskError, Version};
use crate::runtime::rng::Rng;

/// Requests that may wait; as for a folder.
const QUEUE_MAX: usize = 16_384;

/// Writes that share one sync; as for a folder.
const GROUP_MAX: usize = 256;

/// The shortest time a group takes: a cache that answers.
const FASTEST: Duration = Duration::from_micros(100);

/// How many microseconds a group may take beyond that: up to 5 ms in all, a sync of a common disk.
const SPREAD_MICROS: u64 = 4_900;

/// What a request does when its time has come.
pub(super) enum Work {
    /// Changes a record.
    Change {
        /// Its name.
        record: String,
        /// What becomes of it.
        change: Change,
        /// Who hears of it.
        answer: oneshot::Sender<Result<(), DiskError>>,
    },
    /// Looks at the records; its answer is inside.
    Look(Box<dyn FnOnce(&mut Platter) + Send>),
}

struct Request {
    called: Instant,
    work: Work,
}

struct Group {
    ends: Instant,
    works: Vec<Work>,
}

/// The requests and the records they are about.
pub(super) struct Queue {
    rng: Rng,
    platter: Platter,
    /// Grows with each opening. Requests of earlier ones are refused.
    opening: u64,
    is_open: bool,
    waiting: VecDeque<Request>,
    under_way: Option<Group>,
    /// When the last group ended.
    free_since: Option<Instant>,
    slow_by: Duration,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("opening", &self.opening)
            .field("is_open", &self.is_open)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            platter: Platter::new(rng.fork("platter")),
            rng,
            opening: 0,
            is_open: true,
            waiting: VecDeque::new(),
            under_way: None,
            free_since: None,
            slow_by: Duration::ZERO,
        }
    }

    pub(super) fn opening(&self) -> u64 {
        self.opening
    }

    pub(super) fn platter(&mut self) -> &mut Platter {
        &mut self.platter
    }

    pub(super) fn set_slow(&mut self, by: Duration) {
        self.slow_by = by;
    }

    pub(super) fn rot(&mut self, record: &str, version: Version) -> bool {
        let place = self.rng.next_u64();
        self.platter.rot(record, version, place)
    }

    /// Takes a request of one opening.
    pub(super) fn request(
        &mut self,
        opening: u64,
        called: Instant,
        make: impl FnOnce() -> Work,
    ) -> Result<(), DiskError> {
        if !self.is_open || opening != self.opening {
            return Err(DiskError::Closed);
        }
        if self.waiting.len() >= QUEUE_MAX {
            return Err(DiskError::Busy { waiting: self.waiting.len() });
        }
        self.waiting.push_back(Request { called, work: make() });
        // So that its end is known to who waits for it.
        self.serve_until(called);
        Ok(())
    }

    /// When the group that is under way will end.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.under_way.as_ref().map(|group| group.ends)
    }

    /// Does all that was due by now, in order.
    pub(super) fn serve_until(&mut self, now: Instant) {
        loop {
            if let Some(group) = self.under_way.take_if(|group| group.ends <= now) {
                self.free_since = Some(group.ends);
                for work in group.works {
                    self.serve(work);
                }
            }
            if self.under_way.is_some() || self.waiting.is_empty() {
                return;
            }
            self.begin_group();
        }
    }

    fn serve(&mut self, work: Work) {
        match work {
            Work::Change { record, change, answer } => {
                let _ = answer.send(self.platter.change(&record, change));
            }
            Work::Look(look) => look(&mut self.platter),
        }
    }

    /// Begins what can be done at once: the first request, and writes of other records behind it that
    /// were waiting at that time.
    fn begin_group(&mut self) {
        let Some(first) = self.waiting.pop_front() else { return };
        let begins = self.free_since.map_or(first.called, |free| free.max(first.called));
        let mut records = BTreeSet::new();
        let mut works = Vec::new();
        if let Some(record) = written_by(&first) {
            records.insert(record.to_owned());
            let joins = |next: &Request, records: &mut BTreeSet<String>| {
                next.called <= begins
                    && records.len() < GROUP_MAX
                    && written_by(next).is_some_and(|record| records.insert(record.to_owned()))
            };
            works.push(first.work);
            while let Some(next) = self.waiting.pop_front_if(|next| joins(next, &mut records)) {
                works.push(next.work);
            }
        } else {
            works.push(first.work);
        }
        if !self.slow_by.is_zero() {
            self.platter.count_slow(works.len());
        }
        let drawn = Duration::from_micros(self.rng.below(SPREAD_MICROS + 1));
        self.under_way = Some(Group { ends: begins + FASTEST + drawn + self.slow_by, works });
    }

    /// Opens it, as by the next process.
    pub(super) fn open(&mut self) -> u64 {
        self.close(false);
        self.platter.trust_again();
        self.opening += 1;
        self.is_open = true;
        self.opening
    }

    /// Ends all requests: those under way are decided, those behind them are lost.
    pub(super) fn close(&mut self, by_power_cut: bool) {
        self.is_open = false;
        let under_way = self.under_way.take().map_or_else(Vec::new, |group| group.works);
        for work in under_way {
            match work {
                Work::Change { record, change, answer: _ } => {
                    self.platter.interrupt(&record, change, by_power_cut);
                }
                Work::Look(_) => {}
            }
        }
        for request in self.waiting.drain(..) {
            match request.work {
                Work::Change { .. } => self.platter.count_lost(),
                Work::Look(_) => {}
            }
        }
        self.free_since = None;
        if by_power_cut {
            self.platter.decide_doubts();
        }
    }

    pub(super) fn wipe(&mut self) {
        self.close(true);
        self.slow_by = Duration::ZERO;
        self.platter.wipe();
    }
}

/// The record, if this is a write.
fn written_by(request: &Request) -> Option<&str> {
    match &request.work {
        Work::Change { record, change: Change::Write(_), answer: _ } => Some(record),
        Work::Change { record: _, change: Change::Remove | Change::SetAside, answer: _ }
        | Work::Look(_) => None,
    }
}
