//! Events of a vnode that is taken over, up to its predecessor's last word.
#![cfg_attr(
    not(tanodb_mutants),
    expect(unused_variables, reason = "the shipped protocol has no rule to ask after")
)]

use super::super::Handoff::{
    Absent, Accepting, CaughtUp, Fenced, Granting, Holding, Lost, Owner, Purging, Resuming,
    Retired, Sending, Staging,
};
use super::super::{Effect, Handoff, Ignored, Incoming, Ownership, Step};
use super::stale;
use crate::protocol::id::{Token, TransferId};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;

/// What a grant hands over.
pub(super) struct Given {
    pub(super) token: Token,
    pub(super) rebuilding: bool,
}

impl Handoff {
    pub(super) fn on_offered(self, new: Incoming) -> Step {
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
            // Another source with a higher token: the old one does not speak for the vnode any more. It has not
            // granted either, or this node would hold what it granted.
            Staging(old) | CaughtUp(old) | Holding { incoming: old, .. }
                if old.source != new.source && old.token < new.token =>
            {
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

    pub(super) fn on_fold_ended(self, transfer: TransferId) -> Step {
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

    pub(super) fn on_fence_matched(self, transfer: TransferId, fence: u64) -> Step {
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

    pub(super) fn on_granted(
        self,
        transfer: TransferId,
        granted_fence: u64,
        given: Given,
        rules: Rules,
    ) -> Step {
        let Given { token, rebuilding } = given;
        match self {
            #[cfg(tanodb_mutants)]
            Holding { incoming, fence: _ }
                if incoming.transfer == transfer && rules.breaks(Mutant::GrantOfAnyFence) =>
            {
                Step::Moved(Accepting { incoming, token, rebuilding }, vec![Effect::Persist])
            }
            #[cfg(tanodb_mutants)]
            CaughtUp(incoming)
                if incoming.transfer == transfer && rules.breaks(Mutant::GrantWithoutProof) =>
            {
                Step::Moved(Accepting { incoming, token, rebuilding }, vec![Effect::Persist])
            }
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

    pub(super) fn on_source_ended(self, transfer: TransferId) -> Step {
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

    pub(super) fn on_source_lost(self, transfer: TransferId, rules: Rules) -> Step {
        match self {
            #[cfg(tanodb_mutants)]
            state @ Holding { .. } if rules.breaks(Mutant::LostSourceEndsHolding) => {
                state.on_source_ended(transfer)
            }
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

    pub(super) fn on_predecessor_retired(self, transfer: TransferId) -> Step {
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

    /// What asks the predecessor for its last word, if that has not come.
    pub(in crate::protocol::handoff) fn held_again(&self) -> Vec<Effect> {
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
