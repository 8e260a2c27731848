//! The ring manager: what this node knows of the cluster, and which transfers it takes part in.
//!
//! Owns: the ring and all that is gossiped ([`Gossip`]), this node's vote on the next ring ([`Acceptor`]),
//! the slots and attempts of its transfers, the plan it showed last.
//! Hears: gossip, votes, joins and operators (through the router), what vnodes say of themselves, senders
//! and receivers, who is up.
//! Tells: everybody in the node who needs the ring, the tokens or the door rules; subscribers to ownership
//! events; the gossiper. It spawns senders and receivers.
//!
//! A ring is durable before anyone hears of it. What is due is decided in [`crate::protocol::due`].

mod admin;
mod agreement;
mod events;
mod inbound;
mod join;
mod liveness;
mod membership;
mod outbound;
mod reports;
#[cfg(test)]
mod tests;
mod transfers;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

pub use admin::AdminAsked;
pub use agreement::{AGREEMENT_RECORD, CANDIDATE_RECORD};
pub use events::{OwnershipChanged, Subscribe};
pub use membership::founded_vnodes;
pub use transfers::TransferSettings;

use crate::protocol::agreement::Acceptor;
use crate::protocol::gossip::{Gossip, Held, News, Part};
use crate::protocol::id::{Epoch, NodeId, NodeName, VnodeRef, VnodeType, VoterId};
use crate::protocol::plan::Plan;
use crate::protocol::ring::Ring;
use crate::protocol::rules::Rules;
use crate::runtime::env::Env;
use crate::runtime::message::{
    AddressesChanged, AskPeer, DoorRules, DoorRulesChanged, PeerAsked, RingChanged, ServingChanged,
    TellPeer, TokensLearned,
};
use crate::runtime::network::message::{GossipArrived, GossipGiven, GossipWanted, PassOn, Spread};
use crate::runtime::observe::Observed;
use crate::runtime::records;
use crate::runtime::timers::Timers;
use crate::runtime::vnode_host::VnodeHost;
use crate::wire::message::{Introduction, PeerMessage};

use membership::Membership;
use transfers::Transfers;

/// The control record that holds the newest ring.
pub const RING_RECORD: &str = "ring";

/// The control record that holds tokens, staged changes and addresses.
pub const KNOWLEDGE_RECORD: &str = "knowledge";

/// How often what an event may have missed is looked at again. Nothing waits for it.
const REPAIR_TICK: Duration = Duration::from_secs(10);

/// Who this node is, for as long as its process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node in this life.
    pub me: NodeId,
    /// Its vote.
    pub voter: VoterId,
    /// Where others reach it.
    pub address: String,
}

/// Whom the ring manager talks to.
pub struct ManagerLinks {
    /// The world outside.
    pub env: Env,
    /// The node's timers.
    pub timers: Timers,
    /// The vnode host.
    pub host: Addr<VnodeHost>,
    /// Other members, with an answer.
    pub ask_peer: Recipient<AskPeer>,
    /// Other members, without.
    pub tell_peer: Recipient<TellPeer>,
    /// Who learns of rings.
    pub ring: Vec<Recipient<RingChanged>>,
    /// Who learns of tokens.
    pub tokens: Vec<Recipient<TokensLearned>>,
    /// Who learns whom to let in.
    pub doors: Vec<Recipient<DoorRulesChanged>>,
    /// Who learns where members listen.
    pub addresses: Recipient<AddressesChanged>,
    /// Who learns whether this node serves.
    pub serving: Recipient<ServingChanged>,
    /// The gossiper, for what this node decided or did.
    pub spread: Recipient<Spread>,
    /// The gossiper, for what it has learned.
    pub pass_on: Recipient<PassOn>,
}

/// The ring manager of one node.
pub struct RingManager {
    links: ManagerLinks,
    identity: Identity,
    /// Vnode types this node hosts.
    types: BTreeSet<VnodeType>,
    gossip: Gossip,
    acceptor: Acceptor<Ring>,
    membership: Membership,
    transfers: Transfers,
    up: BTreeSet<NodeName>,
    shown: Option<Plan>,
    /// Proposals of this life, for their ids.
    proposals: u64,
    /// The epoch of the ring that this node, as a joiner, was shown before it was decided.
    candidate: Option<Epoch>,
    /// Waits for the outcome of a commit.
    is_committing: bool,
    subscribers: Vec<Recipient<OwnershipChanged>>,
    is_saving: bool,
    has_unsaved: bool,
    /// Votes whose record is being written; an answer waits for all of them.
    votes_saving: u32,
    /// Whether the last write of that record failed: the next answer writes it again.
    is_vote_unsaved: bool,
    n_val: u32,
    rules: Rules,
    /// What others say of this node's own life: it was here before and has lost its data.
    is_unreadmitted: bool,
}

