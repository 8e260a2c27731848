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
