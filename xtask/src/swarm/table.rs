//! The table of what runs were worth, and what they must be worth at least.

use std::fmt::Write as _;

use super::plan::Stage;
use super::tally::Counts;

/// Seeds that the least counts below are for.
const PER_SEEDS: u64 = 300;

/// The table.
pub fn of(counts: &Counts) -> String {
    let mut table = String::new();
    let mut row = |name: &str, count: String| {
        let _ = writeln!(table, "  {name:<46} {count:>14}");
    };
    row("seeds", counts.seeds.to_string());
    row("virtual hours", format!("{:.2}", counts.virtual_time.as_secs_f64() / 3_600.0));
    row("requests", counts.requests.to_string());
    row("transfers completed", counts.completed.to_string());
    row("transfers cancelled", counts.cancelled.to_string());
    row("transfers superseded", counts.superseded.to_string());
    row("runs with a crash or cut during a transfer", counts.broken_transfers.to_string());
    for stage in Stage::ALL {
        let at = counts.broken_at.get(&stage).copied().unwrap_or(0);
        let entered = counts.entered.get(&stage).copied().unwrap_or(0);
        row(&format!("crashes and cuts at {stage} (entered)"), format!("{at} ({entered})"));
    }
    for (kind, count) in &counts.faults {
        row(&format!("fault: {kind}"), count.to_string());
    }
    row("acknowledged puts across a fence", counts.puts_across_fences.to_string());
    row("acknowledged deletes across a fence", counts.deletes_across_fences.to_string());
    row("writes kept by stand-ins", counts.hints.to_string());
    row("sets of hints that went home", counts.hints_home.to_string());
    row("strict reads checked", counts.checked.strict_reads.to_string());
    row("acknowledged puts checked", counts.checked.puts.to_string());
    row("acknowledged deletes checked", counts.checked.deletes.to_string());
    row("answers of counters checked", counts.counted.answers.to_string());
    for (invariant, times) in &counts.exercised {
        row(&format!("{invariant} tried"), times.to_string());
    }
    row("violations", counts.violations.to_string());
    table
}

/// Whether the runs tried enough to say anything.
pub fn check(counts: &Counts) -> Result<(), String> {
    if counts.seeds < PER_SEEDS {
        return Ok(());
    }
    let broken_at = |stage: Stage| counts.broken_at.get(&stage).copied().unwrap_or(0);
    let least = [
        ("runs with a crash or cut during a transfer", counts.broken_transfers, 200),
        ("crashes and cuts at Sending", broken_at(Stage::Sending), 50),
        ("crashes and cuts at Fenced", broken_at(Stage::Fenced), 50),
        ("crashes and cuts at Granting", broken_at(Stage::Granting), 50),
        ("crashes and cuts at Retired", broken_at(Stage::Retired), 50),
        ("acknowledged puts across a fence", counts.puts_across_fences, 1_000),
        ("acknowledged deletes across a fence", counts.deletes_across_fences, 100),
        ("writes kept by stand-ins", counts.hints, 100),
        ("sets of hints that went home", counts.hints_home, 50),
    ];
    for (what, count, least) in least {
        let wanted = least * counts.seeds / PER_SEEDS;
        if count < wanted {
            return Err(format!("{what}: {count}, at least {wanted} are wanted"));
        }
    }
    match counts.exercised.iter().find(|(_, times)| **times == 0) {
        Some((never, _)) => Err(format!("{never} was never tried")),
        None => Ok(()),
    }
}
