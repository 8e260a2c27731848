//! How this node comes into a cluster: its own join, and the joins it stages for others.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;

use super::admin::{refused, unknown};
use super::join::{JoinFailed, Joined, fetch, fetch_and_stage};
use super::{RING_RECORD, RingManager};
use crate::protocol::agreement::Acceptor;
use crate::protocol::gossip::{AddressRecord, Gossip, Held, News, Part};
use crate::protocol::handoff::Handoff;
use crate::protocol::hash::RingSize;
use crate::protocol::id::{NodeId, Token, VnodeRef, VnodeType};
use crate::protocol::plan::{Change, JoinError, check_join};
use crate::protocol::ring::Ring;
use crate::runtime::message::ServingChanged;
use crate::runtime::records;
use crate::runtime::reply::Reply;
use crate::runtime::vnode_host::{ForgetVnodes, ObserveVnodes, StartVnodes};
use crate::wire::admin::AdminAnswer;
use crate::wire::message::{Hello, Joiner, PROTOCOL_VERSION, PeerMessage, Purpose};

/// Where this node stands with its cluster.
pub(super) enum Membership {
    /// In the cluster of its ring, which may be its own.
    Settled,
    /// Its join is being staged; it serves nobody. If that fails, it goes back.
    Joining {
        /// The ring it founded.
        own: Arc<Ring>,
    },
    /// Knows the cluster's ring, which does not list it yet. If the join is cleared, it goes back.
    Staged {
        /// The ring it founded.
        own: Arc<Ring>,
    },
}

/// All vnodes of a ring that one node founded, with the tokens it speaks under.
#[must_use]
pub fn founded_vnodes(ring: &Ring, types: &BTreeSet<VnodeType>) -> Vec<(VnodeRef, Token)> {
    let token = Token::minted(ring.epoch());
    let of_type = |vnode_type: &VnodeType| {
        let vnode_type = vnode_type.clone();
        ring.size()
            .partitions()
            .map(move |partition| (VnodeRef { vnode_type: vnode_type.clone(), partition }, token))
    };
    types.iter().flat_map(of_type).collect()
}

impl RingManager {
    /// Joins the cluster of `contact`, if this node is alone and empty.
    pub(super) fn join(
        &mut self,
        contact: String,
        reply: Reply<AdminAnswer>,
        ctx: &mut Context<Self>,
    ) {
        let me = self.me().name.clone();
        if contact == me.as_str() || contact == self.identity.address {
            reply.answer(refused(
                "Failed: This node cannot join itself in a cluster",
                "name another node: tanodb cluster join NODE --node NEW",
            ));
            return;
        }
        let Some(own) = self.own_ring() else {
            reply.answer(match self.membership {
                Membership::Settled => refused(
                    "Failed: This node is already a member of a cluster",
                    "join a node that is in no cluster yet; 'tanodb member-status' shows this one's",
                ),
                Membership::Joining { .. } | Membership::Staged { .. } => refused(
                    "Failed: This node is joining a cluster already",
                    "commit the join there, or clear it with 'tanodb cluster clear'",
                ),
            });
            return;
        };
        self.membership = Membership::Joining { own };
        self.links
            .serving
            .do_send(ServingChanged { waits_for: Some(format!("joining {contact}")) });
        self.tell_doors();
        let counting = self.links.host.send(ObserveVnodes).into_actor(self);
        ctx.spawn(counting.map(move |rows, actor, ctx| {
            let objects: u64 = rows.iter().flatten().map(|row| row.objects).sum();
            if objects > 0 {
                actor.join_failed(reply, &JoinFailed::HoldsItems { objects });
            } else {
                actor.dial_contact(contact, reply, ctx);
            }
        }));
    }

