//! What can happen in the handoff model, in words, and what it does.

use std::fmt;
use std::sync::Arc;

use tanodb_actors::protocol::handoff::{Event, Handoff, Incoming, Outgoing};
use tanodb_actors::protocol::id::TransferId;

use super::runtime::Turn;
use super::world::{End, Letter, Place, SECOND_RING, World};
use super::{Broken, HandoffModel, Messages, SecondRing};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The client's next operation reaches a node.
    Operate(Place),
    /// The ring manager begins an attempt.
    Begin(Place),
    /// The vnode answers its sender.
    AnswerSender(TransferId),
    ReceiverHears(TransferId),
    SenderHears(TransferId),
    /// A message arrives.
    Hear(Letter),
    /// A message that was heard or lost arrives once more.
    HearAgain(Letter),
    Lose(Letter),
    /// A grant without an answer is sent again.
    GrantAgain(Place),
    HeldAgain(Place),
    /// A target without a connection hears from its source that the attempt is over.
    AskSource(Place),
    Written(Place),
    Purged(Place),
    /// A target sees a later life of its source.
    SourceLost(Place),
    /// A source sees a later life of its target.
    TargetLost(Place),
    Decide,
    LearnRing(Place),
    Cancel(Place),
    Cut(TransferId),
    Fall(Place),
    Wipe(Place),
    Restart(Place),
}

impl Action {
    /// Whether it happens in the end by itself, once nothing goes wrong any more.
    pub(crate) fn is_progress(&self) -> bool {
        match self {
            Self::Begin(_)
            | Self::AnswerSender(_)
            | Self::ReceiverHears(_)
            | Self::SenderHears(_)
            | Self::Hear(_)
            | Self::GrantAgain(_)
            | Self::HeldAgain(_)
            | Self::AskSource(_)
            | Self::Written(_)
            | Self::Purged(_)
            | Self::SourceLost(_)
            | Self::TargetLost(_)
            | Self::LearnRing(_) => true,
            Self::Operate(_)
            | Self::HearAgain(_)
            | Self::Lose(_)
            | Self::Decide
            | Self::Cancel(_)
            | Self::Cut(_)
            | Self::Fall(_)
            | Self::Wipe(_)
            | Self::Restart(_) => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operate(at) => write!(f, "the client's next operation reaches {at}"),
            Self::Begin(at) => write!(f, "{at} begins an attempt"),
            Self::AnswerSender(id) => write!(f, "the source answers the sender of {id}"),
            Self::ReceiverHears(id) => write!(f, "the receiver of {id} reads what came next"),
            Self::SenderHears(id) => write!(f, "the sender of {id} reads what came next"),
            Self::Hear(letter) => write!(f, "{letter} arrives"),
            Self::HearAgain(letter) => write!(f, "{letter} arrives late or again"),
            Self::Lose(letter) => write!(f, "{letter} is lost"),
            Self::GrantAgain(at) => write!(f, "{at} sends its grant again"),
            Self::HeldAgain(at) => write!(f, "{at} says again that it holds the grant"),
            Self::AskSource(at) => write!(f, "{at} asks its source and hears that it is over"),
            Self::Written(at) => write!(f, "the record of {at} is durable"),
            Self::Purged(at) => write!(f, "{at} has deleted its old copy"),
            Self::SourceLost(at) => write!(f, "{at} sees that its source's life is over"),
            Self::TargetLost(at) => write!(f, "{at} sees that its target's life is over"),
            Self::Decide => f.write_str("a ring is decided that wants the partition at C"),
            Self::LearnRing(at) => write!(f, "{at} learns of that ring"),
            Self::Cancel(at) => write!(f, "the attempt of {at} is cancelled"),
            Self::Cut(id) => write!(f, "the connection of {id} is cut"),
            Self::Fall(at) => write!(f, "the vnode of {at} falls and is started again"),
            Self::Wipe(at) => write!(f, "{at} loses its items and comes back in another life"),
            Self::Restart(at) => write!(f, "{at} is restarted with its disk"),
        }
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant { transfer, to, token, .. } => {
                write!(f, "Grant of {transfer} (token {token}) to {to}")
            }
            Self::Held { transfer, to } => write!(f, "GrantHeld of {transfer} to {to}"),
            Self::Declined { transfer, by, to } => {
                write!(f, "GrantDeclined of {transfer} by {by} to {to}")
            }
            Self::Retired { transfer, to } => write!(f, "GrantRetired of {transfer} to {to}"),
            Self::Over { transfer, to } => write!(f, "TransferOver of {transfer} to {to}"),
            Self::Execute { transfer, operation, to } => {
                write!(f, "operation {} passed on under {transfer} to {to}", operation + 1)
            }
        }
    }
}

