//! Which vnodes of this node must move, and what each that does not move waits for.
//!
//! A vnode must move when this node speaks for it and the ring wants another node to. It may start when
//! every member has seen the ring, the target is up, no attempt is under way, the last failure is long
//! enough ago and a slot is free. Every wait has a reason that names what would end it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::protocol::gossip::Held;
use crate::protocol::id::{NodeId, NodeName, TransferId, VnodeRef};
#[cfg(tanodb_mutants)]
use crate::protocol::mutant::Mutant;
use crate::protocol::ring::Ring;
use crate::protocol::rules::Rules;
use crate::protocol::time::Moment;

/// The wait after a first failed attempt; doubles with each up to [`RETRY_AFTER_MAX`].
pub const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The longest wait between two attempts.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Why something does not move yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// Members that have not seen the ring.
    RingNotReady(Vec<NodeName>),
    /// The target is not heard.
    TargetDown(NodeName),
    /// The last attempt failed; the next comes at this moment.
    Backoff {
        /// When.
        until: Moment,
        /// How the last attempt ended.
        last_error: String,
    },
    /// All outbound slots of this node are taken.
    NoSlot {
        /// How many it has.
        limit: u16,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RingNotReady(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
                let names = names.join(", ");
                write!(
                    f,
                    "not every member has seen the ring: waiting for {names}; start it, or mark it down"
                )
            }
            Self::TargetDown(name) => {
                write!(f, "the target '{name}' is down; start it, or remove it from the cluster")
            }
            Self::Backoff { last_error, .. } => {
                write!(f, "the last attempt failed ({last_error}); it is tried again shortly")
            }
            Self::NoSlot { limit } => {
                write!(f, "all {limit} outbound slots are taken; it starts when one is free")
            }
        }
    }
}

/// What has been tried for one vnode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// Attempts that failed in a row.
    pub count: u32,
    /// When the next may start.
    pub until: Moment,
    /// How the last one ended.
    pub last_error: String,
}

impl Failures {
    /// One more failure at `now`. `jitter` is a random share of the wait, 0 to 255 of 256.
    #[must_use]
    pub fn after(previous: Option<&Self>, now: Moment, jitter: u8, last_error: String) -> Self {
        let count = previous.map_or(0, |failures| failures.count).saturating_add(1);
        let doubled = 2_u32.saturating_pow(count.saturating_sub(1).min(16));
        let wait = RETRY_AFTER.saturating_mul(doubled).min(RETRY_AFTER_MAX);
        let jittered = wait / 2 + wait.saturating_mul(u32::from(jitter)) / 512;
        Self { count, until: now.plus(jittered), last_error }
    }
}

/// What a decision is made from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// This node.
    pub me: &'a NodeId,
    /// The newest ring.
    pub ring: &'a Ring,
    /// Members that have not seen it.
    pub not_seen_by: &'a [NodeName],
    /// Who speaks for which vnode.
    pub tokens: &'a BTreeMap<VnodeRef, Held>,
    /// Members that are heard.
    pub up: &'a BTreeSet<NodeName>,
    /// Vnodes that are on their way already.
    pub moving: &'a BTreeMap<VnodeRef, TransferId>,
    /// Vnodes whose last attempts failed.
    pub failures: &'a BTreeMap<VnodeRef, Failures>,
    /// Free outbound slots.
    pub slots_free: u16,
    /// Outbound slots.
    pub slots: u16,
    /// The rules it is decided by.
    pub rules: Rules,
    /// Now.
    pub now: Moment,
}

/// One vnode that must move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The vnode.
    pub vnode: VnodeRef,
    /// Where to.
    pub target: NodeId,
    /// What it waits for; `None`: start it.
    pub wait: Option<Wait>,
}

/// The vnodes that must move and are not on their way, in ring order. At most `slots_free` of them have
/// nothing to wait for; those are spread over the targets.
#[must_use]
pub fn due(facts: &Facts<'_>) -> Vec<Move> {
    let mut moves: Vec<Move> = facts
        .tokens
        .iter()
        .filter_map(|(vnode, held)| {
            let target = target_of(facts, vnode, held)?;
            let wait = wait_of(facts, vnode, &target);
            Some(Move { vnode: vnode.clone(), target, wait })
        })
        .collect();
    give_slots(facts, &mut moves);
    moves
}

