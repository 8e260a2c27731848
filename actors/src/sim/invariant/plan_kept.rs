//! `PlanKept`: what `plan` showed is what the ring became.

use std::collections::BTreeMap;

use super::rest::Judged;
use crate::protocol::id::{Epoch, NodeName};
use crate::protocol::ring::MemberStatus;
use crate::wire::admin::{MemberTable, PlanShown};

pub(super) const NAME: &str = "PlanKept";

/// Tried by every committed plan whose ring is still the newest.
pub(super) fn at_rest(judged: &Judged<'_>) -> Result<u64, String> {
    let Some((plan, epoch)) = &judged.expected.plan else { return Ok(0) };
    let newest = judged.accounts.iter().filter(|account| account.ring.epoch == *epoch);
    let mut exercised = 0;
    for account in newest.filter(|account| account.is_listed()) {
        // Another cluster may count its rings alike.
        let is_planned = plan.after.members.iter().any(|row| row.node == account.node);
        if is_planned {
            check(plan, *epoch, &account.members)?;
            exercised += 1;
        }
    }
    Ok(exercised)
}

fn check(plan: &PlanShown, epoch: Epoch, table: &MemberTable) -> Result<(), String> {
    if plan.base.next() != epoch {
        return Err(format!("a plan for the ring after {} became ring {epoch}", plan.base));
    }
    let (planned, became) = (shares(&plan.after), shares(table));
    if planned != became {
        return Err(format!("planned was {planned:?}, and ring {epoch} has {became:?}"));
    }
    Ok(())
}

fn shares(table: &MemberTable) -> BTreeMap<&NodeName, u32> {
    let members = table.members.iter().filter(|row| row.status != MemberStatus::Joining);
    members.map(|row| (&row.node, row.will_hold)).collect()
}
