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

#[cfg(test)]
mod tests {
    use super::super::told::*;
    use super::*;

    use crate::protocol::hash::RingSize;
    use crate::protocol::id::{NodeName, VoterId};
    use crate::protocol::ring::{Member, Ring};

    /// Two rings differ by who voted in them.
    fn adopted(cluster: u64, epoch: u64, voter: u64) -> Observed {
        let name = NodeName::new("ada@sim").unwrap();
        let member = Member::valid(id("ada").incarnation, VoterId(voter));
        let size = RingSize::new(8).unwrap();
        let digest = Ring::founded(ClusterId(cluster), size, name, member).digest();
        Observed::RingAdopted { cluster: ClusterId(cluster), epoch: Epoch(epoch), digest }
    }

    #[test]
    fn rings_follow_one_another_on_every_node() {
        let mut told = Told::to(|_| RingCas::default());
        told.and("ada", adopted(7, 1, 1)).and("bob", adopted(7, 1, 1));
        told.and("ada", adopted(7, 2, 2)).and("bob", adopted(7, 4, 3));
        assert_eq!(told.exercised(), 1, "one of them was adopted twice");
    }

    #[test]
    fn two_rings_of_one_number_are_seen() {
        let mut told = Told::to(|_| RingCas::default());
        told.and("ada", adopted(7, 2, 1));
        assert!(told.hears("bob", adopted(7, 2, 2)).is_err());
    }

    #[test]
    fn an_older_ring_is_seen() {
        let mut told = Told::to(|_| RingCas::default());
        told.and("ada", adopted(7, 2, 2));
        assert!(told.hears("ada", adopted(7, 1, 1)).is_err());
    }

    #[test]
    fn clusters_number_their_rings_apart() {
        let mut told = Told::to(|_| RingCas::default());
        told.and("ada", adopted(7, 5, 1)).and("ada", adopted(8, 1, 2)).and("ada", adopted(7, 5, 1));
    }
}
