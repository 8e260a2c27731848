//! The order in which a node starts: records, ring, address, actors.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Node, NodeSettings, StartError};
use crate::protocol::agreement::Acceptor;
use crate::protocol::gossip::{Gossip, Held, Part};
use crate::protocol::handoff::Handoff;
use crate::protocol::id::{
    ClusterId, Incarnation, NodeId, NodeName, Token, VnodeRef, VnodeType, VoterId,
};
use crate::protocol::liveness::Heartbeats;
use crate::protocol::ring::{Member, Ring};
use crate::runtime::coordinator::{Coordinator, CoordinatorLinks};
use crate::runtime::env::Env;
use crate::runtime::gossiper::{Gossiper, GossiperTells};
use crate::runtime::message::DoorRules;
use crate::runtime::network::listener::SessionTells;
use crate::runtime::network::listener::{self, Listener};
use crate::runtime::network::peers::LinkTells;
use crate::runtime::network::peers::Peers;
use crate::runtime::network::watcher::{Watcher, WatcherTells};
use crate::runtime::records;
use crate::runtime::ring_manager::{
    AGREEMENT_RECORD, Identity, KNOWLEDGE_RECORD, ManagerLinks, ManagerStart, RING_RECORD,
    RingManager, founded_vnodes,
};
use crate::runtime::router::Router;
use crate::runtime::timers::Timers;
use crate::runtime::vnode::actor::{VnodeLinks, VnodeSettings};
use crate::runtime::vnode::kind::VnodeKind;
use crate::runtime::vnode::record::{RECORD_PREFIX, VnodeRecord};
use crate::runtime::vnode_host::{StartVnodes, VnodeHost};
use crate::wire::message::Introduction;

/// The control record of who this node is.
const IDENTITY_RECORD: &str = "identity";

/// Who a node is, over all its lives from one directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct IdentityRecord {
    name: NodeName,
    boot: u64,
    voter: VoterId,
}

/// What a node starts with.
struct Beginning {
    gossip: Gossip,
    vnodes: Vec<(VnodeRef, Handoff)>,
    is_unreadmitted: bool,
}

pub(super) async fn start(
    env: Env,
    settings: NodeSettings,
    kinds: Vec<Arc<dyn VnodeKind>>,
) -> Result<Node, StartError> {
    // The address first: a node that cannot listen has not begun another life.
    let door = listener::open(&env, &settings.listen).await?;
    let address = settings.advertise.clone().unwrap_or_else(|| door.local_address());
    let (me, mut voter) = next_life(&env).await?;
    let types: Vec<VnodeType> = kinds.iter().map(|kind| kind.name().clone()).collect();
    let beginning = begin(&env, &settings, &me, voter, &types).await?;
    let ring_epoch = beginning.gossip.ring().epoch();
    let acceptor =
        match records::load::<Acceptor<Ring>>(env.disk.as_ref(), AGREEMENT_RECORD).await? {
            Some(loaded) if loaded.fell_back.is_some() => {
                // Promises may be missing: this node votes under another identity, once a ring lists it.
                voter = VoterId(env.rng.next_u64());
                log::error!(
                    "this node's promises are damaged; it does not vote until a new ring lists it"
                );
                Acceptor::after(ring_epoch)
            }
            Some(loaded) => loaded.value.learned(ring_epoch),
            None => Acceptor::after(ring_epoch),
        };
    let identity = Identity { me: me.clone(), voter, address: address.clone() };
    let parts = Parts { env, settings, kinds, types, identity, acceptor };
    Ok(parts.run(beginning, door))
}

/// Begins another life: counts the start, durably, before anybody hears of it.
async fn next_life(env: &Env) -> Result<(NodeId, VoterId), StartError> {
    let kept = records::load::<IdentityRecord>(env.disk.as_ref(), IDENTITY_RECORD).await?;
    let (boot, voter) = match kept {
        Some(kept) if kept.value.name != env.node => {
            let asked = env.node.clone();
            return Err(StartError::OtherNode { kept: kept.value.name, asked });
        }
        Some(kept) => (kept.value.boot.saturating_add(1), kept.value.voter),
        None => (1, VoterId(env.rng.next_u64())),
    };
    let record = IdentityRecord { name: env.node.clone(), boot, voter };
    records::save(env.disk.as_ref(), IDENTITY_RECORD, &record).await?;
    let nonce = u32::try_from(env.rng.below(1 << 32)).unwrap_or(u32::MAX);
    let incarnation = Incarnation { boot, nonce };
    Ok((NodeId { name: env.node.clone(), incarnation }, voter))
}

