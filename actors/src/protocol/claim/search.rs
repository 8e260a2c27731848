//! Layouts grown from the present owners, and the search that moves replicas apart.

use super::layout::{Crowding, Layout};
use super::share::{Node, Problem};

/// Candidates looked at for one choice on a large ring. Enough to find one without a conflict when
/// there are more than a few; a small ring is looked at whole.
const CANDIDATES_MAX: usize = 512;

/// Changes in a row that bring nothing better, after which a search gives up.
const STALE_MAX: usize = 100;

/// Numbers that look random and follow from a seed.
///
/// Source: splitmix64 of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
/// 2014.
#[derive(Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

/// The present layout with all surplus handed over, each partition to the neediest claimant that
/// crowds it least. Takes as few moves as there can be; replicas may be together.
pub(super) fn grown<'a>(problem: &'a Problem, draws: &mut Draws) -> Layout<'a> {
    let mut layout = Layout::present(problem);
    let mut spare: Vec<usize> =
        layout.positions().filter(|&position| is_spare(&layout, position)).collect();
    while let Some(node) = neediest(&layout) {
        let Some(position) = least_crowded(&layout, node, &mut spare, draws) else { break };
        layout.assign(position, node);
    }
    layout
}

fn is_spare(layout: &Layout<'_>, position: usize) -> bool {
    layout.owner(position).is_none_or(|owner| layout.missing(owner) < 0)
}

/// Who lacks most, the first of equals.
fn neediest(layout: &Layout<'_>) -> Option<Node> {
    let nodes = (0..).zip(&layout.problem.shares).map(|(node, _)| (layout.missing(node), node));
    let (missing, node) =
        nodes.max_by_key(|&(missing, node)| (missing, std::cmp::Reverse(node)))?;
    (missing > 0).then_some(node)
}

/// The spare position where the node adds least to the crowding, a random one of equals.
fn least_crowded(
    layout: &Layout<'_>,
    node: Node,
    spare: &mut Vec<usize>,
    draws: &mut Draws,
) -> Option<usize> {
    let weigh = |position: usize, draws: &mut Draws| {
        let now = layout.crowding_at(position, layout.owner(position));
        (layout.crowding_at(position, Some(node)) - now, draws.next(), position)
    };
    if spare.len() > CANDIDATES_MAX * 2 {
        let drawn = (0..CANDIDATES_MAX).filter_map(|_| {
            let position = *spare.get(draws.below(spare.len()))?;
            is_spare(layout, position).then(|| weigh(position, draws))
        });
        if let Some((_, _, position)) = drawn.min() {
            return Some(position);
        }
    }
    spare.retain(|&position| is_spare(layout, position));
    spare.iter().map(|&position| weigh(position, draws)).min().map(|(_, _, position)| position)
}

/// One change of a layout that keeps it balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Swap { other: usize },
    Pass { to: Node },
}

/// What a change brings: less is better.
type Gain = (Crowding, i64);

/// A tabu search: where the position it looks at is crowded, it makes the best change there is,
/// even for the worse, and then leaves both positions alone for a while.
struct Repair<'a, 'p, 'd> {
    layout: &'a mut Layout<'p>,
    draws: &'d mut Draws,
    crowding: Crowding,
    moves: i64,
    moves_max: Option<i64>,
    step: usize,
    /// For each position the step up to which it stays as it is.
    settled_until: Vec<usize>,
    /// Crowded positions not yet looked at.
    crowded: Vec<usize>,
    /// Positions that may still be looked at.
    looks: usize,
}

/// Moves replicas apart, with at most `moves_max` moves and about so many looks at positions, and
/// leaves the best layout it came by.
pub(super) fn repair(
    layout: &mut Layout<'_>,
    draws: &mut Draws,
    looks: usize,
    moves_max: Option<u32>,
) {
    let (crowding, moves) = (layout.crowding(), i64::from(layout.moves()));
    if crowding.is_zero() {
        return;
    }
    let mut best = (layout.score(), layout.clone());
    let size = layout.positions().len();
    let mut repair = Repair {
        layout,
        draws,
        crowding,
        moves,
        moves_max: moves_max.map(i64::from),
        step: 0,
        settled_until: vec![0; size],
        crowded: Vec::new(),
        looks,
    };
    let mut best_step = 0;
    while repair.looks > 0 && !repair.crowding.is_zero() && repair.step < best_step + STALE_MAX {
        repair.step += 1;
        let Some(position) = repair.next_crowded() else { continue };
        repair.change_at(position);
        let moves = u32::try_from(repair.moves).unwrap_or(u32::MAX);
        let score = repair.layout.score_of(repair.crowding, moves);
        if score < best.0 {
            best = (score, repair.layout.clone());
            best_step = repair.step;
        }
    }
    *layout = best.1;
}

