//! Each table against the text it must be, to the column, and against numbers nobody expects.

use super::samples;
use super::*;

#[test]
fn member_status_is_the_tutorials_to_the_column() {
    let table = samples::members();
    assert_eq!(member_status(&table), include_str!("golden/member-status.txt"));
    let row = "valid     100.0%     34.4%    'tanodb1@127.0.0.1'\n";
    assert!(member_status(&table).contains(row));
}

#[test]
fn member_status_without_pending_changes_shows_dashes() {
    let text = member_status(&samples::joining());
    assert_eq!(text, include_str!("golden/member-status-joining.txt"));
}

#[test]
fn the_plan_is_the_tutorials_to_the_column() {
    assert_eq!(plan(&samples::plan()), include_str!("golden/plan.txt"));
}

#[test]
fn a_plan_without_changes_says_so() {
    let mut empty = samples::plan();
    empty.changes.clear();
    assert_eq!(plan(&empty), "There are no staged changes\n");
}

#[test]
fn a_plan_whose_replicas_are_distinct_warns_of_nothing() {
    let mut clean = samples::plan();
    clean.replicas_distinct = true;
    clean.transfers.clear();
    let text = plan(&clean);
    assert!(!text.contains("WARNING") && !text.contains("Transfers resulting"), "{text}");
}

#[test]
fn a_change_that_no_longer_applies_says_why() {
    let mut late = samples::plan();
    late.changes[0].void = Some("epoch 2 was decided meanwhile".to_owned());
    assert!(plan(&late).contains("'tanodb2@127.0.0.1' (void: epoch 2 was decided meanwhile)\n"));
}

#[test]
fn ring_status_groups_what_moves_by_owner_and_names_who_is_down() {
    assert_eq!(ring_status(&samples::ring()), include_str!("golden/ring-status.txt"));
}

#[test]
fn a_quiet_ring_has_no_pending_changes() {
    let mut ring = samples::ring();
    ring.not_seen_by.clear();
    ring.pending.clear();
    ring.unreachable.clear();
    assert_eq!(ring_status(&ring), include_str!("golden/ring-status-quiet.txt"));
}

#[test]
fn transfers_say_what_waits_for_what_and_how_far_the_rest_is() {
    assert_eq!(transfers(&samples::transfers()), include_str!("golden/transfers.txt"));
}

#[test]
fn a_transfer_without_statistics_makes_none_up() {
    let mut report = samples::transfers();
    report.active = vec![samples::active(None)];
    report.active[0].bytes_total = 0;
    let text = transfers(&report);
    for line in ["last update: no updates seen\n", "total size: unknown\n", "|  N/A\n"] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    assert!(text.contains("objects transferred: unknown\n") && !text.contains("Objs/s"), "{text}");
}

#[test]
fn without_any_transfer_the_report_says_so() {
    let mut report = samples::transfers();
    report.waiting.clear();
    report.active.clear();
    report.ended.clear();
    report.silent.clear();
    assert_eq!(transfers(&report), "No transfers active\n\nActive Transfers:\n\n");
}

#[test]
fn partitions_stand_in_columns_with_a_sum_below() {
    assert_eq!(partitions(&samples::partitions()), include_str!("golden/partitions.txt"));
}

#[test]
fn a_name_longer_than_its_column_goes_on_in_the_next_line() {
    let mut report = samples::transfers();
    report.active[0].target =
        NodeName::new("a-development-node-with-a-long-name@host.example.org").unwrap();
    let text = transfers(&report);
    assert!(text.contains("=======>  a-development-node-with-a\n"), "{text}");
    assert!(text.contains(&format!("\n{:37}-long-name@host.example.o\n", "")), "{text}");
}

#[test]
fn no_number_of_a_node_can_stop_a_report() {
    for number in [0, 1, u64::MAX] {
        let mut report = samples::transfers();
        let active = &mut report.active[0];
        (active.started_ms, active.running_ms, active.idle_ms) = (number, number, Some(number));
        (active.bytes_total, active.bytes_sent) = (number, u64::MAX);
        (active.objects_total, active.objects_sent) = (number, u64::MAX);
        report.waiting[0].since_ms = number;
        report.ended[0].took_ms = number;
        assert!(transfers(&report).contains("Active Transfers:"));

        let mut table = samples::partitions();
        for row in &mut table.rows {
            (row.objects, row.bytes) = (number, number);
        }
        assert!(partitions(&table).contains("Owned: 2 partitions"));
    }
}

#[test]
fn what_a_node_says_cannot_move_the_cursor() {
    let mut report = samples::transfers();
    report.waiting[0].why = "\u{1b}[2Jnothing\nto see".to_owned();
    report.active[0].state = "\r".to_owned();
    let text = transfers(&report);
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
}
