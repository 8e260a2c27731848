//! What the coordinator has to do when, with one timer for all of it.

use std::collections::BTreeSet;

use crate::protocol::request::PauseId;
use crate::protocol::time::Moment;

/// A request of this coordinator. Counted up, so the lower one began earlier.
pub(super) type RequestNumber = u64;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A request's pause is over.
    Pause(RequestNumber, PauseId),
    /// A request's time is up.
    Deadline(RequestNumber),
    /// The disk is asked again for a block of numbers.
    Reservation,
    /// A command has waited for its numbers long enough.
    EarlyCommand,
}

/// Everything that is due at some moment.
#[derive(Debug, Default)]
pub(super) struct Agenda(BTreeSet<(Moment, Due)>);

impl Agenda {
    pub(super) fn add(&mut self, at: Moment, due: Due) {
        self.0.insert((at, due));
    }

    pub(super) fn remove(&mut self, at: Moment, due: Due) {
        self.0.remove(&(at, due));
    }

    /// When the next one is due.
    pub(super) fn next_at(&self) -> Option<Moment> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the next one that is due by now.
    pub(super) fn take(&mut self, now: Moment) -> Option<Due> {
        if self.next_at()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, due)| due)
    }
}
