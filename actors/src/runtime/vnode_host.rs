//! The vnode host: starts the vnodes of this node, finds them, gives them permits, and starts them again
//! when they end.
//!
//! Owns: one entry for each vnode that has been needed here, and the table of tokens that vnodes which speak
//! for nothing answer with.
//! Hears: commands from the coordinator and from other members, what other members say to one vnode, the
//! end of a vnode.
//! Tells: vnodes.
//!
//! It does not know what a vnode's state means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::Semaphore;

use crate::protocol::gossip::Held;
use crate::protocol::handoff::Handoff;
use crate::protocol::id::{ClusterId, Stamp, Token, VnodeRef, VnodeType};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::runtime::coordinator::StampSeen;
use crate::runtime::message::{ExecuteHere, HintHere, RingChanged, TokensLearned};
use crate::runtime::vnode::actor::{VnodeActor, VnodeLinks};
use crate::runtime::vnode::kind::VnodeKind;
use crate::runtime::vnode::message::{
    Admitted, AdmittedHint, ObserveVnode, Remains, SourceGone, VnodeFell,
};
use crate::wire::admin::PartitionRow;
use crate::wire::message::Outcome;

/// Commands a vnode may have under way, unless the node is told otherwise. More are refused with `Busy`, at
/// once.
pub const PERMITS: usize = 1_024;

/// How long a vnode that ended waits before it is started again; doubles up to the second figure.
const RESTART_AFTER: Duration = Duration::from_millis(50);
const RESTART_AFTER_MAX: Duration = Duration::from_secs(10);

/// A vnode that has run for this long starts with the short wait again.
const STEADY: Duration = Duration::from_secs(60);

struct Hosted {
    address: Option<Addr<VnodeActor>>,
    permits: Arc<Semaphore>,
    start: u64,
    started_at: crate::protocol::time::Moment,
    restarts: u32,
}

/// The host of one node.
pub struct VnodeHost {
    links: VnodeLinks,
    /// The coordinator, whose stamps must not fall behind those that are stored here.
    stamps: Recipient<StampSeen>,
    kinds: BTreeMap<VnodeType, Arc<dyn VnodeKind>>,
    vnodes: BTreeMap<VnodeRef, Hosted>,
    tokens: BTreeMap<VnodeRef, Held>,
    /// Whether the ring lists this node in another life: no owner would take the hints it kept.
    is_unlisted: bool,
    starts: u64,
    restarts: u64,
}

/// Starts vnodes that this node speaks for, or has spoken for.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StartVnodes(pub Vec<(VnodeRef, Handoff)>);

/// Where a vnode can be found; it is started if need be. `None` if this node does not host its type.
#[derive(Message)]
#[rtype(result = "Option<Addr<VnodeActor>>")]
pub struct FindVnode(pub VnodeRef);

/// Ends all vnodes and forgets the tokens: this node has become part of another cluster.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ForgetVnodes {
    /// That cluster.
    pub joined: ClusterId,
}

/// What all vnodes hold. Reading it changes nothing.
#[derive(Message)]
#[rtype(result = "Vec<PartitionRow>")]
pub struct ObserveVnodes;

/// How often vnodes were started again since this node started.
#[derive(Message)]
#[rtype(result = "u64")]
pub struct CountRestarts;

/// Start a vnode again: its wait is over.
#[derive(Message)]
#[rtype(result = "()")]
struct StartAgain {
    vnode: VnodeRef,
    remains: Remains,
}

impl VnodeHost {
    /// A host without vnodes. `links.host` is filled in when the actor starts.
    #[must_use]
    pub fn empty(
        links: VnodeLinks,
        kinds: Vec<Arc<dyn VnodeKind>>,
        stamps: Recipient<StampSeen>,
    ) -> Self {
        let kinds = kinds.into_iter().map(|kind| (kind.name().clone(), kind)).collect();
        Self {
            links,
            stamps,
            kinds,
            vnodes: BTreeMap::new(),
            tokens: BTreeMap::new(),
            is_unlisted: false,
            starts: 0,
            restarts: 0,
        }
    }

    fn start(&mut self, vnode: &VnodeRef, remains: Remains) -> Option<Addr<VnodeActor>> {
        let kind = Arc::clone(self.kinds.get(&vnode.vnode_type)?);
        self.starts += 1;
        let (start, links) = (self.starts, self.links.clone());
        let named = vnode.clone();
        let slot = vnode.partition.0 as usize;
        let arbiters = links.env.arbiters.clone();
        let address =
            arbiters.start(slot, move |_| VnodeActor::new(links, named, kind, start, remains));
        let (now, permits) = (self.links.env.clock.now(), self.links.settings.permits);
        let hosted = self.vnodes.entry(vnode.clone()).or_insert_with(|| Hosted {
            address: None,
            permits: Arc::new(Semaphore::new(permits)),
            start,
            started_at: now,
            restarts: 0,
        });
        hosted.address = Some(address.clone());
        hosted.start = start;
        hosted.started_at = now;
        Some(address)
    }

