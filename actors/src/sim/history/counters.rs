//! What clients did to counters, and whether each addition was executed once.
//!
//! Owns: the record of additions ([`Counters`]) and the verdict on it ([`Counters::check`]). A counter has one
//! copy and answers each addition with its new total; an addition of zero is a read. Then the totals that
//! were answered tell which additions they contain: all that were acknowledged before, and perhaps some that
//! ran beside or are in doubt, each of them once.
//!
//! In the order of their totals the answers form a chain: each execution takes the counter from its total
//! less its amount to its total. No two overlap, and what is missing between two of them was added by
//! additions in doubt. So amounts that differ say most.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{ClientId, insert_in_order};
use crate::protocol::time::Moment;

/// Sums that are kept apart when it is asked whether additions in doubt fill a gap. Beyond that the gap is
/// only held against its bounds.
const SUMS_MAX: usize = 1 << 14;

/// What a client was told about its addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddOutcome {
    /// It was executed, and then the counter stood at this.
    Acknowledged {
        /// The sum of all that was executed until then, this addition included.
        total: u64,
    },
    /// A refusal that promises that nothing was added.
    NotDone,
    /// An error or a silence that says nothing. It may have been executed, or be executed later.
    Unknown,
}

/// An addition as it was recorded. Tries of one operation are one addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    /// Who asked.
    pub client: ClientId,
    /// How much was to be added; zero reads.
    pub amount: u64,
    /// When it was first sent.
    pub began: Moment,
    /// When the client heard what; nothing as long as it waits.
    pub end: Option<(Moment, AddOutcome)>,
}

impl Addition {
    fn answer(&self) -> Option<(Moment, u64)> {
        match self.end? {
            (at, AddOutcome::Acknowledged { total }) => Some((at, total)),
            (_, AddOutcome::NotDone | AddOutcome::Unknown) => None,
        }
    }
}

impl fmt::Display for Addition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the addition of {} by {} from {}", self.amount, self.client, self.began)?;
        match self.end {
            Some((at, AddOutcome::Acknowledged { total })) => {
                write!(f, ", told {total} at {at}")
            }
            Some((at, AddOutcome::NotDone)) => write!(f, ", refused at {at}"),
            Some((at, AddOutcome::Unknown)) => write!(f, ", in doubt since {at}"),
            None => f.write_str(", not answered"),
        }
    }
}

/// Names an addition that has begun.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use = "an addition that is never ended counts as in doubt"]
pub struct AddId {
    counter: String,
    number: usize,
}

/// A total that a counter with one copy, which executes each addition once, would not have answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountedWrong {
    /// `AckDurable`: less than what was acknowledged before.
    #[error("counter '{counter}': at least {at_least} was owed to {told}")]
    TooLittle {
        /// The counter.
        counter: String,
        /// The sum of what was acknowledged before, and its own amount.
        at_least: u64,
        /// Whose answer is too low.
        told: Addition,
    },
    /// `ExactlyOnce`: more than all that was ever asked for.
    #[error("counter '{counter}': at most {at_most} can have been counted in {told}")]
    TooMuch {
        /// The counter.
        counter: String,
        /// The sum of all that was not refused and had begun.
        at_most: u64,
        /// Whose answer is too high.
        told: Addition,
    },
    /// `ExactlyOnce`: between this answer and the one below something was added that no additions in
    /// doubt are together.
    #[error("counter '{counter}': nobody added the {gap} that are missing below {told}")]
    NoSuchTotal {
        /// The counter.
        counter: String,
        /// What was added between the two.
        gap: u64,
        /// Whose answer it is.
        told: Addition,
    },
    /// `OneOwner`: each of two additions says that the other came after it.
    #[error("counter '{counter}': {earlier}, is not contained in {later}")]
    Forked {
        /// The counter.
        counter: String,
        /// The one with the lower total, or the one that ended before the other began.
        earlier: Addition,
        /// The other.
        later: Addition,
    },
}

/// How much a verdict on counters rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountersChecked {
    /// Acknowledged additions whose totals were checked, zeros included.
    pub answers: u64,
    /// Of them, those whose total was only held against its bounds: the additions in doubt have too many
    /// sums.
    pub bounds_only: u64,
    /// Additions in doubt, those never answered included.
    pub in_doubt: u64,
    /// Additions that were refused.
    pub refused: u64,
}

impl CountersChecked {
    /// The counts of two histories together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            answers: self.answers + other.answers,
            bounds_only: self.bounds_only + other.bounds_only,
            in_doubt: self.in_doubt + other.in_doubt,
            refused: self.refused + other.refused,
        }
    }
}

/// The outcome of a check of counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountersVerdict {
    /// How much was checked.
    pub checked: CountersChecked,
    /// What is wrong, by counter.
    pub violations: Vec<CountedWrong>,
}

