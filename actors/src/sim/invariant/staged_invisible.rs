//! `StagedInvisible`: what a transfer has brought so far is neither read nor written by a command.

use super::Invariant;
use super::world::{World, place};
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried by every command that waits or is executed while a copy of the vnode is staged.
pub(super) struct StagedInvisible {
    world: World,
    exercised: u64,
}

impl StagedInvisible {
    pub(super) fn within(world: World) -> Self {
        Self { world, exercised: 0 }
    }
}

impl Invariant for StagedInvisible {
    fn name(&self) -> &'static str {
        "StagedInvisible"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        let Observed::Executed { cluster, vnode, op, .. } = &seen.event else { return Ok(()) };
        let stands = self.world.stands(*cluster, vnode, &place(seen));
        if stands.is_staged() {
            return Err(format!("{} executes {op} for {vnode:?}, and is {stands:?}", seen.node));
        }
        let is_staged = self.world.is_anywhere(*cluster, vnode, |_, stands| stands.is_staged());
        self.exercised += u64::from(is_staged);
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
    fn commands_pass_by_what_is_staged() {
        let mut told = Told::to(StagedInvisible::within);
        told.starts("ada", owner(0)).and("ada", executed(0, 1, 1)).starts("bob", staging());
        told.and("ada", executed(0, 2, 0));
        assert_eq!(told.exercised(), 1, "only the second could have met something staged");
    }

    #[test]
    fn a_command_that_reads_or_writes_what_is_staged_is_seen() {
        for (state, changes) in [(staging(), 0), (holding(), 1), (accepting(1), 0)] {
            let mut told = Told::to(StagedInvisible::within);
            told.starts("bob", state);
            assert!(told.hears("bob", executed(1, 1, changes)).is_err());
        }
    }
}
