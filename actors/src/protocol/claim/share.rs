//! How many partitions each claimant ought to own, and what arithmetic allows.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Apart, Claimant, Obstacle};
use crate::protocol::id::NodeName;

/// A claimant's place among the sorted claimants.
pub(super) type Node = u16;

/// What a layout must reach before moves are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// No node and no zone twice. Without zones every node is a zone of its own.
    NodesAndZones,
    /// No node twice; zones cannot all be apart.
    Nodes,
    /// Nodes cannot all be apart: the fewest moves count most.
    Moves,
}

/// One claimant's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    /// Its zone's number, or its own where zones do not count.
    pub(super) zone: Node,
    /// Its weighted share, rounded down.
    pub(super) low: u32,
    /// Its weighted share, rounded up.
    pub(super) high: u32,
    /// What was cut off from `low`, in parts of the total weight.
    pub(super) remainder: u64,
    /// `low` or `high`, such that all targets together are the ring, and moves are fewest.
    pub(super) target: u32,
}

/// What is given: who holds what now, what everybody should have, and what can be reached.
#[derive(Debug)]
pub(super) struct Problem {
    /// Who holds each partition; `None` when the holder is no claimant.
    pub(super) current: Vec<Option<Node>>,
    /// In the order of the claimants' names.
    pub(super) shares: Vec<Share>,
    /// Consecutive partitions that should differ.
    pub(super) n: usize,
    /// No balanced layout moves fewer partitions.
    pub(super) lower_bound: u32,
    /// Whether every claimant has a zone.
    pub(super) zoned: bool,
    pub(super) goal: Goal,
    pub(super) obstacle: Option<Obstacle>,
}

/// Nodes or zones with the numbers that decide whether they can be apart.
struct Group {
    name: String,
    low: u32,
    high: u32,
}

impl Problem {
    /// `claimants` is not empty, and each has a weight.
    pub(super) fn new(
        owners: &[NodeName],
        claimants: &BTreeMap<&NodeName, &Claimant>,
        n: u32,
    ) -> Self {
        let size = u32::try_from(owners.len()).unwrap_or(u32::MAX);
        let n = n.max(1);
        let names: Vec<&NodeName> = claimants.keys().copied().collect();
        let place_of = |name| names.binary_search(&name).ok().and_then(|p| Node::try_from(p).ok());
        let current: Vec<Option<Node>> = owners.iter().map(place_of).collect();
        let mut shares = balanced(size, claimants);

        let most = size / n;
        let nodes = names.iter().zip(&shares).map(|(name, share)| Group {
            name: name.to_string(),
            low: share.low,
            high: share.high,
        });
        let node_obstacle = obstacle(Apart::Node, &nodes.collect::<Vec<_>>(), size, n);
        let zone_obstacle = obstacle(Apart::Zone, &zones(claimants, &shares), size, n);
        let goal = match (&node_obstacle, &zone_obstacle) {
            (Some(_), _) => Goal::Moves,
            (None, Some(_)) => Goal::Nodes,
            (None, None) => Goal::NodesAndZones,
        };
        if goal != Goal::Moves {
            shares.iter_mut().for_each(|share| share.high = share.high.min(most));
        }
        let held = held(&current, shares.len());
        let zone_most = if goal == Goal::NodesAndZones { most } else { u32::MAX };
        set_targets(&mut shares, &held, size, zone_most);
        let missing =
            shares.iter().zip(&held).map(|(share, held)| share.target.saturating_sub(*held));
        let lower_bound = missing.sum();
        let n = (n as usize).min(owners.len());
        let zoned = are_zoned(claimants);
        let obstacle = node_obstacle.or(zone_obstacle);
        Self { current, shares, n, lower_bound, zoned, goal, obstacle }
    }
}

/// Zones count when all claimants have one.
fn are_zoned(claimants: &BTreeMap<&NodeName, &Claimant>) -> bool {
    claimants.values().all(|claimant| claimant.zone.is_some())
}

