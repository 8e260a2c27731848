//! The order in which a node starts: records, ring, address, actors.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wiring::{Addresses, Mailboxes};
use super::{Node, NodeSettings, StartError};
use crate::protocol::agreement::Acceptor;
use crate::protocol::gossip::{Gossip, Held, Part};
use crate::protocol::handoff::Handoff;
use crate::protocol::id::{
    ClusterId, Epoch, Incarnation, NodeId, NodeName, Token, VnodeRef, VnodeType, VoterId,
};
use crate::protocol::liveness::Heartbeats;
use crate::protocol::ring::{Member, Ring};
use crate::protocol::rules::Rules;
use crate::runtime::coordinator::{Coordinator, UntilServing};
use crate::runtime::env::Env;
use crate::runtime::gossiper::Gossiper;
use crate::runtime::message::DoorRules;
use crate::runtime::network::listener::{self, Listener};
use crate::runtime::network::peers::Peers;
use crate::runtime::network::watcher::Watcher;
use crate::runtime::records;
use crate::runtime::reply::reply;
use crate::runtime::ring_manager::{
    AGREEMENT_RECORD, CANDIDATE_RECORD, Identity, KNOWLEDGE_RECORD, ManagerStart, RING_RECORD,
    RingManager, founded_vnodes,
};
use crate::runtime::timers::Timers;
use crate::runtime::vnode::actor::VnodeLinks;
use crate::runtime::vnode::kind::VnodeKind;
use crate::runtime::vnode::record::{RECORD_PREFIX, VnodeRecord};
use crate::runtime::vnode::settings::VnodeSettings;
use crate::runtime::vnode_host::{StartVnodes, VnodeHost};
use crate::wire::message::Introduction;

