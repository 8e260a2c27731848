//! When hints go home, to whom, and when what went home may be deleted.
//!
//! A fallback keeps what it took for an owner that was down in generations. A generation goes home when no
//! client has written into it for a while, or when it is old: a client that cannot reach the owner and
//! writes for ever must not keep the hints away from it. It goes to whoever speaks for the vnode by then, and
//! is deleted when that node has confirmed the whole of it ([`WayHome`]).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::due::Failures;
use crate::protocol::gossip::Tokens;
use crate::protocol::id::{NodeId, NodeName, VnodeRef};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::rules::Rules;
use crate::protocol::time::Moment;

mod way_home;

pub use way_home::WayHome;

/// A generation goes home after this many idle periods, however often it is written.
pub const AGE_IN_IDLE_PERIODS: u32 = 10;

/// When a generation may go home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// Not before this moment.
    At(Moment),
}

/// Whether a generation may go home.
#[must_use]
#[cfg_attr(not(tanodb_mutants), expect(unused_variables, reason = "all rules are kept"))]
pub fn due(opened: Moment, last_write: Moment, now: Moment, idle: Duration, rules: Rules) -> Due {
    let idle_at = last_write.plus(idle);
    let old_at = opened.plus(idle * AGE_IN_IDLE_PERIODS);
    #[cfg(tanodb_mutants)]
    let old_at = if rules.breaks(Mutant::MessagesPostponeHints) { idle_at } else { old_at };
    let at = idle_at.min(old_at);
    if now >= at { Due::Now } else { Due::At(at) }
}

/// Generations whose time has come, with the node each was kept for.
pub type Waiting = BTreeMap<(VnodeRef, u64), NodeName>;

/// What a decision about waiting generations is made from.
#[derive(Debug)]
pub struct Facts<'a, IsUp> {
    /// This node.
    pub me: &'a NodeId,
    /// Who speaks for which vnode.
    pub tokens: &'a Tokens,
    /// Whether a member is heard.
    pub is_up: IsUp,
    /// Vnodes whose hints could not be sent lately.
    pub failures: &'a BTreeMap<VnodeRef, Failures>,
    /// Free outbound slots.
    pub slots_free: u16,
    /// Now.
    pub now: Moment,
    /// The rules it is decided by.
    pub rules: Rules,
}

/// One generation that need not wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Homeward {
    /// This node speaks for the vnode itself by now: the hints join what it owns.
    JoinHere,
    /// They are sent to whoever speaks for the vnode.
    Send(NodeId),
}

/// What to do with waiting generations, in order, and when the next of the others may be tried again. The
/// others wait for their owner, or for a slot.
#[must_use]
#[cfg_attr(not(tanodb_mutants), expect(unused_variables, reason = "all rules are kept"))]
pub fn homeward(
    waiting: &Waiting,
    facts: &Facts<'_, impl Fn(&NodeName) -> bool>,
) -> (Vec<(VnodeRef, u64, Homeward)>, Option<Moment>) {
    let mut slots_free = facts.slots_free;
    let mut wakes_at: Option<Moment> = None;
    let mut going = Vec::new();
    for ((vnode, generation), instead_of) in waiting {
        let holder = facts.tokens.get(vnode).map(|held| held.holder.clone());
        #[cfg(tanodb_mutants)]
        let holder = holder.filter(|holder| {
            !facts.rules.breaks(Mutant::HintsWaitForFormerOwner) || holder.name == *instead_of
        });
        let Some(target) = holder.filter(|holder| (facts.is_up)(&holder.name)) else {
            #[cfg(tanodb_mutants)]
            if facts.rules.breaks(Mutant::HintsWaitInLine) {
                break;
            }
            continue;
        };
        if target == *facts.me {
            going.push((vnode.clone(), *generation, Homeward::JoinHere));
            continue;
        }
        let until = facts.failures.get(vnode).map(|failures| failures.until);
        if let Some(until) = until.filter(|until| *until > facts.now) {
            wakes_at = Some(wakes_at.map_or(until, |at| at.min(until)));
            continue;
        }
        if slots_free > 0 {
            slots_free -= 1;
            going.push((vnode.clone(), *generation, Homeward::Send(target)));
        }
    }
    (going, wakes_at)
}

#[cfg(test)]
mod tests;
