//! `member-status`, also printed inside the plan.

use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::protocol::ring::MemberStatus;
use tanodb_actors::wire::admin::{MemberRow, MemberTable};

use super::numbers::percent;
use super::{dashes, list, quoted, title};

/// Statuses in the order of the last line.
const STATUSES: [(&str, MemberStatus); 5] = [
    ("Valid", MemberStatus::Valid),
    ("Leaving", MemberStatus::Leaving),
    ("Exiting", MemberStatus::Exiting),
    ("Joining", MemberStatus::Joining),
    ("Down", MemberStatus::Down),
];

/// Members with their shares now and, while partitions move, afterwards.
#[must_use]
pub fn member_status(table: &MemberTable) -> String {
    let silent = |row: &&MemberRow| !row.up && row.status != MemberStatus::Down;
    let silent: Vec<NodeName> =
        table.members.iter().filter(silent).map(|row| row.node.clone()).collect();
    let mut text = membership(table);
    if !silent.is_empty() {
        text += &format!("\nNot heard from: {}\n", list(&silent));
    }
    text
}

/// The table alone.
pub(super) fn membership(table: &MemberTable) -> String {
    let mut text = title("Membership") + "Status     Ring    Pending    Node\n" + &dashes();
    for member in &table.members {
        text += &row(table, member);
    }
    let count = |status| table.members.iter().filter(|row| row.status == status).count();
    let counts = STATUSES.map(|(name, status)| format!("{name}:{}", count(status)));
    text + &dashes() + &counts.join(" / ") + "\n"
}

fn row(table: &MemberTable, member: &MemberRow) -> String {
    let whole = table.ring_size.count();
    let now = percent(member.holds, whole);
    let later = if table.pending {
        format!("    {}%    ", percent(member.will_hold, whole))
    } else {
        "      --      ".to_owned()
    };
    format!("{:<8}  {now}%{later}{}\n", member.status, quoted(&member.node))
}
