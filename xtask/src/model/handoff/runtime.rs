//! The runtime's stand-in: carries out what the shipped values answer, as the vnode actor, the sender and the
//! receiver do, and breaks the rules where a [`Broken`] says so.

use std::sync::Arc;

use tanodb_actors::protocol::handoff::{
    Effect, Event, Handoff, Ignored, Incoming, Outgoing, Route, Step,
};
use tanodb_actors::protocol::id::{Token, TransferId};
use tanodb_actors::protocol::rules::Rules;
use tanodb_actors::protocol::sender::{self, Sender};
use tanodb_actors::protocol::stream::Stream;

use super::Broken;
use super::world::{
    Change, End, Forward, Ground, Items, Letter, Link, OPERATIONS, Place, World, Wrong,
};

/// One step of the world, under way.
pub(crate) struct Turn<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) broken: Option<Broken>,
    pub(crate) rules: Rules,
    pub(crate) bounds: &'a super::Bounds,
    pub(crate) world: World,
}

impl Turn<'_> {
    pub(crate) fn is_broken(&self, how: Broken) -> bool {
        self.broken == Some(how)
    }

    pub(crate) fn wrong(&mut self, wrong: Wrong) {
        self.world.ghost.wrong.get_or_insert(wrong);
    }

    /// Puts a message under way.
    pub(crate) fn say(&mut self, letter: Letter) {
        if self.world.stale.contains(&letter) {
            Arc::make_mut(&mut self.world.stale).remove(&letter);
        }
        if !self.world.fresh.contains(&letter) {
            Arc::make_mut(&mut self.world.fresh).insert(letter);
        }
    }

    /// Feeds one event to a node's vnode and carries out what it answers.
    pub(crate) fn happened(&mut self, at: Place, event: Event) -> Result<(), Ignored> {
        let before = std::mem::replace(&mut self.world.node_mut(at).handoff, Handoff::absent());
        match before.step_under(event, self.rules) {
            Step::Moved(next, effects) => {
                self.world.node_mut(at).handoff = next;
                for effect in effects {
                    self.perform(at, effect);
                }
                Ok(())
            }
            Step::Stayed(state, ignored) => {
                self.world.node_mut(at).handoff = state;
                Err(ignored)
            }
        }
    }

    /// The vnode actor starts with what it finds, after it fell or after its node was restarted.
    pub(crate) fn starts(&mut self, at: Place, handoff: Handoff) {
        match handoff.restarted() {
            Step::Moved(next, effects) => {
                self.world.node_mut(at).handoff = next;
                for effect in effects {
                    self.perform(at, effect);
                }
            }
            Step::Stayed(state, _) => self.world.node_mut(at).handoff = state,
        }
    }

    fn perform(&mut self, at: Place, effect: Effect) {
        match effect {
            Effect::StartSender(outgoing) => self.start_sender(at, &outgoing),
            Effect::SendFence(outgoing, fence) => self.send_fence(at, &outgoing, fence),
            Effect::EndAttempt(outgoing) => self.end_attempt(at, &outgoing),
            Effect::Persist => self.persist(at),
            Effect::SendGrant { outgoing, fence, token, rebuilding } => {
                self.send_grant(at, outgoing, fence, token, rebuilding);
            }
            Effect::Finish(outgoing, _) => {
                let node = self.world.node_mut(at);
                if node.owned.is_some() {
                    node.receipt = Some(outgoing.transfer);
                }
                node.stream = None;
            }
            Effect::TellRetired(outgoing) => {
                let to = self.ground.place(&outgoing.target);
                self.say_retired(outgoing.transfer, to);
            }
            Effect::Purge(outgoing) => self.purge(at, outgoing.transfer),
            Effect::OpenStaging(_) => self.world.node_mut(at).staging = Some(Items::default()),
            Effect::DiscardStaging(_) => self.discard_staging(at),
            Effect::ConfirmFence(incoming, _) => self.compared(incoming.transfer, true),
            Effect::TakeOwnership(incoming, token) => self.take_ownership(at, &incoming, token),
            Effect::TellHeld(incoming, _) => {
                let (transfer, to) = (incoming.transfer, self.ground.place(&incoming.source));
                self.world.node_mut(at).says_held = Some(transfer);
                self.say(Letter::Held { transfer, to });
            }
            Effect::TellDeclined(transfer) => self.tell_declined(at, transfer),
            Effect::Resume(_) => {}
            Effect::FencePossible(_) => self.wake_sender(at, true),
            Effect::AskSource(incoming) => {
                self.world.node_mut(at).asks_after = Some(incoming.transfer);
            }
        }
    }

    // ---- the source ---------------------------------------------------------------------------------

    fn start_sender(&mut self, at: Place, outgoing: &Outgoing) {
        let transfer = outgoing.transfer;
        let target = self.ground.place(&outgoing.target);
        let stream = Stream::default().under(self.rules);
        let node = self.world.node_mut(at);
        if node.owned.is_none() {
            return;
        }
        node.stream = Some(stream);
        self.world.links.push(Arc::new(Link {
            transfer,
            source: at,
            target,
            sender: Some(Sender::Dialling),
            asked: None,
            receiver: End::Unread,
            forward: std::collections::VecDeque::new(),
            backward: std::collections::VecDeque::new(),
            is_cut: false,
        }));
        self.sender_happened(transfer, sender::Event::Connected);
    }

    fn send_fence(&mut self, at: Place, outgoing: &Outgoing, fence: u64) {
        let node = self.world.node_mut(at);
        let (Some(items), Some(stream)) = (node.owned, &mut node.stream) else { return };
        let changes = stream.take_tail();
        self.sender_fenced(outgoing.transfer, fence, changes, items);
    }

    fn end_attempt(&mut self, at: Place, outgoing: &Outgoing) {
        let transfer = outgoing.transfer;
        self.world.node_mut(at).stream = None;
        let stopped = sender::Event::Failed(sender::Failure::Stopped);
        self.sender_happened(transfer, stopped);
        let to = self.ground.place(&outgoing.target);
        self.say(Letter::Over { transfer, to });
    }

    fn send_grant(
        &mut self,
        at: Place,
        outgoing: Outgoing,
        fence: u64,
        token: Token,
        rebuilding: bool,
    ) {
        let Outgoing { transfer, target } = outgoing;
        self.say(Letter::Grant { transfer, to: target, fence, token, rebuilding });
        if self.is_broken(Broken::DeletesOnGrant) {
            self.world.node_mut(at).receipt = Some(transfer);
            self.purge(at, transfer);
        }
    }

    /// Says the grant again, if it is still to be answered.
    pub(crate) fn grant_again(&mut self, at: Place) {
        if let Handoff::Granting { ownership, outgoing, fence, durable: true } =
            &self.world.node(at).handoff
        {
            self.say(Letter::Grant {
                transfer: outgoing.transfer,
                to: outgoing.target.clone(),
                fence: *fence,
                token: ownership.token.granted(),
                rebuilding: ownership.rebuilding,
            });
        }
    }

    pub(crate) fn say_retired(&mut self, transfer: TransferId, to: Place) {
        if !self.is_broken(Broken::SaysNeverRetired) {
            self.say(Letter::Retired { transfer, to });
        }
    }

    fn purge(&mut self, at: Place, transfer: TransferId) {
        let node = self.world.node_mut(at);
        if node.owned.is_some() && node.receipt != Some(transfer) {
            return;
        }
        node.is_purging = true;
        if node.owned.is_some() && !self.world.ghost.proven.contains(&transfer) {
            self.wrong(Wrong::Deleted);
        }
    }

    pub(crate) fn wake_sender(&mut self, at: Place, is_fence_possible: bool) {
        let node = self.world.node_mut(at);
        let Some(stream) = &mut node.stream else { return };
        let wakes = stream.wakes_sender(is_fence_possible);
        let transfer = node.handoff.outgoing().map(|outgoing| outgoing.transfer);
        if let Some(transfer) = transfer.filter(|_| wakes) {
            self.sender_happened(transfer, sender::Event::MoreToRead);
        }
    }

    /// Makes the state durable; a later step ends that.
    fn persist(&mut self, at: Place) {
        let node = self.world.node_mut(at);
        node.writing = Some(node.handoff.clone());
        let is_granting = matches!(node.handoff, Handoff::Granting { .. });
        if is_granting && self.is_broken(Broken::GrantsBeforeDurable) {
            let _ = self.happened(at, Event::Persisted);
        }
    }

    /// The record is on the disk.
    pub(crate) fn written(&mut self, at: Place) {
        let node = self.world.node_mut(at);
        let Some(record) = node.writing.take() else { return };
        node.record = Some(record);
        let _ = self.happened(at, Event::Persisted);
    }

    // ---- the target ---------------------------------------------------------------------------------

    fn discard_staging(&mut self, at: Place) {
        let node = self.world.node_mut(at);
        node.staging = None;
        node.queued.clear();
        if let Some(transfer) = node.receiver.take() {
            self.stop_receiver(transfer);
        }
    }

    fn take_ownership(&mut self, at: Place, incoming: &Incoming, _token: Token) {
        let source = self.world.node(self.ground.place(&incoming.source));
        let given = source.owned.filter(|_| source.me == incoming.source);
        let node = self.world.node_mut(at);
        node.owned = node.staging.take();
        node.receiver = None;
        let is_proof = given.is_some() && given == node.owned;
        let queued = std::mem::take(&mut node.queued);
        if is_proof {
            self.world.ghost.proven.insert(incoming.transfer);
        }
        for operation in queued {
            self.admit(at, operation, true);
        }
    }

    fn tell_declined(&mut self, at: Place, transfer: TransferId) {
        let by = self.world.node(at).me.clone();
        let asker = Place::ALL.into_iter().find(|place| {
            let nonce = transfer.nonce;
            *place != at && self.ground.node(*place, 1).incarnation.nonce == nonce
        });
        if let Some(to) = asker {
            self.say(Letter::Declined { transfer, by, to });
        }
    }

    // ---- operations ---------------------------------------------------------------------------------

    /// Sends an operation where the vnode's state says it runs.
    pub(crate) fn admit(&mut self, at: Place, operation: usize, is_forwarded: bool) {
        match self.world.node(at).handoff.route_under(self.rules) {
            Route::Here(_) => self.execute(at, operation),
            Route::Forward(_) if self.is_broken(Broken::ServesFenced) => {
                self.execute(at, operation);
            }
            Route::Forward(outgoing) if !is_forwarded => {
                let (transfer, to) = (outgoing.transfer, self.ground.place(&outgoing.target));
                self.say(Letter::Execute { transfer, operation, to });
            }
            Route::Forward(_)
            | Route::Queue(_)
            | Route::Moved(..)
            | Route::Soon
            | Route::Elsewhere
            | Route::Lost(_) => {}
        }
    }

    /// Executes an operation and acknowledges it; the change joins the stream of a running attempt.
    fn execute(&mut self, at: Place, operation: usize) {
        let Some(change) = OPERATIONS.get(operation).copied() else { return };
        let position = self.ground.positions().find(|(key, _)| *key == change.key);
        let Some((_, position)) = position else { return };
        let is_dropped = change.value.is_none() && self.is_broken(Broken::ShipsNoDeletes);
        let node = self.world.node_mut(at);
        let Some(owned) = &mut node.owned else { return };
        owned.apply(change);
        if let Some(stream) = node.stream.as_mut().filter(|_| !is_dropped) {
            stream.note([(position.clone(), 1, change)]);
        }
        self.world.ghost.truth.apply(change);
        self.wake_sender(at, false);
    }

    /// Queues what a source has passed on, runs it, or leaves it to the client to ask again.
    pub(crate) fn forwarded(&mut self, at: Place, transfer: TransferId, operation: usize) {
        let route = self.world.node(at).handoff.route_under(self.rules);
        let is_awaited = route == Route::Queue(transfer);
        if is_awaited {
            self.world.node_mut(at).queued.push(operation);
        } else {
            self.admit(at, operation, true);
        }
    }

    /// Stores a part of the stream in what is staged.
    pub(crate) fn stored(&mut self, at: Place, transfer: TransferId, part: Forward) -> bool {
        let node = self.world.node_mut(at);
        if node.handoff.incoming().is_none_or(|incoming| incoming.transfer != transfer) {
            return false;
        }
        let Some(staging) = &mut node.staging else { return false };
        match part {
            Forward::Page { covered, items, is_last, .. } => {
                for key in covered {
                    staging.apply(Change { key, value: items.get(key) });
                }
                if is_last {
                    let _ = self.happened(at, Event::FoldEnded { transfer });
                }
            }
            Forward::Delta { changes, .. } => {
                for change in changes {
                    staging.apply(change);
                }
            }
            Forward::Offer(..) | Forward::Fence { .. } | Forward::Cancel => return false,
        }
        true
    }

    /// Compares what is staged with what the source holds.
    pub(crate) fn compare(&mut self, at: Place, transfer: TransferId, fence: u64, theirs: Items) {
        let node = self.world.node(at);
        if node.handoff.incoming().is_none_or(|incoming| incoming.transfer != transfer) {
            return;
        }
        let Some(mine) = node.staging else { return };
        let is_checked = !self.is_broken(Broken::ShipsNoDeletes);
        if is_checked && mine != theirs {
            self.wrong(Wrong::Differs);
            self.compared(transfer, false);
        } else if self.happened(at, Event::FenceMatched { transfer, fence }).is_err() {
            self.fail_receiver(transfer);
        }
    }

    /// The receiver has ended: unless the attempt is, too, the source is asked what became of it.
    pub(crate) fn receiver_ended(&mut self, at: Place, transfer: TransferId) {
        let node = self.world.node_mut(at);
        if node.handoff.incoming().is_some_and(|incoming| incoming.transfer == transfer)
            && node.receiver.take().is_some()
        {
            node.asks_after = Some(transfer);
        }
    }
}
