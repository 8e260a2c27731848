//! What each event does in each state. One function an event, each with every state in it.

use super::{Effect, Event, Handoff, Ignored, Incoming, Outgoing, Ownership, Step};
use crate::protocol::id::{NodeId, Token, TransferId};

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
        match event {
            Event::Assigned(outgoing) => self.on_assigned(outgoing),
            Event::FenceAsked { transfer, fence } => self.on_fence_asked(transfer, fence),
            Event::FenceConfirmed { transfer, fence } => self.on_fence_confirmed(transfer, fence),
            Event::FenceRaised { transfer, fence } => self.on_fence_raised(transfer, fence),
            Event::Cancelled { transfer } => self.on_cancelled(transfer),
            Event::GrantHeld { transfer } => self.on_grant_held(transfer),
            Event::GrantDeclined { transfer, by } => self.on_grant_declined(transfer, &by),
            Event::Persisted => self.on_persisted(),
            Event::Purged => self.on_purged(),
            Event::Offered(incoming) => self.on_offered(incoming),
            Event::FoldEnded { transfer } => self.on_fold_ended(transfer),
            Event::FenceMatched { transfer, fence } => self.on_fence_matched(transfer, fence),
            Event::Granted { transfer, fence, token, rebuilding } => {
                self.on_granted(transfer, fence, token, rebuilding)
            }
            Event::SourceEnded { transfer } => self.on_source_ended(transfer),
            Event::SourceLost { transfer } => self.on_source_lost(transfer),
            Event::PredecessorRetired { transfer } => self.on_predecessor_retired(transfer),
        }
    }

    fn on_assigned(self, outgoing: Outgoing) -> Step {
        match self {
            Owner(ownership) => {
                let effects = vec![Effect::StartSender(outgoing.clone())];
                Step::Moved(Sending(ownership, outgoing), effects)
            }
            // One attempt at a time: the ring manager cancels before it assigns anew.
            state @ (Sending(..) | Fenced { .. } | Granting { .. }) => {
                Step::Stayed(state, Ignored::Refused)
            }
            state @ (Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => Step::Stayed(state, Ignored::Refused),
        }
    }

    fn on_fence_asked(self, transfer: TransferId, fence: u64) -> Step {
        match self {
            Sending(ownership, outgoing) if outgoing.transfer == transfer => {
                // Without its predecessor's word a second owner of the old token may still come to life.
                if ownership.predecessor.is_some() {
                    return Step::Stayed(Sending(ownership, outgoing), Ignored::NotYet);
                }
                let effects = vec![Effect::SendFence(outgoing.clone(), fence)];
                Step::Moved(Fenced { ownership, outgoing, fence }, effects)
            }
            state @ (Sending(..)
            | Fenced { .. }
            | Owner(_)
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_fence_confirmed(self, transfer: TransferId, confirmed: u64) -> Step {
        match self {
            Fenced { ownership, outgoing, fence }
                if outgoing.transfer == transfer && fence == confirmed =>
            {
                let granting = Granting { ownership, outgoing, fence, durable: false };
                Step::Moved(granting, vec![Effect::Persist])
            }
            state @ (Fenced { .. }
            | Sending(..)
            | Owner(_)
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_fence_raised(self, transfer: TransferId, raised: u64) -> Step {
        match self {
            Fenced { ownership, outgoing, fence }
                if outgoing.transfer == transfer && fence <= raised =>
            {
                let effects = vec![Effect::SendFence(outgoing.clone(), raised)];
                Step::Moved(Fenced { ownership, outgoing, fence: raised }, effects)
            }
            state @ (Fenced { .. }
            | Sending(..)
            | Owner(_)
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_cancelled(self, transfer: TransferId) -> Step {
        match self {
            Sending(ownership, outgoing) | Fenced { ownership, outgoing, .. }
                if outgoing.transfer == transfer =>
            {
                Step::Moved(Owner(ownership), vec![Effect::EndAttempt(outgoing)])
            }
            // A grant may be with the target: only the target's answer ends it, never a time-out.
            state @ Granting { .. } => Step::Stayed(state, Ignored::NotYet),
            state @ (Sending(..)
            | Fenced { .. }
            | Owner(_)
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_grant_held(self, transfer: TransferId) -> Step {
        match self {
            Granting { ownership, outgoing, durable: true, .. }
                if outgoing.transfer == transfer =>
            {
                let granted = ownership.token.granted();
                let effects = vec![Effect::Finish(outgoing.clone(), granted), Effect::Persist];
                Step::Moved(Retired { granted, outgoing }, effects)
            }
            state @ (Granting { .. }
            | Retired { .. }
            | Purging { .. }
            | Sending(..)
            | Fenced { .. }
            | Owner(_)
            | Resuming(_)
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_grant_declined(self, transfer: TransferId, by: &NodeId) -> Step {
        match self {
            // A later incarnation of the target has lost what an earlier one may have accepted.
            Granting { ownership, outgoing, durable: true, .. }
                if outgoing.transfer == transfer && outgoing.target == *by =>
            {
                let resumed = Ownership { token: ownership.token.resumed(), ..ownership };
                Step::Moved(Resuming(resumed), vec![Effect::EndAttempt(outgoing), Effect::Persist])
            }
            state @ (Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Sending(..)
            | Fenced { .. }
            | Owner(_)
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
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

    fn on_purged(self) -> Step {
        match self {
            Purging { granted, .. } => {
                Step::Moved(Absent { last: None, known: Some(granted) }, vec![])
            }
            state @ (Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => unexpected(state),
        }
    }

    fn on_offered(self, new: Incoming) -> Step {
        match self {
            Absent { last, known }
                if last.is_none_or(|last| is_after(new.transfer, last))
                    && known.is_none_or(|known| known <= new.token) =>
            {
                let effects = vec![Effect::OpenStaging(new.clone())];
                Step::Moved(Staging(new), effects)
            }
            // The same source begins anew: it would not, were the old attempt's grant under way.
            Staging(old) | CaughtUp(old) | Holding { incoming: old, .. }
                if old.source == new.source && is_after(new.transfer, old.transfer) =>
            {
                restage(old, new)
            }
            // Another source with a higher token: the old one does not speak for the vnode any more, and
            // nothing of what it sent was confirmed.
            Staging(old) | CaughtUp(old) if old.source != new.source && old.token < new.token => {
                restage(old, new)
            }
            state @ (Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Accepting { .. }
            | Lost { .. }) => Step::Stayed(state, Ignored::Refused),
        }
    }

    fn on_fold_ended(self, transfer: TransferId) -> Step {
        match self {
            Staging(incoming) if incoming.transfer == transfer => {
                Step::Moved(CaughtUp(incoming), vec![])
            }
            state @ (Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Absent { .. }
            | Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_fence_matched(self, transfer: TransferId, fence: u64) -> Step {
        match self {
            CaughtUp(incoming) if incoming.transfer == transfer => {
                let effects = vec![Effect::ConfirmFence(incoming.clone(), fence)];
                Step::Moved(Holding { incoming, fence }, effects)
            }
            state @ (CaughtUp(_)
            | Staging(_)
            | Holding { .. }
            | Absent { .. }
            | Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_granted(
        self,
        transfer: TransferId,
        granted_fence: u64,
        token: Token,
        rebuilding: bool,
    ) -> Step {
        match self {
            Holding { incoming, fence }
                if incoming.transfer == transfer && fence == granted_fence =>
            {
                Step::Moved(Accepting { incoming, token, rebuilding }, vec![Effect::Persist])
            }
            // Said again because the answer was lost.
            Owner(ownership) if ownership.came_by(transfer) => {
                let effects = ownership.held_again();
                Step::Moved(Owner(ownership), effects)
            }
            Sending(ownership, outgoing) if ownership.came_by(transfer) => {
                let effects = ownership.held_again();
                Step::Moved(Sending(ownership, outgoing), effects)
            }
            state @ Accepting { .. } => stale(state),
            // What was staged for this grant is not what the grant says: never, and nothing stays.
            Staging(incoming) | CaughtUp(incoming) | Holding { incoming, .. }
                if incoming.transfer == transfer =>
            {
                let absent = given_up(&incoming);
                let effects =
                    vec![Effect::DiscardStaging(incoming), Effect::TellDeclined(transfer)];
                Step::Moved(absent, effects)
            }
            Absent { last, known } => {
                let newest = last.filter(|last| !is_after(transfer, *last)).unwrap_or(transfer);
                let effects = vec![Effect::TellDeclined(transfer)];
                Step::Moved(Absent { last: Some(newest), known }, effects)
            }
            state @ (Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Lost { .. }) => Step::Moved(state, vec![Effect::TellDeclined(transfer)]),
        }
    }

    fn on_source_ended(self, transfer: TransferId) -> Step {
        match self {
            Staging(incoming) | CaughtUp(incoming) | Holding { incoming, .. }
                if incoming.transfer == transfer =>
            {
                Step::Moved(given_up(&incoming), vec![Effect::DiscardStaging(incoming)])
            }
            state @ (Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Absent { .. }
            | Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_source_lost(self, transfer: TransferId) -> Step {
        match self {
            Staging(incoming) | CaughtUp(incoming) if incoming.transfer == transfer => {
                Step::Moved(given_up(&incoming), vec![Effect::DiscardStaging(incoming)])
            }
            // The grant may be on its way, and this may be the only complete copy.
            state @ Holding { .. } => Step::Stayed(state, Ignored::NotYet),
            state @ (Staging(_)
            | CaughtUp(_)
            | Absent { .. }
            | Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }

    fn on_predecessor_retired(self, transfer: TransferId) -> Step {
        match self {
            Owner(ownership) if ownership.came_by(transfer) => {
                Step::Moved(Owner(Ownership { predecessor: None, ..ownership }), vec![])
            }
            Sending(ownership, outgoing) if ownership.came_by(transfer) => {
                let effects = vec![Effect::FencePossible(outgoing.clone())];
                let settled = Ownership { predecessor: None, ..ownership };
                Step::Moved(Sending(settled, outgoing), effects)
            }
            state @ (Owner(_)
            | Sending(..)
            | Fenced { .. }
            | Granting { .. }
            | Resuming(_)
            | Retired { .. }
            | Purging { .. }
            | Absent { .. }
            | Staging(_)
            | CaughtUp(_)
            | Holding { .. }
            | Accepting { .. }
            | Lost { .. }) => stale(state),
        }
    }
}

impl Ownership {
    fn came_by(&self, transfer: TransferId) -> bool {
        self.predecessor.as_ref().is_some_and(|incoming| incoming.transfer == transfer)
    }

    fn held_again(&self) -> Vec<Effect> {
        let held = |incoming: &Incoming| Effect::TellHeld(incoming.clone(), self.token);
        self.predecessor.iter().map(held).collect()
    }
}

/// Whether an attempt is newer than one that was seen. Attempts of two incarnations do not compare: the
/// ring manager has refused incarnations that the ring does not list.
fn is_after(new: TransferId, seen: TransferId) -> bool {
    new.nonce != seen.nonce || new.number > seen.number
}

fn given_up(incoming: &Incoming) -> Handoff {
    Absent { last: Some(incoming.transfer), known: Some(incoming.token) }
}

fn restage(old: Incoming, new: Incoming) -> Step {
    let effects = vec![Effect::DiscardStaging(old), Effect::OpenStaging(new.clone())];
    Step::Moved(Staging(new), effects)
}
