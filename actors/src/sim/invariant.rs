//! The promises, one file each, checked against what nodes tell while they work and when all is at rest.

mod ack_inherit;
mod answered;
mod bounded;
mod delete_after_proof;
mod exactly_once;
mod hop_limit;
mod no_dot_reuse;
mod no_gap;
mod no_orphan;
mod no_silent_skip;
mod one_dot_per_op;
mod one_owner;
mod plan_kept;
mod rest;
mod ring_cas;
mod slots_return;
mod staged_invisible;
mod terminates;
#[cfg(test)]
mod told;
mod why_named;
mod world;

pub use self::answered::{OpenRequest, Requests};
pub use self::rest::{Rest, check_at_rest};
use self::world::World;
use std::collections::BTreeMap;

use super::failure::Failure;
use super::trace::Seen;

/// One promise.
pub trait Invariant {
    /// Its name, as the design and the table of invariants have it.
    fn name(&self) -> &'static str;

    /// A node told something. To be cheap: it is asked after every step.
    ///
    /// # Errors
    ///
    /// What was seen that must not be.
    fn saw(&mut self, seen: &Seen) -> Result<(), String>;

    /// A node's process ended, by order or by accident.
    fn ended(&mut self, node: &str) {
        let _ = node;
    }

    /// How often the promise could have been broken so far. A run in which that is 0 says nothing about it.
    fn exercised(&self) -> u64;
}

/// All promises that are checked after every step, in the order of the table of invariants.
fn watchers(world: &World) -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(one_owner::OneOwner::within(world.clone())),
        Box::new(no_gap::NoGap::within(world.clone())),
        Box::new(ack_inherit::AckInherit::within(world.clone())),
        Box::new(staged_invisible::StagedInvisible::within(world.clone())),
        Box::new(delete_after_proof::DeleteAfterProof::within(world.clone())),
        Box::new(no_silent_skip::NoSilentSkip::default()),
        Box::new(exactly_once::ExactlyOnce::default()),
        Box::new(slots_return::SlotsReturn::default()),
        Box::new(ring_cas::RingCas::default()),
        Box::new(hop_limit::HopLimit::default()),
        Box::new(no_dot_reuse::NoDotReuse::default()),
        Box::new(one_dot_per_op::OneDotPerOp::default()),
        Box::new(bounded::Bounded::default()),
    ]
}

/// The promises of one run, and what all nodes have told.
pub struct Invariants {
    world: World,
    all: Vec<Box<dyn Invariant>>,
    /// How often checks at rest were tried.
    at_rest: BTreeMap<&'static str, u64>,
}

impl Default for Invariants {
    /// All that stand in this folder. Every cluster has them from its beginning.
    fn default() -> Self {
        let world = World::default();
        Self { all: watchers(&world), world, at_rest: BTreeMap::new() }
    }
}

impl Invariants {
    /// One more promise to check from now on.
    pub fn add(&mut self, invariant: Box<dyn Invariant>) {
        self.all.push(invariant);
    }

    /// How often each was tried, by name.
    pub fn exercised(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut tried = self.at_rest.clone();
        for invariant in &self.all {
            *tried.entry(invariant.name()).or_default() += invariant.exercised();
        }
        tried.into_iter()
    }

    fn world(&self) -> &World {
        &self.world
    }

    /// All is at rest, and as it must be.
    fn rested(&mut self, tried: BTreeMap<&'static str, u64>) {
        for (name, count) in tried {
            *self.at_rest.entry(name).or_default() += count;
        }
    }

    pub(super) fn saw(&mut self, seen: &Seen) -> Result<(), Failure> {
        self.world.saw(seen);
        for invariant in &mut self.all {
            let name = invariant.name();
            invariant.saw(seen).map_err(|what| Failure::Broken { invariant: name, what })?;
        }
        Ok(())
    }

    pub(super) fn ended(&mut self, node: &str) {
        self.world.ended(node);
        for invariant in &mut self.all {
            invariant.ended(node);
        }
    }
}
