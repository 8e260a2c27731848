//! The state of the links between hosts, each direction for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Host;

/// One direction between two hosts.
pub(super) type Way = (Host, Host);

/// Links that are cut, and since when.
pub(super) type Cuts = BTreeMap<Way, Instant>;

#[derive(Debug, Default)]
pub(super) struct Links {
    cut: Cuts,
    slow: BTreeMap<Way, Slow>,
}

/// A link that takes a limited number of bytes in a second.
#[derive(Debug)]
struct Slow {
    bytes_per_second: u64,
    /// When what was sent so far has left.
    free_at: Option<Instant>,
}

fn way(from: &str, to: &str) -> Way {
    (from.into(), to.into())
}

impl Links {
    /// True if it was whole.
    pub(super) fn cut(&mut self, from: &str, to: &str, now: Instant) -> bool {
        let was_whole = !self.is_cut(from, to);
        if was_whole {
            self.cut.insert(way(from, to), now);
        }
        was_whole
    }

    /// What was cut, and since when.
    pub(super) fn heal(&mut self, one: &str, other: &str) -> Cuts {
        let (there, back) = (way(one, other), way(other, one));
        self.cut.extract_if(.., |cut, _| *cut == there || *cut == back).collect()
    }

    /// The same for all links.
    pub(super) fn heal_all(&mut self) -> Cuts {
        std::mem::take(&mut self.cut)
    }

    pub(super) fn is_cut(&self, from: &str, to: &str) -> bool {
        self.cut_since(from, to).is_some()
    }

    /// What had not arrived by then does not before the link heals.
    pub(super) fn cut_since(&self, from: &str, to: &str) -> Option<Instant> {
        if self.cut.is_empty() { None } else { self.cut.get(&way(from, to)).copied() }
    }

    pub(super) fn limit(&mut self, from: &str, to: &str, bytes_per_second: Option<u64>) {
        match bytes_per_second {
            Some(bytes_per_second) => {
                self.slow.insert(way(from, to), Slow { bytes_per_second, free_at: None });
            }
            None => {
                self.slow.remove(&way(from, to));
            }
        }
    }

    /// When the last of so many bytes has left, if they are sent now.
    pub(super) fn leaves_at(
        &mut self,
        from: &str,
        to: &str,
        bytes: usize,
        now: Instant,
    ) -> Instant {
        if self.slow.is_empty() {
            return now;
        }
        let Some(slow) = self.slow.get_mut(&way(from, to)) else { return now };
        let micros = (bytes as u64).saturating_mul(1_000_000) / slow.bytes_per_second.max(1);
        let begins = slow.free_at.map_or(now, |free| free.max(now));
        let leaves = begins + Duration::from_micros(micros);
        slow.free_at = Some(leaves);
        leaves
    }
}
