//! `Bounded`: no more commands wait at a vnode, and no more transfers run at a node, than the limits allow.

use super::Invariant;
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried whenever a limit is reached.
#[derive(Default)]
pub(super) struct Bounded {
    exercised: u64,
}

impl Bounded {
    fn check(&mut self, what: &str, count: usize, limit: usize) -> Result<(), String> {
        self.exercised += u64::from(count == limit);
        if count > limit {
            return Err(format!("{count} {what}, and {limit} are allowed"));
        }
        Ok(())
    }
}

impl Invariant for Bounded {
    fn name(&self) -> &'static str {
        "Bounded"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        let told = |what: String| format!("{}: {what}", seen.node);
        if let Observed::Parked { waiting, limit, .. } = &seen.event {
            self.check("commands wait at one vnode", *waiting, *limit).map_err(told)?;
        }
        if let Observed::SlotsHeld { outbound, inbound, limit } = &seen.event {
            let limit = usize::from(*limit);
            self.check("transfers go out", *outbound, limit).map_err(told)?;
            self.check("transfers come in", *inbound, limit).map_err(told)?;
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
    fn as_many_as_are_allowed_are_no_more() {
        let mut told = Told::to(|_| Bounded::default());
        for waiting in 1..=3 {
            told.and("ada", Observed::Parked { vnode: vnode(), waiting, limit: 3 });
        }
        told.and("ada", Observed::SlotsHeld { outbound: 2, inbound: 1, limit: 2 });
        assert_eq!(told.exercised(), 2, "a limit was reached twice");
    }

    #[test]
    fn one_more_is_seen() {
        let mut told = Told::to(|_| Bounded::default());
        let parked = Observed::Parked { vnode: vnode(), waiting: 4, limit: 3 };
        assert!(told.hears("ada", parked).is_err());
        for (outbound, inbound) in [(3, 0), (0, 3)] {
            let held = Observed::SlotsHeld { outbound, inbound, limit: 2 };
            assert!(told.hears("ada", held).is_err());
        }
    }
}