/// All that can happen next.
pub(crate) fn possible(model: &HandoffModel, world: &World, actions: &mut Vec<Action>) {
    for place in Place::ALL {
        of_node(model, world, place, actions);
    }
    for link in &world.links {
        let id = link.transfer;
        if link.asked.is_some() {
            actions.push(Action::AnswerSender(id));
        }
        let is_receiver_gone = link.receiver == End::Closed || link.is_cut;
        if link.sender.is_some() && (is_receiver_gone || !link.backward.is_empty()) {
            actions.push(Action::SenderHears(id));
        }
        let is_sender_gone = link.sender.is_none() || link.is_cut;
        if link.receiver != End::Closed && (is_sender_gone || !link.forward.is_empty()) {
            actions.push(Action::ReceiverHears(id));
        }
        if world.left.cuts > 0 && !link.is_cut {
            actions.push(Action::Cut(id));
        }
    }
    for letter in world.fresh.iter() {
        actions.push(Action::Hear(letter.clone()));
        if model.bounds.messages != Messages::Anyhow {
            actions.push(Action::Lose(letter.clone()));
        }
    }
    actions.extend(world.stale.iter().cloned().map(Action::HearAgain));
    if model.bounds.second_ring != SecondRing::Never && !world.is_decided {
        actions.push(Action::Decide);
    }
}

fn of_node(model: &HandoffModel, world: &World, at: Place, actions: &mut Vec<Action>) {
    let (node, left) = (world.node(at), &world.left);
    let takes_commands = match &node.handoff {
        Handoff::Owner(_)
        | Handoff::Sending(..)
        | Handoff::Fenced { .. }
        | Handoff::Granting { .. } => true,
        Handoff::Absent { .. }
        | Handoff::Resuming(_)
        | Handoff::Retired { .. }
        | Handoff::Purging { .. }
        | Handoff::Staging(_)
        | Handoff::CaughtUp(_)
        | Handoff::Holding { .. }
        | Handoff::Accepting { .. }
        | Handoff::Lost { .. } => false,
    };
    let is_sending = node.stream.is_some();
    let attempts = [
        (left.operations > 0 && takes_commands, Action::Operate(at)),
        (may_begin(world, at), Action::Begin(at)),
        (node.writing.is_some(), Action::Written(at)),
        (node.is_purging, Action::Purged(at)),
        (is_grant_due(world, at), Action::GrantAgain(at)),
        (is_held_due(world, at), Action::HeldAgain(at)),
        (may_ask_source(model, world, at), Action::AskSource(at)),
        (is_source_lost(model, world, at), Action::SourceLost(at)),
        (is_target_lost(model, world, at), Action::TargetLost(at)),
        (world.is_decided && node.epoch < SECOND_RING, Action::LearnRing(at)),
        (left.cancels > 0 && is_sending, Action::Cancel(at)),
        (left.falls > 0 && node.handoff != Handoff::absent(), Action::Fall(at)),
        (left.wipes > 0 && !node.is_unreadmitted, Action::Wipe(at)),
        (left.restarts > 0 && !node.is_unreadmitted, Action::Restart(at)),
    ];
    actions.extend(attempts.into_iter().filter(|(can, _)| *can).map(|(_, action)| action));
}

fn may_begin(world: &World, at: Place) -> bool {
    let node = world.node(at);
    let target = Place::desired(node.epoch);
    let is_owner = matches!(node.handoff, Handoff::Owner(_));
    let agree = Place::ALL.into_iter().all(|place| world.node(place).epoch == node.epoch);
    is_owner && agree && target != at && world.is_listed(at) && world.is_listed(target)
}

/// Whose `Retired` an owner waits for.
fn predecessor_of(handoff: &Handoff) -> Option<&Incoming> {
    match handoff {
        Handoff::Owner(ownership) | Handoff::Sending(ownership, _) => {
            ownership.predecessor.as_ref()
        }
        Handoff::Absent { .. }
        | Handoff::Fenced { .. }
        | Handoff::Granting { .. }
        | Handoff::Resuming(_)
        | Handoff::Retired { .. }
        | Handoff::Purging { .. }
        | Handoff::Staging(_)
        | Handoff::CaughtUp(_)
        | Handoff::Holding { .. }
        | Handoff::Accepting { .. }
        | Handoff::Lost { .. } => None,
    }
}

