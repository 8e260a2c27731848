//! The actor that asks other members.
//!
//! Owns: one link to each other member, each a task of its own.
//! Hears: [`AskPeer`] and [`TellPeer`] from everybody; [`AddressesChanged`] and [`DoorRulesChanged`] from the
//! ring manager.
//! Tells: the links, and through them the watcher.
//!
//! It sends nothing to this node itself, and does not know which peers are up.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use tokio::sync::mpsc;

pub use super::peer_link::LinkTells;
use super::peer_link::{ORDERS_MAX, Order, PeerLink};
use crate::protocol::id::NodeName;
use crate::runtime::env::Env;
use crate::runtime::latest::Latest;
use crate::runtime::message::{
    AddressesChanged, AskPeer, DoorRules, DoorRulesChanged, PeerError, TellPeer,
};

/// Messages that wait while a burst is handed to the links.
const MAILBOX: usize = 4_096;

/// The links to all other members.
pub struct Peers {
    env: Env,
    rules: Latest<Arc<DoorRules>>,
    links: BTreeMap<NodeName, Link>,
    tell: LinkTells,
}

/// The near end of one link. Dropping it ends the link.
struct Link {
    address: String,
    orders: mpsc::Sender<Order>,
}

impl Peers {
    /// Without any link. They are made when the first [`AddressesChanged`] comes.
    #[must_use]
    pub fn without_links(env: Env, rules: Arc<DoorRules>, tell: LinkTells) -> Self {
        Self { env, rules: Latest::new(rules), links: BTreeMap::new(), tell }
    }

    fn link(&self, peer: &NodeName, address: &str) -> Link {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let link = PeerLink {
            env: self.env.clone(),
            peer: peer.clone(),
            address: address.to_owned(),
            rules: self.rules.follow(),
            orders: received,
            tell: self.tell.clone(),
        };
        actix_rt::spawn(link.run());
        Link { address: address.to_owned(), orders }
    }

    fn order(&self, to: &NodeName, order: Order) {
        let Some(link) = self.links.get(to) else {
            let reason = format!("{to} is not another member with a known address");
            return order.refuse(&PeerError::NotSent(reason));
        };
        let (order, reason) = match link.orders.try_send(order) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(order)) => (order, "is overloaded"),
            Err(mpsc::error::TrySendError::Closed(order)) => (order, "has ended"),
        };
        order.refuse(&PeerError::NotSent(format!("the link to {to} {reason}")));
    }
}

impl Actor for Peers {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<AskPeer> for Peers {
    type Result = ();

    fn handle(&mut self, ask: AskPeer, _: &mut Context<Self>) {
        let AskPeer { to, message, deadline, reply } = ask;
        self.order(&to, Order::Ask { message, deadline, reply });
    }
}

impl Handler<TellPeer> for Peers {
    type Result = ();

    fn handle(&mut self, TellPeer { to, message }: TellPeer, _: &mut Context<Self>) {
        self.order(&to, Order::Tell(message));
    }
}

impl Handler<AddressesChanged> for Peers {
    type Result = ();

    fn handle(&mut self, AddressesChanged(addresses): AddressesChanged, _: &mut Context<Self>) {
        self.links.retain(|peer, link| addresses.get(peer) == Some(&link.address));
        for (peer, address) in &addresses {
            if *peer != self.env.node && !self.links.contains_key(peer) {
                let link = self.link(peer, address);
                self.links.insert(peer.clone(), link);
            }
        }
    }
}

impl Handler<DoorRulesChanged> for Peers {
    type Result = ();

    fn handle(&mut self, DoorRulesChanged(rules): DoorRulesChanged, _: &mut Context<Self>) {
        self.rules.set(rules);
    }
}
