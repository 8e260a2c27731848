//! Both ends of a transfer's connection: the shipped sender and receiver, and what travels between them.

use tanodb_actors::protocol::handoff::{Event, Handoff, Ignored};
use tanodb_actors::protocol::id::TransferId;
use tanodb_actors::protocol::receiver::{self, Receiver};
use tanodb_actors::protocol::sender::{self, Failure};
use tanodb_actors::protocol::stream::Next;

use super::runtime::Turn;
use super::world::{Asked, Backward, Change, End, Forward, Items, Link, Place, Wrong};

/// Every part is counted as one byte, so that the window is never full.
const PART_BYTES: u64 = 1;

impl Turn<'_> {
    fn with_link<T>(&mut self, transfer: TransferId, f: impl FnOnce(&mut Link) -> T) -> Option<T> {
        self.world.link_mut(transfer).map(f)
    }

    fn source_of(&self, transfer: TransferId) -> Option<Place> {
        self.world.link(transfer).map(|link| link.source)
    }

    fn target_of(&self, transfer: TransferId) -> Option<Place> {
        self.world.link(transfer).map(|link| link.target)
    }

    fn send_forward(&mut self, transfer: TransferId, frame: Forward) {
        self.with_link(transfer, |link| {
            if !link.is_cut {
                link.forward.push_back(frame);
            }
        });
    }

    fn send_backward(&mut self, transfer: TransferId, frame: Backward) {
        self.with_link(transfer, |link| {
            if !link.is_cut {
                link.backward.push_back(frame);
            }
        });
    }

    // ---- the sender's end ---------------------------------------------------------------------------

    /// Feeds an event to the sender of an attempt, if there still is one, without anything to send.
    pub(crate) fn sender_happened(&mut self, transfer: TransferId, event: sender::Event) {
        self.sender_step(transfer, event, None, None);
    }

    /// The vnode is fenced; `changes` are the tail.
    pub(crate) fn sender_fenced(
        &mut self,
        transfer: TransferId,
        fence: u64,
        changes: Vec<Change>,
        items: Items,
    ) {
        let tail_bytes = if changes.is_empty() { 0 } else { PART_BYTES };
        let tail = (!changes.is_empty()).then_some(Forward::Delta { sequence: fence, changes });
        let fenced = sender::Event::Fenced { fence, tail_bytes };
        self.sender_step(transfer, fenced, tail, Some(Forward::Fence { fence, items }));
    }

    fn sender_step(
        &mut self,
        transfer: TransferId,
        event: sender::Event,
        mut part: Option<Forward>,
        mut fence: Option<Forward>,
    ) {
        let Some(sender) = self.world.link_mut(transfer).and_then(|link| link.sender.take()) else {
            return;
        };
        let step = sender.step_under(event, self.rules);
        self.with_link(transfer, |link| link.sender = Some(step.next));
        for effect in step.effects {
            match effect {
                sender::Effect::SendOffer => self.send_offer(transfer),
                sender::Effect::LogStart => {}
                sender::Effect::ReadPart { bytes_max: _ } => {
                    self.with_link(transfer, |link| link.asked = Some(Asked::Part));
                }
                sender::Effect::AskFence { tail_bytes_max: _ } => {
                    self.with_link(transfer, |link| link.asked = Some(Asked::Fence));
                }
                sender::Effect::SendPart => {
                    if let Some(part) = part.take() {
                        self.send_forward(transfer, part);
                    }
                }
                sender::Effect::SendFence => {
                    if let Some(fence) = fence.take() {
                        self.send_forward(transfer, fence);
                    }
                }
                // Both sides hold the same at the fence: see `Wrong::Differs`.
                sender::Effect::PlanRepair => {}
                sender::Effect::ReportConfirmed(fence) => self.sender_confirmed(transfer, fence),
                sender::Effect::ReportEnded(_) => {
                    self.send_forward(transfer, Forward::Cancel);
                    self.sender_ended(transfer);
                }
            }
        }
    }

    fn send_offer(&mut self, transfer: TransferId) {
        let Some(source) = self.source_of(transfer) else { return };
        let node = self.world.node(source);
        let Handoff::Sending(ownership, outgoing) = &node.handoff else { return };
        let incoming = tanodb_actors::protocol::handoff::Incoming {
            transfer,
            source: node.me.clone(),
            token: ownership.token,
        };
        let offer = Forward::Offer(incoming, node.epoch, outgoing.target.clone());
        self.send_forward(transfer, offer);
    }

    fn sender_confirmed(&mut self, transfer: TransferId, fence: u64) {
        let Some(source) = self.source_of(transfer) else { return };
        self.close_sender(transfer);
        if self.runs(source, transfer) {
            let _ = self.happened(source, Event::FenceConfirmed { transfer, fence });
        }
    }

    /// The sender has ended without a confirmed fence.
    fn sender_ended(&mut self, transfer: TransferId) {
        let Some(source) = self.source_of(transfer) else { return };
        self.close_sender(transfer);
        if self.runs(source, transfer) {
            let _ = self.happened(source, Event::Cancelled { transfer });
        }
    }

    /// Whether that attempt to give the vnode away is the one under way.
    pub(crate) fn runs(&self, at: Place, transfer: TransferId) -> bool {
        let outgoing = self.world.node(at).handoff.outgoing();
        outgoing.is_some_and(|outgoing| outgoing.transfer == transfer)
    }

    pub(crate) fn close_sender(&mut self, transfer: TransferId) {
        self.with_link(transfer, |link| {
            link.sender = None;
            link.asked = None;
            link.backward.clear();
        });
    }

    /// The vnode answers what its sender has asked for.
    pub(crate) fn answer_sender(&mut self, transfer: TransferId) {
        let asked = self.world.link_mut(transfer).and_then(|link| link.asked.take());
        let Some((source, asked)) = self.source_of(transfer).zip(asked) else { return };
        if !self.runs(source, transfer) {
            return;
        }
        match asked {
            Asked::Part => self.read_part(source, transfer),
            Asked::Fence => self.fence_asked(source, transfer),
        }
    }

    fn read_part(&mut self, source: Place, transfer: TransferId) {
        let ground = self.ground;
        let node = self.world.node_mut(source);
        let (Some(owned), Some(stream)) = (node.owned, &mut node.stream) else { return };
        let part = match stream.next_part() {
            Next::Changes(changes) => Forward::Delta { sequence: stream.sequence(), changes },
            Next::Page(range) => {
                let inside = |(_, position): &(usize, &_)| {
                    let position: &tanodb_actors::protocol::digest::ItemPosition = position;
                    range.contains(position.order, &position.key)
                };
                let keys: Vec<_> = ground.positions().filter(inside).collect();
                let held = keys.iter().filter(|(key, _)| owned.get(*key).is_some());
                let first = held.clone().next().copied();
                // One item is a page; the last one goes to the end of the range.
                let until = first.filter(|_| held.count() > 1).map(|(_, position)| position);
                let covered = keys.iter().filter(|(_, it)| until.is_none_or(|until| *it <= until));
                let covered = covered.map(|(key, _)| *key).collect();
                let is_last = until.is_none();
                let sequence = stream.page_read(until.cloned());
                Forward::Page { sequence, covered, items: owned, is_last }
            }
            Next::Nothing => return self.sender_happened(transfer, sender::Event::NothingToRead),
        };
        let sequence = stream.sequence();
        let read = sender::Event::PartRead { sequence, bytes: PART_BYTES };
        self.sender_step(transfer, read, Some(part), None);
    }

    fn fence_asked(&mut self, source: Place, transfer: TransferId) {
        let Some(stream) = &self.world.node(source).stream else { return };
        let fence = stream.sequence_of_fence();
        if !stream.has_ended() {
            return self.fence_not_yet(source, transfer, false);
        }
        let asked = Event::FenceAsked { transfer, fence };
        if self.happened(source, asked) == Err(Ignored::NotYet) {
            self.fence_not_yet(source, transfer, true);
        }
    }

    fn fence_not_yet(&mut self, source: Place, transfer: TransferId, by_predecessor: bool) {
        self.sender_happened(transfer, sender::Event::FenceNotYet);
        if let Some(stream) = &mut self.world.node_mut(source).stream {
            stream.fence_refused(by_predecessor);
        }
        self.wake_sender(source, false);
    }

    /// The sender reads what has come from the target, or that nothing comes any more.
    pub(crate) fn sender_hears(&mut self, transfer: TransferId) {
        let frame = self.world.link_mut(transfer).and_then(|link| link.backward.pop_front());
        let event = match frame {
            Some(Backward::Accepted) => {
                sender::Event::Accepted { window_bytes: receiver::WINDOW_BYTES }
            }
            Some(Backward::FenceOk(fence)) => sender::Event::FenceOk { fence },
            Some(Backward::Cancel) => sender::Event::Failed(Failure::PeerCancelled),
            None => sender::Event::Failed(Failure::Disconnected),
        };
        self.sender_happened(transfer, event);
    }

    // ---- the receiver's end -------------------------------------------------------------------------

    fn receiver_happened(
        &mut self,
        transfer: TransferId,
        event: receiver::Event,
        part: Option<Forward>,
    ) {
        let Some(End::Open(receiver)) = self.world.link(transfer).map(|link| link.receiver.clone())
        else {
            return;
        };
        let step = receiver.step_under(event, self.rules);
        self.with_link(transfer, |link| link.receiver = End::Open(step.next));
        let mut part = part;
        for effect in step.effects {
            match effect {
                receiver::Effect::SendAccepted => {
                    self.send_backward(transfer, Backward::Accepted);
                }
                receiver::Effect::StorePart => {
                    if let Some(part) = part.take() {
                        self.store_part(transfer, part);
                    }
                }
                receiver::Effect::SendReceived(sequence) => {
                    if self.world.link(transfer).is_some_and(|link| !link.is_cut) {
                        self.sender_happened(
                            transfer,
                            sender::Event::Received { sequence, pace_bytes: u64::MAX },
                        );
                    }
                }
                receiver::Effect::Compare(fence) => {
                    if let (Some(target), Some(Forward::Fence { items, .. })) =
                        (self.target_of(transfer), part.take())
                    {
                        self.compare(target, transfer, fence, items);
                    }
                }
                receiver::Effect::SendFenceOk(fence) => {
                    self.send_backward(transfer, Backward::FenceOk(fence));
                }
                receiver::Effect::SendFenceDiffers(_) => self.wrong(Wrong::Differs),
                receiver::Effect::ReportEnded(_) => {
                    self.send_backward(transfer, Backward::Cancel);
                    self.close_receiver(transfer);
                }
            }
        }
    }

    fn store_part(&mut self, transfer: TransferId, part: Forward) {
        let Some(target) = self.target_of(transfer) else { return };
        let sequence = match &part {
            Forward::Page { sequence, .. } | Forward::Delta { sequence, .. } => *sequence,
            Forward::Offer(..) | Forward::Fence { .. } | Forward::Cancel => return,
        };
        if self.stored(target, transfer, part) {
            let stored = receiver::Event::PartStored { sequence, bytes: PART_BYTES };
            self.receiver_happened(transfer, stored, None);
        }
    }

    pub(crate) fn compared(&mut self, transfer: TransferId, is_equal: bool) {
        self.receiver_happened(transfer, receiver::Event::Compared { is_equal }, None);
    }

    pub(crate) fn fail_receiver(&mut self, transfer: TransferId) {
        let failed = receiver::Event::Failed(receiver::Failure::NotStored);
        self.receiver_happened(transfer, failed, None);
    }

    /// Nobody needs the receiver any more, confirmed or not.
    pub(crate) fn stop_receiver(&mut self, transfer: TransferId) {
        match self.world.link(transfer).map(|link| &link.receiver) {
            Some(End::Open(Receiver::Confirmed)) => self.close_receiver(transfer),
            Some(End::Open(_)) => {
                let stopped = receiver::Event::Failed(receiver::Failure::Stopped);
                self.receiver_happened(transfer, stopped, None);
            }
            Some(End::Unread | End::Closed) | None => {}
        }
    }

    pub(crate) fn close_receiver(&mut self, transfer: TransferId) {
        self.with_link(transfer, |link| {
            link.receiver = End::Closed;
            link.forward.clear();
        });
        if let Some(target) = self.target_of(transfer) {
            self.receiver_ended(target, transfer);
        }
    }

    /// The target reads what has come from the source, or that nothing comes any more.
    pub(crate) fn receiver_hears(&mut self, transfer: TransferId) {
        let Some(target) = self.target_of(transfer) else { return };
        let frame = self.world.link_mut(transfer).and_then(|link| link.forward.pop_front());
        match frame {
            Some(Forward::Offer(incoming, epoch, meant)) => {
                self.offered(target, incoming, epoch, &meant);
            }
            Some(part @ (Forward::Page { sequence, .. } | Forward::Delta { sequence, .. })) => {
                let arrived = receiver::Event::PartArrived { sequence, bytes: PART_BYTES };
                self.receiver_happened(transfer, arrived, Some(part));
            }
            Some(Forward::Fence { fence, items }) => {
                let arrived = receiver::Event::FenceArrived { fence };
                let sent = Forward::Fence { fence, items };
                self.receiver_happened(transfer, arrived, Some(sent));
            }
            Some(Forward::Cancel) => {
                let _ = self.happened(target, Event::SourceEnded { transfer });
                self.stop_receiver(transfer);
            }
            None => match self.world.link(transfer).map(|link| &link.receiver) {
                Some(End::Open(Receiver::Confirmed)) => self.close_receiver(transfer),
                Some(End::Open(_)) => {
                    let ended = receiver::Event::Failed(receiver::Failure::Disconnected);
                    self.receiver_happened(transfer, ended, None);
                }
                Some(End::Unread) => self.close_receiver(transfer),
                Some(End::Closed) | None => {}
            },
        }
    }

    /// The target judges an offer as its ring manager does, then as its vnode does.
    fn offered(
        &mut self,
        target: Place,
        incoming: tanodb_actors::protocol::handoff::Incoming,
        epoch: tanodb_actors::protocol::id::Epoch,
        meant: &tanodb_actors::protocol::id::NodeId,
    ) {
        let transfer = incoming.transfer;
        let node = self.world.node(target);
        let is_listed = self.ground.node(self.ground.place(&incoming.source), 1) == incoming.source;
        let is_meant = node.me == *meant && !node.is_unreadmitted && is_listed;
        let fits = epoch <= node.epoch && Place::desired(node.epoch) == target;
        if !is_meant || !fits {
            self.refuse(transfer);
            return;
        }
        self.with_link(transfer, |link| link.receiver = End::Open(Receiver::Opening));
        if self.happened(target, Event::Offered(incoming)).is_ok() {
            self.world.node_mut(target).receiver = Some(transfer);
            self.receiver_happened(transfer, receiver::Event::Opened, None);
        } else {
            self.refuse(transfer);
        }
    }

    fn refuse(&mut self, transfer: TransferId) {
        self.send_backward(transfer, Backward::Cancel);
        self.with_link(transfer, |link| {
            link.receiver = End::Closed;
            link.forward.clear();
        });
    }
}
