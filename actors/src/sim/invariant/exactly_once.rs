//! `ExactlyOnce`: an operation of a vnode of class `Single` takes effect once, over all its owners.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Invariant;
use crate::protocol::id::OpId;
use crate::runtime::observe::Observed;
use crate::runtime::vnode::Class;
use crate::sim::trace::Seen;

/// See the module. Tried by every operation that comes a second time and by every one that was passed on.
#[derive(Default)]
pub(super) struct ExactlyOnce {
    /// Where each took effect.
    effects: BTreeMap<OpId, Arc<str>>,
    passed_on: BTreeSet<OpId>,
    exercised: u64,
}

impl Invariant for ExactlyOnce {
    fn name(&self) -> &'static str {
        "ExactlyOnce"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        if let Observed::Forwarded { op, .. } = &seen.event {
            self.passed_on.insert(*op);
        }
        let Observed::Executed { class: Class::Single, vnode, op, changes, .. } = &seen.event
        else {
            return Ok(());
        };
        let before = self.effects.get(op);
        self.exercised += u64::from(before.is_some() || self.passed_on.contains(op));
        match (before, changes) {
            (_, 0) => {}
            (Some(before), _) => {
                let node = &seen.node;
                return Err(format!("{op} takes effect on {vnode:?} at {before} and at {node}"));
            }
            (None, _) => {
                self.effects.insert(*op, Arc::clone(&seen.node));
            }
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
    fn an_operation_that_comes_again_takes_no_effect() {
        let mut told = Told::to(|_| ExactlyOnce::default());
        told.and("ada", executed(0, 1, 2))
            .and("bob", executed(1, 1, 0))
            .and("bob", executed(1, 2, 1));
        assert_eq!(told.exercised(), 1);
    }

    #[test]
    fn a_second_effect_is_seen_here_and_elsewhere() {
        for node in ["ada", "bob"] {
            let mut told = Told::to(|_| ExactlyOnce::default());
            told.and("ada", executed(0, 1, 2));
            assert!(told.hears(node, executed(1, 1, 1)).is_err());
        }
    }

    #[test]
    fn replicas_of_another_class_each_take_the_effect() {
        let mut told = Told::to(|_| ExactlyOnce::default());
        for node in ["ada", "bob"] {
            let Observed::Executed { cluster, vnode, token, op, stamp, dot, changes, .. } =
                executed(0, 1, 1)
            else {
                unreachable!("it is one")
            };
            let class = Class::Merged;
            told.and(
                node,
                Observed::Executed { cluster, vnode, class, token, op, stamp, dot, changes },
            );
        }
        assert_eq!(told.exercised(), 0);
    }
}
