//! The sending side of one transfer, from the first dial to the confirmed fence.
//!
//! The sender pulls parts (pages of the fold, and changes behind its cursor) out of the vnode, one at a time
//! and only while the target has credit, so nothing grows without bound. When the vnode has nothing more to
//! send and the target has stored all that was sent, it asks the vnode for the fence: nobody executes the vnode's
//! commands from then on, so nothing long may lie before the fence. What the target answers to the fence ends the
//! sender's work: the grant is a matter between the two vnodes.
//!
//! ```text
//! Dialling -> Offered -> Streaming -> Draining -> Fencing -> Proving -> Confirmed
//!                            ^                       |         |  ^
//!                            +-----------------------+         v  |
//!                             not yet: more to send         Repairing
//!                             first
//! ```
//! Every state goes to Ended when the connection, the peer or the vnode ends it. The same machine sends
//! hints home: there the fence closes the generation instead of the vnode.

#[cfg(test)]
mod exploration;
mod flow;

use serde::{Deserialize, Serialize};

pub use self::flow::Flow;
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;

/// Repairs of a difference found at the fence before the transfer is given up.
pub const REPAIRS_MAX: u32 = 3;

/// Where a sender stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Sender {
    /// Connects to the target.
    Dialling,
    /// Has sent the offer.
    Offered,
    /// Sends pages and changes.
    Streaming(Flow),
    /// Has sent what there was, and waits until the target has stored it.
    Draining(Flow),
    /// Has asked the vnode for the fence.
    Fencing {
        /// What is under way.
        flow: Flow,
        /// Repairs made so far.
        repairs: u32,
    },
    /// Has sent the fence.
    Proving {
        /// What is under way.
        flow: Flow,
        /// The number of the last part before the fence.
        fence: u64,
        /// Repairs made so far.
        repairs: u32,
    },
    /// Sends what differed at the fence.
    Repairing {
        /// What is under way.
        flow: Flow,
        /// Repairs made so far, with this one.
        repairs: u32,
    },
    /// The target holds everything up to this fence.
    Confirmed(u64),
    /// Over; the source keeps everything.
    Ended,
}

/// Why a sender ended without a confirmed fence. The runtime words it for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The connection could not be made or ended.
    Disconnected,
    /// The target refused the offer.
    Rejected,
    /// The target cancelled.
    PeerCancelled,
    /// The target said nothing for too long.
    Silent,
    /// What the target holds differs, also after [`REPAIRS_MAX`] repairs.
    Differs,
    /// The vnode or the ring manager stopped the attempt.
    Stopped,
    /// The target sent something that does not fit.
    OutOfOrder,
}

/// What can happen to a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// The connection stands and the hello was accepted.
    Connected,
    /// The target takes the transfer.
    Accepted {
        /// Its credit, in bytes.
        window_bytes: u64,
    },
    /// The vnode gave a part; it is sent with this step.
    PartRead {
        /// Its number.
        sequence: u64,
        /// Its size.
        bytes: u64,
    },
    /// The vnode has nothing to send at the moment: the fold has ended and no change waits.
    NothingToRead,
    /// A change waits in the vnode, or the fence has become possible.
    MoreToRead,
    /// The target has stored everything up to this part.
    Received {
        /// Its number.
        sequence: u64,
        /// Bytes that may be under way from now on: see [`crate::protocol::pace`].
        pace_bytes: u64,
    },
    /// The vnode is fenced; `tail_bytes` are sent with this step, if any.
    Fenced {
        /// The number of the last part before the fence.
        fence: u64,
        /// Bytes of the tail; 0 when there is none.
        tail_bytes: u64,
    },
    /// The vnode cannot be fenced yet.
    FenceNotYet,
    /// The target holds everything up to the fence.
    FenceOk {
        /// The fence.
        fence: u64,
    },
    /// The target holds something else.
    FenceDiffers {
        /// The fence.
        fence: u64,
    },
    /// It is over.
    Failed(Failure),
}

/// What the runtime must do after a step, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Send the offer.
    SendOffer,
    /// Log that the transfer starts.
    LogStart,
    /// Ask the vnode for the next part.
    ReadPart {
        /// Most bytes of a page; one item is always read.
        bytes_max: u64,
    },
    /// Send the part that was read, or the tail.
    SendPart,
    /// Ask the vnode for the fence.
    AskFence {
        /// Most bytes that may go with it; if more waits, it is sent before.
        tail_bytes_max: u64,
    },
    /// Send the fence.
    SendFence,
    /// Have the vnode find out what differs; parts read from now on repair it.
    PlanRepair,
    /// Tell the vnode that the target holds everything up to the fence.
    ReportConfirmed(u64),
    /// Tell the vnode and the target that the attempt is over.
    ReportEnded(Failure),
}

/// The answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the effects are not carried out until the runtime performs them"]
pub struct Step {
    /// The next state.
    pub next: Sender,
    /// What to do.
    pub effects: Vec<Effect>,
}

