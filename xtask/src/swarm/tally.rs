//! What runs were worth, added up.

use std::collections::BTreeMap;
use std::time::Duration;

use tanodb_actors::sim::history::Checked;
use tanodb_actors::sim::history::counters::CountersChecked;

use super::clients::Told;
use super::plan::{Broken, Stage};
use super::tracker::Tracker;

/// Counts of one run, or of many.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Runs.
    pub seeds: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Runs with a crash or a cut while something moved.
    pub broken_transfers: u64,
    /// Crashes and cuts that waited for a state of a transfer, by state.
    pub broken_at: BTreeMap<Stage, u64>,
    /// Times a vnode entered each state.
    pub entered: BTreeMap<Stage, u64>,
    /// Transfers that ended with the target as owner.
    pub completed: u64,
    /// Transfers that went back.
    pub cancelled: u64,
    /// Attempts that a newer ring ended.
    pub superseded: u64,
    /// Runs that broke a promise.
    pub violations: u64,
    /// Requests sent.
    pub requests: u64,
    /// Acknowledged puts that were under way while a replica was fenced.
    pub puts_across_fences: u64,
    /// Acknowledged deletes that were.
    pub deletes_across_fences: u64,
    /// Writes that stand-ins kept.
    pub hints: u64,
    /// Sets of hints that went home.
    pub hints_home: u64,
    /// What was checked of keys.
    pub checked: Checked,
    /// What was checked of counters.
    pub counted: CountersChecked,
    /// How often each invariant was tried.
    pub exercised: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// One fault happened.
    pub fn broke(&mut self, what: &Broken, at: Option<Stage>, is_moving: bool) {
        *self.faults.entry(what.kind()).or_default() += 1;
        if what.is_crash_or_cut() {
            if is_moving {
                self.broken_transfers = 1;
            }
            if let Some(stage) = at {
                *self.broken_at.entry(stage).or_default() += 1;
            }
        }
    }

    /// Takes what a run was followed by, and what its clients were told.
    pub fn take(&mut self, tracker: &Tracker, told: &Told, replicas: impl Fn(u16) -> Vec<u32>) {
        for stage in Stage::ALL {
            *self.entered.entry(stage).or_default() += u64::from(tracker.entered(stage));
        }
        self.completed += tracker.completed;
        self.cancelled += tracker.cancelled;
        self.superseded += tracker.superseded;
        self.hints += tracker.hints;
        self.hints_home += tracker.hints_home;
        self.requests += told.sent;
        for write in &told.acknowledged {
            let partitions = replicas(write.key);
            let crosses = tracker.fences.iter().any(|fence| {
                partitions.contains(&fence.vnode.partition.0)
                    && fence.vnode.vnode_type == tanodb::kv::vnode_type()
                    && write.began <= fence.until.unwrap_or(Duration::MAX)
                    && fence.from <= write.ended
            });
            match (crosses, write.is_delete) {
                (true, true) => self.deletes_across_fences += 1,
                (true, false) => self.puts_across_fences += 1,
                (false, _) => {}
            }
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.virtual_time += other.virtual_time;
        self.broken_transfers += other.broken_transfers;
        self.completed += other.completed;
        self.cancelled += other.cancelled;
        self.superseded += other.superseded;
        self.violations += other.violations;
        self.requests += other.requests;
        self.puts_across_fences += other.puts_across_fences;
        self.deletes_across_fences += other.deletes_across_fences;
        self.hints += other.hints;
        self.hints_home += other.hints_home;
        self.checked = self.checked.and(other.checked);
        self.counted = self.counted.and(other.counted);
        add_each(&mut self.faults, &other.faults);
        add_each(&mut self.broken_at, &other.broken_at);
        add_each(&mut self.entered, &other.entered);
        add_each(&mut self.exercised, &other.exercised);
    }
}

fn add_each<K: Ord + Copy>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(*key).or_default() += count;
    }
}
