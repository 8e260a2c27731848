//! Layouts made without regard to who holds what: for a cluster that holds everything in one place,
//! or where only a strict pattern keeps replicas apart.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::layout::Layout;
use super::share::{Goal, Node, Problem};

/// Starting points tried for a pattern that cannot close.
const ROTATIONS_MAX: usize = 256;

/// The patterns for any number of nodes, the one that mixes most first.
pub(super) fn layouts(problem: &Problem) -> Vec<Layout<'_>> {
    let mut layouts = Vec::new();
    let zone_of = |node: Node| problem.shares.get(usize::from(node)).map_or(node, |s| s.zone);
    layouts.push(dealt(problem, zone_of));
    if problem.zoned {
        layouts.push(dealt(problem, |node| node));
    }
    match problem.goal {
        Goal::NodesAndZones => layouts.push(columns(problem, zone_of)),
        Goal::Nodes => layouts.push(columns(problem, |node| node)),
        Goal::Moves => {}
    }
    layouts
}

/// At most n nodes in the same order again and again, the only way to keep n nodes apart. With
/// fewer nodes the places of the missing ones go to the others in turn, so that the next node to
/// join only has to take them.
///
/// Where n does not divide the ring size the pattern is cut at the place, and the nodes are put
/// into the order, that leave most partitions where they are. `None` when there are more than n
/// nodes.
pub(super) fn periodic(problem: &Problem) -> Option<Layout<'_>> {
    let (size, n) = (problem.current.len(), problem.n);
    if problem.shares.len() > n {
        return None;
    }
    let rotations = if size.is_multiple_of(n) { 1 } else { size };
    let stride = rotations.div_ceil(ROTATIONS_MAX);
    let made = (0..rotations).step_by(stride).map(|rotation| {
        let turn = |position: usize| (position + rotation) % size % n;
        let order = order_that_keeps_most(problem, turn);
        let mut layout = Layout::empty(problem);
        for position in layout.positions() {
            let node = order.get(turn(position)).copied().flatten();
            if let Some(node) = node.filter(|&node| layout.missing(node) > 0) {
                layout.assign(position, node);
            }
        }
        fill(&mut layout);
        layout
    });
    made.min_by_key(Layout::score)
}

