//! `RingCas`: two different rings of one cluster never carry one number, and a node's rings never go back.

use std::collections::BTreeMap;

use super::Invariant;
use super::world::{Place, place};
use crate::protocol::id::{ClusterId, Epoch};
use crate::protocol::ring::RingDigest;
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// See the module. Tried by every ring that a second node adopts.
#[derive(Default)]
pub(super) struct RingCas {
    rings: BTreeMap<(ClusterId, Epoch), RingDigest>,
    /// What each node follows.
    follows: BTreeMap<Place, (ClusterId, Epoch)>,
    exercised: u64,
}

impl Invariant for RingCas {
    fn name(&self) -> &'static str {
        "RingCas"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        let Observed::RingAdopted { cluster, epoch, digest } = &seen.event else { return Ok(()) };
        let node = &seen.node;
        if let Some(known) = self.rings.get(&(*cluster, *epoch)) {
            self.exercised += 1;
            if known != digest {
                return Err(format!(
                    "ring {epoch} of {cluster} is {known}, and at {node} {digest}"
                ));
            }
        }
        self.rings.insert((*cluster, *epoch), *digest);
        match self.follows.insert(place(seen), (*cluster, *epoch)) {
            Some((before, newest)) if before == *cluster && newest > *epoch => {
                Err(format!("{node} follows ring {epoch} of {cluster} after {newest}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn exercised(&self) -> u64 {
        self.exercised
    }
}
