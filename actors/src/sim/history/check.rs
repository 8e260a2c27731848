//! The verdict on a history.
//!
//! Owns: which reads are right, what a wrong one is called, and how much was checked. One pass over the
//! reads of each key, each in logarithmic time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Deed, History, OfKey, Read, ReadOutcome, ValueId, Write, WriteOutcome};
use crate::protocol::time::Moment;

/// A read that no store which keeps its promises would have answered so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// `AckDurable`: the read saw less than what was acknowledged before it began.
    #[error("'{key}': {put} is missing from {read}")]
    Lost {
        /// The key.
        key: String,
        /// The acknowledged put that it should have seen, or a later write.
        put: Write,
        /// What it saw instead.
        read: Read,
    },
    /// `NoResurrect`: the read saw a value from before an acknowledged delete.
    #[error("'{key}': {delete} is undone in {read}")]
    Resurrected {
        /// The key.
        key: String,
        /// The acknowledged delete.
        delete: Write,
        /// What was seen after it.
        read: Read,
    },
    /// The read saw a value that nobody can have stored: never put, put later, or refused.
    #[error("'{key}': nobody can have stored what is seen by {read}")]
    Phantom {
        /// The key.
        key: String,
        /// What it saw.
        read: Read,
    },
}

/// How much a verdict rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checked {
    /// Answered reads by R owners. All rules were applied to them.
    pub strict_reads: u64,
    /// Answered reads with stand-ins. Only checked for values that nobody put.
    pub sloppy_reads: u64,
    /// Acknowledged puts that were owed to at least one strict read.
    pub puts: u64,
    /// Acknowledged deletes that were owed to at least one strict read.
    pub deletes: u64,
    /// Acknowledged writes that were owed to none: nobody looked, or the data was lost.
    pub unread: u64,
    /// Writes in doubt, those never answered included.
    pub in_doubt: u64,
    /// Writes that were refused.
    pub refused: u64,
}

impl Checked {
    /// The counts of two histories together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            strict_reads: self.strict_reads + other.strict_reads,
            sloppy_reads: self.sloppy_reads + other.sloppy_reads,
            puts: self.puts + other.puts,
            deletes: self.deletes + other.deletes,
            unread: self.unread + other.unread,
            in_doubt: self.in_doubt + other.in_doubt,
            refused: self.refused + other.refused,
        }
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How much was checked.
    pub checked: Checked,
    /// What is wrong, by key and in the order of the gets.
    pub violations: Vec<Violation>,
}

impl History {
    /// Judges every answered read so far.
    #[must_use]
    pub fn check(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for (key, of_key) in &self.keys {
            let register = Register::new(of_key, &self.settled, self.order_margin);
            verdict.checked = verdict.checked.and(checked(of_key, &self.settled));
            let wrong = of_key.reads.iter().filter_map(|read| register.violation(key, read));
            verdict.violations.extend(wrong);
        }
        verdict
    }
}

/// The last moment at which something may happen, if nothing bounds it.
const NEVER: Moment = Moment(u64::MAX);

/// One key, prepared for questions about its reads.
struct Register<'a> {
    margin: Duration,
    losses: &'a [Moment],
    /// Each put that may have been stored, with the last moment at which it may have taken effect.
    puts: BTreeMap<ValueId, (&'a Write, Moment)>,
    /// By the moment a delete began: the last moment at which one of those so far may have taken effect.
    deletes: Vec<(Moment, Moment)>,
    /// By the moment from which a write is owed to reads: of the writes so far, the one that began last.
    owed: Vec<(Moment, &'a Write)>,
}

impl<'a> Register<'a> {
    fn new(of_key: &'a OfKey, settled: &[Moment], margin: Duration) -> Self {
        let first_seen = first_seen(&of_key.reads);
        let mut puts = BTreeMap::new();
        let mut deletes = Vec::new();
        let mut owed = Vec::new();
        for write in &of_key.writes {
            let answered = match write.end {
                Some((_, WriteOutcome::NotDone)) => continue,
                Some((at, WriteOutcome::Acknowledged { .. })) => at,
                Some((_, WriteOutcome::Unknown)) | None => NEVER,
            };
            match write.deed {
                Deed::Put(value) => {
                    let seen = first_seen.get(&value).copied();
                    let seen = seen.filter(|_| !write.is_restamped).unwrap_or(NEVER);
                    puts.insert(value, (write, later(write, answered.min(seen), margin)));
                }
                Deed::Delete => deletes.push((write.began, later(write, answered, margin))),
            }
            owed.extend(owed_from(write, settled).map(|from| (from, write)));
        }
        deletes.sort_unstable();
        let mut last_effect = Moment::START;
        for (_, effect) in &mut deletes {
            last_effect = last_effect.max(*effect);
            *effect = last_effect;
        }
        owed.sort_by_key(|(from, write)| (*from, began(write, margin)));
        let mut last: Option<&Write> = None;
        for (_, write) in &mut owed {
            let latest =
                last.filter(|last| began(last, margin) > began(write, margin)).unwrap_or(*write);
            last = Some(latest);
            *write = latest;
        }
        Self { margin, losses: &of_key.losses, puts, deletes, owed }
    }

    fn violation(&self, key: &str, read: &Read) -> Option<Violation> {
        let (ended, seen, strict) = answer(read)?;
        let key = || key.to_owned();
        let last_effect = match seen {
            Some(value) => match self.puts.get(&value) {
                Some((put, effect)) if put.began <= ended => Some(*effect),
                Some(_) | None => return Some(Violation::Phantom { key: key(), read: *read }),
            },
            None => self.last_delete_until(ended),
        };
        if !strict {
            return None;
        }
        let missed = self.last_owed_to(read.began, ended)?;
        if last_effect.is_some_and(|effect| began(missed, self.margin) <= effect) {
            return None;
        }
        Some(match missed.deed {
            Deed::Put(_) => Violation::Lost { key: key(), put: *missed, read: *read },
            Deed::Delete => Violation::Resurrected { key: key(), delete: *missed, read: *read },
        })
    }

    /// The last moment at which a delete that began by then may have taken effect.
    fn last_delete_until(&self, moment: Moment) -> Option<Moment> {
        let count = self.deletes.partition_point(|(began, _)| *began <= moment);
        self.deletes.get(count.checked_sub(1)?).map(|(_, effect)| *effect)
    }

    /// Of the writes that a read owes to show, the one that began last.
    fn last_owed_to(&self, read_began: Moment, read_ended: Moment) -> Option<&'a Write> {
        let count = self.owed.partition_point(|(from, _)| *from < read_began);
        let (_, write) = self.owed.get(count.checked_sub(1)?)?;
        (!is_lost(write, read_ended, self.losses)).then_some(*write)
    }
}