/// Shares by weight, with no targets yet.
fn balanced(size: u32, claimants: &BTreeMap<&NodeName, &Claimant>) -> Vec<Share> {
    let total: u64 = claimants.values().map(|claimant| u64::from(claimant.weight)).sum();
    let mut zone_names: Vec<&String> =
        claimants.values().filter_map(|claimant| claimant.zone.as_ref()).collect();
    let zoned = are_zoned(claimants);
    zone_names.sort();
    zone_names.dedup();
    let shares = claimants.values().zip(0..).map(|(claimant, place)| {
        let parts = u64::from(size) * u64::from(claimant.weight);
        let low = u32::try_from(parts / total.max(1)).unwrap_or(u32::MAX);
        let remainder = parts % total.max(1);
        let high = low + u32::from(remainder > 0);
        let zone = claimant.zone.as_ref().filter(|_| zoned);
        let zone = zone.and_then(|zone| zone_names.binary_search(&zone).ok());
        let zone = zone.and_then(|zone| Node::try_from(zone).ok()).unwrap_or(place);
        Share { zone, low, high, remainder, target: low }
    });
    shares.collect()
}

/// The zones' sums. Without zones these are the nodes again, which then have the same obstacle.
fn zones(claimants: &BTreeMap<&NodeName, &Claimant>, shares: &[Share]) -> Vec<Group> {
    let zoned = are_zoned(claimants);
    let mut zones: BTreeMap<Node, Group> = BTreeMap::new();
    for ((node, claimant), share) in claimants.iter().zip(shares) {
        let zone = claimant.zone.as_ref().filter(|_| zoned);
        let name = zone.cloned().unwrap_or_else(|| node.to_string());
        let zone = zones.entry(share.zone).or_insert(Group { name, low: 0, high: 0 });
        zone.low += share.low;
        zone.high += share.high;
    }
    zones.into_values().collect()
}

/// What keeps these groups from being apart. They can be, exactly if none must own more than Q div
/// n, and all together have room: [`super::pattern::columns`] then lays them out.
fn obstacle(apart: Apart, groups: &[Group], size: u32, n: u32) -> Option<Obstacle> {
    let (count, most) = (groups.len(), size / n);
    if count < n as usize {
        return Some(Obstacle::TooFew { apart, count, n });
    }
    if let Some(Group { name, low, .. }) = groups.iter().find(|group| group.low > most) {
        return Some(Obstacle::TooHeavy { apart, name: name.clone(), share: *low, most });
    }
    let room: u64 = groups.iter().map(|group| u64::from(group.high.min(most))).sum();
    (room < u64::from(size)).then_some(Obstacle::Crowded { apart, count, most, size })
}

/// How many partitions each claimant holds.
fn held(current: &[Option<Node>], claimants: usize) -> Vec<u32> {
    let mut held = vec![0; claimants];
    for &node in current.iter().flatten() {
        if let Some(count) = held.get_mut(usize::from(node)) {
            *count += 1;
        }
    }
    held
}

/// Rounds up for those who then keep one more, as far as their zone has room, until all partitions
/// have a place.
fn set_targets(shares: &mut [Share], held: &[u32], size: u32, zone_most: u32) {
    let mut zone_counts: BTreeMap<Node, u32> = BTreeMap::new();
    for share in shares.iter() {
        *zone_counts.entry(share.zone).or_default() += share.low;
    }
    let mut left = size.saturating_sub(shares.iter().map(|share| share.low).sum());
    let mut order: Vec<(u32, &mut Share)> = held.iter().copied().zip(shares).collect();
    order.sort_by_key(|(held, share)| Reverse((*held > share.low, share.remainder, *held)));
    for (_, share) in order {
        let zone_count = zone_counts.entry(share.zone).or_default();
        let more = (share.high - share.low).min(left).min(zone_most.saturating_sub(*zone_count));
        share.target = share.low + more;
        *zone_count += more;
        left -= more;
    }
}
