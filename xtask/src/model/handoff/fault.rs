//! What goes wrong at a node: its vnode actor falls, it loses its items, it is restarted.

use std::sync::Arc;

use tanodb_actors::protocol::handoff::Handoff;

use super::Broken;
use super::runtime::Turn;
use super::world::{End, Place};

impl Turn<'_> {
    /// The vnode actor panics; the host starts it again with what it held in memory.
    pub(crate) fn fall(&mut self, at: Place) {
        self.forget_actor(at);
        let handoff = std::mem::replace(&mut self.world.node_mut(at).handoff, Handoff::absent());
        self.starts(at, handoff);
    }

    /// What ends with the vnode's actor: its stream, its ends of connections, its questions.
    fn forget_actor(&mut self, at: Place) {
        let node = self.world.node_mut(at);
        node.stream = None;
        node.receiver = None;
        node.asks_after = None;
        node.says_held = None;
        node.writing = None;
        node.is_purging = false;
        node.queued.clear();
        let ids: Vec<_> = self.world.links.iter().map(|link| link.transfer).collect();
        for id in ids {
            let Some(link) = self.world.link(id) else { continue };
            if link.source == at && link.sender.is_some() {
                self.close_sender(id);
            }
            let is_open = self.world.link(id).is_some_and(|link| match link.receiver {
                End::Open(_) => link.target == at,
                End::Unread | End::Closed => false,
            });
            if is_open {
                self.close_receiver(id);
            }
        }
    }

    /// The process ends, and with it what it held in memory. The next one is another life, and finds its
    /// records.
    pub(crate) fn wipe(&mut self, at: Place) {
        self.forget_actor(at);
        self.drop_links_to(at);
        let serves_on = self.is_broken(Broken::WipedServesOn);
        let boot = self.world.node(at).me.incarnation.boot + 1;
        let (me, rules) = (self.ground.node(at, boot), self.rules);
        let node = self.world.node_mut(at);
        let held = node.owned.is_some();
        (node.owned, node.staging, node.receipt) = (None, None, None);
        if serves_on {
            node.owned = held.then(Default::default);
            let handoff = node.record.clone().unwrap_or_else(Handoff::absent);
            self.starts(at, handoff);
            return;
        }
        node.me = me;
        node.is_unreadmitted = true;
        let spoke = node.record.as_ref().and_then(Handoff::spoke_under);
        node.handoff = match spoke {
            Some(token) => Handoff::lost_with(token, rules),
            None => Handoff::absent(),
        };
    }

    fn drop_links_to(&mut self, at: Place) {
        for link in &mut self.world.links {
            let link = Arc::make_mut(link);
            if link.target == at && link.receiver == End::Unread {
                link.receiver = End::Closed;
                link.forward.clear();
            }
        }
    }

    /// A node whose items are durable ends and is started again: what its record says is where it stands.
    pub(crate) fn restart(&mut self, at: Place) {
        self.forget_actor(at);
        self.drop_links_to(at);
        let node = self.world.node_mut(at);
        let handoff = node.record.clone().unwrap_or_else(Handoff::absent);
        // A container has the role that the record gives it.
        match &handoff {
            Handoff::Accepting { .. } => {
                if node.staging.is_none() {
                    node.staging = node.owned.take();
                }
            }
            Handoff::Absent { .. } => (node.owned, node.staging) = (None, None),
            Handoff::Owner(_)
            | Handoff::Sending(..)
            | Handoff::Fenced { .. }
            | Handoff::Granting { .. }
            | Handoff::Resuming(_)
            | Handoff::Retired { .. }
            | Handoff::Purging { .. }
            | Handoff::Staging(_)
            | Handoff::CaughtUp(_)
            | Handoff::Holding { .. }
            | Handoff::Lost { .. } => node.staging = None,
        }
        self.starts(at, handoff);
    }
}