#[cfg(tanodb_mutants)]
impl Step {
    /// The same, if the fence was sent, as though the target had confirmed it.
    fn believed(mut self) -> Self {
        if let Sender::Proving { fence, .. } = self.next {
            self.next = Sender::Confirmed(fence);
            self.effects.push(Effect::ReportConfirmed(fence));
        }
        self
    }
}

fn moved(next: Sender, effects: Vec<Effect>) -> Step {
    Step { next, effects }
}

fn ignored(state: Sender) -> Step {
    Step { next: state, effects: vec![] }
}

fn ended(failure: Failure) -> Step {
    Step { next: Sender::Ended, effects: vec![Effect::ReportEnded(failure)] }
}

/// The fence is asked for when the target has stored all that was sent.
fn fence_when_drained(flow: Flow) -> Step {
    if !flow.is_drained() {
        return moved(Sender::Draining(flow), vec![]);
    }
    let effects = vec![flow.ask_fence()];
    moved(Sender::Fencing { flow, repairs: 0 }, effects)
}

impl Sender {
    /// Answers one event.
    pub fn step(self, event: Event) -> Step {
        self.step_under(event, Rules::default())
    }

    /// The same by given rules.
    #[cfg_attr(not(tanodb_mutants), expect(unused_variables, reason = "all rules are kept"))]
    pub fn step_under(self, event: Event, rules: Rules) -> Step {
        #[cfg(tanodb_mutants)]
        if event == Event::Failed(Failure::Silent) && rules.breaks(Mutant::SilenceIgnored) {
            return ignored(self);
        }
        use Sender::{
            Confirmed, Dialling, Draining, Ended, Fencing, Offered, Proving, Repairing, Streaming,
        };
        match self {
            state @ (Confirmed(_) | Ended) => ignored(state),
            state @ (Dialling
            | Offered
            | Streaming(_)
            | Draining(_)
            | Fencing { .. }
            | Proving { .. }
            | Repairing { .. }) => match event {
                Event::Connected => state.on_connected(),
                Event::Accepted { window_bytes } => state.on_accepted(window_bytes),
                Event::PartRead { sequence, bytes } => state.on_part_read(sequence, bytes),
                Event::NothingToRead => state.on_nothing_to_read(),
                Event::MoreToRead => state.on_more_to_read(),
                Event::Received { sequence, pace_bytes } => state.on_received(sequence, pace_bytes),
                Event::Fenced { fence, tail_bytes } => {
                    let step = state.on_fenced(fence, tail_bytes);
                    #[cfg(tanodb_mutants)]
                    if rules.breaks(Mutant::SentTakenForStored) {
                        return step.believed();
                    }
                    step
                }
                Event::FenceNotYet => state.on_fence_not_yet(),
                Event::FenceOk { fence } => state.on_fence_ok(fence),
                Event::FenceDiffers { fence } => state.on_fence_differs(fence),
                Event::Failed(failure) => ended(failure),
            },
        }
    }

    fn on_connected(self) -> Step {
        match self {
            Self::Dialling => moved(Self::Offered, vec![Effect::SendOffer]),
            state @ (Self::Offered
            | Self::Streaming(_)
            | Self::Draining(_)
            | Self::Fencing { .. }
            | Self::Proving { .. }
            | Self::Repairing { .. }
            | Self::Confirmed(_)
            | Self::Ended) => ignored(state),
        }
    }

    fn on_accepted(self, window_bytes: u64) -> Step {
        match self {
            Self::Offered => {
                let mut flow = Flow::of(window_bytes);
                let mut effects = vec![Effect::LogStart];
                effects.extend(flow.read());
                moved(Self::Streaming(flow), effects)
            }
            Self::Dialling
            | Self::Streaming(_)
            | Self::Draining(_)
            | Self::Fencing { .. }
            | Self::Proving { .. }
            | Self::Repairing { .. }
            | Self::Confirmed(_)
            | Self::Ended => ended(Failure::OutOfOrder),
        }
    }

    fn on_part_read(self, sequence: u64, bytes: u64) -> Step {
        let taken = |flow: &mut Flow| {
            flow.is_reading = false;
            flow.sent(sequence, bytes);
            let mut effects = vec![Effect::SendPart];
            effects.extend(flow.read());
            effects
        };
        match self {
            Self::Streaming(mut flow) => {
                let effects = taken(&mut flow);
                moved(Self::Streaming(flow), effects)
            }
            Self::Repairing { mut flow, repairs } => {
                let effects = taken(&mut flow);
                moved(Self::Repairing { flow, repairs }, effects)
            }
            state @ (Self::Dialling
            | Self::Offered
            | Self::Draining(_)
            | Self::Fencing { .. }
            | Self::Proving { .. }
            | Self::Confirmed(_)
            | Self::Ended) => ignored(state),
        }
    }

