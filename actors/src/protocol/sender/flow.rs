//! What is under way on a sender's stream, and how much of it there may be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Effect;
use crate::protocol::pace::{PART_BYTES_MIN, START_BYTES};

/// What is under way on the stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// Bytes the target takes beyond what it has acknowledged.
    window_bytes: u64,
    /// Bytes that the way to the target takes in a moment, by what was acknowledged.
    pace_bytes: u64,
    /// Parts sent and not acknowledged, with their bytes.
    in_flight: BTreeMap<u64, u64>,
    /// Sum of the above.
    pub(super) in_flight_bytes: u64,
    /// Whether the vnode was asked for a part and has not answered.
    pub(super) is_reading: bool,
}

impl Default for Flow {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Flow {
    /// A stream of which nothing is sent yet.
    pub(super) fn of(window_bytes: u64) -> Self {
        Self {
            window_bytes,
            pace_bytes: START_BYTES,
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            is_reading: false,
        }
    }

    fn has_credit(&self) -> bool {
        self.is_drained() || self.in_flight_bytes < self.window_bytes.min(self.pace_bytes)
    }

    /// Whether the target has stored all that was sent.
    pub(super) fn is_drained(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(super) fn sent(&mut self, sequence: u64, bytes: u64) {
        self.in_flight.insert(sequence, bytes);
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(bytes);
    }

    pub(super) fn received(&mut self, up_to: u64, pace_bytes: u64) {
        self.pace_bytes = pace_bytes;
        while let Some(entry) = self.in_flight.first_entry() {
            if *entry.key() > up_to {
                break;
            }
            self.in_flight_bytes = self.in_flight_bytes.saturating_sub(entry.remove());
        }
    }

    /// Asks for the next part, if there is credit and nobody has asked.
    pub(super) fn read(&mut self) -> Vec<Effect> {
        if self.is_reading || !self.has_credit() {
            return vec![];
        }
        self.is_reading = true;
        vec![Effect::ReadPart { bytes_max: self.bytes_at_once() }]
    }

    /// Asks for the fence. What goes with it must not take longer than a part.
    pub(super) fn ask_fence(&self) -> Effect {
        Effect::AskFence { tail_bytes_max: self.bytes_at_once() }
    }

    fn bytes_at_once(&self) -> u64 {
        self.pace_bytes.max(PART_BYTES_MIN)
    }
}
