//! The receiving side of one transfer: parts in order, acknowledged when stored, compared at the fence.
//!
//! The receiver never believes that what was sent has been stored: it acknowledges a part when the vnode
//! has stored it, and compares only when every part before the fence is stored. Whether the vnode becomes
//! the owner is not decided here: that is a matter of the grant.

#[cfg(test)]
mod exploration;

use serde::{Deserialize, Serialize};

#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;

/// Bytes a source may send beyond what is acknowledged. Enough to hide a round trip at a gigabyte a second,
/// little enough to hold for every slot.
pub const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// What may come on top of the window: one part is sent whole, then a tail, then the first part of a repair;
/// each holds at most one item too many, of 16 MiB.
pub const BEYOND_WINDOW_BYTES: u64 = 64 * 1024 * 1024;

/// Where a receiver stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Receiver {
    /// Has asked the vnode to open a container.
    Opening,
    /// Takes parts.
    Taking(Progress),
    /// The fence is here; parts before it are still being stored.
    Draining {
        /// What has come and what is stored.
        progress: Progress,
        /// The fence.
        fence: u64,
    },
    /// The vnode compares its sums with the source's.
    Comparing {
        /// What has come and what is stored.
        progress: Progress,
        /// The fence.
        fence: u64,
    },
    /// The fence is confirmed; the connection has done its work.
    Confirmed,
    /// Over.
    Ended,
}

/// How far the stream has come.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Progress {
    /// The number of the last part that came.
    pub arrived: u64,
    /// The number of the last part that is stored.
    pub stored: u64,
    /// Bytes that have come and are not stored.
    pub bytes_open: u64,
}

impl Progress {
    fn stored(&mut self, sequence: u64, bytes: u64) {
        self.stored = self.stored.max(sequence);
        self.bytes_open = self.bytes_open.saturating_sub(bytes);
    }
}

/// Why a receiver ended before the fence was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The vnode does not take it.
    Refused,
    /// A part could not be stored.
    NotStored,
    /// The source cancelled.
    PeerCancelled,
    /// The connection ended.
    Disconnected,
    /// The source said nothing for too long.
    Silent,
    /// A part was missing, or a message does not fit.
    OutOfOrder,
    /// The vnode or the ring manager stopped it.
    Stopped,
}

/// What can happen to a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// The vnode has opened a container.
    Opened,
    /// A part arrived.
    PartArrived {
        /// Its number.
        sequence: u64,
        /// Its size.
        bytes: u64,
    },
    /// The vnode has stored a part.
    PartStored {
        /// Its number.
        sequence: u64,
        /// Its size.
        bytes: u64,
    },
    /// The fence arrived.
    FenceArrived {
        /// The number of the last part before it.
        fence: u64,
    },
    /// The vnode has compared.
    Compared {
        /// Whether both sides hold the same.
        is_equal: bool,
    },
    /// It is over.
    Failed(Failure),
}

/// What the runtime must do after a step, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Tell the source to go on.
    SendAccepted,
    /// Give the part to the vnode.
    StorePart,
    /// Acknowledge.
    SendReceived(u64),
    /// Have the vnode compare.
    Compare(u64),
    /// Confirm the fence.
    SendFenceOk(u64),
    /// Send the vnode's sums.
    SendFenceDiffers(u64),
    /// Tell the ring manager and, if it can be reached, the source that this side has ended.
    ReportEnded(Failure),
}

/// The answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the effects are not carried out until the runtime performs them"]
pub struct Step {
    /// The next state.
    pub next: Receiver,
    /// What to do.
    pub effects: Vec<Effect>,
}

fn moved(next: Receiver, effects: Vec<Effect>) -> Step {
    Step { next, effects }
}

fn ended(failure: Failure) -> Step {
    Step { next: Receiver::Ended, effects: vec![Effect::ReportEnded(failure)] }
}

impl Receiver {
    /// Answers one event.
    pub fn step(self, event: Event) -> Step {
        self.step_under(event, Rules::default())
    }

