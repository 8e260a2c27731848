//! Where partitions ought to be: balanced, replicas apart, and as few moves as possible.
//!
//! [`claim`] takes who holds each partition and who may own some, and answers with new owners and a
//! verdict on them. It does not know rings, members or plans; `plan` does.
//!
//! In order of importance: every claimant's count is its weighted share rounded down or up; no two
//! of n consecutive partitions on one node, and none in one zone, as far as arithmetic allows it;
//! few moves; few replicas together where they cannot be apart.
//!
//! How: a layout grows out of the present owners by handing over surplus partitions one by one, and
//! a tabu search swaps owners until replicas are apart; a few are tried, and the best is taken.
//! Where only a strict pattern keeps replicas apart, or growing fails, layouts are made from
//! patterns. Randomness comes from the seed alone, and work is counted in steps, never in time: the
//! same input gives the same answer on every machine.
//!
//! Source: Glover, "Tabu Search, Part I", 1989. `riak_core_claim` has the same aims and reaches
//! them less often.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::NodeName;

mod layout;
mod pattern;
mod search;
mod share;

use layout::Layout;
use search::Draws;
use share::{Goal, Problem};

/// How many layouts are grown from the present owners before the best must do.
const GROWN_MAX: u32 = 20;

/// How many of them when replicas cannot be apart anyway.
const GROWN_CROWDED_MAX: u32 = 4;

/// How often a search may look at every partition of the ring.
const ROUNDS_MAX: usize = 300;

/// Most partitions a search looks at, whatever the size of the ring: some 0.1 s.
const LOOKS_MAX: usize = 4_000_000;

/// A node that may own partitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Claimant {
    /// Its share in relation to the other claimants' weights. 0: none.
    pub weight: u32,
    /// Where it stands. Zones count only when every claimant with a weight has one.
    pub zone: Option<String>,
}

/// What replicas are kept apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Apart {
    /// Replicas on distinct nodes.
    Node,
    /// Replicas in distinct zones.
    Zone,
}

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Zone => "zone",
        })
    }
}

/// Why no layout keeps all replicas apart. Each is a proof: a node or zone that owns more than
/// Q div n partitions owns two of some n consecutive ones.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error,
)]
#[non_exhaustive]
pub enum Obstacle {
    /// Nobody may own a partition. The owners are those of before.
    #[error("no member with a weight may own partitions")]
    NoClaimant,
    /// Fewer nodes or zones than replicas.
    #[error("{n} replicas need {n} {apart}s to be apart, and there are {count}")]
    TooFew {
        /// Nodes or zones.
        apart: Apart,
        /// How many there are.
        count: usize,
        /// Replicas of a key.
        n: u32,
    },
    /// One node or zone has a larger share than can be kept apart.
    #[error("{apart} {name} has a share of {share} partitions, and can keep only {most} apart")]
    TooHeavy {
        /// Node or zone.
        apart: Apart,
        /// Its name.
        name: String,
        /// Its balanced share, rounded down.
        share: u32,
        /// The largest number of partitions that can be apart.
        most: u32,
    },
    /// All together have too little room: with n nodes it is full only if n divides the ring size.
    #[error(
        "{count} {apart}s can keep at most {most} partitions apart each, fewer than {size} \
         together"
    )]
    Crowded {
        /// Nodes or zones.
        apart: Apart,
        /// How many there are.
        count: usize,
        /// The largest number of partitions one of them can keep apart.
        most: u32,
        /// Partitions of the ring.
        size: u32,
    },
}

/// How good a [`Claim`] is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// All replicas are apart, and no balanced ring takes fewer moves.
    Optimal,
    /// All replicas are apart, with so many moves more than the lower bound. Fewer may be
    /// impossible.
    Gap(u32),
    /// No ring with these members keeps all replicas apart.
    Infeasible {
        /// The proof.
        why: Obstacle,
    },
}

