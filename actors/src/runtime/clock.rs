//! The node's clock. The only file that reads time.
//!
//! Two times: [`Clock::now`] measures waits and never jumps; [`Clock::wall_millis`] is the time of day
//! that stamps are made of, and may be wrong. Both follow tokio's clock, so that they stand still and
//! leap in the simulator. tokio rounds waits up to whole milliseconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::time::Moment;

/// The time a wait was given is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer in {after:?}")]
pub struct TimedOut {
    /// The time it was given.
    pub after: Duration,
}

/// A handle on the node's clock. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    wall_millis_at_start: u64,
    wall_skew_millis: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that starts now, at the given time of day in milliseconds since 1970-01-01 UTC.
    ///
    /// In the simulator it must be made inside the runtime, else it would start at the real time.
    #[must_use]
    pub fn starting_at(wall_millis: u64) -> Self {
        Self {
            started: Instant::now(),
            wall_millis_at_start: wall_millis,
            wall_skew_millis: Arc::default(),
        }
    }

    /// The clock of a real node: starts now, at the system's time of day.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "the one place where the time of day enters"
    )]
    pub fn real() -> Self {
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self::starting_at(millis(since_1970))
    }

    /// The time since the node started. Never goes back.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::START.plus(self.started.elapsed())
    }

    /// The time of day in milliseconds since 1970-01-01 UTC: where it stood at the start, plus what has
    /// passed since. A later correction of the system's clock is not followed.
    #[must_use]
    pub fn wall_millis(&self) -> u64 {
        self.wall_millis_at_start
            .saturating_add(millis(self.started.elapsed()))
            .saturating_add_signed(self.wall_skew_millis.load(Ordering::Relaxed))
    }

    /// Makes the time of day wrong by this many milliseconds, as the clocks of real nodes are. For the
    /// simulator. Waits are not touched.
    pub fn set_wall_skew_millis(&self, skew: i64) {
        self.wall_skew_millis.store(skew, Ordering::Relaxed);
    }

    /// Waits.
    pub fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + use<> {
        tokio::time::sleep(wait)
    }

    /// Waits until a moment. Over at once if it has passed.
    pub fn sleep_until(&self, moment: Moment) -> impl Future<Output = ()> + Send + use<> {
        let at = self.started.checked_add(moment.since(Moment::START));
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Gives a future this long, then drops it.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] when it took longer. What it had done until then is done.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, TimedOut> {
        tokio::time::timeout(limit, future).await.map_err(|_elapsed| TimedOut { after: limit })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn both_times_follow_a_paused_clock() {
        let clock = Clock::starting_at(1_000_000);
        assert_eq!((clock.now(), clock.wall_millis()), (Moment(0), 1_000_000));
        clock.sleep(Duration::from_secs(90)).await;
        assert_eq!((clock.now(), clock.wall_millis()), (Moment(90_000_000), 1_090_000));
        clock.sleep_until(Moment(100_000_000)).await;
        clock.sleep_until(Moment(5)).await;
        assert_eq!(clock.now(), Moment(100_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn skew_changes_the_time_of_day_and_nothing_else() {
        let clock = Clock::starting_at(1_000);
        clock.clone().set_wall_skew_millis(-1_500);
        assert_eq!((clock.now(), clock.wall_millis()), (Moment(0), 0));
        clock.set_wall_skew_millis(250);
        assert_eq!((clock.now(), clock.wall_millis()), (Moment(0), 1_250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_limit() {
        let clock = Clock::starting_at(0);
        let limit = Duration::from_millis(20);
        let never = clock.timeout(limit, std::future::pending::<()>()).await;
        assert_eq!((never, clock.now()), (Err(TimedOut { after: limit }), Moment(20_000)));
        assert_eq!(clock.timeout(limit, async { 5 }).await, Ok(5));
    }

    #[tokio::test]
    async fn a_real_clock_knows_this_century() {
        assert!(Clock::real().wall_millis() > 1_700_000_000_000);
    }
}