/// Finds out which ring this node is in, and what of its vnodes is left.
async fn begin(
    env: &Env,
    settings: &NodeSettings,
    me: &NodeId,
    voter: VoterId,
    types: &[VnodeType],
) -> Result<Beginning, StartError> {
    let kept = records::load::<Ring>(env.disk.as_ref(), RING_RECORD).await?;
    let ring = kept.map(|kept| kept.value);
    match ring.filter(|ring| ring.is_member(&me.name)) {
        Some(ring) if ring.members().len() > 1 => come_back(env, me, ring).await,
        Some(ring) => {
            log::warn!("this node keeps its items in memory: what its last process held is lost");
            found_again(env, me, voter, &ring, types).await
        }
        None => {
            let cluster = ClusterId(env.rng.next_u64());
            let member = Member::valid(me.incarnation, voter);
            let ring = Ring::founded(cluster, settings.ring_size, me.name.clone(), member);
            found(env, me, ring, types).await
        }
    }
}

/// This node's own ring, in which it speaks for every vnode.
async fn found(
    env: &Env,
    me: &NodeId,
    ring: Ring,
    types: &[VnodeType],
) -> Result<Beginning, StartError> {
    records::save(env.disk.as_ref(), RING_RECORD, &ring).await?;
    let founded = founded_vnodes(&ring, types);
    let mut gossip = Gossip::new(me.name.clone(), Arc::new(ring));
    let mut vnodes = Vec::with_capacity(founded.len());
    for (vnode, token) in founded {
        gossip.hold(&vnode, &Held { token, holder: me.clone() });
        vnodes.push((vnode, Handoff::owner(token)));
    }
    Ok(Beginning { gossip, vnodes, is_unreadmitted: false })
}

/// The next epoch of a ring with one member: it alone decides, and lists its new life.
async fn found_again(
    env: &Env,
    me: &NodeId,
    voter: VoterId,
    ring: &Ring,
    types: &[VnodeType],
) -> Result<Beginning, StartError> {
    let members = [(me.name.clone(), Member::valid(me.incarnation, voter))].into();
    let owners = vec![me.name.clone(); ring.size().count() as usize];
    match ring.successor(members, &owners) {
        Ok(next) => found(env, me, next, types).await,
        Err(error) => {
            log::error!(error:%; "the kept ring has no successor; a new cluster is founded");
            let member = Member::valid(me.incarnation, voter);
            let cluster = ClusterId(env.rng.next_u64());
            found(env, me, Ring::founded(cluster, ring.size(), me.name.clone(), member), types)
                .await
        }
    }
}

/// A member of a cluster in another life: its vnodes answer `Lost`, never `not found`.
async fn come_back(env: &Env, me: &NodeId, ring: Ring) -> Result<Beginning, StartError> {
    let disk = env.disk.as_ref();
    let mut gossip = Gossip::new(me.name.clone(), Arc::new(ring));
    if let Some(kept) = records::load::<Part>(disk, KNOWLEDGE_RECORD).await?
        && let Err(error) = gossip.merge(&kept.value)
    {
        log::warn!(error:%; "what this node knew does not fit its ring; gossip brings it again");
    }
    let mut lost: std::collections::BTreeMap<VnodeRef, Token> = std::collections::BTreeMap::new();
    for (vnode, held) in gossip.tokens().iter() {
        if held.holder.name == me.name {
            lost.insert(vnode.clone(), held.token);
        }
    }
    for name in disk.list(RECORD_PREFIX).await? {
        let Some(kept) = records::load::<VnodeRecord>(disk, &name).await? else { continue };
        let VnodeRecord { vnode, handoff, .. } = kept.value;
        match spoken_for(&handoff) {
            Some(token) => {
                let known = lost.entry(vnode).or_insert(token);
                *known = (*known).max(token);
            }
            None => {
                lost.remove(&vnode);
            }
        }
    }
    let count = lost.len();
    log::error!(
        vnodes = count;
        "this node keeps its items in memory and was restarted: {count} vnodes are lost here and answer Lost; \
         their other replicas answer"
    );
    let vnodes = lost.into_iter().map(|(vnode, token)| (vnode, Handoff::Lost { token })).collect();
    Ok(Beginning { gossip, vnodes, is_unreadmitted: true })
}

/// The token under which an earlier life spoke for a vnode when its record was written.
fn spoken_for(handoff: &Handoff) -> Option<Token> {
    match handoff {
        Handoff::Owner(_)
        | Handoff::Sending(..)
        | Handoff::Fenced { .. }
        | Handoff::Granting { .. }
        | Handoff::Resuming(_)
        | Handoff::Accepting { .. }
        | Handoff::Lost { .. } => handoff.token(),
        Handoff::Absent { .. }
        | Handoff::Retired { .. }
        | Handoff::Purging { .. }
        | Handoff::Staging(_)
        | Handoff::CaughtUp(_)
        | Handoff::Holding { .. } => None,
    }
}

/// What the actors are made of.
struct Parts {
    env: Env,
    settings: NodeSettings,
    kinds: Vec<Arc<dyn VnodeKind>>,
    types: Vec<VnodeType>,
    identity: Identity,
    acceptor: Acceptor<Ring>,
}

impl Parts {
    fn rules(&self, gossip: &Gossip) -> Arc<DoorRules> {
        let mark = gossip.ring_mark();
        Arc::new(DoorRules {
            me: Introduction {
                node: self.identity.me.clone(),
                address: self.identity.address.clone(),
                cluster: gossip.cluster(),
                epoch: mark.epoch,
                ring: mark.digest,
                ring_size: gossip.ring().size(),
            },
            ring: Arc::clone(gossip.ring()),
            staged: BTreeSet::new(),
            ready: true,
        })
    }