    /// The same by given rules.
    #[cfg_attr(not(tanodb_mutants), expect(unused_variables, reason = "all rules are kept"))]
    pub fn step_under(self, event: Event, rules: Rules) -> Step {
        #[cfg(tanodb_mutants)]
        if event == Event::Failed(Failure::Silent) && rules.breaks(Mutant::SilenceIgnored) {
            return moved(self, vec![]);
        }
        match self {
            state @ (Self::Confirmed | Self::Ended) => moved(state, vec![]),
            state @ (Self::Opening
            | Self::Taking(_)
            | Self::Draining { .. }
            | Self::Comparing { .. }) => match event {
                Event::Opened => state.on_opened(),
                Event::PartArrived { sequence, bytes } => state.on_part_arrived(sequence, bytes),
                Event::PartStored { sequence, bytes } => state.on_part_stored(sequence, bytes),
                Event::FenceArrived { fence } => state.on_fence_arrived(fence),
                Event::Compared { is_equal } => state.on_compared(is_equal),
                Event::Failed(failure) => ended(failure),
            },
        }
    }

    fn on_opened(self) -> Step {
        match self {
            Self::Opening => moved(Self::Taking(Progress::default()), vec![Effect::SendAccepted]),
            state @ (Self::Taking(_)
            | Self::Draining { .. }
            | Self::Comparing { .. }
            | Self::Confirmed
            | Self::Ended) => moved(state, vec![]),
        }
    }

    fn on_part_arrived(self, sequence: u64, bytes: u64) -> Step {
        match self {
            Self::Taking(mut progress) if sequence == progress.arrived.saturating_add(1) => {
                progress.arrived = sequence;
                progress.bytes_open = progress.bytes_open.saturating_add(bytes);
                // A source that does not wait for credit is not served: it would fill this node's memory.
                if progress.bytes_open > WINDOW_BYTES + BEYOND_WINDOW_BYTES {
                    return ended(Failure::OutOfOrder);
                }
                moved(Self::Taking(progress), vec![Effect::StorePart])
            }
            Self::Taking(_)
            | Self::Opening
            | Self::Draining { .. }
            | Self::Comparing { .. }
            | Self::Confirmed
            | Self::Ended => ended(Failure::OutOfOrder),
        }
    }

    fn on_part_stored(self, sequence: u64, bytes: u64) -> Step {
        let acknowledge = Effect::SendReceived(sequence);
        match self {
            Self::Taking(mut progress) => {
                progress.stored(sequence, bytes);
                moved(Self::Taking(progress), vec![acknowledge])
            }
            Self::Draining { mut progress, fence } => {
                progress.stored(sequence, bytes);
                compare_when_stored(progress, fence, vec![acknowledge])
            }
            state @ (Self::Opening | Self::Comparing { .. } | Self::Confirmed | Self::Ended) => {
                moved(state, vec![])
            }
        }
    }

    fn on_fence_arrived(self, fence: u64) -> Step {
        match self {
            // A fence that names a part that has not come would prove a stream with a hole in it.
            Self::Taking(progress) if progress.arrived == fence => {
                compare_when_stored(progress, fence, vec![])
            }
            Self::Taking(_)
            | Self::Opening
            | Self::Draining { .. }
            | Self::Comparing { .. }
            | Self::Confirmed
            | Self::Ended => ended(Failure::OutOfOrder),
        }
    }

    fn on_compared(self, is_equal: bool) -> Step {
        match self {
            Self::Comparing { fence, .. } if is_equal => {
                moved(Self::Confirmed, vec![Effect::SendFenceOk(fence)])
            }
            Self::Comparing { progress, fence } => {
                moved(Self::Taking(progress), vec![Effect::SendFenceDiffers(fence)])
            }
            state @ (Self::Opening
            | Self::Taking(_)
            | Self::Draining { .. }
            | Self::Confirmed
            | Self::Ended) => moved(state, vec![]),
        }
    }
}

fn compare_when_stored(progress: Progress, fence: u64, mut effects: Vec<Effect>) -> Step {
    if progress.stored < fence {
        return moved(Receiver::Draining { progress, fence }, effects);
    }
    effects.push(Effect::Compare(fence));
    moved(Receiver::Comparing { progress, fence }, effects)
}