/// W owners that acknowledged a write have seen every such write before it; others are ordered by clocks alone.
fn is_ordered(write: &Write) -> bool {
    matches!(write.end, Some((_, WriteOutcome::Acknowledged { strict: true })))
}

/// The last moment at which a write may have taken effect, by the clock it is ordered by.
fn later(write: &Write, moment: Moment, margin: Duration) -> Moment {
    if is_ordered(write) { moment } else { moment.plus(margin) }
}

/// The first moment at which a write may have taken effect, by the clock it is ordered by.
fn began(write: &Write, margin: Duration) -> Moment {
    let margin = if is_ordered(write) { Duration::ZERO } else { margin };
    Moment::START.plus(write.began.since(Moment::START).saturating_sub(margin))
}

/// From when on reads owe to show a write, if ever.
fn owed_from(write: &Write, settled: &[Moment]) -> Option<Moment> {
    match write.end? {
        (at, WriteOutcome::Acknowledged { strict: true }) => Some(at),
        (at, WriteOutcome::Acknowledged { strict: false }) => {
            settled.get(settled.partition_point(|settled| *settled < at)).copied()
        }
        (_, WriteOutcome::NotDone | WriteOutcome::Unknown) => None,
    }
}

/// Whether the data was lost between the beginning of a write and the end of a read.
fn is_lost(write: &Write, read_ended: Moment, losses: &[Moment]) -> bool {
    let next = losses.partition_point(|loss| *loss < write.began);
    losses.get(next).is_some_and(|loss| *loss <= read_ended)
}

/// When a read was answered, with what, and whether by owners alone.
fn answer(read: &Read) -> Option<(Moment, Option<ValueId>, bool)> {
    match read.end? {
        (at, ReadOutcome::Answered { seen, strict }) => Some((at, seen, strict)),
        (_, ReadOutcome::Failed) => None,
    }
}

/// The end of the first read that saw a value: by then its put had taken effect, whatever its client was
/// told, and it takes effect once.
fn first_seen(reads: &[Read]) -> BTreeMap<ValueId, Moment> {
    let mut first: BTreeMap<ValueId, Moment> = BTreeMap::new();
    for (ended, seen, _) in reads.iter().filter_map(answer) {
        if let Some(value) = seen {
            let end = first.entry(value).or_insert(ended);
            *end = ended.min(*end);
        }
    }
    first
}

/// Counts what a verdict on this key rests on.
fn checked(of_key: &OfKey, settled: &[Moment]) -> Checked {
    let mut checked = Checked::default();
    let mut strict: Vec<(Moment, Moment)> = Vec::new();
    for read in &of_key.reads {
        match answer(read) {
            Some((ended, _, true)) => strict.push((read.began, ended)),
            Some((_, _, false)) => checked.sloppy_reads += 1,
            None => {}
        }
    }
    checked.strict_reads = strict.len() as u64;
    // By the moment a strict read began: the first end of one that began then or later.
    strict.sort_unstable();
    let mut first_end = NEVER;
    for (_, ended) in strict.iter_mut().rev() {
        first_end = first_end.min(*ended);
        *ended = first_end;
    }
    let is_read = |write: &Write| {
        let from = owed_from(write, settled)?;
        let (_, ended) = strict.get(strict.partition_point(|(began, _)| *began <= from))?;
        Some(!is_lost(write, *ended, &of_key.losses))
    };
    for write in &of_key.writes {
        let count = match (write.end, write.deed) {
            (Some((_, WriteOutcome::NotDone)), _) => &mut checked.refused,
            (Some((_, WriteOutcome::Unknown)) | None, _) => &mut checked.in_doubt,
            (Some((_, WriteOutcome::Acknowledged { .. })), deed) => match (is_read(write), deed) {
                (Some(true), Deed::Put(_)) => &mut checked.puts,
                (Some(true), Deed::Delete) => &mut checked.deletes,
                (Some(false) | None, _) => &mut checked.unread,
            },
        };
        *count += 1;
    }
    checked
}