    fn on_nothing_to_read(self) -> Step {
        match self {
            Self::Streaming(mut flow) if flow.is_reading => {
                flow.is_reading = false;
                fence_when_drained(flow)
            }
            // The vnode answers the end of a repair with the raised fence. It is fenced: waiting gains nothing.
            Self::Repairing { mut flow, repairs } if flow.is_reading => {
                flow.is_reading = false;
                let effects = vec![flow.ask_fence()];
                moved(Self::Fencing { flow, repairs }, effects)
            }
            state @ (Self::Streaming(_)
            | Self::Repairing { .. }
            | Self::Dialling
            | Self::Offered
            | Self::Draining(_)
            | Self::Fencing { .. }
            | Self::Proving { .. }
            | Self::Confirmed(_)
            | Self::Ended) => ignored(state),
        }
    }

    fn on_more_to_read(self) -> Step {
        match self {
            Self::Streaming(mut flow) => {
                let effects = flow.read();
                moved(Self::Streaming(flow), effects)
            }
            state @ (Self::Dialling
            | Self::Offered
            | Self::Draining(_)
            | Self::Fencing { .. }
            | Self::Proving { .. }
            | Self::Repairing { .. }
            | Self::Confirmed(_)
            | Self::Ended) => ignored(state),
        }
    }

    fn on_received(self, sequence: u64, pace_bytes: u64) -> Step {
        match self {
            Self::Streaming(mut flow) => {
                flow.received(sequence, pace_bytes);
                let effects = flow.read();
                moved(Self::Streaming(flow), effects)
            }
            Self::Draining(mut flow) => {
                flow.received(sequence, pace_bytes);
                fence_when_drained(flow)
            }
            Self::Repairing { mut flow, repairs } => {
                flow.received(sequence, pace_bytes);
                let effects = flow.read();
                moved(Self::Repairing { flow, repairs }, effects)
            }
            Self::Fencing { mut flow, repairs } => {
                flow.received(sequence, pace_bytes);
                moved(Self::Fencing { flow, repairs }, vec![])
            }
            Self::Proving { mut flow, fence, repairs } => {
                flow.received(sequence, pace_bytes);
                moved(Self::Proving { flow, fence, repairs }, vec![])
            }
            Self::Dialling | Self::Offered | Self::Confirmed(_) | Self::Ended => {
                ended(Failure::OutOfOrder)
            }
        }
    }

    fn on_fenced(self, fence: u64, tail_bytes: u64) -> Step {
        let (mut flow, repairs) = match self {
            Self::Fencing { flow, repairs } => (flow, repairs),
            state @ (Self::Dialling
            | Self::Offered
            | Self::Streaming(_)
            | Self::Draining(_)
            | Self::Repairing { .. }
            | Self::Proving { .. }
            | Self::Confirmed(_)
            | Self::Ended) => return ignored(state),
        };
        let mut effects = Vec::new();
        if tail_bytes > 0 {
            flow.sent(fence, tail_bytes);
            effects.push(Effect::SendPart);
        }
        effects.push(Effect::SendFence);
        moved(Self::Proving { flow, fence, repairs }, effects)
    }

    fn on_fence_not_yet(self) -> Step {
        match self {
            Self::Fencing { flow, .. } => moved(Self::Streaming(flow), vec![]),
            state @ (Self::Dialling
            | Self::Offered
            | Self::Streaming(_)
            | Self::Draining(_)
            | Self::Proving { .. }
            | Self::Repairing { .. }
            | Self::Confirmed(_)
            | Self::Ended) => ignored(state),
        }
    }

    fn on_fence_ok(self, confirmed: u64) -> Step {
        match self {
            Self::Proving { fence, .. } if fence == confirmed => {
                moved(Self::Confirmed(fence), vec![Effect::ReportConfirmed(fence)])
            }
            Self::Proving { .. }
            | Self::Dialling
            | Self::Offered
            | Self::Streaming(_)
            | Self::Draining(_)
            | Self::Fencing { .. }
            | Self::Repairing { .. }
            | Self::Confirmed(_)
            | Self::Ended => ended(Failure::OutOfOrder),
        }
    }

    fn on_fence_differs(self, differing: u64) -> Step {
        match self {
            Self::Proving { fence, repairs, .. }
                if fence == differing && repairs >= REPAIRS_MAX =>
            {
                ended(Failure::Differs)
            }
            Self::Proving { mut flow, fence, repairs } if fence == differing => {
                flow.is_reading = true;
                let repairing = Self::Repairing { flow, repairs: repairs.saturating_add(1) };
                moved(repairing, vec![Effect::PlanRepair])
            }
            Self::Proving { .. }
            | Self::Dialling
            | Self::Offered
            | Self::Streaming(_)
            | Self::Draining(_)
            | Self::Fencing { .. }
            | Self::Repairing { .. }
            | Self::Confirmed(_)
            | Self::Ended => ended(Failure::OutOfOrder),
        }
    }
}