/// What a source would say again: with lossless messages, nothing.
fn is_grant_due(world: &World, at: Place) -> bool {
    let Handoff::Granting { outgoing, durable: true, .. } = &world.node(at).handoff else {
        return false;
    };
    let is_this = |letter: &Letter| match letter {
        Letter::Grant { transfer, .. } => *transfer == outgoing.transfer,
        Letter::Held { .. }
        | Letter::Declined { .. }
        | Letter::Retired { .. }
        | Letter::Over { .. }
        | Letter::Execute { .. } => false,
    };
    !world.fresh.iter().any(is_this)
}

fn is_held_due(world: &World, at: Place) -> bool {
    let node = world.node(at);
    let Some(incoming) = predecessor_of(&node.handoff) else { return false };
    let is_this = |letter: &Letter| match letter {
        Letter::Held { transfer, .. } => *transfer == incoming.transfer,
        Letter::Grant { .. }
        | Letter::Declined { .. }
        | Letter::Retired { .. }
        | Letter::Over { .. }
        | Letter::Execute { .. } => false,
    };
    node.says_held == Some(incoming.transfer) && !world.fresh.iter().any(is_this)
}

fn may_ask_source(model: &HandoffModel, world: &World, at: Place) -> bool {
    let node = world.node(at);
    let Some(incoming) = node.handoff.incoming() else { return false };
    let source = world.node(model.ground.place(&incoming.source));
    let runs = source.handoff.outgoing().is_some_and(|it| it.transfer == incoming.transfer);
    let asks = node.asks_after == Some(incoming.transfer) && node.receiver.is_none();
    asks && source.me == incoming.source && !runs
}

fn is_source_lost(model: &HandoffModel, world: &World, at: Place) -> bool {
    let Some(incoming) = world.node(at).handoff.incoming() else { return false };
    world.node(model.ground.place(&incoming.source)).me != incoming.source
}

fn is_target_lost(model: &HandoffModel, world: &World, at: Place) -> bool {
    let node = world.node(at);
    let Some(outgoing) = node.handoff.outgoing().filter(|_| node.stream.is_some()) else {
        return false;
    };
    world.node(model.ground.place(&outgoing.target)).me != outgoing.target
}