#[derive(Debug, Clone, Default)]
struct OfCounter {
    additions: Vec<Addition>,
    /// When its copy was lost, in order.
    losses: Vec<Moment>,
}

/// What clients did to counters. Moments are one clock's.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    counters: BTreeMap<String, OfCounter>,
}

impl Counters {
    /// A client sends an addition; zero is a read.
    pub fn begin(&mut self, client: ClientId, counter: &str, amount: u64, at: Moment) -> AddId {
        let additions = &mut self.counters.entry(counter.to_owned()).or_default().additions;
        additions.push(Addition { client, amount, began: at, end: None });
        AddId { counter: counter.to_owned(), number: additions.len() - 1 }
    }

    /// The client hears of it. Only the first answer counts.
    pub fn end(&mut self, id: &AddId, outcome: AddOutcome, at: Moment) {
        let counter = self.counters.get_mut(&id.counter);
        if let Some(addition) = counter.and_then(|of| of.additions.get_mut(id.number)) {
            addition.end.get_or_insert((at, outcome));
        }
    }

    /// The one copy of a counter was lost: answers that end later owe nothing that began until now.
    pub fn data_lost(&mut self, counter: &str, at: Moment) {
        insert_in_order(&mut self.counters.entry(counter.to_owned()).or_default().losses, at);
    }

    /// Judges every answer so far.
    #[must_use]
    pub fn check(&self) -> CountersVerdict {
        let mut verdict = CountersVerdict::default();
        for (name, counter) in &self.counters {
            let sums = Sums::of(counter);
            for addition in &counter.additions {
                counter.judge(name, addition, &sums, &mut verdict);
            }
            for (era, chain) in counter.chains() {
                counter.judge_chain(name, era, chain, &mut verdict);
            }
        }
        verdict
    }
}

/// An answered addition, when it ended, and the total it was told.
type Answer<'a> = (&'a Addition, Moment, u64);

impl OfCounter {
    fn judge(&self, name: &str, told: &Addition, sums: &Sums, verdict: &mut CountersVerdict) {
        let (ended, total) = match told.end {
            Some((ended, AddOutcome::Acknowledged { total })) => (ended, total),
            Some((_, AddOutcome::NotDone)) => {
                verdict.checked.refused += 1;
                return;
            }
            Some((_, AddOutcome::Unknown)) | None => {
                verdict.checked.in_doubt += 1;
                return;
            }
        };
        verdict.checked.answers += 1;
        let at_least = sums.owed_to(told, self.losses_until(ended));
        let at_most = sum_until(&sums.begun, |began| began <= ended);
        let (counter, told) = (name.to_owned(), *told);
        if total < at_least {
            verdict.violations.push(CountedWrong::TooLittle { counter, at_least, told });
        } else if total > at_most {
            verdict.violations.push(CountedWrong::TooMuch { counter, at_most, told });
        }
    }

    fn losses_until(&self, moment: Moment) -> usize {
        self.losses.partition_point(|loss| *loss <= moment)
    }

    /// The answers between two losses, in the order of their totals. One that runs beside a loss belongs
    /// to no chain.
    fn chains(&self) -> BTreeMap<usize, Vec<Answer<'_>>> {
        let mut chains: BTreeMap<usize, Vec<Answer<'_>>> = BTreeMap::new();
        for told in &self.additions {
            if let (Some((ended, total)), Some(era)) = (told.answer(), self.era(told)) {
                chains.entry(era).or_default().push((told, ended, total));
            }
        }
        for chain in chains.values_mut() {
            // Of equal totals the addition comes first, then those that read it.
            chain.sort_by_key(|(told, _, total)| (*total, std::cmp::Reverse(told.amount)));
        }
        chains
    }

    /// How many losses there were before an answered addition, unless one happened beside it.
    fn era(&self, told: &Addition) -> Option<usize> {
        let (ended, _) = told.answer()?;
        let era = self.losses_until(ended);
        (self.losses_until(told.began) == era).then_some(era)
    }

    fn judge_chain(
        &self,
        name: &str,
        era: usize,
        chain: Vec<Answer<'_>>,
        verdict: &mut CountersVerdict,
    ) {
        let counter = || name.to_owned();
        let fork = |earlier: &Addition, later: &Addition| CountedWrong::Forked {
            counter: counter(),
            earlier: *earlier,
            later: *later,
        };
        let outside = self.outside_chain(era);
        let mut below: Option<(&Addition, u64)> = None;
        for (told, ended, total) in &chain {
            let from = total.saturating_sub(told.amount);
            let reached = below.map_or(0, |(_, reached)| reached);
            if let Some((earlier, _)) = below.filter(|_| from < reached) {
                verdict.violations.push(fork(earlier, told));
            } else if below.is_some() || era == 0 {
                let gap = from.saturating_sub(reached);
                let begun = outside.iter().filter(|(began, _)| began <= ended);
                match has_subset(begun.map(|(_, amount)| *amount), gap) {
                    Some(true) => {}
                    Some(false) => verdict.violations.push(CountedWrong::NoSuchTotal {
                        counter: counter(),
                        gap,
                        told: **told,
                    }),
                    None => verdict.checked.bounds_only += 1,
                }
            }
            below = Some((told, *total));
        }
        let back = went_back(chain);
        verdict.violations.extend(back.into_iter().map(|(earlier, later)| fork(earlier, later)));
    }

    /// What may have been added without being in the chain of an era: since when, and how much.
    fn outside_chain(&self, era: usize) -> Vec<(Moment, u64)> {
        let may_be_added = |addition: &&Addition| {
            let is_refused = matches!(addition.end, Some((_, AddOutcome::NotDone)));
            !is_refused && self.era(addition) != Some(era)
        };
        let outside = self.additions.iter().filter(may_be_added);
        outside.map(|addition| (addition.began, addition.amount)).collect()
    }
}

