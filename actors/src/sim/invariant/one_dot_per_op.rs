//! `OneDotPerOp`: a command runs under the one dot that its coordinator gave it, at every replica.

use std::collections::BTreeMap;

use super::Invariant;
use crate::protocol::id::{Dot, OpId};
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried by every execution: at another replica, after another retry, behind a forward.
#[derive(Default)]
pub(super) struct OneDotPerOp {
    /// The dots of operations whose id a client chose. All others are called like their dots.
    chosen: BTreeMap<Dot, OpId>,
    exercised: u64,
}

impl Invariant for OneDotPerOp {
    fn name(&self) -> &'static str {
        "OneDotPerOp"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        if let Observed::Minted { op, dot, is_clients: true } = &seen.event {
            self.chosen.insert(*dot, *op);
        }
        let Observed::Executed { op, dot, vnode, .. } = &seen.event else { return Ok(()) };
        let named_alike = OpId { minter: dot.minter, counter: dot.counter };
        let minted = self.chosen.get(dot).copied().unwrap_or(named_alike);
        if minted != *op {
            let node = &seen.node;
            return Err(format!("{node} executes {op} for {vnode:?} under the dot of {minted}"));
        }
        self.exercised += 1;
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

    fn executed_as(counter: u64, dot: Dot) -> Observed {
        let Observed::Executed { cluster, vnode, class, token, op, stamp, changes, .. } =
            executed(0, counter, 1)
        else {
            unreachable!("it is one")
        };
        Observed::Executed { cluster, vnode, class, token, op, stamp, dot, changes }
    }

    #[test]
    fn replicas_execute_an_operation_under_its_dot() {
        let mut told = Told::to(|_| OneDotPerOp::default());
        told.and("ada", executed(0, 1, 1)).and("bob", executed(0, 1, 1));
        assert_eq!(told.exercised(), 2);
    }

    #[test]
    fn a_dot_of_another_operation_is_seen() {
        let mut told = Told::to(|_| OneDotPerOp::default());
        told.and("ada", executed(0, 1, 1));
        assert!(told.hears("bob", executed_as(1, Dot { minter: 1, counter: 2 })).is_err());
    }

    #[test]
    fn a_clients_own_name_for_an_operation_goes_with_the_dots_it_was_given() {
        let dot = |counter| Dot { minter: 5, counter };
        let mut told = Told::to(|_| OneDotPerOp::default());
        told.and("ada", Observed::Minted { op: op(1), dot: dot(7), is_clients: true });
        told.and("ada", executed_as(1, dot(7)));
        assert!(told.hears("ada", executed_as(1, dot(8))).is_err());
        told.and("ada", Observed::Minted { op: op(1), dot: dot(8), is_clients: true });
        told.and("ada", executed_as(1, dot(8)));
    }
}