impl Repair<'_, '_, '_> {
    fn is_settled(&self, position: usize) -> bool {
        self.settled_until.get(position).is_some_and(|&until| until >= self.step)
    }

    fn settle(&mut self, position: usize) {
        let size = self.settled_until.len();
        let until = self.step + 2 + self.draws.below(size.min(CANDIDATES_MAX) / 8 + 1);
        if let Some(settled) = self.settled_until.get_mut(position) {
            *settled = until;
        }
    }

    fn is_crowded(&self, position: usize) -> bool {
        !self.layout.crowding_at(position, self.layout.owner(position)).is_zero()
    }

    /// A crowded position that is not settled. `None` when it must wait for one.
    fn next_crowded(&mut self) -> Option<usize> {
        if self.crowded.is_empty() {
            self.looks = self.looks.saturating_sub(self.settled_until.len());
            let crowded = self.layout.positions().filter(|&position| self.is_crowded(position));
            self.crowded = crowded.collect();
        }
        self.crowded.retain(|&position| {
            self.settled_until.get(position).is_none_or(|&until| until < self.step)
        });
        if self.crowded.is_empty() {
            return None;
        }
        let position = self.crowded.swap_remove(self.draws.below(self.crowded.len()));
        self.is_crowded(position).then_some(position)
    }

    /// Makes the best change at this position, if there is any.
    fn change_at(&mut self, position: usize) {
        let swaps = self.swaps(position);
        self.looks = self.looks.saturating_sub(swaps.len());
        let changes = swaps.into_iter().chain(self.passes(position));
        let mut best: Option<(Gain, u64, Change)> = None;
        for change in changes.collect::<Vec<_>>() {
            let gain = self.gain(position, change);
            if self.moves_max.is_some_and(|most| self.moves + gain.1 > most) {
                continue;
            }
            let weighed = (gain, self.draws.next(), change);
            if best.is_none_or(|best| weighed < best) {
                best = Some(weighed);
            }
        }
        self.settle(position);
        let Some((gain, _, change)) = best else { return };
        self.crowding += gain.0;
        self.moves += gain.1;
        match change {
            Change::Swap { other } => {
                self.layout.swap(position, other);
                self.settle(other);
            }
            Change::Pass { to } => self.layout.assign(position, to),
        }
    }

    /// Positions it may swap owners with: all of a small ring, a sample of a large one.
    fn swaps(&mut self, position: usize) -> Vec<Change> {
        let size = self.settled_until.len();
        let others: Vec<usize> = if size > CANDIDATES_MAX * 4 {
            (0..CANDIDATES_MAX).map(|_| self.draws.below(size)).collect()
        } else {
            self.layout.positions().collect()
        };
        let owner = self.layout.owner(position);
        let differs =
            |other: &usize| self.layout.owner(*other) != owner && !self.is_settled(*other);
        others.into_iter().filter(differs).map(|other| Change::Swap { other }).collect()
    }

    /// Nodes that may take it over with all still balanced.
    fn passes(&self, position: usize) -> Vec<Change> {
        let Some(owner) = self.layout.owner(position) else { return Vec::new() };
        let nodes = (0..).zip(&self.layout.problem.shares).map(|(node, _)| node);
        nodes.filter(|&to| self.layout.may_pass(owner, to)).map(|to| Change::Pass { to }).collect()
    }

    fn gain(&mut self, position: usize, change: Change) -> Gain {
        let owner = self.layout.owner(position);
        let layout = &mut *self.layout;
        let moved = |layout: &Layout<'_>, at, node| i64::from(layout.is_move(at, node));
        match change {
            Change::Swap { other } => {
                let theirs = layout.owner(other);
                let before =
                    layout.crowding_at(position, owner) + layout.crowding_at(other, theirs);
                layout.swap(position, other);
                let after = layout.crowding_at(position, theirs) + layout.crowding_at(other, owner);
                layout.swap(position, other);
                let moves = moved(layout, position, theirs) + moved(layout, other, owner)
                    - moved(layout, position, owner)
                    - moved(layout, other, theirs);
                (after - before, moves)
            }
            Change::Pass { to } => {
                let now = layout.crowding_at(position, owner);
                let moves = moved(layout, position, Some(to)) - moved(layout, position, owner);
                (layout.crowding_at(position, Some(to)) - now, moves)
            }
        }
    }
}
