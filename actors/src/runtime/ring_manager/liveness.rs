//! What the ring manager makes of who is up, who is gone, and who came back in another life.

use actix::prelude::*;

use super::{RingManager, Source};
use crate::protocol::gossip::{AddressRecord, News};
use crate::protocol::id::NodeName;
use crate::runtime::message::LivenessChanged;
use crate::runtime::network::message::{IncarnationSeen, NobodyListens};
use crate::runtime::vnode::message::SourceGone;

impl Handler<LivenessChanged> for RingManager {
    type Result = ();

    fn handle(&mut self, changed: LivenessChanged, ctx: &mut Self::Context) {
        let gone: Vec<NodeName> = self.up.difference(&changed.0).cloned().collect();
        self.up = changed.0.as_ref().clone();
        for node in gone {
            self.cancel_towards(&node, ctx);
        }
        self.ask_about_join(ctx);
        self.consider(ctx);
    }
}

impl Handler<NobodyListens> for RingManager {
    type Result = ();

    fn handle(&mut self, nobody: NobodyListens, _: &mut Self::Context) {
        let NobodyListens(node) = nobody;
        // Items in memory end with their process: what it had begun to send, nobody will finish. A source that
        // is only silent keeps what was staged.
        if !self.up.contains(&node) {
            self.links.host.do_send(SourceGone { node, alive: None });
        }
    }
}

impl Handler<IncarnationSeen> for RingManager {
    type Result = ();

    fn handle(&mut self, seen: IncarnationSeen, ctx: &mut Self::Context) {
        let IncarnationSeen { node, address } = seen;
        // Its own word is all there is: who cannot reach it cannot ask it for its news either.
        // What it hosts is not in a hello: as before, until it says otherwise.
        let known = self.gossip.addresses().get(&node.name);
        let types = known.map(|known| known.types.clone()).unwrap_or_default();
        let record = AddressRecord { boot: node.incarnation.boot, address, types };
        if self.gossip.learn_address(&node.name, &record) {
            let news = News { addresses: vec![node.name.clone()], ..News::default() };
            self.announce(&news, Source::Learned, ctx);
        }
        self.links.host.do_send(SourceGone { node: node.name.clone(), alive: Some(node.clone()) });
        if !self.ring().lists(&node) && self.ring().is_member(&node.name) {
            log::warn!(node:%; "a member came back without its data; its vnodes answer Lost");
            self.cancel_towards(&node.name, ctx);
        }
    }
}
