//! One vnode's part in handoffs, as source and as target.
//!
//! A vnode is in exactly one [`Handoff`] state. [`Handoff::step`] takes the state and one [`Event`] and
//! answers with the next state and the [`Effect`]s to carry out, in order. Nothing here reads a clock, draws
//! a random number or knows an actor. Where a command runs in a state is [`Handoff::route`], what becomes of one
//! that came here [`Handoff::admit`].
//!
//! ```text
//! source:  Owner --> Sending --> Fenced --> Granting --> Retired --> Purging --> Absent
//!            ^          |          |           | declined
//!            +----------+----------+           +--> Resuming --> Owner (two hops on)
//!             cancelled: nothing was granted
//!
//! target:  Absent --> Staging --> CaughtUp --> Holding --> Accepting --> Owner
//!             ^          |           |            |
//!             +----------+-----------+------------+
//!              the source says that the attempt is over
//! ```
//!
//! At every instant one node speaks for a vnode: whoever holds its highest [`Token`]. A grant is the only
//! way a token moves, it is durable at the source before it is sent, and nothing but the target's answer
//! ends it. Every arrow into Granting, Retired, Resuming and Accepting waits for a durable record
//! ([`Effect::Persist`], [`Event::Persisted`]) before anybody is told.
//!
//! Source: `riak_core_vnode`, functions `start_handoff` and `finish_handoff`, for the callbacks and their
//! order. There the same facts are five fields that can disagree, and the ring's claimant moves the
//! ownership afterwards; here the two nodes do it between themselves.

#[cfg(test)]
mod exploration;
mod restart;
mod route;
mod step;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::id::{NodeId, Token, TransferId};

pub use route::{Admission, Asked, Refused, Route};

/// What an owner knows of its ownership.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ownership {
    /// The token it holds.
    pub token: Token,
    /// Who granted it, until that node has said `Retired`. An owner with a predecessor may offer the vnode
    /// onward but does not fence.
    pub predecessor: Option<Incoming>,
    /// Counts for writes, not for reads, until repaired.
    pub rebuilding: bool,
}

/// One attempt to give a vnode away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Outgoing {
    /// The attempt.
    pub transfer: TransferId,
    /// To whom.
    pub target: NodeId,
}

/// One attempt to take a vnode over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incoming {
    /// The attempt.
    pub transfer: TransferId,
    /// From whom.
    pub source: NodeId,
    /// The source's token when it offered.
    pub token: Token,
}

/// Where a vnode stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Handoff {
    /// Holds nothing and speaks for nothing.
    Absent {
        /// The newest attempt it has taken part in as a target; older ones are refused.
        last: Option<TransferId>,
        /// The highest token it has spoken under, given away or been offered; offers under a lower one are
        /// refused.
        known: Option<Token>,
    },
    /// Speaks for the vnode; nothing moves.
    Owner(Ownership),
    /// Speaks for the vnode; a sender streams its items and changes.
    Sending(Ownership, Outgoing),
    /// Executes nothing: every effect up to `fence` is in the stream. Still the owner of record.
    Fenced {
        /// What it goes back to when the attempt is cancelled.
        ownership: Ownership,
        /// The attempt.
        outgoing: Outgoing,
        /// The number of the last part of the stream.
        fence: u64,
    },
    /// The target has proved that it holds everything. Only its answer ends this state.
    Granting {
        /// What was held.
        ownership: Ownership,
        /// The attempt.
        outgoing: Outgoing,
        /// The confirmed fence.
        fence: u64,
        /// Whether this state is durable; the grant is sent only then.
        durable: bool,
    },
    /// The grant was declined: resumes under a higher token, once that is durable.
    Resuming(Ownership),
    /// The target owns the vnode. The items are still here.
    Retired {
        /// The token that was granted.
        granted: Token,
        /// The attempt that moved it.
        outgoing: Outgoing,
    },
    /// The receipt is durable; the items are being deleted.
    Purging {
        /// The token that was granted.
        granted: Token,
        /// The attempt that moved it.
        outgoing: Outgoing,
    },
    /// Takes pages and changes; nobody sees them.
    Staging(Incoming),
    /// The fold has ended; changes still come.
    CaughtUp(Incoming),
    /// Everything up to `fence` is here and equal to the source's.
    Holding {
        /// The attempt.
        incoming: Incoming,
        /// The confirmed fence.
        fence: u64,
    },
    /// The grant is here; ownership waits to be durable.
    Accepting {
        /// The attempt.
        incoming: Incoming,
        /// The granted token.
        token: Token,
        /// Inherited from the source.
        rebuilding: bool,
    },
    /// An earlier incarnation of this node held the vnode; its items are gone.
    Lost {
        /// The token it held.
        token: Token,
    },
}