/// The sums that bound an answer, for all answers at once.
struct Sums {
    /// By the losses before they began: acknowledged additions by their ends, with the sum so far.
    acknowledged: BTreeMap<usize, Vec<(Moment, u64)>>,
    /// All that were not refused by their beginnings, with the sum so far.
    begun: Vec<(Moment, u64)>,
}

impl Sums {
    fn of(counter: &OfCounter) -> Self {
        let mut acknowledged: BTreeMap<usize, Vec<(Moment, u64)>> = BTreeMap::new();
        let mut begun = Vec::new();
        for Addition { client: _, amount, began, end } in &counter.additions {
            match end {
                Some((_, AddOutcome::NotDone)) => continue,
                Some((ended, AddOutcome::Acknowledged { .. })) => {
                    let era = counter.losses.partition_point(|loss| loss < began);
                    acknowledged.entry(era).or_default().push((*ended, *amount));
                }
                Some((_, AddOutcome::Unknown)) | None => {}
            }
            begun.push((*began, *amount));
        }
        acknowledged.values_mut().chain([&mut begun]).for_each(|amounts| add_up(amounts));
        Self { acknowledged, begun }
    }

    /// What was acknowledged before an addition was sent, and has not been lost until it was answered; and
    /// its own amount.
    fn owed_to(&self, told: &Addition, losses: usize) -> u64 {
        let before = self.acknowledged.get(&losses);
        let before = before.map_or(0, |ends| sum_until(ends, |ended| ended < told.began));
        before.saturating_add(told.amount)
    }
}

/// Puts amounts into the order of their moments, and makes each the sum so far.
fn add_up(amounts: &mut [(Moment, u64)]) {
    amounts.sort_unstable();
    let mut sum = 0_u64;
    for (_, amount) in amounts {
        sum = sum.saturating_add(*amount);
        *amount = sum;
    }
}

/// The sum of the amounts whose moments are early enough.
fn sum_until(sums: &[(Moment, u64)], is_early: impl Fn(Moment) -> bool) -> u64 {
    let count = sums.partition_point(|(moment, _)| is_early(*moment));
    count.checked_sub(1).and_then(|last| sums.get(last)).map_or(0, |(_, sum)| *sum)
}

/// Answers that ended before another began, and are higher than where that one began to count.
fn went_back(mut answers: Vec<Answer<'_>>) -> Vec<(&Addition, &Addition)> {
    let mut by_end = answers.clone();
    by_end.sort_by_key(|(_, ended, _)| *ended);
    answers.sort_by_key(|(told, _, _)| told.began);
    let mut ended_before = by_end.into_iter().peekable();
    let mut highest: Option<(&Addition, u64)> = None;
    let mut found = Vec::new();
    for (told, _, total) in answers {
        while let Some((done, _, reached)) = ended_before.next_if(|(_, at, _)| *at < told.began) {
            if highest.is_none_or(|(_, high)| high < reached) {
                highest = Some((done, reached));
            }
        }
        if let Some((done, high)) = highest
            && total.saturating_sub(told.amount) < high
        {
            found.push((done, told));
        }
    }
    found
}

/// Whether some of the amounts, each at most once, have this sum. Nothing if they have too many sums to
/// tell.
fn has_subset(amounts: impl Iterator<Item = u64>, sum: u64) -> Option<bool> {
    let mut reachable = BTreeSet::from([0_u64]);
    for amount in amounts.filter(|amount| (1..=sum).contains(amount)) {
        let more: Vec<u64> = reachable.iter().filter_map(|one| one.checked_add(amount)).collect();
        reachable.extend(more.into_iter().filter(|one| *one <= sum));
        if reachable.contains(&sum) {
            return Some(true);
        }
        if reachable.len() > SUMS_MAX {
            return None;
        }
    }
    Some(sum == 0)
}
