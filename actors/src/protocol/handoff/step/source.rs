//! Events of a vnode that is given away.
#![cfg_attr(
    not(tanodb_mutants),
    expect(unused_variables, reason = "the shipped protocol has no rule to ask after")
)]

use super::super::Handoff::{
    Absent, Accepting, CaughtUp, Fenced, Granting, Holding, Lost, Owner, Purging, Resuming,
    Retired, Sending, Staging,
};
use super::super::{Effect, Handoff, Ignored, Outgoing, Ownership, Step};
use super::{stale, unexpected};
use crate::protocol::id::{NodeId, TransferId};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;

impl Handoff {
    pub(super) fn on_assigned(self, outgoing: Outgoing) -> Step {
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

    pub(super) fn on_fence_asked(self, transfer: TransferId, fence: u64, rules: Rules) -> Step {
        match self {
            Sending(ownership, outgoing) if outgoing.transfer == transfer => {
                let is_settled = ownership.predecessor.is_none();
                #[cfg(tanodb_mutants)]
                let is_settled = is_settled || rules.breaks(Mutant::FenceBeforeRetired);
                // Without its predecessor's word a second owner of the old token may still come to life.
                if !is_settled {
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

    pub(super) fn on_fence_confirmed(
        self,
        transfer: TransferId,
        confirmed: u64,
        rules: Rules,
    ) -> Step {
        match self {
            #[cfg(tanodb_mutants)]
            Fenced { ownership, outgoing, fence: _ }
                if outgoing.transfer == transfer && rules.breaks(Mutant::FenceOkOfAnyFence) =>
            {
                let granting = Granting { ownership, outgoing, fence: confirmed, durable: false };
                Step::Moved(granting, vec![Effect::Persist])
            }
            #[cfg(tanodb_mutants)]
            Fenced { ownership, outgoing, fence }
                if outgoing.transfer == transfer
                    && fence == confirmed
                    && rules.breaks(Mutant::GrantNotDurable) =>
            {
                let granting = Granting { ownership, outgoing, fence, durable: false };
                granting.on_persisted()
            }
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

    pub(super) fn on_fence_raised(self, transfer: TransferId, raised: u64) -> Step {
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

    pub(super) fn on_cancelled(self, transfer: TransferId, rules: Rules) -> Step {
        match self {
            #[cfg(tanodb_mutants)]
            Granting { ownership, outgoing, .. }
                if outgoing.transfer == transfer && rules.breaks(Mutant::CancelEndsGrant) =>
            {
                Step::Moved(Owner(ownership), vec![Effect::EndAttempt(outgoing)])
            }
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

    pub(super) fn on_grant_held(self, transfer: TransferId, rules: Rules) -> Step {
        match self {
            Granting { ownership, outgoing, durable: true, .. }
                if outgoing.transfer == transfer =>
            {
                let granted = ownership.token.granted();
                #[cfg(tanodb_mutants)]
                if rules.breaks(Mutant::PurgeBeforeReceipt) {
                    let finish = Effect::Finish(outgoing.clone(), granted);
                    let mut effects = vec![finish, Effect::TellRetired(outgoing.clone())];
                    effects.push(Effect::Purge(outgoing.clone()));
                    return Step::Moved(Purging { granted, outgoing }, effects);
                }
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

    pub(super) fn on_grant_declined(self, transfer: TransferId, by: &NodeId, rules: Rules) -> Step {
        match self {
            #[cfg(tanodb_mutants)]
            state @ Granting { .. } if rules.breaks(Mutant::DeclinedReadAsHeld) => {
                state.on_grant_held(transfer, rules)
            }
            #[cfg(tanodb_mutants)]
            Granting { ownership, outgoing, durable: true, .. }
                if outgoing.transfer == transfer
                    && outgoing.target.name == by.name
                    && rules.breaks(Mutant::LaterIncarnationDeclines) =>
            {
                let resumed = Ownership { token: ownership.token.resumed(), ..ownership };
                Step::Moved(Resuming(resumed), vec![Effect::EndAttempt(outgoing), Effect::Persist])
            }
            // A later incarnation of the target has lost what an earlier one may have accepted.
            Granting { ownership, outgoing, durable: true, .. }
                if outgoing.transfer == transfer && outgoing.target == *by =>
            {
                let token = ownership.token.resumed();
                #[cfg(tanodb_mutants)]
                let token = if rules.breaks(Mutant::DeclinedKeepsToken) {
                    ownership.token
                } else if rules.breaks(Mutant::DeclinedResumesOneHopOn) {
                    ownership.token.granted()
                } else {
                    token
                };
                let resumed = Ownership { token, ..ownership };
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

    pub(super) fn on_purged(self) -> Step {
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
}
