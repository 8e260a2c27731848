//! How much a stream may have under way, so that what comes behind it is not kept waiting.
//!
//! Everything between two nodes goes the same way: a fence behind the pages of another transfer, a heartbeat behind
//! both. So a sender has no more under way than the target has lately stored within [`PACE_TIME`]. Each
//! acknowledgement is a measure of that: what was acknowledged from the moment at which its part was sent until now
//! (the delivery rate of the congestion control BBR; Cardwell and others, 2016).

use std::collections::VecDeque;
use std::time::Duration;

use crate::protocol::time::Moment;

/// What is under way should be stored within this time. A fence may be unanswered for some two seconds, behind a
/// part of each transfer of its node.
pub const PACE_TIME: Duration = Duration::from_millis(250);

/// Bytes under way before anything was acknowledged.
pub const START_BYTES: u64 = 8 * 1024;

/// A part may always be so long. Anything shorter says nothing about how much the way takes.
pub const PART_BYTES_MIN: u64 = 4 * 1024;

/// A part on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    sequence: u64,
    bytes: u64,
    at: Moment,
    /// Bytes that had been acknowledged by then.
    acknowledged: u64,
}

/// The measure of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    bytes: u64,
    acknowledged: u64,
    under_way: VecDeque<Sent>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bytes: START_BYTES, acknowledged: 0, under_way: VecDeque::new() }
    }
}

impl Pace {
    /// A part is sent.
    pub fn sent(&mut self, sequence: u64, bytes: u64, at: Moment) {
        let acknowledged = self.acknowledged;
        self.under_way.push_back(Sent { sequence, bytes, at, acknowledged });
    }

    /// The target has stored everything up to this part. Answers with how many bytes may be under way now.
    pub fn received(&mut self, up_to: u64, now: Moment) -> u64 {
        let mut last = None;
        while let Some(sent) = self.under_way.pop_front_if(|sent| sent.sequence <= up_to) {
            self.acknowledged = self.acknowledged.saturating_add(sent.bytes);
            last = Some(sent);
        }
        if let Some(sent) = last {
            self.measure(self.acknowledged.saturating_sub(sent.acknowledged), now.since(sent.at));
        }
        self.bytes
    }

    fn measure(&mut self, bytes: u64, took: Duration) {
        if bytes < PART_BYTES_MIN && took < PACE_TIME {
            return;
        }
        let in_time = u128::from(bytes) * PACE_TIME.as_micros() / took.as_micros().max(1);
        self.bytes = u64::try_from(in_time).unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(millis * 1_000)
    }

    #[test]
    fn a_slow_way_gets_what_it_takes_in_a_quarter_of_a_second() {
        let mut pace = Pace::default();
        pace.sent(1, 8_000, at(0));
        assert_eq!(pace.received(1, at(250)), 8_000, "32,000 bytes a second");
        pace.sent(2, 8_000, at(250));
        pace.sent(3, 8_000, at(250));
        assert_eq!(pace.received(2, at(1_250)), 2_000, "8,000 a second now");
        assert_eq!(pace.received(3, at(2_250)), 2_000, "two parts in two seconds");
    }

    #[test]
    fn a_fast_way_gets_much_after_its_first_answer() {
        let mut pace = Pace::default();
        pace.sent(1, 8_000, at(0));
        assert_eq!(pace.received(1, at(1)), 2_000_000);
    }

    #[test]
    fn a_long_way_gets_more_with_each_answer() {
        let (mut pace, mut bytes, mut now) = (Pace::default(), START_BYTES, 0);
        for sequence in 1..=6 {
            pace.sent(sequence, bytes, at(now));
            now += 100;
            let more = pace.received(sequence, at(now));
            assert!(more > 2 * bytes, "{more} after {bytes}");
            bytes = more;
        }
    }

    #[test]
    fn a_little_part_says_nothing_unless_it_took_long() {
        let mut pace = Pace::default();
        pace.sent(1, 100, at(0));
        assert_eq!(pace.received(1, at(200)), START_BYTES);
        pace.sent(2, 100, at(200));
        assert_eq!(pace.received(2, at(1_200)), 25);
    }
}
