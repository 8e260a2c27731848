//! `NoGap`: as long as the memory that answered for a vnode is there, some node knows that it answers for it.

use super::Invariant;
use super::world::{Stands, World};
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried whenever a node that answered for a vnode stops to.
pub(super) struct NoGap {
    world: World,
    exercised: u64,
}

impl NoGap {
    pub(super) fn within(world: World) -> Self {
        Self { world, exercised: 0 }
    }
}

impl Invariant for NoGap {
    fn name(&self) -> &'static str {
        "NoGap"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        let Observed::VnodeMoved { cluster, vnode, before, after } = &seen.event else {
            return Ok(());
        };
        if Stands::of(after).remembers() {
            return Ok(());
        }
        self.exercised += u64::from(Stands::of(before).remembers());
        if self.world.is_forgotten(*cluster, vnode) {
            let node = &seen.node;
            return Err(format!(
                "nobody answers for {vnode:?} since {node} went {before} -> {after}"
            ));
        }
        Ok(())
    }

    fn exercised(&self) -> u64 {
        self.exercised
    }
}