/// Where news come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// This node decided or did it.
    Own,
    /// Another member told it.
    Learned,
}

/// Look again at what an event may have missed.
#[derive(Message)]
#[rtype(result = "()")]
struct RepairTick;

/// What a ring manager starts with.
pub struct ManagerStart {
    /// Who this node is.
    pub identity: Identity,
    /// Vnode types it hosts.
    pub types: BTreeSet<VnodeType>,
    /// What it knows.
    pub gossip: Gossip,
    /// Its vote.
    pub acceptor: Acceptor<Ring>,
    /// Limits and periods of transfers.
    pub settings: TransferSettings,
    /// Replicas of a key, for the warning of a plan.
    pub n_val: u32,
    /// The rules it decides by.
    pub rules: Rules,
    /// Whether the ring lists this node in an earlier life.
    pub is_unreadmitted: bool,
    /// If its ring is that of a cluster it was staged to join: the ring it founds if nothing comes of that.
    pub own: Option<Arc<Ring>>,
    /// The epoch of the ring that it was shown, as a joiner, before it was decided.
    pub candidate: Option<Epoch>,
}

impl RingManager {
    /// A ring manager that knows what `start` says.
    #[must_use]
    pub fn knowing(links: ManagerLinks, start: ManagerStart) -> Self {
        let me = start.identity.me.name.clone();
        Self {
            links,
            identity: start.identity,
            types: start.types,
            gossip: start.gossip,
            acceptor: start.acceptor.under(start.rules),
            membership: match start.own {
                Some(own) => Membership::Staged { own },
                None => Membership::Settled,
            },
            transfers: Transfers::none(start.settings, start.rules),
            up: BTreeSet::from([me]),
            shown: None,
            proposals: 0,
            candidate: start.candidate,
            is_committing: false,
            subscribers: Vec::new(),
            is_saving: false,
            has_unsaved: false,
            votes_saving: 0,
            is_vote_unsaved: false,
            n_val: start.n_val,
            rules: start.rules,
            is_unreadmitted: start.is_unreadmitted,
        }
    }

    fn me(&self) -> &NodeId {
        &self.identity.me
    }

    fn ring(&self) -> &Arc<Ring> {
        self.gossip.ring()
    }

    fn introduction(&self) -> Introduction {
        let mark = self.gossip.ring_mark();
        Introduction {
            node: self.me().clone(),
            address: self.identity.address.clone(),
            cluster: self.gossip.cluster(),
            epoch: mark.epoch,
            ring: mark.digest,
            ring_size: self.ring().size(),
        }
    }

    /// Takes in what another node knows. A newer ring is made durable first.
    fn learn(&mut self, part: Part, ctx: &mut Context<Self>) {
        self.learn_and(part, || {}, ctx);
    }

    /// The same, and then does what waits for it: when the part was taken in, or is known not to be.
    fn learn_and(&mut self, part: Part, then: impl FnOnce() + 'static, ctx: &mut Context<Self>) {
        match self.gossip.ring_ahead(&part) {
            Ok(None) => {
                self.merge(&part, ctx);
                then();
            }
            Ok(Some(ring)) => {
                let saved = records::save(self.links.env.disk.as_ref(), RING_RECORD, ring.as_ref());
                ctx.spawn(saved.into_actor(self).map(move |saved, actor, ctx| {
                    match saved {
                        Ok(()) => actor.merge(&part, ctx),
                        Err(error) => {
                            log::error!(error:%; "a newer ring is not durable and is not used; gossip brings it again");
                        }
                    }
                    then();
                }));
            }
            Err(error) => {
                log::warn!(error:%; "gossip is refused; nothing of it was taken in");
                then();
            }
        }
    }

