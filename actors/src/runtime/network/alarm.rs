//! One timer for many deadlines, inside the loop of a task.

use crate::protocol::time::Moment;
use crate::runtime::clock::Clock;
use crate::runtime::transport::BoxFuture;

/// Rings at the earliest of the moments it was set to. A deadline that went away makes it ring for
/// nothing, which costs less than setting a timer for each.
pub(super) struct Alarm {
    clock: Clock,
    at: Moment,
    wait: BoxFuture<()>,
}

impl Alarm {
    /// Rings never.
    pub(super) fn unset(clock: Clock) -> Self {
        Self { clock, at: Moment(u64::MAX), wait: Box::pin(std::future::pending()) }
    }

    /// Rings at this moment, if it was not to ring before.
    pub(super) fn no_later_than(&mut self, moment: Moment) {
        if moment < self.at {
            self.at = moment;
            self.wait = Box::pin(self.clock.sleep_until(moment));
        }
    }

    /// Waits for the next ring, after which the alarm is unset. May be dropped while it waits.
    pub(super) async fn ring(&mut self) {
        (&mut self.wait).await;
        *self = Self::unset(self.clock.clone());
    }
}
