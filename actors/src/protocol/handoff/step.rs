//! What each event does in each state. One function an event, each with every state in it.
//!
//! What happens to a vnode that is given away stands in `source`, what happens to one that is taken over in
//! `target`; the only event that means something to both stands here.

mod source;
mod target;

use self::target::Given;
use super::{Effect, Event, Handoff, Ignored, Ownership, Step};
use crate::protocol::rules::Rules;

use Handoff::{
    Absent, Accepting, CaughtUp, Fenced, Granting, Holding, Lost, Owner, Purging, Resuming,
    Retired, Sending, Staging,
};

fn stale(state: Handoff) -> Step {
    Step::Stayed(state, Ignored::Stale)
}

fn unexpected(state: Handoff) -> Step {
    Step::Stayed(state, Ignored::Unexpected)
}

impl Handoff {
    /// Answers one event.
    pub fn step(self, event: Event) -> Step {
        self.step_under(event, Rules::default())
    }

    /// The same by given rules.
    pub fn step_under(self, event: Event, rules: Rules) -> Step {
        match event {
            Event::Assigned(outgoing) => self.on_assigned(outgoing),
            Event::FenceAsked { transfer, fence } => self.on_fence_asked(transfer, fence, rules),
            Event::FenceConfirmed { transfer, fence } => {
                self.on_fence_confirmed(transfer, fence, rules)
            }
            Event::FenceRaised { transfer, fence } => self.on_fence_raised(transfer, fence),
            Event::Cancelled { transfer } => self.on_cancelled(transfer, rules),
            Event::GrantHeld { transfer } => self.on_grant_held(transfer, rules),
            Event::GrantDeclined { transfer, by } => self.on_grant_declined(transfer, &by, rules),
            Event::Persisted => self.on_persisted(),
            Event::Purged => self.on_purged(),
            Event::Offered(incoming) => self.on_offered(incoming),
            Event::FoldEnded { transfer } => self.on_fold_ended(transfer),
            Event::FenceMatched { transfer, fence } => self.on_fence_matched(transfer, fence),
            Event::Granted { transfer, fence, token, rebuilding } => {
                self.on_granted(transfer, fence, Given { token, rebuilding }, rules)
            }
            Event::SourceEnded { transfer } => self.on_source_ended(transfer),
            Event::SourceLost { transfer } => self.on_source_lost(transfer, rules),
            Event::PredecessorRetired { transfer } => self.on_predecessor_retired(transfer),
        }
    }

    fn on_persisted(self) -> Step {
        match self {
            Granting { ownership, outgoing, fence, durable: false } => {
                let effect = Effect::SendGrant {
                    outgoing: outgoing.clone(),
                    fence,
                    token: ownership.token.granted(),
                    rebuilding: ownership.rebuilding,
                };
                Step::Moved(Granting { ownership, outgoing, fence, durable: true }, vec![effect])
            }
            Retired { granted, outgoing } => {
                let effects =
                    vec![Effect::TellRetired(outgoing.clone()), Effect::Purge(outgoing.clone())];
                Step::Moved(Purging { granted, outgoing }, effects)
            }
            Resuming(ownership) => {
                let token = ownership.token;
                Step::Moved(Owner(ownership), vec![Effect::Resume(token)])
            }
            Accepting { incoming, token, rebuilding } => {
                let predecessor = Some(incoming.clone());
                let effects = vec![
                    Effect::TakeOwnership(incoming.clone(), token),
                    Effect::TellHeld(incoming, token),
                ];
                Step::Moved(Owner(Ownership { token, predecessor, rebuilding }), effects)
            }
            state @ (Granting { .. }
            | Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Purging { .. }
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Lost { .. }) => unexpected(state),
        }
    }
}