    /// Makes all mailboxes first, so that each actor can be given the addresses of the others, and then
    /// starts the actors, the door last.
    fn run(self, beginning: Beginning, door: Box<dyn crate::runtime::transport::Listener>) -> Node {
        let rules = self.rules(&beginning.gossip);
        let timers = Timers::start(&self.env);
        let (host_box, peers_box) = (Context::<VnodeHost>::new(), Context::<Peers>::new());
        let (manager_box, watcher_box) = (Context::<RingManager>::new(), Context::<Watcher>::new());
        let (gossiper_box, router_box) = (Context::<Gossiper>::new(), Context::<Router>::new());
        let (coordinator_box, listener_box) =
            (Context::<Coordinator>::new(), Context::<Listener>::new());
        let (host, manager) = (host_box.address(), manager_box.address());
        let (peers, coordinator) = (peers_box.address(), coordinator_box.address());
        let (watcher, gossiper) = (watcher_box.address(), gossiper_box.address());
        let (router, listener) = (router_box.address(), listener_box.address());

        let link_tells = LinkTells {
            heard: watcher.clone().recipient(),
            lost: watcher.clone().recipient(),
            other_life: watcher.clone().recipient(),
        };
        let session_tells = SessionTells {
            asked: router.clone().recipient(),
            client: router.recipient(),
            transfer: manager.clone().recipient(),
            heard: watcher.clone().recipient(),
            other_life: watcher.clone().recipient(),
        };
        let manager_links = ManagerLinks {
            env: self.env.clone(),
            timers: timers.clone(),
            host: host.clone(),
            ask_peer: peers.clone().recipient(),
            tell_peer: peers.clone().recipient(),
            ring: vec![watcher.clone().recipient(), coordinator.clone().recipient()],
            tokens: vec![host.clone().recipient(), coordinator.clone().recipient()],
            doors: vec![
                peers.clone().recipient(),
                listener.recipient(),
                watcher.clone().recipient(),
            ],
            addresses: peers.clone().recipient(),
            serving: coordinator.clone().recipient(),
            spread: gossiper.clone().recipient(),
            pass_on: gossiper.clone().recipient(),
        };
        let vnode_links = VnodeLinks {
            env: self.env.clone(),
            me: self.identity.me.clone(),
            ring_size: beginning.gossip.ring().size(),
            manager: manager.clone().recipient(),
            host: host.clone().recipient(),
            ask_peer: peers.clone().recipient(),
            tell_peer: peers.clone().recipient(),
            timers: timers.clone(),
            workers: self.settings.workers.clone(),
            settings: VnodeSettings {
                page: self.settings.page,
                hinted_idle: self.settings.hinted_idle,
                parked_max: self.settings.parked_max,
            },
        };
        let coordinator_links = CoordinatorLinks {
            execute_here: host.clone().recipient(),
            hint_here: host.clone().recipient(),
            ask_peer: peers.clone().recipient(),
        };
        let gossiper_tells = GossiperTells {
            tell_peer: peers.clone().recipient(),
            ask_peer: peers.recipient(),
            wanted: manager.clone().recipient(),
            arrived: manager.clone().recipient(),
        };
        let watcher_tells = WatcherTells {
            liveness: vec![
                manager.clone().recipient(),
                coordinator.clone().recipient(),
                gossiper.clone().recipient(),
            ],
            incarnation: manager.clone().recipient(),
        };
        let me = self.identity.me.clone();
        let address = self.identity.address.clone();
        let env = self.env.clone();
        let detector = Heartbeats::new(self.settings.patience);

        host_box.run(VnodeHost::empty(vnode_links, self.kinds.clone()));
        host.do_send(StartVnodes(beginning.vnodes));
        peers_box.run(Peers::without_links(env.clone(), Arc::clone(&rules), link_tells));
        coordinator_box.run(Coordinator::starting(
            &env,
            &timers,
            me.clone(),
            coordinator_links,
            self.kinds,
        ));
        gossiper_box.run(Gossiper::alone(env.clone(), timers.clone(), gossiper_tells));
        manager_box.run(RingManager::knowing(
            manager_links,
            ManagerStart {
                identity: self.identity,
                types: self.types,
                gossip: beginning.gossip,
                acceptor: self.acceptor,
                settings: self.settings.transfers,
                n_val: self.settings.n_val,
                is_unreadmitted: beginning.is_unreadmitted,
            },
        ));
        watcher_box.run(Watcher::of_nobody(env.clone(), timers, detector, watcher_tells));
        router_box.run(Router {
            env: env.clone(),
            manager: manager.clone(),
            host: host.clone(),
            coordinator: coordinator.clone().recipient(),
            digests: gossiper.recipient(),
            me: me.clone(),
        });
        listener_box.run(Listener::behind(door, &env, rules, session_tells));
        Node { env, me, address, manager, host, coordinator }
    }
}