/// How long [`Node::start`] waits for a node that may not serve yet.
const SERVING_WAIT_MAX: Duration = Duration::from_secs(10);

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
    own: Option<Arc<Ring>>,
    candidate: Option<Epoch>,
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
    let types: BTreeSet<VnodeType> = kinds.iter().map(|kind| kind.name().clone()).collect();
    let beginning = begin(&env, &settings, &me, voter, &types).await?;
    let ring_epoch = beginning.gossip.ring().epoch();
    let acceptor =
        match records::load::<Acceptor<Ring>>(env.disk.as_ref(), AGREEMENT_RECORD).await? {
            Some(loaded) if loaded.fell_back.is_some() => {
                // Promises may be missing: this node votes under another identity, once a ring lists it.
                voter = VoterId(env.rng.next_u64());
                let (name, boot) = (me.name.clone(), me.incarnation.boot);
                let record = IdentityRecord { name, boot, voter };
                records::save(env.disk.as_ref(), IDENTITY_RECORD, &record).await?;
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
    let node = parts.run(beginning, door);
    until_serving(&node).await;
    Ok(node)
}

/// Waits until the actors know one another's first words and numbers for commands are on disk.
async fn until_serving(node: &Node) {
    let (reply, serving) = reply(());
    node.coordinator.do_send(UntilServing(reply));
    if node.env.clock.timeout(SERVING_WAIT_MAX, serving).await.is_err() {
        log::warn!("the node takes no commands yet; what it waits for is in the answer to each");
    }
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
    types: &BTreeSet<VnodeType>,
) -> Result<Beginning, StartError> {
    let kept = records::load::<Ring>(env.disk.as_ref(), RING_RECORD).await?;
    let ring = kept.map(|kept| kept.value);
    if let Some(cluster) = ring.as_ref().filter(|ring| !ring.is_member(&me.name))
        && let Some(waiting) = wait_for_cluster(env, settings, me, voter, cluster).await?
    {
        return Ok(waiting);
    }
    match ring.filter(|ring| ring.is_member(&me.name)) {
        Some(ring) if ring.members().len() > 1 => come_back(env, me, ring, settings.rules).await,
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

/// A joiner that was shown the ring that makes it a member, and ended before it knew whether that was decided:
/// it asks the cluster before it founds anything.
async fn wait_for_cluster(
    env: &Env,
    settings: &NodeSettings,
    me: &NodeId,
    voter: VoterId,
    cluster: &Ring,
) -> Result<Option<Beginning>, StartError> {
    let disk = env.disk.as_ref();
    let shown = records::load::<Ring>(disk, CANDIDATE_RECORD).await?.map(|kept| kept.value);
    let Some(shown) = shown.filter(|shown| {
        shown.cluster() == cluster.cluster()
            && shown.epoch() > cluster.epoch()
            && shown.is_member(&me.name)
    }) else {
        log::warn!("a join was staged before this start; stage it again if it is still wanted");
        return Ok(None);
    };
    log::warn!("a commit may have made this node a member; waiting for the cluster's ring");
    let mut gossip = Gossip::new(me.name.clone(), Arc::new(cluster.clone()));
    if let Some(kept) = records::load::<Part>(disk, KNOWLEDGE_RECORD).await?
        && let Err(error) = gossip.merge(&kept.value)
    {
        log::warn!(error:%; "what this node knew does not fit its ring; gossip brings it again");
    }
    let member = Member::valid(me.incarnation, voter);
    let founded = ClusterId(env.rng.next_u64());
    let own = Ring::founded(founded, settings.ring_size, me.name.clone(), member);
    Ok(Some(Beginning {
        gossip,
        vnodes: Vec::new(),
        is_unreadmitted: false,
        own: Some(Arc::new(own)),
        candidate: Some(shown.epoch()),
    }))
}

/// This node's own ring, in which it speaks for every vnode.
async fn found(
    env: &Env,
    me: &NodeId,
    ring: Ring,
    types: &BTreeSet<VnodeType>,
) -> Result<Beginning, StartError> {
    records::save(env.disk.as_ref(), RING_RECORD, &ring).await?;
    let founded = founded_vnodes(&ring, types);
    let mut gossip = Gossip::new(me.name.clone(), Arc::new(ring));
    let mut vnodes = Vec::with_capacity(founded.len());
    for (vnode, token) in founded {
        gossip.hold(&vnode, &Held { token, holder: me.clone() });
        vnodes.push((vnode, Handoff::owner(token)));
    }
    Ok(Beginning { gossip, vnodes, is_unreadmitted: false, own: None, candidate: None })
}

/// The next epoch of a ring with one member: it alone decides, and lists its new life.
async fn found_again(
    env: &Env,
    me: &NodeId,
    voter: VoterId,
    ring: &Ring,
    types: &BTreeSet<VnodeType>,
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
async fn come_back(
    env: &Env,
    me: &NodeId,
    ring: Ring,
    rules: Rules,
) -> Result<Beginning, StartError> {
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
        match handoff.spoke_under() {
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
    let lost = lost.into_iter();
    let vnodes = lost.map(|(vnode, token)| (vnode, Handoff::lost_with(token, rules))).collect();
    Ok(Beginning { gossip, vnodes, is_unreadmitted: true, own: None, candidate: None })
}

/// What the actors are made of.
struct Parts {
    env: Env,
    settings: NodeSettings,
    kinds: Vec<Arc<dyn VnodeKind>>,
    types: BTreeSet<VnodeType>,
    identity: Identity,
    acceptor: Acceptor<Ring>,
}

impl Parts {
    fn door_rules(&self, gossip: &Gossip) -> Arc<DoorRules> {
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
            joining: false,
            ready: true,
        })
    }

    fn vnode_links(&self, to: &Addresses, ring: &Ring, timers: &Timers) -> VnodeLinks {
        VnodeLinks {
            env: self.env.clone(),
            me: self.identity.me.clone(),
            cluster: ring.cluster(),
            ring_size: ring.size(),
            manager: to.manager.clone().recipient(),
            host: to.host.clone().recipient(),
            ask_peer: to.peers.clone().recipient(),
            tell_peer: to.peers.clone().recipient(),
            timers: timers.clone(),
            workers: self.settings.workers.clone(),
            settings: VnodeSettings {
                page: self.settings.page,
                hinted_idle: self.settings.hinted_idle,
                parked_max: self.settings.parked_max,
                permits: self.settings.permits,
                max_clock_ahead: self.settings.max_clock_ahead,
                rules: self.settings.rules,
            },
        }
    }

    fn manager(self, to: &Addresses, beginning: Beginning, timers: Timers) -> RingManager {
        RingManager::knowing(
            to.manager_links(self.env, timers),
            ManagerStart {
                identity: self.identity,
                types: self.types,
                gossip: beginning.gossip,
                acceptor: self.acceptor,
                settings: self.settings.transfers,
                n_val: self.settings.n_val,
                rules: self.settings.rules,
                is_unreadmitted: beginning.is_unreadmitted,
                own: beginning.own,
                candidate: beginning.candidate,
            },
        )
    }

    /// Makes all mailboxes first, so that each actor can be given the addresses of the others, and then
    /// starts the actors, the door last.
    fn run(
        self,
        mut beginning: Beginning,
        door: Box<dyn crate::runtime::transport::Listener>,
    ) -> Node {
        let (rules, decides_by) = (self.door_rules(&beginning.gossip), self.settings.rules);
        let (env, me) = (self.env.clone(), self.identity.me.clone());
        let address = self.identity.address.clone();
        let timers = Timers::start(&env);
        let (boxes, to) = Mailboxes::new();
        let (kinds, detector) = (self.kinds.clone(), Heartbeats::new(self.settings.patience));

        let links = self.vnode_links(&to, beginning.gossip.ring(), &timers);
        boxes.host.run(VnodeHost::empty(links, kinds.clone(), to.coordinator.clone().recipient()));
        to.host.do_send(StartVnodes(std::mem::take(&mut beginning.vnodes)));
        boxes.peers.run(Peers::without_links(env.clone(), Arc::clone(&rules), to.link_tells()));
        let links = to.coordinator_links();
        let coordinator = Coordinator::starting(&env, &timers, me.clone(), links, kinds);
        boxes.coordinator.run(coordinator.under(decides_by));
        boxes.gossiper.run(Gossiper::alone(env.clone(), timers.clone(), to.gossiper_tells()));
        boxes.manager.run(self.manager(&to, beginning, timers.clone()));
        let tells = to.watcher_tells();
        boxes.watcher.run(Watcher::of_nobody(env.clone(), timers, detector, tells));
        boxes.router.run(to.router(env.clone(), me.clone(), decides_by));
        boxes.listener.run(Listener::behind(door, &env, rules, to.session_tells()));
        let Addresses { manager, host, coordinator, .. } = to;
        Node { env, me, address, manager, host, coordinator }
    }
}
