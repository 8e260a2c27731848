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

#[cfg(test)]
mod tests {
    use super::super::told::*;
    use super::*;

    #[test]
    fn an_owner_that_forgets_the_vnode_is_seen() {
        let mut told = Told::to(NoGap::within);
        told.starts("ada", owner(0)).goes("ada", &[owner(0), sending(0), fenced(0), granting(0)]);
        told.starts("bob", holding());
        assert!(told.hears("ada", moved(&[granting(0), retired(1)])).is_err());
    }

    #[test]
    fn a_source_may_retire_once_the_target_answers() {
        let mut told = Told::to(NoGap::within);
        told.starts("ada", granting(0)).starts("bob", holding());
        told.goes("bob", &[holding(), accepting(1), owner(1)]);
        told.goes("ada", &[granting(0), retired(1), absent()]);
        assert_eq!(told.exercised(), 1);
    }

    #[test]
    fn a_target_that_gives_up_what_may_have_been_granted_is_seen() {
        let mut told = Told::to(NoGap::within);
        told.starts("ada", granting(0)).starts("bob", holding()).dies("ada");
        assert!(told.hears("bob", moved(&[holding(), absent()])).is_err());
    }

    #[test]
    fn nobody_answers_for_what_died_with_its_memory() {
        let mut told = Told::to(NoGap::within);
        told.starts("ada", owner(0)).starts("bob", staging()).dies("ada");
        told.goes("bob", &[staging(), absent()]);
    }

    #[test]
    fn a_source_may_retire_for_a_target_that_died_after_its_answer() {
        let mut told = Told::to(NoGap::within);
        told.starts("ada", granting(0)).starts("bob", holding());
        told.goes("bob", &[holding(), accepting(1), owner(1)]).dies("bob");
        told.goes("ada", &[granting(0), retired(1), absent()]);
    }
}
