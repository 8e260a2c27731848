//! `cluster plan`: what is staged, and what a commit would do.

use tanodb_actors::wire::admin::{ChangeShown, PlanShown};

use super::member_status::membership;
use super::numbers::counted;
use super::{WIDTH, dashes, plain, quoted, title};

/// The staged changes and the transition they lead to.
#[must_use]
pub fn plan(plan: &PlanShown) -> String {
    if plan.changes.is_empty() {
        return "There are no staged changes\n".to_owned();
    }
    let hashes = "#".repeat(WIDTH);
    // Two empty lines: between them `riak_core` warns of replicas that a forced change loses.
    let mut text = staged(&plan.changes) + "\n\n";
    text += "NOTE: Applying these changes will result in 1 cluster transition\n\n";
    text += &format!("{hashes}\n{:25}After cluster transition 1/1\n{hashes}\n\n", "");
    text += &membership(&plan.after);
    text += "\n";
    if !plan.replicas_distinct {
        text += "WARNING: Not all replicas will be on distinct nodes\n\n";
    }
    text += &transfers(plan);
    let least = counted(plan.transfers_min.into(), "transfer");
    let verdict = plain(&plan.verdict);
    text + &format!("Plan {} from epoch {}: lower bound {least}, {verdict}\n", plan.id, plan.base)
}

fn staged(changes: &[ChangeShown]) -> String {
    let mut text = title("Staged Changes") + "Action         Details(s)\n" + &dashes();
    for change in changes {
        let void = change.void.as_deref().map(|why| format!(" (void: {})", plain(why)));
        let (action, node) = (plain(&change.action), quoted(&change.node));
        text += &format!("{action:<15}{node}{}\n", void.unwrap_or_default());
    }
    text + &dashes()
}

fn transfers(plan: &PlanShown) -> String {
    let total: u64 = plan.transfers.iter().map(|transfer| u64::from(transfer.count)).sum();
    if total == 0 {
        return String::new();
    }
    let mut text = format!("Transfers resulting from cluster changes: {total}\n");
    for transfer in &plan.transfers {
        let (source, target) = (quoted(&transfer.source), quoted(&transfer.target));
        text += &format!("  {} transfers from {source} to {target}\n", transfer.count);
    }
    text + "\n"
}