    /// The vnode's address; starts it with what its engine finds if it has never been needed.
    fn find(&mut self, vnode: &VnodeRef) -> Option<Addr<VnodeActor>> {
        if let Some(hosted) = self.vnodes.get(vnode) {
            return hosted.address.clone();
        }
        self.start(vnode, nothing(Handoff::absent()))
    }

    /// The same, and the permits of its commands.
    fn find_with_permits(
        &mut self,
        vnode: &VnodeRef,
    ) -> Option<(Addr<VnodeActor>, Arc<Semaphore>)> {
        let of = |hosted: &Hosted| Some((hosted.address.clone()?, Arc::clone(&hosted.permits)));
        if let Some(hosted) = self.vnodes.get(vnode) {
            return of(hosted);
        }
        self.find(vnode)?;
        self.vnodes.get(vnode).and_then(of)
    }

    fn is_hosted(&self, vnode: &VnodeRef) -> bool {
        self.kinds.contains_key(&vnode.vnode_type)
    }

    fn known(&self, vnode: &VnodeRef) -> Option<Held> {
        self.tokens.get(vnode).cloned()
    }

    /// Whether a stamp may be stored here: one from a clock far ahead would overrule every write until then.
    fn check_stamp(&self, stamp: Stamp) -> Result<(), Outcome> {
        let ahead = stamp.millis.saturating_sub(self.links.env.clock.wall_millis());
        if ahead == 0 {
            return Ok(());
        }
        let most = self.links.settings.max_clock_ahead;
        if Duration::from_millis(ahead) > most {
            let reason = format!(
                "its stamp is {ahead} ms ahead of this node's clock and {} ms are allowed; set the clocks",
                most.as_millis()
            );
            return Err(Outcome::Refused { reason });
        }
        #[cfg(tanodb_mutants)]
        if self.links.settings.rules.breaks(Mutant::StampsNotObserved) {
            return Ok(());
        }
        self.stamps.do_send(StampSeen(stamp));
        Ok(())
    }

    fn not_here(&self, vnode: &VnodeRef) -> Outcome {
        if self.is_hosted(vnode) {
            return Outcome::Retry;
        }
        let reason = format!("this node hosts no vnode type '{}'", vnode.vnode_type);
        Outcome::Refused { reason }
    }
}

fn nothing(handoff: Handoff) -> Remains {
    Remains { handoff, owned: None, staging: None, receipt: None, hints: Vec::new() }
}

impl Actor for VnodeHost {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.links.host = ctx.address().recipient();
    }
}

impl Handler<StartVnodes> for VnodeHost {
    type Result = ();

    fn handle(&mut self, start: StartVnodes, _: &mut Self::Context) {
        for (vnode, handoff) in start.0 {
            let Some(kind) = self.kinds.get(&vnode.vnode_type).cloned() else { continue };
            let mut remains = nothing(handoff);
            if matches!(remains.handoff, Handoff::Owner(_)) {
                remains.owned = Some(kind.open(vnode.partition, &self.links.env));
            }
            self.start(&vnode, remains);
        }
    }
}

impl Handler<FindVnode> for VnodeHost {
    type Result = Option<Addr<VnodeActor>>;

    fn handle(&mut self, find: FindVnode, _: &mut Self::Context) -> Self::Result {
        self.find(&find.0)
    }
}

impl Handler<ForgetVnodes> for VnodeHost {
    type Result = ();

    fn handle(&mut self, forget: ForgetVnodes, _: &mut Self::Context) {
        self.links.cluster = forget.joined;
        // An actor ends when the last address is gone; what it hands back is of a start nobody knows.
        for hosted in std::mem::take(&mut self.vnodes).into_values() {
            if let Some(address) = hosted.address {
                address.do_send(crate::runtime::vnode::message::EndVnode);
            }
        }
        self.tokens.clear();
    }
}

impl Handler<ExecuteHere> for VnodeHost {
    type Result = ();

    fn handle(&mut self, here: ExecuteHere, _: &mut Self::Context) {
        if let Err(outcome) = self.check_stamp(here.execute.envelope.stamp) {
            here.reply.answer(outcome);
            return;
        }
        let vnode = &here.execute.envelope.vnode;
        let Some((address, permits)) = self.find_with_permits(vnode) else {
            let outcome = self.not_here(vnode);
            here.reply.answer(outcome);
            return;
        };
        let Ok(permit) = permits.try_acquire_owned() else {
            here.reply.answer(Outcome::Busy);
            return;
        };
        let known = self.known(vnode);
        let ExecuteHere { execute, deadline, reply } = here;
        address.do_send(Admitted { execute, deadline, known, reply, permit });
    }
}