    fn merge(&mut self, part: &Part, ctx: &mut Context<Self>) {
        match self.gossip.merge(part) {
            Ok(news) if news.is_empty() => {}
            Ok(news) => self.announce(&news, Source::Learned, ctx),
            Err(error) => log::warn!(error:%; "gossip is refused; nothing of it was taken in"),
        }
    }

    /// Tells everybody what is new.
    fn announce(&mut self, news: &News, source: Source, ctx: &mut Context<Self>) {
        if news.ring {
            self.ring_adopted(ctx);
        }
        for vnode in &news.contested {
            log::error!(partition = vnode.partition.0; "two nodes claim one token; one of them is wrong");
        }
        for change in &news.void {
            log::warn!(node:% = change.change.node().name; "a staged change is void; stage it again if it is still wanted");
        }
        if news.ring || news.staged || !news.addresses.is_empty() {
            self.tell_doors();
        }
        self.tell_tokens(&news.tokens);
        // Others may remember another life of this node.
        let is_misnamed = news.addresses.contains(&self.me().name) && self.introduce();
        let part = self.gossip.part_of(news);
        // What this node alone knows, that it has seen the ring, is spread; the rest was spread already.
        let is_own = is_misnamed || news.seen.contains(&self.me().name);
        match source {
            Source::Learned if !is_own => self.links.pass_on.do_send(PassOn(part)),
            Source::Learned | Source::Own => self.links.spread.do_send(Spread(part)),
        }
        self.save_knowledge(ctx);
        self.check_membership(ctx);
        self.consider(ctx);
    }

    fn ring_adopted(&mut self, ctx: &mut Context<Self>) {
        let ring = Arc::clone(self.ring());
        log::info!(epoch:% = ring.epoch(), members = ring.members().len(); "ring adopted");
        self.acceptor = self.acceptor.clone().learned(ring.epoch());
        self.shown = None;
        for recipient in &self.links.ring {
            recipient.do_send(RingChanged(Arc::clone(&ring)));
        }
        self.follows();
        self.emit(&OwnershipChanged::RingAdopted { ring });
        self.cancel_superseded(ctx);
    }

    /// Tells whoever watches which ring this node follows.
    fn follows(&self) {
        let ring = self.ring();
        self.links.env.watched.saw(|| Observed::RingAdopted {
            cluster: ring.cluster(),
            epoch: ring.epoch(),
            digest: ring.digest(),
        });
    }

    fn tell_tokens(&mut self, vnodes: &[VnodeRef]) {
        if vnodes.is_empty() {
            return;
        }
        let tokens = self.gossip.tokens();
        let held = |vnode: &VnodeRef| Some((vnode.clone(), tokens.get(vnode)?.clone()));
        let learned: Arc<Vec<(VnodeRef, Held)>> =
            Arc::new(vnodes.iter().filter_map(held).collect());
        for recipient in &self.links.tokens {
            recipient.do_send(TokensLearned(Arc::clone(&learned)));
        }
        for (vnode, held) in learned.iter() {
            self.emit(&OwnershipChanged::HolderChanged {
                vnode: vnode.clone(),
                token: held.token,
                holder: held.holder.clone(),
            });
        }
    }

    fn staged_nodes(&self) -> BTreeSet<NodeId> {
        let active = self.gossip.staged().active(self.ring().epoch());
        active.map(|staged| staged.change.node().clone()).collect()
    }

    fn tell_doors(&self) {
        let rules = Arc::new(DoorRules {
            me: self.introduction(),
            ring: Arc::clone(self.ring()),
            staged: self.staged_nodes(),
            joining: matches!(self.membership, Membership::Joining { .. }),
            ready: true,
        });
        for recipient in &self.links.doors {
            recipient.do_send(DoorRulesChanged(Arc::clone(&rules)));
        }
        let me = &self.me().name;
        let others = self.gossip.addresses().iter().filter(|(name, _)| *name != me);
        let addresses = others.map(|(name, record)| (name.clone(), record.address.clone()));
        self.links.addresses.do_send(AddressesChanged(addresses.collect()));
    }

    /// Tells everybody everything: at the start, and after joining another cluster.
    fn tell_all(&mut self, ctx: &mut Context<Self>) {
        for recipient in &self.links.ring {
            recipient.do_send(RingChanged(Arc::clone(self.ring())));
        }
        let vnodes: Vec<VnodeRef> =
            self.gossip.tokens().iter().map(|(vnode, _)| vnode.clone()).collect();
        self.tell_doors();
        self.tell_tokens(&vnodes);
        self.save_knowledge(ctx);
    }

