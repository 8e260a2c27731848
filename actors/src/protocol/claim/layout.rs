//! One way to place the partitions, and what is wrong with it.

#![expect(
    clippy::indexing_slicing,
    reason = "positions are below the number of partitions and nodes below that of the shares: \
              every other module gets both from here or from the problem"
)]

use std::ops::{Add, AddAssign, Sub};

use super::share::{Goal, Node, Problem};
use crate::protocol::id::NodeName;

/// How many replicas are together: for every n consecutive partitions, the pairs that share a node
/// or a zone. Compared by nodes first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crowding {
    nodes: i64,
    zones: i64,
}

impl Crowding {
    pub(super) fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl Add for Crowding {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { nodes: self.nodes + other.nodes, zones: self.zones + other.zones }
    }
}

impl AddAssign for Crowding {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Crowding {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { nodes: self.nodes - other.nodes, zones: self.zones - other.zones }
    }
}

/// What a layout costs; the smaller the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// Crowding that can be avoided.
    avoidable: Crowding,
    moves: u32,
    /// Crowding of a kind that cannot be avoided altogether.
    rest: Crowding,
}

/// An owner for each partition. `None` stands for one that must still be found.
#[derive(Debug, Clone)]
pub(super) struct Layout<'a> {
    pub(super) problem: &'a Problem,
    owners: Vec<Option<Node>>,
    counts: Vec<u32>,
}

impl<'a> Layout<'a> {
    /// Everybody keeps what they hold, and what strangers hold is unowned.
    pub(super) fn present(problem: &'a Problem) -> Self {
        let mut layout = Self::empty(problem);
        for (position, owner) in problem.current.iter().enumerate() {
            if let Some(node) = *owner {
                layout.assign(position, node);
            }
        }
        layout
    }

    /// Nobody owns anything.
    pub(super) fn empty(problem: &'a Problem) -> Self {
        let (owners, counts) = (vec![None; problem.current.len()], vec![0; problem.shares.len()]);
        Self { problem, owners, counts }
    }

    pub(super) fn positions(&self) -> std::ops::Range<usize> {
        0..self.owners.len()
    }

    pub(super) fn owner(&self, position: usize) -> Option<Node> {
        self.owners[position]
    }

    pub(super) fn count(&self, node: Node) -> u32 {
        self.counts[usize::from(node)]
    }

    pub(super) fn assign(&mut self, position: usize, node: Node) {
        if let Some(before) = self.owners[position].replace(node) {
            self.counts[usize::from(before)] -= 1;
        }
        self.counts[usize::from(node)] += 1;
    }

    pub(super) fn swap(&mut self, position: usize, other: usize) {
        self.owners.swap(position, other);
    }

    /// Partitions a node may still get before it has its target; negative when it has more.
    pub(super) fn missing(&self, node: Node) -> i64 {
        let target = self.problem.shares[usize::from(node)].target;
        i64::from(target) - i64::from(self.count(node))
    }

    /// Whether a partition may pass from one node to the other with both still balanced.
    pub(super) fn may_pass(&self, from: Node, to: Node) -> bool {
        let (low, high) =
            (self.problem.shares[usize::from(from)].low, self.problem.shares[usize::from(to)].high);
        from != to && self.count(from) > low && self.count(to) < high
    }

    /// Whether the partition would change hands if `node` owned it.
    pub(super) fn is_move(&self, position: usize, node: Option<Node>) -> bool {
        self.problem.current[position] != node
    }

    /// What `node` at this position adds to the crowding, whoever owns the position now.
    pub(super) fn crowding_at(&self, position: usize, node: Option<Node>) -> Crowding {
        let mut crowding = Crowding::default();
        let Some(node) = node else { return crowding };
        let (size, n) = (self.owners.len(), self.problem.n);
        let zone = self.problem.shares[usize::from(node)].zone;
        for distance in 1..n {
            let after = position + distance;
            let after = if after < size { after } else { after - size };
            let before = (position + size - distance) % size;
            for neighbour in [self.owners[after], self.owners[before]].into_iter().flatten() {
                if neighbour == node {
                    crowding.nodes += (n - distance) as i64;
                } else if self.problem.shares[usize::from(neighbour)].zone == zone {
                    crowding.zones += (n - distance) as i64;
                }
            }
        }
        crowding
    }

    pub(super) fn crowding(&self) -> Crowding {
        let sums =
            self.positions().map(|position| self.crowding_at(position, self.owner(position)));
        let Crowding { nodes, zones } = sums.fold(Crowding::default(), Add::add);
        // Each pair was counted from both its ends.
        Crowding { nodes: nodes / 2, zones: zones / 2 }
    }

    /// Partitions that change hands.
    pub(super) fn moves(&self) -> u32 {
        self.positions()
            .map(|position| u32::from(self.is_move(position, self.owner(position))))
            .sum()
    }

    pub(super) fn score(&self) -> Score {
        self.score_of(self.crowding(), self.moves())
    }

    /// The score of this problem's layout with that crowding and so many moves.
    pub(super) fn score_of(&self, crowding: Crowding, moves: u32) -> Score {
        let none = Crowding::default();
        let (avoidable, rest) = match self.problem.goal {
            Goal::NodesAndZones => (crowding, none),
            Goal::Nodes => (Crowding { zones: 0, ..crowding }, Crowding { nodes: 0, ..crowding }),
            Goal::Moves => (none, crowding),
        };
        Score { avoidable, moves, rest }
    }

    /// Whether no search can find anything better.
    pub(super) fn is_perfect(&self) -> bool {
        self.moves() <= self.problem.lower_bound && self.crowding().is_zero()
    }

    /// Positions from which n consecutive ones repeat a node, and those from which they repeat a
    /// zone.
    pub(super) fn violations(&self) -> (u32, u32) {
        let (mut nodes, mut zones) = (0, 0);
        for start in self.positions() {
            let owners = self.owners.iter().cycle().skip(start).take(self.problem.n).flatten();
            let seen: Vec<Node> = owners.copied().collect();
            nodes += u32::from(repeats(seen.clone()));
            let zone = |node: Node| self.problem.shares[usize::from(node)].zone;
            zones += u32::from(repeats(seen.into_iter().map(zone).collect()));
        }
        (nodes, if self.problem.zoned { zones } else { 0 })
    }

    /// The owners' names.
    pub(super) fn named(&self, names: &[&NodeName]) -> Vec<NodeName> {
        self.owners.iter().flatten().map(|&node| names[usize::from(node)].clone()).collect()
    }
}

fn repeats(mut nodes: Vec<Node>) -> bool {
    let count = nodes.len();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.len() < count
}