/// New owners, and what is to be said of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The owner of each partition, in order.
    pub owners: Vec<NodeName>,
    /// Partitions whose owner changes.
    pub moves: u32,
    /// No balanced ring takes fewer moves.
    pub lower_bound: u32,
    /// How good it is.
    pub verdict: Verdict,
    /// Partitions from which n consecutive ones repeat a node.
    pub violations: u32,
    /// Partitions from which n consecutive ones repeat a zone; 0 where zones do not count.
    pub zone_violations: u32,
}

/// Places the partitions that `owners` hold now among the claimants, for keys with n replicas.
///
/// An owner that is no claimant loses all it has. Where not even nodes can be apart the number of
/// moves is the lower bound, and as few replicas stay together as were found.
#[must_use]
pub fn claim(
    owners: &[NodeName],
    claimants: &BTreeMap<NodeName, Claimant>,
    n: u32,
    seed: u64,
) -> Claim {
    let claiming: BTreeMap<&NodeName, &Claimant> =
        claimants.iter().filter(|(_, claimant)| claimant.weight > 0).collect();
    if claiming.is_empty() {
        let verdict = Verdict::Infeasible { why: Obstacle::NoClaimant };
        let (moves, lower_bound, violations, zone_violations) = (0, 0, 0, 0);
        let owners = owners.to_vec();
        return Claim { owners, moves, lower_bound, verdict, violations, zone_violations };
    }
    let problem = Problem::new(owners, &claiming, n);
    let best = best_layout(&problem, seed);
    let names: Vec<&NodeName> = claiming.keys().copied().collect();
    let moves = best.moves();
    let beyond = moves.saturating_sub(problem.lower_bound);
    let (violations, zone_violations) = best.violations();
    let verdict = match &problem.obstacle {
        Some(why) => Verdict::Infeasible { why: why.clone() },
        None if beyond == 0 => Verdict::Optimal,
        None => Verdict::Gap(beyond),
    };
    let owners = best.named(&names);
    let lower_bound = problem.lower_bound;
    Claim { owners, moves, lower_bound, verdict, violations, zone_violations }
}

/// The better of two layouts, the first if they are equal.
fn better<'a>(best: Option<Layout<'a>>, other: Layout<'a>) -> Option<Layout<'a>> {
    match best {
        Some(best) if best.score().cmp(&other.score()) != Ordering::Greater => Some(best),
        Some(_) | None => Some(other),
    }
}

/// A strict pattern where there is no other way, else one grown from the present owners, else a
/// pattern after all. Grown ones come before patterns because they mix: each node has many
/// different neighbours, so what it leaves behind can be spread over all others.
fn best_layout<'a>(problem: &'a Problem, seed: u64) -> Layout<'a> {
    let mut draws = Draws::new(seed);
    let looks = (problem.current.len() * ROUNDS_MAX).min(LOOKS_MAX);
    let mut best = pattern::periodic(problem);
    if problem.goal == Goal::Moves
        && let Some(mut layout) = best.take_if(|layout| layout.moves() <= problem.lower_bound)
    {
        search::repair(&mut layout, &mut draws, looks, Some(problem.lower_bound));
        return layout;
    }
    let grown_max = match problem.goal {
        Goal::NodesAndZones | Goal::Nodes => GROWN_MAX,
        Goal::Moves => GROWN_CROWDED_MAX,
    };
    let is_perfect = |best: &Option<Layout<'_>>| best.as_ref().is_some_and(Layout::is_perfect);
    for _ in 0..grown_max {
        if is_perfect(&best) {
            break;
        }
        let mut layout = search::grown(problem, &mut draws);
        if problem.goal != Goal::Moves {
            search::repair(&mut layout, &mut draws, looks, None);
        }
        let moves_max = layout.moves();
        search::repair(&mut layout, &mut draws, looks, Some(moves_max));
        best = better(best, layout);
    }
    if !is_perfect(&best) {
        for mut layout in pattern::layouts(problem) {
            let moves_max = layout.moves();
            search::repair(&mut layout, &mut draws, looks, Some(moves_max));
            best = better(best, layout);
        }
    }
    best.unwrap_or_else(|| Layout::present(problem))
}

#[cfg(test)]
mod tests;