/// What can happen to a vnode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// The ring manager holds a slot for this attempt, and the author's `handoff_starting` said true.
    Assigned(Outgoing),
    /// The sender has little left to send and asks for the fence; `fence` is the number of the last part.
    FenceAsked {
        /// The attempt.
        transfer: TransferId,
        /// The number of the last part of the stream.
        fence: u64,
    },
    /// The target holds everything up to the fence.
    FenceConfirmed {
        /// The attempt.
        transfer: TransferId,
        /// The fence.
        fence: u64,
    },
    /// A difference found at the fence was repaired; this is the number of the last part now.
    FenceRaised {
        /// The attempt.
        transfer: TransferId,
        /// The number of the last part.
        fence: u64,
    },
    /// The attempt failed or was superseded.
    Cancelled {
        /// The attempt.
        transfer: TransferId,
    },
    /// The target has made its ownership durable.
    GrantHeld {
        /// The attempt.
        transfer: TransferId,
    },
    /// The target will never honour the grant.
    GrantDeclined {
        /// The attempt.
        transfer: TransferId,
        /// Who declined.
        by: NodeId,
    },
    /// The record that the last `Persist` asked for is durable.
    Persisted,
    /// Nothing of the items is left.
    Purged,
    /// A source offers the vnode.
    Offered(Incoming),
    /// The last page is stored.
    FoldEnded {
        /// The attempt.
        transfer: TransferId,
    },
    /// Everything up to the fence is stored and the sums are equal.
    FenceMatched {
        /// The attempt.
        transfer: TransferId,
        /// The fence.
        fence: u64,
    },
    /// The source hands the token over.
    Granted {
        /// The attempt.
        transfer: TransferId,
        /// The fence the source had confirmed.
        fence: u64,
        /// The new token.
        token: Token,
        /// Whether the vnode is still rebuilding.
        rebuilding: bool,
    },
    /// The source, in the incarnation that offered, says that the attempt is over.
    SourceEnded {
        /// The attempt.
        transfer: TransferId,
    },
    /// The source's incarnation is gone: its process ended, or a later one was seen.
    SourceLost {
        /// The attempt.
        transfer: TransferId,
    },
    /// The predecessor is not granting that attempt any more.
    PredecessorRetired {
        /// The attempt.
        transfer: TransferId,
    },
}

/// What the runtime must do after a step, in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// Have a sender spawned.
    StartSender(Outgoing),
    /// Send the tail and the fence.
    SendFence(Outgoing, u64),
    /// Stop the sender, tell the target that the attempt is over, call `handoff_cancelled`, execute what was
    /// parked.
    EndAttempt(Outgoing),
    /// Make the state durable, then report `Persisted`.
    Persist,
    /// Send the grant, again and again until it is answered.
    SendGrant {
        /// The attempt.
        outgoing: Outgoing,
        /// The confirmed fence.
        fence: u64,
        /// The new token.
        token: Token,
        /// Whether the vnode is still rebuilding.
        rebuilding: bool,
    },
    /// Call `handoff_finished`, tell everybody the new holder.
    Finish(Outgoing, Token),
    /// Tell the target that this node is not granting any more.
    TellRetired(Outgoing),
    /// Call `delete` and delete the items in the background, then report `Purged`.
    Purge(Outgoing),
    /// Open a container for what will come.
    OpenStaging(Incoming),
    /// Delete what was staged; answer what was queued with `Retry`.
    DiscardStaging(Incoming),
    /// Tell the source that everything up to the fence is here.
    ConfirmFence(Incoming, u64),
    /// What was staged becomes owned; run what was queued; tell everybody.
    TakeOwnership(Incoming, Token),
    /// Tell the source that ownership is durable here, until it says `Retired`.
    TellHeld(Incoming, Token),
    /// Tell the source that the grant will never be honoured.
    TellDeclined(TransferId),
    /// Speak for the vnode again, under a new token; execute what was parked; tell everybody.
    Resume(Token),
    /// Tell the sender that the fence it asked for is possible now.
    FencePossible(Outgoing),
    /// Ask the source, until it answers, whether the attempt is over.
    AskSource(Incoming),
}

