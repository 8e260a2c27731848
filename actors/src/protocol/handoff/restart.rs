//! What a new start makes of where a vnode stood: of its actor, whose containers are kept, or of the whole
//! node, which has lost them.

use super::{Effect, Event, Handoff, Step};
use crate::protocol::id::Token;
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;

impl Handoff {
    /// The state after the vnode actor ended and was started again with its containers: an attempt that
    /// needed the actor's stream is over, a grant is not.
    pub fn restarted(self) -> Step {
        match &self {
            Self::Sending(ownership, outgoing) | Self::Fenced { ownership, outgoing, .. } => {
                let transfer = outgoing.transfer;
                // Who asked the predecessor for its last word has ended, too.
                let asks_again = ownership.held_again();
                match self.step(Event::Cancelled { transfer }) {
                    Step::Moved(next, mut effects) => {
                        effects.extend(asks_again);
                        Step::Moved(next, effects)
                    }
                    stayed @ Step::Stayed(..) => stayed,
                }
            }
            Self::Granting { ownership, outgoing, fence, durable: true } => {
                let effect = Effect::SendGrant {
                    outgoing: outgoing.clone(),
                    fence: *fence,
                    token: ownership.token.granted(),
                    rebuilding: ownership.rebuilding,
                };
                Step::Moved(self, vec![effect])
            }
            Self::Retired { .. }
            | Self::Resuming(_)
            | Self::Accepting { .. }
            | Self::Granting { durable: false, .. } => Step::Moved(self, vec![Effect::Persist]),
            Self::Purging { outgoing, .. } => {
                let effect = Effect::Purge(outgoing.clone());
                Step::Moved(self, vec![effect])
            }
            Self::Staging(incoming) | Self::CaughtUp(incoming) => {
                let transfer = incoming.transfer;
                self.step(Event::SourceEnded { transfer })
            }
            Self::Owner(ownership) => {
                let asks_again = ownership.held_again();
                Step::Moved(self, asks_again)
            }
            // The source may have cancelled, and its word may be lost: nobody else would say it again.
            Self::Holding { incoming, .. } => {
                let effect = Effect::AskSource(incoming.clone());
                Step::Moved(self, vec![effect])
            }
            Self::Absent { .. } | Self::Lost { .. } => Step::Moved(self, vec![]),
        }
    }

    /// The token under which a life that ended in this state spoke for the vnode; `None` if it did not. Until
    /// ownership is durable it did not, and from the moment the grant was answered it did not any more.
    #[must_use]
    pub fn spoke_under(&self) -> Option<Token> {
        match self {
            Self::Owner(_)
            | Self::Sending(..)
            | Self::Fenced { .. }
            | Self::Granting { .. }
            | Self::Resuming(_)
            | Self::Accepting { .. }
            | Self::Lost { .. } => self.token(),
            Self::Absent { .. }
            | Self::Retired { .. }
            | Self::Purging { .. }
            | Self::Staging(_)
            | Self::CaughtUp(_)
            | Self::Holding { .. } => None,
        }
    }

    /// A vnode for which an earlier life of this node spoke under `token`, and whose items went with that life.
    /// It answers that they are lost: an empty store that says `not found` would be believed.
    #[must_use]
    #[cfg_attr(not(tanodb_mutants), expect(unused_variables, reason = "all rules are kept"))]
    pub fn lost_with(token: Token, rules: Rules) -> Self {
        #[cfg(tanodb_mutants)]
        if rules.breaks(Mutant::LossForgotten) {
            return Self::owner(token);
        }
        Self::Lost { token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::handoff::{Incoming, Outgoing, Ownership, Route};
    use crate::protocol::id::{Epoch, Incarnation, NodeId, NodeName, TransferId};

    fn token(hop: u32) -> Token {
        Token { epoch: Epoch(1), hop }
    }

    fn node(name: &str) -> NodeId {
        let name = NodeName::new(&format!("{name}@host")).unwrap();
        NodeId { name, incarnation: Incarnation { boot: 1, nonce: 7 } }
    }

    #[test]
    fn what_a_life_spoke_for_is_lost_with_it_and_what_it_gave_away_is_not() {
        let ownership = Ownership { token: token(4), predecessor: None, rebuilding: false };
        let transfer = TransferId { nonce: 1, number: 1 };
        let outgoing = Outgoing { transfer, target: node("target") };
        let granting =
            Handoff::Granting { ownership, outgoing: outgoing.clone(), fence: 5, durable: true };
        assert_eq!(granting.spoke_under(), Some(token(4)), "the grant may never have arrived");
        let retired = Handoff::Retired { granted: token(5), outgoing };
        assert_eq!(retired.spoke_under(), None);
        let incoming = Incoming { transfer, source: node("source"), token: token(4) };
        let holding = Handoff::Holding { incoming: incoming.clone(), fence: 5 };
        assert_eq!(holding.spoke_under(), None);
        let accepting = Handoff::Accepting { incoming, token: token(5), rebuilding: false };
        assert_eq!(accepting.spoke_under(), Some(token(5)), "ownership was on its way to the disk");
    }

    #[test]
    fn an_owner_that_falls_while_it_sends_asks_its_predecessor_again() {
        let transfer = TransferId { nonce: 1, number: 1 };
        let from = Incoming { transfer, source: node("source"), token: token(4) };
        let predecessor = Some(from.clone());
        let ownership = Ownership { token: token(5), predecessor, rebuilding: false };
        let next = TransferId { nonce: 2, number: 1 };
        let outgoing = Outgoing { transfer: next, target: node("target") };
        let sending = Handoff::Sending(ownership.clone(), outgoing.clone());
        let effects = vec![Effect::EndAttempt(outgoing), Effect::TellHeld(from, token(5))];
        assert_eq!(sending.restarted(), Step::Moved(Handoff::Owner(ownership), effects));
    }

    #[test]
    fn a_target_that_falls_while_it_holds_asks_its_source_again() {
        let transfer = TransferId { nonce: 1, number: 1 };
        let incoming = Incoming { transfer, source: node("source"), token: token(4) };
        let holding = Handoff::Holding { incoming: incoming.clone(), fence: 5 };
        let effects = vec![Effect::AskSource(incoming)];
        assert_eq!(holding.clone().restarted(), Step::Moved(holding, effects));
    }

    #[test]
    fn a_lost_vnode_says_so_under_its_token() {
        let lost = Handoff::lost_with(token(4), Rules::default());
        assert_eq!(lost.route(), Route::Lost(token(4)));
    }

    #[cfg(tanodb_mutants)]
    #[test]
    fn a_vnode_that_forgets_its_loss_is_noticed() {
        let empty = Handoff::lost_with(token(4), Rules::broken_by(Mutant::LossForgotten));
        assert_eq!(empty.route(), Route::Here(token(4)));
    }
}
