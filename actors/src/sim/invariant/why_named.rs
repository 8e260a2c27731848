//! `WhyNamed`: every move that waits has a reason that is told by the node that waits.

use super::rest::{Account, Judged};
use crate::wire::admin::PendingMove;

pub(super) const NAME: &str = "WhyNamed";

/// Tried by every move that waits at rest.
pub(super) fn at_rest(judged: &Judged<'_>) -> Result<u64, String> {
    let mut exercised = 0;
    for account in judged.sound() {
        let waiting = &account.transfers.waiting;
        if let Some(row) = waiting.iter().find(|row| row.why.is_empty()) {
            return Err(format!("it waits, and does not say for what: {row:?}"));
        }
        let mine = account.ring.pending.iter().filter(|pending| pending.holder == account.node);
        for pending in mine {
            if !is_named(account, pending) {
                return Err(format!("{} says nothing of why it waits: {pending:?}", account.name));
            }
        }
        exercised += waiting.len() as u64;
    }
    Ok(exercised)
}

fn is_named(account: &Account, pending: &PendingMove) -> bool {
    let transfers = &account.transfers;
    let waits = transfers.waiting.iter().map(|row| (&row.vnode_type, row.partition));
    let runs = transfers.active.iter().map(|row| (&row.vnode_type, row.partition));
    waits.chain(runs).any(|it| it == (&pending.vnode_type, pending.partition))
}