    /// Keeps tokens, staged changes and addresses over a restart. What changes while a save is under way is
    /// saved after it: at most one save at a time.
    fn save_knowledge(&mut self, ctx: &mut Context<Self>) {
        if self.is_saving {
            self.has_unsaved = true;
            return;
        }
        self.is_saving = true;
        let part = self.gossip.everything();
        let saved = records::save(self.links.env.disk.as_ref(), KNOWLEDGE_RECORD, &part);
        ctx.spawn(saved.into_actor(self).map(|saved, actor, ctx| {
            actor.is_saving = false;
            if let Err(error) = saved {
                log::warn!(error:%; "tokens and staged changes are not saved; other members remember them");
            }
            if std::mem::take(&mut actor.has_unsaved) {
                actor.save_knowledge(ctx);
            }
        }));
    }

    fn emit(&self, event: &OwnershipChanged) {
        for subscriber in &self.subscribers {
            subscriber.do_send(event.clone());
        }
    }

    fn repair_later(&self, ctx: &mut Context<Self>) {
        let to = ctx.address().recipient();
        if self.links.timers.after(REPAIR_TICK, to, RepairTick).is_err() {
            log::warn!("too many timers; missed events are not looked for");
        }
    }
}

impl Actor for RingManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4_096);
        self.introduce();
        self.follows();
        self.tell_all(ctx);
        self.links.serving.do_send(ServingChanged { waits_for: None });
        self.repair_later(ctx);
        self.consider(ctx);
    }
}

impl Handler<RepairTick> for RingManager {
    type Result = ();

    fn handle(&mut self, _: RepairTick, ctx: &mut Self::Context) {
        self.expire_slots(ctx);
        self.ask_about_join(ctx);
        self.consider(ctx);
        self.repair_later(ctx);
    }
}

impl Handler<GossipWanted> for RingManager {
    type Result = ();

    fn handle(&mut self, wanted: GossipWanted, _: &mut Self::Context) {
        let missing = match &wanted.theirs {
            Some(theirs) => self.gossip.parts_missing(theirs),
            None => Part::empty(self.gossip.cluster()),
        };
        let digest = self.gossip.digest();
        wanted.reply.answer(Some(GossipGiven { digest, missing }));
    }
}

impl Handler<GossipArrived> for RingManager {
    type Result = ();

    fn handle(&mut self, arrived: GossipArrived, ctx: &mut Self::Context) {
        self.learn(arrived.part, ctx);
    }
}

impl Handler<PeerAsked> for RingManager {
    type Result = ();

    fn handle(&mut self, asked: PeerAsked, ctx: &mut Self::Context) {
        let PeerAsked { from: _, message, reply } = asked;
        match message {
            PeerMessage::Ask(question) => self.vote(*question, reply, ctx),
            PeerMessage::StoreCandidate(ring) => self.store_candidate(&ring, reply, ctx),
            PeerMessage::ReportRequest(request) => self.report(&request, reply, ctx),
            PeerMessage::FetchRing => {
                reply.answer(PeerMessage::Gossip(Box::new(self.gossip.everything())));
            }
            PeerMessage::StageJoin(joiner) => reply.answer(self.stage_join(*joiner, ctx)),
            // The router sends nothing else here; whoever asks is told that it was not understood.
            PeerMessage::Ping
            | PeerMessage::Pong
            | PeerMessage::Gossip(_)
            | PeerMessage::GossipDigest(_)
            | PeerMessage::Execute(_)
            | PeerMessage::Hint(_)
            | PeerMessage::Outcome(_)
            | PeerMessage::Answer { .. }
            | PeerMessage::CandidateStored { .. }
            | PeerMessage::Grant(_)
            | PeerMessage::GrantHeld { .. }
            | PeerMessage::GrantDeclined { .. }
            | PeerMessage::GrantRetired { .. }
            | PeerMessage::AskTransfer { .. }
            | PeerMessage::TransferRuns
            | PeerMessage::TransferOver { .. }
            | PeerMessage::Report(_)
            | PeerMessage::JoinStaged { .. }
            | PeerMessage::NotUnderstood { .. } => drop(reply),
        }
    }
}