impl Handler<HintHere> for VnodeHost {
    type Result = ();

    fn handle(&mut self, here: HintHere, _: &mut Self::Context) {
        if self.is_unlisted {
            here.reply.answer(Outcome::Lost);
            return;
        }
        if let Err(outcome) = self.check_stamp(here.hint.envelope.stamp) {
            here.reply.answer(outcome);
            return;
        }
        let vnode = &here.hint.envelope.vnode;
        let Some((address, permits)) = self.find_with_permits(vnode) else {
            let outcome = self.not_here(vnode);
            here.reply.answer(outcome);
            return;
        };
        let Ok(permit) = permits.try_acquire_owned() else {
            here.reply.answer(Outcome::Busy);
            return;
        };
        let HintHere { hint, deadline, reply } = here;
        address.do_send(AdmittedHint { hint, deadline, reply, permit });
    }
}

impl Handler<RingChanged> for VnodeHost {
    type Result = ();

    fn handle(&mut self, RingChanged(ring): RingChanged, _: &mut Self::Context) {
        let me = &self.links.me;
        self.is_unlisted = ring.is_member(&me.name) && !ring.lists(me);
    }
}

impl Handler<TokensLearned> for VnodeHost {
    type Result = ();

    fn handle(&mut self, learned: TokensLearned, _: &mut Self::Context) {
        for (vnode, held) in learned.0.iter() {
            let newest = self.tokens.get(vnode).map(|known| known.token);
            if newest.is_none_or(|newest: Token| newest < held.token) {
                self.tokens.insert(vnode.clone(), held.clone());
            }
        }
    }
}

impl Handler<SourceGone> for VnodeHost {
    type Result = ();

    fn handle(&mut self, gone: SourceGone, _: &mut Self::Context) {
        for hosted in self.vnodes.values() {
            if let Some(address) = &hosted.address {
                address.do_send(gone.clone());
            }
        }
    }
}

impl Handler<ObserveVnodes> for VnodeHost {
    type Result = ResponseFuture<Vec<PartitionRow>>;

    fn handle(&mut self, _: ObserveVnodes, _: &mut Self::Context) -> Self::Result {
        let addresses: Vec<_> =
            self.vnodes.values().filter_map(|hosted| hosted.address.clone()).collect();
        Box::pin(async move {
            let mut rows = Vec::new();
            for address in addresses {
                rows.extend(address.send(ObserveVnode).await.unwrap_or_default());
            }
            rows
        })
    }
}

impl Handler<CountRestarts> for VnodeHost {
    type Result = u64;

    fn handle(&mut self, _: CountRestarts, _: &mut Self::Context) -> u64 {
        self.restarts
    }
}

impl Handler<VnodeFell> for VnodeHost {
    type Result = ();

    fn handle(&mut self, fell: VnodeFell, ctx: &mut Self::Context) {
        let VnodeFell { vnode, start, reason, remains } = fell;
        let now = self.links.env.clock.now();
        let Some(hosted) = self.vnodes.get_mut(&vnode).filter(|hosted| hosted.start == start)
        else {
            return;
        };
        hosted.address = None;
        if now.since(hosted.started_at) >= STEADY {
            hosted.restarts = 0;
        }
        let pause = RESTART_AFTER
            .saturating_mul(2_u32.saturating_pow(hosted.restarts.min(16)))
            .min(RESTART_AFTER_MAX);
        hosted.restarts += 1;
        self.restarts += 1;
        let partition = self.links.ring_size.index_of(vnode.partition);
        let reason = reason.unwrap_or_else(|| "it panicked".to_owned());
        log::error!(
            partition:%, vnode_type:% = vnode.vnode_type, reason = reason.as_str(), pause:?;
            "a vnode ended; it is started again with what it held"
        );
        let sleeping = self.links.env.clock.sleep(pause);
        let again = StartAgain { vnode, remains };
        ctx.spawn(sleeping.into_actor(self).map(move |(), _, ctx| ctx.notify(again)));
    }
}

impl Handler<StartAgain> for VnodeHost {
    type Result = ();

    fn handle(&mut self, again: StartAgain, _: &mut Self::Context) {
        let is_waiting =
            self.vnodes.get(&again.vnode).is_some_and(|hosted| hosted.address.is_none());
        if is_waiting {
            self.start(&again.vnode, again.remains);
        }
    }
}