fn target_of(facts: &Facts<'_>, vnode: &VnodeRef, held: &Held) -> Option<NodeId> {
    if held.holder != *facts.me || facts.moving.contains_key(vnode) {
        return None;
    }
    if !facts.ring.size().contains(vnode.partition) {
        return None;
    }
    let desired = facts.ring.owner(vnode.partition);
    if *desired == facts.me.name { None } else { facts.ring.node_id(desired) }
}

fn wait_of(facts: &Facts<'_>, vnode: &VnodeRef, target: &NodeId) -> Option<Wait> {
    if !facts.not_seen_by.is_empty() {
        return Some(Wait::RingNotReady(facts.not_seen_by.to_vec()));
    }
    if !facts.up.contains(&target.name) {
        return Some(Wait::TargetDown(target.name.clone()));
    }
    let failures = facts.failures.get(vnode).filter(|failures| failures.until > facts.now)?;
    Some(Wait::Backoff { until: failures.until, last_error: failures.last_error.clone() })
}

/// Lets as many start as there are free slots, the targets taking turns.
fn give_slots(facts: &Facts<'_>, moves: &mut [Move]) {
    let mut by_target: BTreeMap<NodeName, Vec<usize>> = BTreeMap::new();
    let may_start = |due: &Move| due.wait.is_none();
    #[cfg(tanodb_mutants)]
    let may_start = |due: &Move| may_start(due) || facts.rules.breaks(Mutant::WaitingTakesTurns);
    for (place, due) in moves.iter().enumerate().filter(|(_, due)| may_start(due)) {
        by_target.entry(due.target.name.clone()).or_default().push(place);
    }
    let rounds = by_target.values().map(Vec::len).max().unwrap_or(0);
    let turns = (0..rounds)
        .flat_map(|round| by_target.values().filter_map(move |places| places.get(round).copied()));
    let refused: Vec<usize> = turns.skip(usize::from(facts.slots_free)).collect();
    for place in refused {
        if let Some(due) = moves.get_mut(place) {
            due.wait = Some(Wait::NoSlot { limit: facts.slots });
        }
    }
}

/// The next moment at which a wait ends by itself.
#[must_use]
pub fn wakes_at(moves: &[Move]) -> Option<Moment> {
    let until = |due: &Move| match due.wait {
        Some(Wait::Backoff { until, .. }) => Some(until),
        Some(Wait::RingNotReady(_) | Wait::TargetDown(_) | Wait::NoSlot { .. }) | None => None,
    };
    moves.iter().filter_map(until).min()
}