    /// The ring this node founded, if it may join another cluster: it is alone, or its join was staged in an
    /// earlier life and is not staged any more.
    fn own_ring(&self) -> Option<Arc<Ring>> {
        let ring = self.ring();
        let is_staged = self.staged_nodes().contains(self.me());
        match &self.membership {
            Membership::Settled if ring.members().len() == 1 && self.staged_nodes().is_empty() => {
                Some(Arc::clone(ring))
            }
            Membership::Staged { own } if !is_staged && !ring.is_member(&self.me().name) => {
                Some(Arc::clone(own))
            }
            Membership::Settled | Membership::Joining { .. } | Membership::Staged { .. } => None,
        }
    }

    fn dial_contact(
        &mut self,
        contact: String,
        reply: Reply<AdminAnswer>,
        ctx: &mut Context<Self>,
    ) {
        let known = self.gossip.addresses().iter();
        let known = known.map(|(name, record)| (name.to_string(), record.address.clone()));
        let address = known.into_iter().find(|(name, _)| *name == contact);
        let address = address.map_or_else(|| contact.clone(), |(_, address)| address);
        let hello = self.hello_of_joiner();
        let (env, voter) = (self.links.env.clone(), self.identity.voter);
        let types = self.types.clone();
        let joining = async move { fetch_and_stage(&env, &address, hello, voter, types).await };
        ctx.spawn(joining.into_actor(self).map(move |joined, actor, ctx| match joined {
            Ok(joined) => actor.adopt_cluster(joined, reply, ctx),
            Err(failed) => actor.join_failed(reply, &failed),
        }));
    }

    fn hello_of_joiner(&self) -> Hello {
        Hello {
            purpose: Purpose::Join,
            protocol: PROTOCOL_VERSION,
            from: Some(self.introduction()),
            to: None,
        }
    }

    fn join_failed(&mut self, reply: Reply<AdminAnswer>, failed: &JoinFailed) {
        if let Membership::Joining { own } = &self.membership {
            let own = Arc::clone(own);
            let is_own = own.cluster() == self.ring().cluster();
            self.membership = if is_own { Membership::Settled } else { Membership::Staged { own } };
        }
        self.links.serving.do_send(ServingChanged { waits_for: None });
        self.tell_doors();
        let (reason, hint) = (failed.to_string(), failed.hint());
        reply.answer(match failed {
            JoinFailed::Unknown { .. } => unknown(&reason, hint),
            JoinFailed::NotReachable { .. }
            | JoinFailed::Refused(_)
            | JoinFailed::NoRing { .. }
            | JoinFailed::OtherRingSize { .. }
            | JoinFailed::NotStaged(_)
            | JoinFailed::HoldsItems { .. }
            | JoinFailed::NotDurable(_) => refused(&reason, hint),
        });
    }

    fn adopt_cluster(
        &mut self,
        joined: Joined,
        reply: Reply<AdminAnswer>,
        ctx: &mut Context<Self>,
    ) {
        // What was under way when the node stopped serving may have stored something meanwhile.
        let counting = self.links.host.send(ObserveVnodes).into_actor(self);
        ctx.spawn(counting.map(move |rows, actor, ctx| {
            let objects: u64 = rows.iter().flatten().map(|row| row.objects).sum();
            if objects > 0 {
                actor.join_failed(reply, &JoinFailed::HoldsItems { objects });
                return;
            }
            let disk = actor.links.env.disk.as_ref();
            let saved = records::save(disk, RING_RECORD, joined.ring.as_ref());
            ctx.spawn(saved.into_actor(actor).map(move |saved, actor, ctx| match saved {
                Ok(()) => actor.cluster_adopted(joined, reply, ctx),
                Err(error) => {
                    actor.join_failed(reply, &JoinFailed::NotDurable(error.to_string()));
                }
            }));
        }));
    }

    fn cluster_adopted(
        &mut self,
        joined: Joined,
        reply: Reply<AdminAnswer>,
        ctx: &mut Context<Self>,
    ) {
        let Joined { part, ring, contact } = joined;
        let own = match &self.membership {
            Membership::Joining { own } | Membership::Staged { own } => Arc::clone(own),
            Membership::Settled => Arc::clone(self.ring()),
        };
        if ring.cluster() != self.gossip.cluster() {
            self.candidate = None;
        }
        self.links.host.do_send(ForgetVnodes { joined: ring.cluster() });
        self.start_over(ring, Some(&part), ctx);
        self.membership = Membership::Staged { own };
        self.links.serving.do_send(ServingChanged { waits_for: None });
        let node = self.me().name.clone();
        log::info!(contact:%; "staged to join a cluster");
        reply.answer(AdminAnswer::JoinStaged { node, contact });
    }

