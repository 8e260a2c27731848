//! Transfers this node is the target of: the offer, the slot, the receiver.

use std::time::Duration;

use actix::prelude::*;

use super::RingManager;
use crate::protocol::slots::Direction;
use crate::runtime::handoff_receiver::{HandoffReceiver, ReceiverDuty};
use crate::runtime::message::TransferArrived;
use crate::runtime::network::connection::{Connection, frame, parse};
use crate::runtime::vnode_host::FindVnode;
use crate::wire::frame::Frame;
use crate::wire::message::{Offer, Rejection, TransferMessage, kind};
use crate::wire::offer::{Known, judge};

/// How long a source may take to make its offer.
const OFFER_MAX: Duration = Duration::from_secs(5);

/// Milliseconds after which a rejected offer may be made again.
const RETRY_AFTER_MS: u32 = 200;

impl Handler<TransferArrived> for RingManager {
    type Result = ();

    fn handle(&mut self, arrived: TransferArrived, ctx: &mut Self::Context) {
        let TransferArrived { from, peer, mut connection } = arrived;
        let clock = self.links.env.clock.clone();
        let reading = async move {
            let first = clock.timeout(OFFER_MAX, connection.reader.next()).await;
            (first, connection)
        };
        ctx.spawn(reading.into_actor(self).map(move |(first, connection), actor, ctx| {
            let offer = match first {
                Ok(Ok(Some(frame))) => offer_of(&frame),
                Ok(Ok(None) | Err(_)) | Err(_) => None,
            };
            match offer {
                Some(offer) if offer.source == from.node => {
                    actor.offered(*offer, peer, connection, ctx);
                }
                Some(_) | None => {
                    log::warn!(peer = peer.as_str(), from:% = from.node; "a transfer connection without a valid offer was closed");
                }
            }
        }));
    }
}

fn offer_of(frame: &Frame) -> Option<Box<Offer>> {
    if frame.kind != kind::TRANSFER {
        return None;
    }
    match parse(frame) {
        Ok(TransferMessage::Offer(offer)) => Some(offer),
        Ok(_) | Err(_) => None,
    }
}

impl RingManager {
    fn offered(
        &mut self,
        offer: Offer,
        peer: String,
        connection: Connection,
        ctx: &mut Context<Self>,
    ) {
        let judged = judge(
            &offer,
            &Known {
                me: self.me(),
                cluster: self.gossip.cluster(),
                ring: self.ring(),
                token: self.gossip.tokens().get(&offer.vnode).map(|held| held.token),
                hosts: self.types.contains(&offer.vnode.vnode_type),
                is_unreadmitted: self.is_unreadmitted,
                rules: self.rules,
            },
        );
        if let Err(reason) = judged {
            reject(&offer, &connection, reason);
            return;
        }
        let (now, lease) = (self.links.env.clock.now(), self.transfers.settings.lease);
        let leased = self.transfers.slots.try_lease(offer.transfer, Direction::Inbound, now, lease);
        if leased.is_err() {
            let limit = self.transfers.settings.limit;
            reject(&offer, &connection, Rejection::SlotsFull { limit });
            return;
        }
        self.transfers.tell_slots(&self.links.env.watched);
        let finding = self.links.host.send(FindVnode(offer.vnode.clone())).into_actor(self);
        ctx.spawn(finding.map(move |found, actor, ctx| {
            let Ok(Some(vnode)) = found else {
                actor.release_slot(offer.transfer);
                let state = "being started again".to_owned();
                reject(&offer, &connection, Rejection::VnodeBusy { state });
                return;
            };
            let slot = offer.vnode.partition.0 as usize;
            let duty = ReceiverDuty {
                env: actor.links.env.clone(),
                partition: actor.ring().size().index_of(offer.vnode.partition).to_string(),
                offer,
                peer,
                reader: connection.reader,
                writer: connection.writer,
                vnode: vnode.recipient(),
                progress: ctx.address().recipient(),
                ended: ctx.address().recipient(),
                silent_max: actor.transfers.settings.silent_max,
                rules: actor.rules,
            };
            let transfer = duty.offer.transfer;
            let arbiters = &actor.links.env.arbiters;
            let receiver = arbiters.start(slot, move |_| HandoffReceiver::opening(duty));
            actor.transfers.receivers.insert(transfer, receiver.recipient());
        }));
    }
}

fn reject(offer: &Offer, connection: &Connection, reason: Rejection) {
    let transfer = offer.transfer;
    log::info!(transfer:%, source:% = offer.source, reason:%; "an offer is refused");
    let rejected = TransferMessage::Rejected { reason, retry_after_ms: RETRY_AFTER_MS };
    // A source that is gone needs no answer.
    let _ = connection.writer.try_send(frame(kind::TRANSFER, 0, &rejected));
}
