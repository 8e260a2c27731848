//! Hand-made stories for the tests of invariants: who told what, in order.

use std::sync::Arc;
use std::time::Duration;

use super::world::World;
use super::{Invariant, Invariants};
use crate::protocol::digest::Summary;
use crate::protocol::handoff::{Handoff, Incoming, Outgoing, Ownership};
use crate::protocol::id::{
    ClusterId, Dot, Epoch, Incarnation, NodeId, NodeName, OpId, Partition, Stamp, Token,
    TransferId, VnodeRef, VnodeType,
};
use crate::runtime::observe::Observed;
use crate::runtime::vnode::Class;
use crate::runtime::vnode::record::Receipt;
use crate::sim::trace::Seen;

pub(super) const CLUSTER: ClusterId = ClusterId(7);

/// Nodes that tell one invariant what they do.
pub(super) struct Told(Invariants);

impl Told {
    pub(super) fn to<I: Invariant + 'static>(make: impl FnOnce(World) -> I) -> Self {
        let world = World::default();
        let all: Vec<Box<dyn Invariant>> = vec![Box::new(make(world.clone()))];
        Self(Invariants { world, all, at_rest: std::collections::BTreeMap::new() })
    }

    /// What the invariant finds wrong with it.
    pub(super) fn hears(&mut self, node: &str, event: Observed) -> Result<(), String> {
        let seen = Seen { at: Duration::ZERO, node: Arc::from(node), life: 1, event };
        self.0.saw(&seen).map_err(|failure| failure.to_string())
    }

    /// Something that is as it must be.
    pub(super) fn and(&mut self, node: &str, event: Observed) -> &mut Self {
        assert_eq!(self.hears(node, event), Ok(()));
        self
    }

    pub(super) fn starts(&mut self, node: &str, state: Handoff) -> &mut Self {
        self.and(node, Observed::VnodeStarted { cluster: CLUSTER, vnode: vnode(), state })
    }

    pub(super) fn goes(&mut self, node: &str, states: &[Handoff]) -> &mut Self {
        for pair in states.windows(2) {
            self.and(node, moved(pair));
        }
        self
    }

    pub(super) fn dies(&mut self, node: &str) -> &mut Self {
        self.0.ended(node);
        self
    }

    pub(super) fn exercised(&self) -> u64 {
        self.0.exercised().map(|(_, count)| count).sum()
    }
}

pub(super) fn vnode() -> VnodeRef {
    VnodeRef { vnode_type: VnodeType::new("numbers").unwrap(), partition: Partition(3) }
}

pub(super) fn token(hop: u32) -> Token {
    Token { epoch: Epoch(1), hop }
}

pub(super) fn transfer(number: u64) -> TransferId {
    TransferId { nonce: 1, number }
}

pub(super) fn id(node: &str) -> NodeId {
    let name = NodeName::new(&format!("{node}@sim")).unwrap();
    NodeId { name, incarnation: Incarnation { boot: 1, nonce: 1 } }
}

pub(super) fn op(counter: u64) -> OpId {
    OpId { minter: 1, counter }
}

pub(super) fn items(count: u64) -> Summary {
    Summary { root: u128::from(count), count, bytes: count * 10 }
}

fn ownership(hop: u32) -> Ownership {
    Ownership { token: token(hop), predecessor: None, rebuilding: false }
}

/// To bob, by transfer 1.
fn outgoing() -> Outgoing {
    Outgoing { transfer: transfer(1), target: id("bob") }
}

/// From ada, by transfer 1.
fn incoming() -> Incoming {
    Incoming { transfer: transfer(1), source: id("ada"), token: token(0) }
}

pub(super) fn absent() -> Handoff {
    Handoff::absent()
}

pub(super) fn owner(hop: u32) -> Handoff {
    Handoff::Owner(ownership(hop))
}

pub(super) fn sending(hop: u32) -> Handoff {
    Handoff::Sending(ownership(hop), outgoing())
}

pub(super) fn fenced(hop: u32) -> Handoff {
    Handoff::Fenced { ownership: ownership(hop), outgoing: outgoing(), fence: 1 }
}

pub(super) fn granting(hop: u32) -> Handoff {
    Handoff::Granting { ownership: ownership(hop), outgoing: outgoing(), fence: 1, durable: true }
}

pub(super) fn resuming(hop: u32) -> Handoff {
    Handoff::Resuming(ownership(hop))
}

pub(super) fn retired(hop: u32) -> Handoff {
    Handoff::Retired { granted: token(hop), outgoing: outgoing() }
}

pub(super) fn staging() -> Handoff {
    Handoff::Staging(incoming())
}

pub(super) fn holding() -> Handoff {
    Handoff::Holding { incoming: incoming(), fence: 1 }
}

pub(super) fn accepting(hop: u32) -> Handoff {
    Handoff::Accepting { incoming: incoming(), token: token(hop), rebuilding: false }
}

pub(super) fn moved(states: &[Handoff]) -> Observed {
    let [before, after] = states else { panic!("from one state to another") };
    let (before, after) = (before.clone(), after.clone());
    Observed::VnodeMoved { cluster: CLUSTER, vnode: vnode(), before, after }
}

pub(super) fn kept(state: Handoff, receipt: Option<TransferId>) -> Observed {
    Observed::RecordKept { vnode: vnode(), state, receipt }
}

pub(super) fn executed(hop: u32, counter: u64, changes: usize) -> Observed {
    Observed::Executed {
        cluster: CLUSTER,
        vnode: vnode(),
        class: Class::Single,
        token: token(hop),
        op: op(counter),
        stamp: Stamp::default(),
        dot: Dot { minter: 1, counter },
        changes,
    }
}

pub(super) fn fence_set(summary: Summary) -> Observed {
    Observed::FenceSet { vnode: vnode(), transfer: transfer(1), summary }
}

pub(super) fn fence_held(summary: Summary) -> Observed {
    Observed::FenceHeld { vnode: vnode(), transfer: transfer(1), summary }
}

/// By bob.
pub(super) fn took_over(hop: u32, summary: Summary) -> Observed {
    let (vnode, holder) = (vnode(), id("bob"));
    Observed::TookOver { vnode, transfer: transfer(1), holder, token: token(hop), summary }
}

/// That bob has taken over by transfer 1.
pub(super) fn receipt(hop: u32, summary: Summary) -> Receipt {
    Receipt {
        transfer: transfer(1),
        source: id("ada"),
        target: id("bob"),
        from: token(0),
        to: token(hop),
        summary,
        at_millis: 0,
    }
}