/// Attempts that the ring does not want any more: their target is not the desired owner.
#[must_use]
pub fn superseded(
    ring: &Ring,
    running: impl Iterator<Item = (TransferId, VnodeRef, NodeId)>,
) -> Vec<TransferId> {
    running
        .filter(|(_, vnode, target)| {
            !ring.lists(target) || *ring.owner(vnode.partition) != target.name
        })
        .map(|(transfer, ..)| transfer)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::hash::RingSize;
    use crate::protocol::id::{
        ClusterId, Epoch, Incarnation, Partition, Token, VnodeType, VoterId,
    };
    use crate::protocol::ring::Member;

    fn node(name: &str) -> NodeId {
        let name = NodeName::new(&format!("{name}@host")).unwrap();
        NodeId { name, incarnation: Incarnation { boot: 1, nonce: 1 } }
    }

    /// A ring of 8 in which `a` should have one partition, `b` three and `c` four; `a` still holds all.
    fn ring() -> Ring {
        let member = |voter| Member::valid(node("a").incarnation, VoterId(voter));
        let size = RingSize::new(8).unwrap();
        let founded = Ring::founded(ClusterId(1), size, node("a").name, member(1));
        let names = ["a", "b", "c"];
        let members =
            names.iter().zip(1..).map(|(name, id)| (node(name).name, member(id))).collect();
        let owners: Vec<_> =
            ["a", "b", "c", "b", "c", "b", "c", "c"].map(|name| node(name).name).into();
        founded.successor(members, &owners).unwrap()
    }

    struct World {
        ring: Ring,
        tokens: BTreeMap<VnodeRef, Held>,
        up: BTreeSet<NodeName>,
        failures: BTreeMap<VnodeRef, Failures>,
        not_seen_by: Vec<NodeName>,
        rules: Rules,
    }

    fn vnode(partition: u32) -> VnodeRef {
        VnodeRef { vnode_type: VnodeType::new("kv").unwrap(), partition: Partition(partition) }
    }

    fn world() -> World {
        let held = Held { token: Token::minted(Epoch(1)), holder: node("a") };
        World {
            ring: ring(),
            tokens: (0..8).map(|partition| (vnode(partition), held.clone())).collect(),
            up: ["a", "b", "c"].map(|name| node(name).name).into(),
            failures: BTreeMap::new(),
            not_seen_by: vec![],
            rules: Rules::default(),
        }
    }

    fn ask(world: &World, slots_free: u16) -> Vec<Move> {
        due(&Facts {
            me: &node("a"),
            ring: &world.ring,
            not_seen_by: &world.not_seen_by,
            tokens: &world.tokens,
            up: &world.up,
            moving: &BTreeMap::new(),
            failures: &world.failures,
            slots_free,
            slots: 2,
            rules: world.rules,
            now: Moment(1_000_000),
        })
    }

    #[test]
    fn everything_the_ring_gives_to_others_must_move_and_slots_go_round_the_targets() {
        let moves = ask(&world(), 2);
        assert_eq!(moves.len(), 7);
        let started: Vec<_> = moves.iter().filter(|due| due.wait.is_none()).collect();
        let targets: BTreeSet<_> = started.iter().map(|due| due.target.clone()).collect();
        assert_eq!((started.len(), targets.len()), (2, 2), "one for each target");
    }

    #[test]
    fn nothing_starts_before_all_have_seen_the_ring_and_the_wait_names_who_has_not() {
        let mut world = world();
        world.not_seen_by = vec![node("c").name];
        let moves = ask(&world, 2);
        assert!(moves.iter().all(|due| due.wait == Some(Wait::RingNotReady(vec![node("c").name]))));
        assert!(moves[0].wait.as_ref().unwrap().to_string().contains("'c@host'"));
    }

    #[test]
    fn a_target_that_is_down_holds_up_only_its_own() {
        let mut world = world();
        world.up.remove(&node("b").name);
        let moves = ask(&world, 9);
        let waiting = moves.iter().filter(|due| due.wait.is_some()).count();
        assert_eq!((moves.len(), waiting), (7, 3));
    }

    #[test]
    fn a_failed_attempt_waits_longer_each_time_and_wakes_by_itself() {
        let mut world = world();
        let first = Failures::after(None, Moment(1_000_000), 0, "lost".to_owned());
        let second = Failures::after(Some(&first), Moment(1_000_000), 0, "lost".to_owned());
        assert!(second.until > first.until);
        world.failures.insert(vnode(1), second.clone());
        let moves = ask(&world, 9);
        assert_eq!(wakes_at(&moves), Some(second.until));
    }

    #[test]
    fn an_attempt_towards_somebody_else_is_superseded() {
        let transfer = |number| TransferId { nonce: 1, number };
        let running = [(transfer(1), vnode(1), node("b")), (transfer(2), vnode(1), node("c"))];
        assert_eq!(superseded(&ring(), running.into_iter()), [transfer(2)]);
    }

    #[test]
    fn what_waits_for_a_node_that_is_down_takes_no_turn_at_the_slots() {
        let mut world = world();
        world.up.remove(&node("b").name);
        let started = ask(&world, 2).iter().filter(|due| due.wait.is_none()).count();
        assert_eq!(started, 2, "both slots are used");
    }
}
