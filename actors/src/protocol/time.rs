//! The protocol's time: a number that the runtime hands in with an event.
//!
//! Nothing in this folder asks what time it is. Wall-clock time, which clients see in stamps, is
//! [`super::id::Stamp`] and another thing.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest time that is kept free for an answer on its way: many round trips within a data centre, and little
/// beside a patience of seconds.
pub const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(20);

/// Microseconds since this node started. Never compared with another node's.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(pub u64);

impl Moment {
    /// The node's start.
    pub const START: Self = Self(0);

    /// The moment `after` this one, or the last one there is.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// When somebody who is asked `now` must answer, so that the answer can be passed on by this moment: a
    /// tenth of what is left earlier, [`ANSWER_MARGIN_MAX`] at most.
    #[must_use]
    pub fn answer_by(self, now: Self) -> Self {
        let margin = (self.since(now) / 10).min(ANSWER_MARGIN_MAX);
        Self(self.0.saturating_sub(u64::try_from(margin.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_a_duration_and_asking_how_long_it_was_agree() {
        let then = Moment(1_500_000);
        let now = then.plus(Duration::from_millis(250));
        assert_eq!(now, Moment(1_750_000));
        assert_eq!(now.since(then), Duration::from_millis(250));
        assert_eq!(now.to_string(), "1.750000s");
    }

    #[test]
    fn an_answer_is_due_a_little_before_the_deadline() {
        let now = Moment(1_000_000);
        assert_eq!(Moment(6_000_000).answer_by(now), Moment(5_980_000));
        assert_eq!(Moment(1_010_000).answer_by(now), Moment(1_009_000));
        assert_eq!(now.answer_by(now), now);
        assert_eq!(now.answer_by(Moment(6_000_000)), now, "what has passed stays");
    }

    #[test]
    fn time_stops_at_its_ends_instead_of_wrapping() {
        assert_eq!(Moment(u64::MAX - 1).plus(Duration::MAX), Moment(u64::MAX));
        assert_eq!(Moment::START.since(Moment(7)), Duration::ZERO);
    }
}
