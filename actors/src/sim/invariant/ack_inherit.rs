//! `AckInherit`: a new owner begins with every effect that its predecessor acknowledged.

use std::collections::BTreeMap;

use super::Invariant;
use super::world::{Place, Stands, World, place};
use crate::protocol::digest::Summary;
use crate::protocol::id::{OpId, TransferId, VnodeRef};
use crate::runtime::observe::Observed;
use crate::sim::trace::Seen;

/// What a source held when it stopped executing.
struct Fence {
    summary: Summary,
    /// Writes that were executed while the transfer ran.
    crossed: u64,
    /// A write that was executed behind the fence.
    behind: Option<OpId>,
}

/// A vnode on a node.
type Copy = (Place, VnodeRef);

/// See the module. Tried by every write that is executed while its vnode is sent and that the target takes over.
pub(super) struct AckInherit {
    world: World,
    fences: BTreeMap<TransferId, Fence>,
    /// Sources that are fenced.
    fenced: BTreeMap<Copy, TransferId>,
    /// Writes at sources that send.
    crossing: BTreeMap<Copy, u64>,
    exercised: u64,
}

impl AckInherit {
    pub(super) fn within(world: World) -> Self {
        Self {
            world,
            fences: BTreeMap::new(),
            fenced: BTreeMap::new(),
            crossing: BTreeMap::new(),
            exercised: 0,
        }
    }

    fn taken(&mut self, transfer: TransferId, summary: Summary) -> Result<(), String> {
        let Some(fence) = self.fences.get(&transfer) else {
            return Err("there was no fence".to_owned());
        };
        if let Some(op) = fence.behind {
            return Err(format!("{op} was executed behind the fence"));
        }
        if fence.summary != summary {
            return Err(format!("the source had {} and the target {summary}", fence.summary));
        }
        self.exercised += fence.crossed;
        Ok(())
    }
}

impl Invariant for AckInherit {
    fn name(&self) -> &'static str {
        "AckInherit"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        if let Observed::Executed { cluster, vnode, op, changes: 1.., .. } = &seen.event {
            let here = place(seen);
            let stands = self.world.stands(*cluster, vnode, &here);
            if let Stands::Sends(_) = stands {
                *self.crossing.entry((here, vnode.clone())).or_default() += 1;
            } else if stands.speaks_under().is_none()
                && let Some(transfer) = self.fenced.get(&(here, vnode.clone()))
                && let Some(fence) = self.fences.get_mut(transfer)
            {
                fence.behind = Some(*op);
            }
        }
        if let Observed::VnodeMoved { vnode, after, .. } = &seen.event
            && let Stands::Speaks(_) = Stands::of(after)
        {
            let copy = (place(seen), vnode.clone());
            self.fenced.remove(&copy);
            self.crossing.remove(&copy);
        }
        if let Observed::FenceSet { vnode, transfer, summary } = &seen.event {
            let copy = (place(seen), vnode.clone());
            let crossed = self.crossing.remove(&copy).unwrap_or(0);
            let fence = Fence { summary: *summary, crossed, behind: None };
            self.fences.insert(*transfer, fence);
            self.fenced.insert(copy, *transfer);
        }
        if let Observed::TookOver { vnode, transfer, summary, .. } = &seen.event {
            return self.taken(*transfer, *summary).map_err(|what| {
                format!("{} takes {vnode:?} over by {transfer}: {what}", seen.node)
            });
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

    /// Ada sends the vnode to bob, and executes a write meanwhile.
    fn on_its_way() -> Told {
        let mut told = Told::to(AckInherit::within);
        told.starts("ada", owner(0)).goes("ada", &[owner(0), sending(0)]);
        told.and("ada", executed(0, 1, 1)).goes("ada", &[sending(0), fenced(0)]);
        told.and("ada", fence_set(items(5)));
        told
    }

    #[test]
    fn a_target_with_all_of_its_source_inherits_the_writes_that_crossed() {
        let mut told = on_its_way();
        told.goes("ada", &[fenced(0), granting(0)]).and("bob", took_over(1, items(5)));
        assert_eq!(told.exercised(), 1);
    }

    #[test]
    fn a_target_with_something_else_is_seen() {
        for wrong in [items(4), Summary { root: 9, ..items(5) }] {
            assert!(on_its_way().hears("bob", took_over(1, wrong)).is_err());
        }
    }

    #[test]
    fn a_target_without_a_fence_is_seen() {
        let mut told = Told::to(AckInherit::within);
        assert!(told.hears("bob", took_over(1, items(0))).is_err());
    }

    #[test]
    fn a_write_behind_the_fence_is_seen_when_the_target_takes_over() {
        let mut told = on_its_way();
        told.and("ada", executed(0, 2, 1));
        assert!(told.hears("bob", took_over(1, items(5))).is_err());
    }

    #[test]
    fn a_write_after_a_fence_that_was_taken_back_is_none_behind_it() {
        let mut told = on_its_way();
        told.goes("ada", &[fenced(0), owner(0)]).and("ada", executed(0, 2, 1));
        assert_eq!(told.exercised(), 0);
    }
}