    /// Forgets everything and knows this ring, and what `part` says.
    fn start_over(&mut self, ring: Arc<Ring>, part: Option<&Part>, ctx: &mut Context<Self>) {
        self.acceptor = Acceptor::after(ring.epoch()).under(self.rules);
        self.gossip = Gossip::new(self.me().name.clone(), ring);
        if let Some(Err(error)) = part.map(|part| self.gossip.merge(part)) {
            log::warn!(error:%; "what the cluster knows was refused; gossip brings it again");
        }
        self.introduce();
        self.shown = None;
        self.follows();
        self.tell_all(ctx);
    }

    /// Says of itself what others must know. Tells whether that is news.
    pub(super) fn introduce(&mut self) -> bool {
        let record = AddressRecord {
            boot: self.me().incarnation.boot,
            address: self.identity.address.clone(),
            types: self.types.clone(),
        };
        self.gossip.announce(record)
    }

    /// Members drop the links to a joiner that is not staged any more, or that a ring has left out, maybe before
    /// they could tell it. So a joiner to which no member talks asks one of them, whichever, as a stranger may.
    pub(super) fn ask_about_join(&self, ctx: &mut Context<Self>) {
        let Membership::Staged { .. } = &self.membership else { return };
        let me = &self.me().name;
        if self.up.iter().any(|name| name != me) {
            return;
        }
        let known = self.gossip.addresses().iter();
        let members = known.filter(|(name, _)| *name != me && self.ring().is_member(name));
        let addresses: Vec<String> = members.map(|(_, record)| record.address.clone()).collect();
        let number = self.links.env.rng.below(addresses.len().max(1) as u64);
        let address = usize::try_from(number).ok().and_then(|number| addresses.get(number));
        let Some(address) = address.cloned() else { return };
        let (env, hello) = (self.links.env.clone(), self.hello_of_joiner());
        let asking = async move {
            let fetched = fetch(&env, &address, &hello).await;
            fetched.map_err(|error| log::info!(address:%, error:%; "no word about the staged join"))
        };
        ctx.spawn(asking.into_actor(self).map(|part, actor, ctx| match part {
            Ok(part) if part.cluster == actor.gossip.cluster() => actor.learn(part, ctx),
            Ok(_) | Err(()) => {}
        }));
    }

    /// Looks whether a staged join was committed or cleared.
    pub(super) fn check_membership(&mut self, ctx: &mut Context<Self>) {
        let Membership::Staged { own } = &self.membership else { return };
        if self.ring().is_member(&self.me().name) {
            log::info!(epoch:% = self.ring().epoch(); "member of the cluster");
            // A ring that lists an earlier life gave this node nothing it still has.
            self.is_unreadmitted = !self.ring().lists(self.me());
            self.membership = Membership::Settled;
            self.candidate = None;
            return;
        }
        let own = Arc::clone(own);
        if !self.is_left_out() {
            return;
        }
        let counting = self.links.host.send(ObserveVnodes).into_actor(self);
        ctx.spawn(counting.map(move |rows, actor, ctx| {
            // It was given nothing by a ring that does not list it. Should it hold something all the same, it is
            // not this node's to drop.
            if rows.iter().flatten().any(|row| row.objects > 0) {
                log::error!("the staged join was cleared, but this node holds items; it waits");
            } else if actor.is_left_out() {
                actor.go_back(own, ctx);
            }
        }));
    }

