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
