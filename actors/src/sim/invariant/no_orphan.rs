//! `NoOrphan`: at rest there is no container that nobody plans to move or to delete.

use super::rest::{Account, Judged};
use crate::wire::admin::PartitionRow;

pub(super) const NAME: &str = "NoOrphan";

/// Tried by every transfer that has left a copy to delete, and every container that waits for a lost node.
pub(super) fn at_rest(judged: &Judged<'_>) -> Result<u64, String> {
    let mut exercised = 0;
    for account in &judged.accounts {
        if let Some(row) = account.rows.iter().find(|row| is_orphan(judged, account, row)) {
            return Err(format!(
                "nobody plans to move or to delete what {} has: {row:?}",
                account.name
            ));
        }
        let ended = &account.transfers.ended;
        if let Some(row) = ended.iter().find(|row| row.cancelled.is_none() && !row.deleted) {
            return Err(format!("{} has not deleted what it gave away: {row:?}", account.name));
        }
        let kept = account.rows.iter().filter(|row| row.container != "owned").count();
        exercised += (ended.len() + kept) as u64;
    }
    Ok(exercised)
}

fn is_orphan(judged: &Judged<'_>, account: &Account, row: &PartitionRow) -> bool {
    match row.container.as_str() {
        "owned" | "lost" => false,
        // The grant may have been on its way when the source was lost: this may be the only copy. And a source that
        // is only silent may go on with what it has sent.
        "staging" => {
            let is_awaited = judged.is_staged_from_the_lost(account, row);
            judged.lost.is_empty() || (row.state != "Holding" && !is_awaited)
        }
        "retained" => true,
        // Hints wait for an owner that is lost, or for one that waits for a lost member itself.
        _ => {
            let waits = account.transfers.waiting.iter().any(|waiting| {
                waiting.partition == row.partition
                    && waiting.vnode_type == row.vnode_type
                    && judged.lost.contains(&waiting.target)
            });
            !waits
                && !judged.is_stalled(&row.vnode_type, row.partition)
                && (judged.lost.is_empty() || is_owned_by_a_sound_member(judged, row))
        }
    }
}

fn is_owned_by_a_sound_member(judged: &Judged<'_>, of: &PartitionRow) -> bool {
    judged.sound().flat_map(|account| &account.rows).any(|row| {
        row.container == "owned" && row.partition == of.partition && row.vnode_type == of.vnode_type
    })
}
