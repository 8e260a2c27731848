//! Where a command runs: by the state of the vnode it came to, and by the token its coordinator believes in.
//!
//! Every command for an owner names the token its coordinator believes in. An owner executes only what
//! names its own token: whoever names an older one learns of the newer, whoever names a newer one knows
//! more than this node. Not decided here: whether there is room, and what the author chooses during a handoff.
#![cfg_attr(
    not(tanodb_mutants),
    expect(unused_variables, reason = "the shipped protocol has no rule to ask after")
)]

use super::{Handoff, Outgoing};
use crate::protocol::gossip::Held;
use crate::protocol::id::{NodeId, Token, TransferId};
use crate::protocol::rules::Rules;

#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;

/// Where a command runs while the vnode is in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Here, under this token.
    Here(Token),
    /// At the target of the transfer that fenced it.
    Forward(Outgoing),
    /// Here, once the grant has come; only what the source forwards under this transfer.
    Queue(TransferId),
    /// At whoever holds this token.
    Moved(Token, NodeId),
    /// Shortly, here: a record is being made durable.
    Soon,
    /// Not here; the node's table of tokens knows more.
    Elsewhere,
    /// Nowhere until this node is readmitted.
    Lost(Token),
}

/// What a command says of itself that decides whether it runs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The token its coordinator believes in.
    pub believed: Token,
    /// The transfer under which a fenced source has passed it on, if one has.
    pub forwarded: Option<TransferId>,
}

/// What becomes of a command that came to a vnode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is executed here.
    Execute,
    /// A transfer is under way: the author chooses whether it is executed here.
    AuthorChooses,
    /// It is passed on, once, to the target of the fence.
    Forward(Outgoing),
    /// It waits here for the grant.
    Queue,
    /// It is not executed, and its coordinator is told why.
    Refuse(Refused),
}

/// Why a command is not executed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// This node holds the higher of the two tokens.
    Moved(Token, NodeId),
    /// The coordinator knows a higher token than this node, which knows this one.
    Behind(Token),
    /// It may be asked again shortly.
    Retry,
    /// The items were lost with an earlier life of this node.
    Lost,
}

impl Handoff {
    /// Where a command runs.
    #[must_use]
    pub fn route(&self) -> Route {
        self.route_under(Rules::default())
    }

    /// The same by given rules.
    #[must_use]
    pub fn route_under(&self, rules: Rules) -> Route {
        match self {
            #[cfg(tanodb_mutants)]
            Self::Fenced { ownership, .. } if rules.breaks(Mutant::ExecuteWhileFenced) => {
                Route::Here(ownership.token)
            }
            #[cfg(tanodb_mutants)]
            Self::Purging { granted, .. } | Self::Absent { known: Some(granted), .. }
                if rules.breaks(Mutant::EmptyStoreAnswers) =>
            {
                Route::Here(Token { hop: granted.hop.saturating_sub(1), ..*granted })
            }
            Self::Owner(ownership) | Self::Sending(ownership, _) => Route::Here(ownership.token),
            Self::Fenced { outgoing, .. } | Self::Granting { outgoing, .. } => {
                Route::Forward(outgoing.clone())
            }
            Self::Staging(incoming)
            | Self::CaughtUp(incoming)
            | Self::Holding { incoming, .. }
            | Self::Accepting { incoming, .. } => Route::Queue(incoming.transfer),
            Self::Retired { granted, outgoing } | Self::Purging { granted, outgoing } => {
                Route::Moved(*granted, outgoing.target.clone())
            }
            Self::Resuming(_) => Route::Soon,
            Self::Absent { .. } => Route::Elsewhere,
            Self::Lost { token } => Route::Lost(*token),
        }
    }

    /// What becomes of a command. `known` is the highest token this node has heard of for the vnode.
    #[must_use]
    pub fn admit(
        &self,
        asked: Asked,
        known: Option<&Held>,
        me: &NodeId,
        rules: Rules,
    ) -> Admission {
        match self.route_under(rules) {
            Route::Here(token) => self.admit_here(token, asked, me),
            Route::Forward(outgoing) if asked.forwarded.is_none() => Admission::Forward(outgoing),
            Route::Queue(transfer) if asked.forwarded == Some(transfer) => Admission::Queue,
            Route::Moved(token, holder) if asked.believed < token => {
                Admission::Refuse(Refused::Moved(token, holder))
            }
            Route::Lost(_) => Admission::Refuse(Refused::Lost),
            Route::Queue(_) | Route::Elsewhere => {
                Admission::Refuse(elsewhere(asked.believed, known, me))
            }
            Route::Forward(_) | Route::Moved(..) | Route::Soon => Admission::Refuse(Refused::Retry),
        }
    }

    fn admit_here(&self, token: Token, asked: Asked, me: &NodeId) -> Admission {
        let Asked { believed, forwarded } = asked;
        if forwarded.is_some() {
            // It was admitted at the source, under the token that became this one.
            if believed >= token {
                return Admission::Refuse(Refused::Retry);
            }
        } else if believed < token {
            return Admission::Refuse(Refused::Moved(token, me.clone()));
        } else if believed > token {
            return Admission::Refuse(Refused::Behind(token));
        }
        match self {
            Self::Sending(..) => Admission::AuthorChooses,
            Self::Absent { .. }
            | Self::Owner(_)
            | Self::Fenced { .. }
            | Self::Granting { .. }
            | Self::Resuming(_)
            | Self::Retired { .. }
            | Self::Purging { .. }
            | Self::Staging(_)
            | Self::CaughtUp(_)
            | Self::Holding { .. }
            | Self::Accepting { .. }
            | Self::Lost { .. } => Admission::Execute,
        }
    }
}

/// What to say of a vnode that this node does not speak for.
fn elsewhere(believed: Token, known: Option<&Held>, me: &NodeId) -> Refused {
    match known {
        Some(held) if held.token > believed && held.holder != *me => {
            Refused::Moved(held.token, held.holder.clone())
        }
        Some(held) if held.token < believed => Refused::Behind(held.token),
        Some(_) | None => Refused::Retry,
    }
}

#[cfg(test)]
mod tests;
