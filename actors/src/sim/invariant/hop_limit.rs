//! `HopLimit`: a command is passed on at most once.

use super::Invariant;
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried by every command that is passed on.
#[derive(Default)]
pub(super) struct HopLimit {
    exercised: u64,
}

impl Invariant for HopLimit {
    fn name(&self) -> &'static str {
        "HopLimit"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        let Observed::Forwarded { vnode, op, transfer, before } = &seen.event else {
            return Ok(());
        };
        self.exercised += 1;
        let Some(before) = before else { return Ok(()) };
        let node = &seen.node;
        Err(format!("{node} passes {op} for {vnode:?} on by {transfer}, after {before}"))
    }

    fn exercised(&self) -> u64 {
        self.exercised
    }
}

#[cfg(test)]
mod tests {
    use super::super::told::*;
    use super::*;

    use crate::protocol::id::TransferId;

    fn passed_on(before: Option<TransferId>) -> Observed {
        Observed::Forwarded { vnode: vnode(), op: op(1), transfer: transfer(2), before }
    }

    #[test]
    fn a_command_may_be_passed_on_once() {
        let mut told = Told::to(|_| HopLimit::default());
        told.and("ada", passed_on(None));
        assert_eq!(told.exercised(), 1);
        assert!(told.hears("bob", passed_on(Some(transfer(1)))).is_err());
    }
}