impl Turn<'_> {
    /// Does what the action says.
    pub(crate) fn take(&mut self, action: Action) {
        match action {
            Action::Operate(at) => self.operate(at),
            Action::Begin(at) => self.begin(at),
            Action::AnswerSender(transfer) => self.answer_sender(transfer),
            Action::ReceiverHears(transfer) => self.receiver_hears(transfer),
            Action::SenderHears(transfer) => self.sender_hears(transfer),
            Action::Hear(letter) => {
                let is_spent = self.bounds.messages != Messages::Anyhow;
                if is_spent || matches!(letter, Letter::Execute { .. }) {
                    self.spend(&letter);
                }
                self.hear(letter);
            }
            Action::HearAgain(letter) => self.hear(letter),
            Action::Lose(letter) => self.spend(&letter),
            Action::GrantAgain(at) => self.grant_again(at),
            Action::HeldAgain(at) => self.held_again(at),
            Action::AskSource(at) => {
                self.source_says(at, |transfer| Event::SourceEnded { transfer });
            }
            Action::Written(at) => self.written(at),
            Action::Purged(at) => self.purged(at),
            Action::SourceLost(at) => {
                self.source_says(at, |transfer| Event::SourceLost { transfer });
            }
            Action::TargetLost(at) => self.cancel(at),
            Action::Decide => {
                self.world.is_decided = true;
                if self.bounds.second_ring == SecondRing::AtOnce {
                    Place::ALL.into_iter().for_each(|at| self.learn_ring(at));
                }
            }
            Action::LearnRing(at) => self.learn_ring(at),
            Action::Cancel(at) => {
                self.world.left.cancels -= 1;
                self.cancel(at);
            }
            Action::Cut(transfer) => self.cut(transfer),
            Action::Fall(at) => {
                self.world.left.falls -= 1;
                self.fall(at);
            }
            Action::Wipe(at) => {
                self.world.left.wipes -= 1;
                self.wipe(at);
            }
            Action::Restart(at) => {
                self.world.left.restarts -= 1;
                self.restart(at);
            }
        }
    }

    fn held_again(&mut self, at: Place) {
        if let Some(incoming) = predecessor_of(&self.world.node(at).handoff) {
            let (transfer, to) = (incoming.transfer, self.ground.place(&incoming.source));
            self.say(Letter::Held { transfer, to });
        }
    }

    /// A target learns something of its source.
    fn source_says(&mut self, at: Place, what: impl FnOnce(TransferId) -> Event) {
        let incoming = self.world.node(at).handoff.incoming();
        if let Some(transfer) = incoming.map(|incoming| incoming.transfer) {
            let _ = self.happened(at, what(transfer));
        }
    }

    fn purged(&mut self, at: Place) {
        let node = self.world.node_mut(at);
        node.is_purging = false;
        node.owned = None;
        if let Some(transfer) = node.receipt.take() {
            self.world.ghost.proven.remove(&transfer);
        }
        let _ = self.happened(at, Event::Purged);
    }

    fn cut(&mut self, transfer: TransferId) {
        self.world.left.cuts -= 1;
        if let Some(link) = self.world.link_mut(transfer) {
            link.is_cut = true;
            link.forward.clear();
            link.backward.clear();
        }
    }

    /// A message is heard or lost; unless its link delivers once, it may be heard again.
    fn spend(&mut self, letter: &Letter) {
        Arc::make_mut(&mut self.world.fresh).remove(letter);
        let is_kept = self.bounds.messages == Messages::Told;
        if is_kept && !matches!(letter, Letter::Execute { .. }) {
            Arc::make_mut(&mut self.world.stale).insert(letter.clone());
        }
    }

    fn operate(&mut self, at: Place) {
        let all = self.bounds.left().operations;
        let operation = all - self.world.left.operations;
        self.world.left.operations -= 1;
        self.admit(at, operation, false);
    }

    fn begin(&mut self, at: Place) {
        let node = self.world.node_mut(at);
        node.attempts += 1;
        let transfer = TransferId { nonce: node.me.incarnation.nonce, number: node.attempts };
        let target = self.ground.node(Place::desired(node.epoch), 1);
        let _ = self.happened(at, Event::Assigned(Outgoing { transfer, target }));
    }

    fn cancel(&mut self, at: Place) {
        let outgoing = self.world.node(at).handoff.outgoing();
        let Some(transfer) = outgoing.map(|outgoing| outgoing.transfer) else { return };
        if self.is_broken(Broken::GivesUpGranting)
            && let Handoff::Granting { ownership, .. } = &self.world.node(at).handoff
        {
            self.world.node_mut(at).handoff = Handoff::Owner(ownership.clone());
            return;
        }
        let _ = self.happened(at, Event::Cancelled { transfer });
    }

    fn learn_ring(&mut self, at: Place) {
        let node = self.world.node_mut(at);
        node.epoch = SECOND_RING;
        let wanted = self.ground.node(Place::desired(SECOND_RING), 1).name;
        let outgoing = self.world.node(at).handoff.outgoing();
        if outgoing.is_some_and(|outgoing| outgoing.target.name != wanted) {
            self.cancel(at);
        }
    }

    fn hear(&mut self, letter: Letter) {
        match letter {
            Letter::Grant { transfer, to, fence, token, rebuilding } => {
                let at = self.ground.place(&to);
                // Only the life that was granted to may answer.
                if self.world.node(at).me == to {
                    let granted = Event::Granted { transfer, fence, token, rebuilding };
                    let _ = self.happened(at, granted);
                }
            }
            Letter::Held { transfer, to: at } => {
                let _ = self.happened(at, Event::GrantHeld { transfer });
                if self.world.node(at).handoff.has_retired(transfer) {
                    let asker = self.target_of_held(at, transfer);
                    self.say_retired(transfer, asker);
                }
            }
            Letter::Declined { transfer, by, to } => {
                let _ = self.happened(to, Event::GrantDeclined { transfer, by });
            }
            Letter::Retired { transfer, to } => {
                let _ = self.happened(to, Event::PredecessorRetired { transfer });
            }
            Letter::Over { transfer, to } => {
                let _ = self.happened(to, Event::SourceEnded { transfer });
            }
            Letter::Execute { transfer, operation, to } => {
                self.forwarded(to, transfer, operation);
            }
        }
    }

    /// Who says that it holds a grant: whoever got it by that attempt, or else the next in the chain.
    fn target_of_held(&self, at: Place, transfer: TransferId) -> Place {
        let came_by = |place: &Place| {
            let predecessor = predecessor_of(&self.world.node(*place).handoff);
            predecessor.is_some_and(|incoming| incoming.transfer == transfer)
        };
        let next = if at == Place::A { Place::B } else { Place::C };
        Place::ALL.into_iter().find(came_by).unwrap_or(next)
    }
}
