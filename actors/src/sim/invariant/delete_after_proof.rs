//! `DeleteAfterProof`: a copy is deleted only with a durable receipt of that very set from its new holder.

use std::collections::{BTreeMap, BTreeSet};

use super::Invariant;
use super::world::{World, place};
use crate::protocol::digest::Summary;
use crate::protocol::id::{NodeId, Token, TransferId, VnodeRef};
use crate::runtime::observe::Observed;
use crate::runtime::vnode::record::Receipt;
use crate::sim::trace::Seen;

/// Who has taken a vnode over, and with what.
struct Taken {
    vnode: VnodeRef,
    holder: NodeId,
    token: Token,
    summary: Summary,
}

/// See the module. Tried by every deletion of a copy with items and of every set of hints.
pub(super) struct DeleteAfterProof {
    world: World,
    taken: BTreeMap<TransferId, Taken>,
    /// Attempts whose receipt is durable at the source.
    receipts: BTreeSet<TransferId>,
    /// Hints that their owner has.
    hints: BTreeMap<TransferId, Summary>,
    exercised: u64,
}

impl DeleteAfterProof {
    pub(super) fn within(world: World) -> Self {
        Self {
            world,
            taken: BTreeMap::new(),
            receipts: BTreeSet::new(),
            hints: BTreeMap::new(),
            exercised: 0,
        }
    }

    fn deleted(
        &mut self,
        vnode: &VnodeRef,
        transfer: TransferId,
        receipt: Option<&Receipt>,
    ) -> Result<(), String> {
        let Some(receipt) = receipt.filter(|receipt| receipt.transfer == transfer) else {
            return Err(format!(
                "a copy of {vnode:?} without a receipt of {transfer}: {receipt:?}"
            ));
        };
        if !self.receipts.contains(&transfer) {
            return Err(format!("the receipt of {transfer} for {vnode:?} is not durable"));
        }
        let Some(taken) = self.taken.get(&transfer) else {
            return Err(format!("a copy of {vnode:?}, which nobody took over by {transfer}"));
        };
        let is_of_it = taken.vnode == *vnode
            && taken.holder == receipt.target
            && taken.token == receipt.to
            && taken.summary == receipt.summary;
        if !is_of_it {
            let Taken { holder, token, summary, .. } = taken;
            return Err(format!(
                "{holder} took {vnode:?} over under {token} with {summary}, by the receipt {} did under {} with {}",
                receipt.target, receipt.to, receipt.summary
            ));
        }
        self.exercised += u64::from(taken.summary.count > 0);
        Ok(())
    }
}

impl Invariant for DeleteAfterProof {
    fn name(&self) -> &'static str {
        "DeleteAfterProof"
    }

    fn saw(&mut self, seen: &Seen) -> Result<(), String> {
        if let Observed::TookOver { vnode, transfer, holder, token, summary } = &seen.event {
            let (vnode, holder) = (vnode.clone(), holder.clone());
            let taken = Taken { vnode, holder, token: *token, summary: *summary };
            self.taken.insert(*transfer, taken);
        }
        if let Observed::RecordKept { receipt: Some(transfer), .. } = &seen.event {
            self.receipts.insert(*transfer);
        }
        if let Observed::HintsHeld { transfer, summary, .. } = &seen.event {
            self.hints.insert(*transfer, *summary);
        }
        if let Observed::Deleted { vnode, transfer, receipt } = &seen.event {
            let deleted = self.deleted(vnode, *transfer, receipt.as_ref());
            return deleted.map_err(|what| format!("{} deletes, {what}", seen.node));
        }
        if let Observed::HintsDropped { cluster, vnode, generation, sent } = &seen.event {
            self.exercised += 1;
            let is_home = match sent {
                Some((transfer, summary)) => self.hints.get(transfer) == Some(summary),
                None => {
                    let stands = self.world.stands(*cluster, vnode, &place(seen));
                    stands.speaks_under().is_some()
                }
            };
            if !is_home {
                return Err(format!(
                    "{} drops hints of {vnode:?}, set {generation}, which are not at home: {sent:?}",
                    seen.node
                ));
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

    fn deleted(receipt: Option<Receipt>) -> Observed {
        Observed::Deleted { vnode: vnode(), transfer: transfer(1), receipt }
    }

    /// Bob has taken over, with five items.
    fn taken() -> Told {
        let mut told = Told::to(DeleteAfterProof::within);
        told.and("bob", took_over(1, items(5)));
        told
    }

    #[test]
    fn a_copy_is_deleted_with_a_durable_receipt_of_its_set() {
        let mut told = taken();
        told.and("ada", kept(retired(1), Some(transfer(1))));
        told.and("ada", deleted(Some(receipt(1, items(5)))));
        assert_eq!(told.exercised(), 1);
    }

    #[test]
    fn a_deletion_without_a_receipt_is_seen() {
        let mut told = taken();
        told.and("ada", kept(retired(1), Some(transfer(1))));
        let other = Receipt { transfer: transfer(2), ..receipt(1, items(5)) };
        for wrong in [None, Some(other)] {
            assert!(told.hears("ada", deleted(wrong)).is_err());
        }
    }

    #[test]
    fn a_receipt_that_is_not_durable_is_seen() {
        assert!(taken().hears("ada", deleted(Some(receipt(1, items(5))))).is_err());
    }

    #[test]
    fn a_receipt_of_something_else_is_seen() {
        let mut told = taken();
        told.and("ada", kept(retired(1), Some(transfer(1))));
        let elsewhere = Receipt { target: id("cyd"), ..receipt(1, items(5)) };
        for wrong in [receipt(1, items(4)), receipt(2, items(5)), elsewhere] {
            assert!(told.hears("ada", deleted(Some(wrong))).is_err());
        }
    }

    #[test]
    fn a_receipt_of_a_transfer_that_nobody_took_over_by_is_seen() {
        let mut told = Told::to(DeleteAfterProof::within);
        told.and("ada", kept(retired(1), Some(transfer(1))));
        assert!(told.hears("ada", deleted(Some(receipt(1, items(5))))).is_err());
    }

    fn dropped(sent: Option<(TransferId, Summary)>) -> Observed {
        Observed::HintsDropped { cluster: CLUSTER, vnode: vnode(), generation: 1, sent }
    }

    #[test]
    fn hints_are_dropped_once_their_owner_has_that_very_set() {
        let held = Observed::HintsHeld { vnode: vnode(), transfer: transfer(9), summary: items(3) };
        let mut told = Told::to(DeleteAfterProof::within);
        assert!(told.hears("cyd", dropped(Some((transfer(9), items(3))))).is_err());
        told.and("ada", held).and("cyd", dropped(Some((transfer(9), items(3)))));
        assert!(told.hears("cyd", dropped(Some((transfer(9), items(4))))).is_err());
    }

    #[test]
    fn hints_join_what_their_own_node_speaks_for_and_nothing_else() {
        let mut told = Told::to(DeleteAfterProof::within);
        assert!(told.hears("cyd", dropped(None)).is_err());
        told.starts("cyd", owner(2)).and("cyd", dropped(None));
    }
}
