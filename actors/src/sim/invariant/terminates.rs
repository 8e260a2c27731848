//! `Terminates`: once faults have stopped, every transfer ends and holders equal the desired ring.

use super::rest::{Account, Judged};
use crate::wire::admin::{ActiveRow, PendingMove, WaitingRow};

pub(super) const NAME: &str = "Terminates";

/// Tried by every transfer that has ended, and every move that waits for a lost node.
pub(super) fn at_rest(judged: &Judged<'_>) -> Result<u64, String> {
    let host = |name: &str| name.split('@').next().unwrap_or(name).to_owned();
    let unexpected =
        judged.lost.iter().find(|node| !judged.expected.lost.contains(&host(node.as_str())));
    if let Some(node) = unexpected {
        return Err(format!("{node} is not what the ring lists, and should be"));
    }
    let newest = judged.accounts.iter().max_by_key(|account| account.ring.epoch);
    let late = newest.and_then(|newest| {
        // A joiner that was left out of it is told nothing of it.
        let mut late = judged.accounts.iter().filter(|it| it.ring.epoch < newest.ring.epoch);
        late.find(|late| newest.lists(late)).map(|late| (late, newest.ring.epoch))
    });
    if let Some((late, epoch)) = late {
        return Err(format!("{} follows ring {}, not {epoch}", late.name, late.ring.epoch));
    }
    let mut exercised = 0;
    for account in judged.sound() {
        exercised += check(judged, account)?;
    }
    Ok(exercised)
}

fn check(judged: &Judged<'_>, account: &Account) -> Result<u64, String> {
    let name = &account.name;
    let lost = &judged.lost;
    if let Some(node) = account.ring.not_seen_by.iter().find(|node| !lost.contains(node)) {
        return Err(format!("{name} says that {node} has not seen the ring"));
    }
    let is_held_up = judged.is_held_up(account);
    let waits_in_vain = |row: &PendingMove| {
        let by_itself = !lost.contains(&row.holder) && !lost.contains(&row.next);
        !is_held_up && by_itself && !judged.is_stalled(&row.vnode_type, row.partition)
    };
    if let Some(row) = account.ring.pending.iter().find(|row| waits_in_vain(row)) {
        return Err(format!("{name} says that something has yet to move: {row:?}"));
    }
    let transfers = &account.transfers;
    let runs_in_vain = |row: &ActiveRow| {
        !lost.contains(&row.target) && !judged.is_stalled(&row.vnode_type, row.partition)
    };
    if let Some(row) = transfers.active.iter().find(|row| runs_in_vain(row)) {
        return Err(format!("a transfer still runs: {row:?}"));
    }
    let waits_in_vain = |row: &WaitingRow| {
        !lost.contains(&row.target)
            && (row.kind == "hinted" || !is_held_up)
            && !judged.is_stalled(&row.vnode_type, row.partition)
    };
    if let Some(row) = transfers.waiting.iter().find(|row| waits_in_vain(row)) {
        return Err(format!("a transfer still waits: {row:?}"));
    }
    Ok((transfers.ended.len() + transfers.active.len() + transfers.waiting.len()) as u64)
}