    /// Whether a join was staged that is not any more, and no ring lists this node or may yet.
    fn is_left_out(&self) -> bool {
        let Membership::Staged { .. } = &self.membership else { return false };
        if self.ring().is_member(&self.me().name) || self.staged_nodes().contains(self.me()) {
            return false;
        }
        // The ring that makes this node a member may be decided already, and just not known here.
        let may_be_member = self.candidate.is_some_and(|epoch| epoch > self.ring().epoch());
        if may_be_member {
            log::warn!(
                "the staged join was cleared, but a commit may be under way; waiting for the next ring"
            );
        }
        !may_be_member
    }

    /// Becomes the cluster of its own again that it was before it was staged to join another.
    fn go_back(&mut self, own: Arc<Ring>, ctx: &mut Context<Self>) {
        log::warn!("the staged join was cleared; this node is on its own again");
        self.membership = Membership::Settled;
        self.candidate = None;
        let saved = records::save(self.links.env.disk.as_ref(), RING_RECORD, own.as_ref());
        ctx.spawn(saved.into_actor(self).map(move |saved, actor, ctx| {
            if let Err(error) = saved {
                log::error!(error:%; "the node's own ring is not durable; it founds another at its next start");
            }
            actor.found(own, ctx);
        }));
    }

    /// Speaks for every vnode of a ring that only this node is in.
    fn found(&mut self, ring: Arc<Ring>, ctx: &mut Context<Self>) {
        let vnodes = founded_vnodes(&ring, &self.types);
        self.links.host.do_send(ForgetVnodes { joined: ring.cluster() });
        self.start_over(ring, None, ctx);
        let holder = self.me().clone();
        for (vnode, token) in &vnodes {
            self.gossip.hold(vnode, &Held { token: *token, holder: holder.clone() });
        }
        let owned = vnodes.into_iter().map(|(vnode, token)| (vnode, Handoff::owner(token)));
        self.links.host.do_send(StartVnodes(owned.collect()));
        self.tell_all(ctx);
    }

    /// Stages the join of another node. One that asks again, because the answer was lost, is staged already.
    pub(super) fn stage_join(&mut self, joiner: Joiner, ctx: &mut Context<Self>) -> PeerMessage {
        let Joiner { node, voter, address, ring_size, types } = joiner;
        let is_staged = self.staged_nodes().contains(&node);
        let refused = self.check_joiner(&node, ring_size, is_staged).err();
        if refused.is_some() {
            return PeerMessage::JoinStaged { refused };
        }
        let minter = self.me().incarnation.nonce;
        let boot = node.incarnation.boot;
        let name = node.name.clone();
        let staged = (!is_staged).then(|| self.gossip.stage(minter, Change::Join { node, voter }));
        if let Some(Err(error)) = staged {
            return PeerMessage::JoinStaged { refused: Some(format!("Failed: {error}")) };
        }
        self.gossip.learn_address(&name, &AddressRecord { boot, address, types });
        log::info!(node:% = name; "a join is staged");
        let news = News { staged: true, addresses: vec![name], ..News::default() };
        self.announce(&news, super::Source::Own, ctx);
        PeerMessage::JoinStaged { refused: None }
    }

    fn check_joiner(
        &self,
        node: &NodeId,
        ring_size: RingSize,
        is_staged: bool,
    ) -> Result<(), String> {
        match self.membership {
            Membership::Settled => {}
            Membership::Joining { .. } | Membership::Staged { .. } => {
                let me = &self.me().name;
                return Err(format!("Failed: '{me}' is joining a cluster itself"));
            }
        }
        let mine = self.ring().size();
        if ring_size != mine {
            let me = &self.me().name;
            let (mine, theirs) = (mine.count(), ring_size.count());
            return Err(format!(
                "Failed: '{me}' has a different ring_creation_size ({mine}, this node has {theirs})"
            ));
        }
        if is_staged {
            return Ok(());
        }
        check_join(self.ring(), self.gossip.staged(), node).map_err(|error| match error {
            JoinError::AlreadyMember { node } => {
                format!("Failed: '{node}' is already a member of this cluster")
            }
            other @ JoinError::AlreadyStaged { .. } => format!("Failed: {other}"),
        })
    }
}