/// Why an event changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ignored {
    /// It speaks of an attempt that is over.
    Stale,
    /// It cannot happen in this state, unless a peer or this code is wrong.
    Unexpected,
    /// It must wait: the predecessor has not said `Retired`.
    NotYet,
    /// The offer is refused: this vnode has something else to do, or knows better.
    Refused,
}

/// The answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the effects are not carried out until the runtime performs them"]
pub enum Step {
    /// The state changed, or effects are due.
    Moved(Handoff, Vec<Effect>),
    /// Nothing changed.
    Stayed(Handoff, Ignored),
}

impl Handoff {
    /// A vnode that this node neither holds nor speaks for.
    #[must_use]
    pub fn absent() -> Self {
        Self::Absent { last: None, known: None }
    }

    /// A vnode that this node speaks for by the ring's word.
    #[must_use]
    pub fn owner(token: Token) -> Self {
        Self::Owner(Ownership { token, predecessor: None, rebuilding: false })
    }

    /// The token under which this node speaks, or spoke last, for the vnode.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Owner(ownership)
            | Self::Sending(ownership, _)
            | Self::Fenced { ownership, .. }
            | Self::Granting { ownership, .. }
            | Self::Resuming(ownership) => Some(ownership.token),
            Self::Accepting { token, .. } | Self::Lost { token } => Some(*token),
            Self::Retired { granted, .. } | Self::Purging { granted, .. } => Some(*granted),
            Self::Absent { .. } | Self::Staging(_) | Self::CaughtUp(_) | Self::Holding { .. } => {
                None
            }
        }
    }

    /// Whether this node is done with granting that attempt, or never granted it: what a target that asks
    /// after its predecessor is told.
    #[must_use]
    pub fn has_retired(&self, transfer: TransferId) -> bool {
        match self {
            Self::Granting { outgoing, .. } | Self::Retired { outgoing, .. } => {
                outgoing.transfer != transfer
            }
            Self::Absent { .. }
            | Self::Owner(_)
            | Self::Sending(..)
            | Self::Fenced { .. }
            | Self::Resuming(_)
            | Self::Purging { .. }
            | Self::Staging(_)
            | Self::CaughtUp(_)
            | Self::Holding { .. }
            | Self::Accepting { .. }
            | Self::Lost { .. } => true,
        }
    }

    /// The attempt to give the vnode away that is under way.
    #[must_use]
    pub fn outgoing(&self) -> Option<&Outgoing> {
        match self {
            Self::Sending(_, outgoing)
            | Self::Fenced { outgoing, .. }
            | Self::Granting { outgoing, .. }
            | Self::Retired { outgoing, .. }
            | Self::Purging { outgoing, .. } => Some(outgoing),
            Self::Absent { .. }
            | Self::Owner(_)
            | Self::Resuming(_)
            | Self::Staging(_)
            | Self::CaughtUp(_)
            | Self::Holding { .. }
            | Self::Accepting { .. }
            | Self::Lost { .. } => None,
        }
    }

    /// The attempt to take the vnode over that is under way.
    #[must_use]
    pub fn incoming(&self) -> Option<&Incoming> {
        match self {
            Self::Staging(incoming)
            | Self::CaughtUp(incoming)
            | Self::Holding { incoming, .. }
            | Self::Accepting { incoming, .. } => Some(incoming),
            Self::Absent { .. }
            | Self::Owner(_)
            | Self::Sending(..)
            | Self::Fenced { .. }
            | Self::Granting { .. }
            | Self::Resuming(_)
            | Self::Retired { .. }
            | Self::Purging { .. }
            | Self::Lost { .. } => None,
        }
    }
}

impl fmt::Display for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent { .. } => "Absent",
            Self::Owner(_) => "Owner",
            Self::Sending(..) => "Sending",
            Self::Fenced { .. } => "Fenced",
            Self::Granting { .. } => "Granting",
            Self::Resuming(_) => "Resuming",
            Self::Retired { .. } => "Retired",
            Self::Purging { .. } => "Purging",
            Self::Staging(_) => "Staging",
            Self::CaughtUp(_) => "CaughtUp",
            Self::Holding { .. } => "Holding",
            Self::Accepting { .. } => "Accepting",
            Self::Lost { .. } => "Lost",
        })
    }
}
