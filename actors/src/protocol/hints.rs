//! When hints go home.
//!
//! A fallback keeps what it took for an owner that was down in generations. A generation goes home when no
//! client has written into it for a while, or when it is old: a client that cannot reach the owner and
//! writes for ever must not keep the hints away from it.

use std::time::Duration;

use crate::protocol::time::Moment;

/// A generation goes home after this many idle periods, however often it is written.
pub const AGE_IN_IDLE_PERIODS: u32 = 10;

/// When a generation may go home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// Not before this moment.
    At(Moment),
}

/// Whether a generation may go home.
#[must_use]
pub fn due(opened: Moment, last_write: Moment, now: Moment, idle: Duration) -> Due {
    let idle_at = last_write.plus(idle);
    let old_at = opened.plus(idle * AGE_IN_IDLE_PERIODS);
    let at = idle_at.min(old_at);
    if now >= at { Due::Now } else { Due::At(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn hints_go_home_when_left_alone() {
        assert_eq!(due(at(0), at(30), at(89), IDLE), Due::At(at(90)));
        assert_eq!(due(at(0), at(30), at(90), IDLE), Due::Now);
    }

    #[test]
    fn constant_writes_do_not_keep_hints_away_for_ever() {
        assert_eq!(due(at(0), at(599), at(599), IDLE), Due::At(at(600)));
        assert_eq!(due(at(0), at(600), at(600), IDLE), Due::Now);
    }
}
