//! Why a simulated run has failed.

use std::time::Duration;

/// The first thing that went wrong. Everything before it can be run again from the seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A task of a node or of a client panicked.
    #[error("a task panicked: {message}")]
    Panicked {
        /// What it said, and where.
        message: String,
    },
    /// Virtual time does not move on: something is woken again and again.
    #[error("livelock: {polls} polls at one instant")]
    Livelock {
        /// Polls at that instant.
        polls: u64,
    },
    /// A promise was broken.
    #[error("{invariant} is broken: {what}")]
    Broken {
        /// The invariant's name, as in the table of invariants.
        invariant: &'static str,
        /// What was seen.
        what: String,
    },
    /// Something that must happen did not.
    #[error("in vain for {waited:?}: {what}")]
    InVain {
        /// What was waited for.
        what: String,
        /// For how long, in virtual time.
        waited: Duration,
    },
    /// A node did not start.
    #[error("{node} did not start: {why}")]
    NotStarted {
        /// Its name.
        node: String,
        /// What it said.
        why: String,
    },
}

impl Failure {
    /// The same kind of failure, whatever the details: two runs that fail alike.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Broken { invariant, .. }, Self::Broken { invariant: theirs, .. }) => {
                invariant == theirs
            }
            (mine, theirs) => std::mem::discriminant(mine) == std::mem::discriminant(theirs),
        }
    }
}
