//! Between the request's words and those of the wire: what a replica said, and what a client is told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::protocol::gossip::Held;
use crate::protocol::hash::RingSize;
use crate::protocol::id::NodeName;
use crate::protocol::quorum::{FailureReason, ReplicaFault, Verdict};
use crate::protocol::request::{AttemptId, Event, Request, Said};
use crate::runtime::message::PeerError;
use crate::runtime::vnode::kind::VnodeKind;
use crate::wire::message::{CommandAnswer, CommandError, Outcome, PeerMessage, ReplicaFailure};

/// What an attempt at this node comes to when nobody answers it: the vnode may have ended before, while or
/// after it executed the command. It is not asked again, since the command itself may be what ends vnodes.
pub(super) const UNANSWERED: Outcome = Outcome::Stopped { reason: String::new() };

/// What an attempt at a vnode of this node came to.
pub(super) fn here(attempt: AttemptId, outcome: Outcome) -> Event {
    if outcome == Outcome::Unanswered {
        return Event::Lost { attempt };
    }
    Event::Replied { attempt, said: said(outcome) }
}

/// What an attempt at another node came to.
pub(super) fn there(attempt: AttemptId, answer: Result<PeerMessage, PeerError>) -> Event {
    match answer {
        Ok(PeerMessage::Outcome(outcome)) => here(attempt, outcome),
        Ok(PeerMessage::NotUnderstood { detail }) => {
            here(attempt, Outcome::Refused { reason: detail })
        }
        // Any other message is no answer to this question: what the peer did is not known.
        Ok(_) | Err(PeerError::Lost | PeerError::DeadlinePassed) => Event::Lost { attempt },
        Err(PeerError::NotSent(_) | PeerError::Refused(_)) => Event::NotSent { attempt },
    }
}

fn said(outcome: Outcome) -> Said {
    Said::Failed(match outcome {
        Outcome::Done { reply } => return Said::Done { reply },
        Outcome::Moved { token, holder } => return Said::Moved(Held { token, holder }),
        Outcome::Overtaken { stamp } => return Said::Overtaken(stamp),
        Outcome::Behind { .. } => FailureReason::Behind,
        Outcome::Retry => FailureReason::Retry,
        Outcome::Busy => FailureReason::Busy,
        Outcome::Dropped => FailureReason::Dropped,
        Outcome::Expired => FailureReason::Expired,
        Outcome::Lost => FailureReason::Lost,
        Outcome::Stalled => FailureReason::Stalled,
        Outcome::Unanswered => {
            FailureReason::Stopped("passed on, and no answer came back".to_owned())
        }
        Outcome::Stopped { reason } if reason.is_empty() => {
            FailureReason::Stopped("whoever should have executed it is gone".to_owned())
        }
        Outcome::Stopped { reason } => FailureReason::Stopped(reason),
        Outcome::Refused { reason } => FailureReason::Refused(reason),
    })
}

/// Tells a stand-in's word from its deed: only the vnode type knows which of them a reply is.
pub(super) fn understood(event: Event, request: &Request, kind: &dyn VnodeKind) -> Event {
    if let Event::Replied { attempt, said: Said::Done { reply } } = &event
        && request.is_at_stand_in(*attempt)
        && is_read(kind, reply)
    {
        return Event::Replied { attempt: *attempt, said: Said::Read { reply: reply.clone() } };
    }
    event
}

/// The author's code must not take all other commands with it.
fn is_read(kind: &dyn VnodeKind, reply: &Bytes) -> bool {
    catch_unwind(AssertUnwindSafe(|| kind.is_read(reply))).unwrap_or(false)
}

/// What the client is told.
pub(super) fn told(
    verdict: Verdict,
    kind: &dyn VnodeKind,
    size: RingSize,
    me: &NodeName,
) -> CommandAnswer {
    match verdict {
        Verdict::Met { strict, answers } => {
            let partition = answers.first().map(|answer| size.index_of(answer.partition));
            let ok = u8::try_from(answers.len()).unwrap_or(u8::MAX);
            let replies = answers.into_iter().map(|answer| answer.reply).collect();
            // The author's code must not take all other commands with it.
            match catch_unwind(AssertUnwindSafe(|| kind.combine(replies))) {
                Ok(reply) => CommandAnswer::Met { reply, strict },
                Err(_) => {
                    let reason = format!("'{}' panicked over the replies", kind.name());
                    let failure =
                        |partition| ReplicaFailure { partition, node: me.clone(), reason };
                    CommandAnswer::Failed(CommandError::QuorumNotMet {
                        ok,
                        needed: ok,
                        may_have_been_stored: true,
                        failures: partition.map(failure).into_iter().collect(),
                    })
                }
            }
        }
        Verdict::Failed {
            ok,
            needed,
            primaries_ok,
            primaries_needed,
            deadline_passed,
            may_have_been_stored,
            failures,
        } => {
            // Enough replicas and too few owners among them: it is the owners that are missing.
            let (ok, needed) =
                if ok >= needed { (primaries_ok, primaries_needed) } else { (ok, needed) };
            let failures = failures.into_iter().map(|fault| shown(fault, size)).collect();
            CommandAnswer::Failed(if deadline_passed {
                CommandError::DeadlinePassed { ok, needed, may_have_been_stored, failures }
            } else {
                CommandError::QuorumNotMet { ok, needed, may_have_been_stored, failures }
            })
        }
    }
}

fn shown(fault: ReplicaFault, size: RingSize) -> ReplicaFailure {
    ReplicaFailure {
        partition: size.index_of(fault.partition),
        node: fault.node,
        reason: fault.reason.to_string(),
    }
}
