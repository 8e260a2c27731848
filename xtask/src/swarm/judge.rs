//! Judges a run when everything has come to rest: what the nodes say of themselves, and what clients were told.

use std::time::Duration;

use tanodb_actors::protocol::ring::MemberStatus;
use tanodb_actors::protocol::time::Moment;
use tanodb_actors::sim::failure::Failure;
use tanodb_actors::sim::history::Violation;
use tanodb_actors::sim::invariant::{Rest, check_at_rest};

use super::clients::Late;
use super::plan::{Asked, name};
use super::play::Play;

fn broken(invariant: &'static str, what: impl Into<String>) -> Failure {
    Failure::Broken { invariant, what: what.into() }
}

impl Play {
    pub(super) fn rest(&mut self) -> Result<(), Failure> {
        self.cluster.chapter("everything comes to rest");
        let commits = self.commits.iter().filter_map(|commit| commit.take().flatten());
        let plan = commits.max_by_key(|(_, epoch)| *epoch);
        let rest = Rest { lost: self.dead.clone(), plan };
        check_at_rest(&mut self.cluster, &rest)?;
        if self.dead.is_empty() {
            let now = Moment::START.plus(self.cluster.elapsed());
            self.clients.told.borrow_mut().history.settled(now);
        }
        if self.clients.under_way() > 0 {
            let what = format!("{} requests have no answer", self.clients.under_way());
            return Err(broken("Answered", what));
        }
        self.read_all()?;
        self.judge()
    }

    /// Nodes that run and are members by their own account.
    fn listed(&mut self) -> Result<Vec<std::sync::Arc<str>>, Failure> {
        let mut listed = Vec::new();
        for running in self.cluster.running() {
            let Some(node) = self.cluster.find(&running) else { continue };
            let asked = node.clone();
            let members = self.cluster.try_ask("members", async move { asked.members().await })?;
            let me = &node.id().name;
            let is_listed = members.is_ok_and(|table| {
                table.members.iter().any(|row| row.node == *me && row.status == MemberStatus::Valid)
            });
            if is_listed && self.members().contains(&running) {
                listed.push(running);
            }
        }
        Ok(listed)
    }

    /// Every key and counter is read once more, each through two nodes.
    fn read_all(&mut self) -> Result<(), Failure> {
        self.cluster.chapter("everything is read again");
        self.clients.told.borrow_mut().unanswered_reads.clear();
        let running = self.listed()?;
        for key in 0..super::draw::KEYS {
            for step in [0, 1] {
                let place = (usize::from(key) + step) % running.len().max(1);
                let Some(node) = running.get(place).and_then(|name| self.cluster.find(name)) else {
                    continue;
                };
                let what = Asked::Get { key, strict: true };
                let task = self.clients.task(node, 200, what);
                self.cluster.spawn(task);
            }
        }
        for counter in 0..super::draw::COUNTERS {
            let place = usize::from(counter) % running.len().max(1);
            let Some(node) = running.get(place).and_then(|name| self.cluster.find(name)) else {
                continue;
            };
            let task = self.clients.total(node, counter);
            self.cluster.spawn(task);
        }
        self.cluster.advance(Duration::from_secs(20))
    }

    fn note_restamped(&mut self) {
        let mut told = self.clients.told.borrow_mut();
        let told = &mut *told;
        let tracker = self.tracker.borrow();
        for (op, write) in &told.writes {
            if tracker.restamped.contains(op) {
                told.history.restamped(write);
            }
        }
    }

    fn judge(&mut self) -> Result<(), Failure> {
        self.note_restamped();
        let told = self.clients.told.borrow();
        if let Some(late) = told.late.iter().find(|late| !self.was_paused(late)) {
            return Err(broken(
                "Answered",
                format!(
                    "{} answered after {:?}: {}",
                    late.node,
                    late.until - late.from,
                    late.answer
                ),
            ));
        }
        if let Some(unanswered) = told.unanswered_reads.first().filter(|_| self.dead.is_empty()) {
            return Err(broken("Answered", format!("at rest, {unanswered}")));
        }
        let verdict = told.history.check();
        self.counts.checked = verdict.checked;
        if let Some(violation) = verdict.violations.first() {
            let invariant = match violation {
                Violation::Lost { .. } | Violation::Phantom { .. } => "AckDurable",
                Violation::Resurrected { .. } => "NoResurrect",
            };
            return Err(broken(invariant, violation.to_string()));
        }
        let verdict = told.counters.check();
        self.counts.counted = verdict.checked;
        match verdict.violations.first() {
            Some(violation) => Err(broken("ExactlyOnce", violation.to_string())),
            None => Ok(()),
        }
    }

    /// A process that stands still answers when it goes on.
    fn was_paused(&self, late: &Late) -> bool {
        self.pauses.iter().any(|pause| {
            late.node.starts_with(&format!("{}@", name(pause.who)))
                && pause.from <= late.until
                && late.from <= pause.until
        })
    }
}
