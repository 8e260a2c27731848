//! `transfers`: what waits and why, what runs and how far it is, how the rest ended.

use std::collections::BTreeMap;

use tanodb_actors::protocol::id::{NodeName, VnodeType};
use tanodb_actors::wire::admin::{ActiveRow, EndedRow, TransferReport, WaitingRow};

use super::date::date_time;
use super::numbers::{UNKNOWN, counted, duration, per_second, progress, size, time_left};
use super::{list, plain, quoted};

/// Width of a name over the bar.
const NAME_WIDTH: usize = 25;

/// Width of the bar.
const BAR_WIDTH: usize = 43;

/// Cancelled transfers shown; the newest.
const CANCELLED_SHOWN: usize = 10;

/// The whole report.
#[must_use]
pub fn transfers(report: &TransferReport) -> String {
    let mut text = String::new();
    if !report.down.is_empty() {
        text += &format!("Nodes [{}] are currently down.\n", list(&report.down));
    }
    text += &waiting(&report.waiting);
    if text.is_empty() && report.active.is_empty() {
        text += "No transfers active\n";
    }
    text += "\nActive Transfers:\n\n";
    text += &report.active.iter().map(active).collect::<String>();
    for node in &report.silent {
        text += &format!("Node {} could not be contacted\n", quoted(node));
    }
    text + &ended(&report.ended)
}

/// What partitions have in common that wait for the same thing.
type Reason<'a> = (&'a str, &'a VnodeType, &'a NodeName, &'a str);

fn waiting(rows: &[WaitingRow]) -> String {
    let mut nodes: BTreeMap<&NodeName, BTreeMap<Reason<'_>, Vec<&WaitingRow>>> = BTreeMap::new();
    for row in rows {
        let reason = (row.kind.as_str(), &row.vnode_type, &row.target, row.why.as_str());
        nodes.entry(&row.node).or_default().entry(reason).or_default().push(row);
    }
    let mut text = String::new();
    for (node, reasons) in nodes {
        let count: usize = reasons.values().map(Vec::len).sum();
        let node = quoted(node);
        text += &format!("{node} waiting to handoff {count} partition{}\n", plural(count));
        text +=
            &reasons.into_iter().map(|(reason, rows)| because(reason, &rows)).collect::<String>();
    }
    text
}

fn because((kind, vnode_type, target, why): Reason<'_>, rows: &[&WaitingRow]) -> String {
    let (target, why) = (quoted(target), plain(why));
    let longest = duration(rows.iter().map(|row| row.since_ms).max().unwrap_or(0));
    let (count, kind) = (rows.len(), plain(kind));
    let mut text =
        format!("  {count} {kind} of {vnode_type} to {target}: {why} (for up to {longest})\n");
    let last = rows.iter().filter(|row| row.attempts > 0).max_by_key(|row| row.attempts);
    if let Some(last) = last {
        let attempts = counted(last.attempts.into(), "attempt");
        let error = plain(last.last_error.as_deref().unwrap_or(UNKNOWN));
        text += &format!("    partition {} after {attempts}: {error}\n", last.partition);
    }
    text
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn active(row: &ActiveRow) -> String {
    let ago = |millis| format!("[{} ago]", duration(millis));
    let now = row.started_ms.saturating_add(row.running_ms);
    let updated = row.idle_ms.map_or("no updates seen".to_owned(), |idle| {
        format!("{} {}", date_time(now.saturating_sub(idle)), ago(idle))
    });
    let is_size_known = row.bytes_total > 0;
    let total =
        if is_size_known { format!("{} bytes", row.bytes_total) } else { UNKNOWN.to_owned() };
    let sent =
        if row.idle_ms.is_some() { row.objects_sent.to_string() } else { UNKNOWN.to_owned() };
    let left = is_size_known.then(|| time_left(row.bytes_sent, row.bytes_total, row.running_ms));
    let left = left.flatten().map_or(UNKNOWN.to_owned(), duration);
    let why = row.why.as_deref().map(|why| format!(", waits: {}", plain(why)));
    let mut text = format!("transfer type: {}\n", plain(&row.kind));
    text += &format!("vnode type: {}\n", row.vnode_type);
    text += &format!("partition: {}\n", row.partition);
    text += &format!("started: {} {}\n", date_time(row.started_ms), ago(row.running_ms));
    text += &format!("last update: {updated}\n");
    text += &format!("total size: {total}\n");
    text += &format!("objects transferred: {sent}\n");
    text += &format!("state: {}{}\n", plain(&row.state), why.unwrap_or_default());
    text += &format!("time left: {left}\n");
    text + "\n" + &arrow_box(row) + "\n"
}

/// Rates, names and how far it is.
fn arrow_box(row: &ActiveRow) -> String {
    let known = row.idle_ms.is_some();
    let rate = |count| per_second(count, row.running_ms).filter(|_| known);
    let objects =
        rate(row.objects_sent).map_or(UNKNOWN.to_owned(), |rate| format!("{rate} Objs/s"));
    let bytes = rate(row.bytes_sent).map_or(UNKNOWN.to_owned(), |rate| format!("{}/s", size(rate)));
    let done = progress(row.bytes_sent, row.bytes_total).filter(|_| known);
    let filled = done.map_or(0, |percent| BAR_WIDTH * usize::from(percent) / 100);
    let done = done.map_or("N/A".to_owned(), |percent| format!("{percent}%"));
    let bar = "=".repeat(filled);
    format!("{:26}{objects}\n{}", "", names(&row.source, &row.target))
        + &format!("{:8}|{bar:<BAR_WIDTH$}| {done:>4}\n{:26}{bytes}\n", "", "")
}

/// Source and target, each in the middle of its column; long names go on in the next line.
fn names(source: &NodeName, target: &NodeName) -> String {
    let (source, target) = (wrapped(source), wrapped(target));
    let mut text = String::new();
    for line in 0..source.len().max(target.len()) {
        let part = |of: &[String]| of.get(line).cloned().unwrap_or_default();
        let arrow = if line == 0 { "=======>" } else { "" };
        let both =
            format!("{:^NAME_WIDTH$}  {arrow:8}  {:^NAME_WIDTH$}", part(&source), part(&target));
        text = text + both.trim_end() + "\n";
    }
    text
}

fn wrapped(name: &NodeName) -> Vec<String> {
    let letters: Vec<char> = name.as_str().chars().collect();
    letters.chunks(NAME_WIDTH).map(|part| part.iter().collect()).collect()
}

fn ended(rows: &[EndedRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cancelled: Vec<_> = rows.iter().filter(|row| row.cancelled.is_some()).collect();
    let completed = rows.len() - cancelled.len();
    let kept = rows.iter().filter(|row| row.cancelled.is_none() && !row.deleted).count();
    let mut text = format!("Ended: {completed} completed, {} cancelled\n", cancelled.len());
    if kept > 0 {
        text += &format!("{kept} old cop{} not deleted yet\n", if kept == 1 { "y" } else { "ies" });
    }
    let older = cancelled.len().saturating_sub(CANCELLED_SHOWN);
    for row in cancelled.into_iter().skip(older) {
        text += &format!(
            "  {} of {} {} from {} to {} cancelled after {}: {}\n",
            plain(&row.kind),
            row.vnode_type,
            row.partition,
            quoted(&row.source),
            quoted(&row.target),
            duration(row.took_ms),
            plain(row.cancelled.as_deref().unwrap_or(UNKNOWN)),
        );
    }
    text
}