/// Who takes each of the n turns. `None`: a turn of nobody, since there are fewer nodes.
fn order_that_keeps_most(problem: &Problem, turn: impl Fn(usize) -> usize) -> Vec<Option<Node>> {
    let mut held: BTreeMap<(Node, usize), u32> = BTreeMap::new();
    for (position, owner) in problem.current.iter().enumerate() {
        if let Some(node) = *owner {
            *held.entry((node, turn(position))).or_default() += 1;
        }
    }
    let kept = |node: Option<Node>, turn: usize| {
        node.and_then(|node| held.get(&(node, turn)).copied()).unwrap_or(0)
    };
    let nodes = (0..).zip(&problem.shares).map(|(node, _)| Some(node));
    let mut order: Vec<Option<Node>> =
        nodes.chain(std::iter::repeat(None)).take(problem.n).collect();
    // Swaps two turns while that keeps more. What is kept grows each time, so it ends.
    loop {
        let pairs = (0..order.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let gain = |&(one, other): &(usize, usize)| {
            let (first, second) = (order.get(one).copied()?, order.get(other).copied()?);
            let swapped = kept(first, other) + kept(second, one);
            swapped.checked_sub(kept(first, one) + kept(second, other)).filter(|gain| *gain > 0)
        };
        let Some((one, other)) = pairs.max_by_key(gain).filter(|pair| gain(pair).is_some()) else {
            return order;
        };
        order.swap(one, other);
    }
}

/// Gives what is unowned to whoever crowds it least, of equals to whoever lacks most.
fn fill(layout: &mut Layout<'_>) {
    for position in layout.positions() {
        if layout.owner(position).is_some() {
            continue;
        }
        let nodes = (0..).zip(&layout.problem.shares).map(|(node, _)| node);
        let needy = nodes.filter(|&node| layout.missing(node) > 0);
        let chosen = needy.min_by_key(|&node| {
            (layout.crowding_at(position, Some(node)), Reverse(layout.missing(node)))
        });
        if let Some(node) = chosen {
            layout.assign(position, node);
        }
    }
}

/// Deals the partitions round: each goes to the group that is furthest behind its share, and in it
/// to the node that is furthest behind. With equal shares that is plain turns.
fn dealt(problem: &Problem, group_of: impl Fn(Node) -> Node) -> Layout<'_> {
    let mut groups: BTreeMap<Node, (i64, BTreeMap<Node, i64>)> = BTreeMap::new();
    for (node, share) in (0..).zip(&problem.shares) {
        let group = groups.entry(group_of(node)).or_default();
        group.0 += i64::from(share.target);
        group.1.insert(node, i64::from(share.target));
    }
    let size = problem.current.len() as i64;
    let mut behind: BTreeMap<Node, i64> = groups.keys().map(|&group| (group, 0)).collect();
    let mut behind_within: BTreeMap<Node, i64> = BTreeMap::new();
    let mut layout = Layout::empty(problem);
    for position in layout.positions() {
        for (group, lag) in &mut behind {
            *lag += groups.get(group).map_or(0, |(share, _)| *share);
        }
        let Some(group) = furthest(&behind) else { break };
        let Some((share, nodes)) = groups.get(&group) else { break };
        behind.entry(group).and_modify(|lag| *lag -= size);
        for (&node, within) in nodes {
            *behind_within.entry(node).or_default() += within;
        }
        let lags = nodes.keys().map(|&node| (node, *behind_within.entry(node).or_default()));
        let Some(node) = furthest(&lags.collect()) else { break };
        behind_within.entry(node).and_modify(|lag| *lag -= share);
        layout.assign(position, node);
    }
    layout
}

/// Who is furthest behind, the first of equals.
fn furthest(behind: &BTreeMap<Node, i64>) -> Option<Node> {
    behind.iter().max_by_key(|&(&node, &lag)| (lag, Reverse(node))).map(|(&node, _)| node)
}

/// A layout in which no group is crowded, provided none has more than Q div n partitions.
///
/// Cut the ring into Q div n blocks, each of n partitions or more, and write them below one another
/// as rows. Then fill the table column by column, group after group, those with most first. A group
/// with as many partitions as there are rows fills one column. Any other ends before it comes down
/// to the row above the one it began in, so two of its partitions are in one column, or in two
/// neighbouring ones at least two rows apart. Either way they are at least one row, that is n
/// partitions, apart.
fn columns(problem: &Problem, group_of: impl Fn(Node) -> Node) -> Layout<'_> {
    let mut layout = Layout::empty(problem);
    let size = problem.current.len();
    let rows = size / problem.n;
    let (width, wide_rows) = (size / rows.max(1), size % rows.max(1));
    let mut sums: BTreeMap<Node, u32> = BTreeMap::new();
    for (node, share) in (0..).zip(&problem.shares) {
        *sums.entry(group_of(node)).or_default() += share.target;
    }
    let mut order: Vec<(Reverse<u32>, Node, Node, u32)> = Vec::new();
    for (node, share) in (0..).zip(&problem.shares) {
        let group = group_of(node);
        let sum = sums.get(&group).copied().unwrap_or(0);
        order.push((Reverse(sum), group, node, share.target));
    }
    order.sort_unstable();
    let dealt = order.into_iter().flat_map(|(_, _, node, target)| (0..target).map(move |_| node));
    // Wide rows come first, and only they have a cell in the last column.
    let cells = (0..=width).flat_map(|column| {
        let rows = if column < width { rows } else { wide_rows };
        (0..rows).map(move |row| row * width + row.min(wide_rows) + column)
    });
    for (position, node) in cells.zip(dealt) {
        layout.assign(position, node);
    }
    layout
}
