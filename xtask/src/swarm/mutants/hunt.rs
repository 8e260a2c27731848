//! Plays seeds with something broken until one fails.
//!
//! What runs do not notice is tried on a model, or on a test that must fail with it and pass without.
//! Before anything else nothing must be noticed in runs in which nothing else goes wrong: a bug that is seen at once
//! is too crude to say anything about the runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tanodb_actors::protocol::mutant::{Mutant, PAIRS, UnknownMutant};
use tanodb_actors::protocol::rules::Rules;
use tanodb_actors::sim::failure::Failure;

use super::MutantsError;
use super::beyond::{BEYOND, BY_MODEL, Beyond};
pub use super::trial::Programs;
use crate::model::{self, Bound};
use crate::swarm::draw;
use crate::swarm::plan::{Plan, Quality};
use crate::swarm::play::play_under;
use crate::swarm::smaller::smallest_by;

/// Seeds that are tried three times over, each from where the one before ends.
const SEEDS: u64 = 25;

/// How often a mutant is hunted, for the median.
const HUNTS: u64 = 3;

/// Runs that making the plan of a caught mutant smaller may take.
const SHRINK_RUNS_MAX: usize = 100;

/// Seeds on which nothing must be noticed while nothing goes wrong.
const CALM_SEEDS: u64 = 3;

/// Single mutants that runs and models must catch at least.
const CAUGHT_MIN: usize = 20;

/// How large a plan is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    faults: usize,
    operations: usize,
}

impl Size {
    /// Small enough to be read.
    fn is_small(self) -> bool {
        self.faults <= 3 && self.operations <= 10
    }
}

/// What was found out about a mutant.
enum Verdict {
    /// It is noticed though nothing goes wrong.
    Crude(String),
    /// Seeds that each hunt took, and what the first that caught it saw at which seed.
    Caught { by: String, seed: u64, took: Vec<Option<u64>>, shrunk: Size },
    /// The model checker does. Which model and which property.
    Modelled(&'static str, &'static str),
    /// Another rule covers for it: it is hunted in a pair.
    Covered,
    /// A test of the protocol does, or a story.
    Tested(&'static Beyond),
    /// Nothing does.
    Missed,
}

/// Hunts the mutants of these names, or all of them.
pub fn all(names: &str, programs: &Programs) -> Result<(), MutantsError> {
    let began = Instant::now();
    let subjects = subjects(names)?;
    let grounds = Grounds::look(programs);
    let (next, found) = (Mutex::new(0..subjects.len()), Mutex::new(BTreeMap::new()));
    on_all_processors(|| {
        let place = lock(&next).next()?;
        let rules = subjects.get(place).copied()?;
        let verdict = grounds.hunt(rules);
        println!("{}", row(rules, &verdict));
        lock(&found).insert(place, verdict);
        Some(())
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let found: Vec<(Rules, Verdict)> = subjects.into_iter().zip(found.into_values()).collect();
    println!("\n{}in {:.0} s", table(&found), began.elapsed().as_secs_f64());
    judge(&found, names.is_empty())
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subjects(names: &str) -> Result<Vec<Rules>, UnknownMutant> {
    if !names.is_empty() {
        return names.split(',').map(str::parse).collect();
    }
    let alone = Mutant::ALL.iter().map(|mutant| Rules::broken_by(*mutant));
    let pairs = PAIRS.iter().map(|(first, second)| Rules::broken_by_both(*first, *second));
    Ok(alone.chain(pairs).collect())
}

fn name(rules: Rules) -> String {
    rules.mutants().map(Mutant::name).collect::<Vec<_>>().join("+")
}

/// What is seen of a run that fails.
fn fails(plan: &Plan, rules: Rules) -> Option<String> {
    let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| play_under(plan, rules))) else {
        return Some("a panic".to_owned());
    };
    outcome.failure.map(|failure| match failure {
        Failure::Broken { invariant, .. } => invariant.to_owned(),
        Failure::InVain { what, .. } => format!("Terminates ({what})"),
        Failure::Livelock { .. } => "the watch for a livelock".to_owned(),
        Failure::Panicked { message } => format!("a panic ({message})"),
        Failure::NotStarted { node, .. } => format!("{node} not starting"),
        other => other.to_string(),
    })
}

/// The same run, if nothing went wrong.
fn calm(plan: Plan) -> Plan {
    Plan { faults: Vec::new(), quality: Quality::Good, ..plan }
}

/// Whether another rule covers for it as long as only this one is broken.
fn is_covered(rules: Rules) -> bool {
    let mut broken = rules.mutants();
    match (broken.next(), broken.next()) {
        (Some(alone), None) => alone.seen_by().starts_with("nothing alone"),
        _ => false,
    }
}

/// The seeds to hunt on.
struct Grounds<'a> {
    programs: &'a Programs,
    /// Seeds that fail though nothing is broken on purpose: they say nothing about what is.
    barren: BTreeSet<u64>,
}

impl<'a> Grounds<'a> {
    /// Plays each seed once with nothing broken on purpose.
    fn look(programs: &'a Programs) -> Self {
        let (next, barren) = (Mutex::new(0..HUNTS * SEEDS), Mutex::new(BTreeSet::new()));
        on_all_processors(|| {
            let seed = lock(&next).next()?;
            if let Some(by) = fails(&draw::plan(seed), Rules::default()) {
                println!("seed {seed} fails by itself ({by}) and is left out");
                lock(&barren).insert(seed);
            }
            Some(())
        });
        Self { programs, barren: barren.into_inner().unwrap_or_else(PoisonError::into_inner) }
    }

    fn hunt(&self, rules: Rules) -> Verdict {
        if is_covered(rules) {
            return Verdict::Covered;
        }
        for seed in 0..CALM_SEEDS {
            if let Some(what) = fails(&calm(draw::usual(seed)), rules) {
                return Verdict::Crude(format!("{what}, seed {seed} without faults"));
            }
        }
        if let Some(beyond) = BEYOND.iter().find(|beyond| beyond.name == name(rules)) {
            let is_noticed = self.programs.notice(beyond.test, beyond.name);
            return if is_noticed { Verdict::Tested(beyond) } else { Verdict::Missed };
        }
        if BY_MODEL.contains(&name(rules).as_str()) {
            let verdict = model::check(rules, Bound::Default, |_| {});
            return match verdict.first_failed() {
                Some((model, property)) => Verdict::Modelled(model, property),
                None => Verdict::Missed,
            };
        }
        let (mut took, mut first) = (Vec::new(), None);
        for hunt in 0..HUNTS {
            let seeds = hunt * SEEDS..(hunt + 1) * SEEDS;
            let caught = self.catch(seeds.clone(), rules);
            took.push(caught.as_ref().map(|(seed, _)| seed - seeds.start + 1));
            first = first.or(caught);
        }
        match first {
            Some((seed, by)) => Verdict::Caught { by, seed, took, shrunk: shrunk(seed, rules) },
            None => Verdict::Missed,
        }
    }

    /// The first seed that fails, and what was seen.
    fn catch(&self, mut seeds: Range<u64>, rules: Rules) -> Option<(u64, String)> {
        seeds.find_map(|seed| {
            let is_barren = self.barren.contains(&seed);
            let by = if is_barren { None } else { fails(&draw::plan(seed), rules) };
            by.map(|by| (seed, by))
        })
    }
}

/// How small the plan of a seed that fails is made.
fn shrunk(seed: u64, rules: Rules) -> Size {
    let plan = draw::plan(seed);
    let play = |plan: &Plan| play_under(plan, rules);
    let (plan, ..) = smallest_by(plan.clone(), &play(&plan), SHRINK_RUNS_MAX, play);
    Size { faults: plan.faults.len(), operations: plan.operations() }
}

/// Does it again and again on each processor, until it says that there is no more.
fn on_all_processors(work: impl Fn() -> Option<()> + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| while work().is_some() {});
        }
    });
}

/// The one in the middle; a hunt in vain counts as longer than any other.
fn median(took: &[Option<u64>]) -> String {
    let mut sorted: Vec<u64> = took.iter().map(|took| took.unwrap_or(u64::MAX)).collect();
    sorted.sort_unstable();
    match sorted.get(sorted.len() / 2) {
        Some(&u64::MAX) | None => format!(">{SEEDS}"),
        Some(seeds) => seeds.to_string(),
    }
}

fn row(rules: Rules, verdict: &Verdict) -> String {
    let taken_from: Vec<&str> = rules.mutants().map(Mutant::taken_from).collect();
    let (name, taken_from) = (name(rules), taken_from.join("; "));
    let (seeds, by) = match verdict {
        Verdict::Crude(what) => ("-".to_owned(), format!("too crude: {what}")),
        Verdict::Caught { by, seed, took, shrunk: Size { faults, operations } } => {
            let shrunk = format!("{faults} faults and {operations} operations show it");
            (median(took), format!("{by}, seed {seed}; {shrunk}"))
        }
        Verdict::Modelled(model, property) => {
            ("-".to_owned(), format!("{property}, in the model {model}"))
        }
        Verdict::Covered => ("-".to_owned(), "nothing alone, see its pair".to_owned()),
        Verdict::Tested(Beyond { test, reason, .. }) => {
            ("-".to_owned(), format!("the {test}; {reason}"))
        }
        Verdict::Missed => (format!(">{SEEDS}"), "NOT CAUGHT".to_owned()),
    };
    format!("{name:<44} {taken_from:<24} {seeds:>6}  {by}")
}

fn table(found: &[(Rules, Verdict)]) -> String {
    let (mutant, from, seeds) = ("mutant", "taken from", "median");
    let mut table = format!("{mutant:<44} {from:<24} {seeds:>6}  caught by\n");
    for (rules, verdict) in found {
        let _ = writeln!(table, "{}", row(*rules, verdict));
    }
    let count = |is: fn(&Verdict) -> bool| found.iter().filter(|(_, verdict)| is(verdict)).count();
    let _ = writeln!(
        table,
        "{} mutants and pairs: {} caught by runs, {} by a model, {} by a test, {} seen only in pairs, \
         {} too crude, {} missed,",
        found.len(),
        count(|verdict| matches!(verdict, Verdict::Caught { .. })),
        count(|verdict| matches!(verdict, Verdict::Modelled(..))),
        count(|verdict| matches!(verdict, Verdict::Tested(_))),
        count(|verdict| matches!(verdict, Verdict::Covered)),
        count(|verdict| matches!(verdict, Verdict::Crude(_))),
        count(|verdict| matches!(verdict, Verdict::Missed)),
    );
    table
}

fn judge(found: &[(Rules, Verdict)], is_all: bool) -> Result<(), MutantsError> {
    let those = |is: fn(&Verdict) -> bool| -> Vec<String> {
        let of = found.iter().filter(|(_, verdict)| is(verdict));
        of.map(|(rules, _)| name(*rules)).collect()
    };
    let missed = those(|verdict| matches!(verdict, Verdict::Missed));
    if !missed.is_empty() {
        return Err(MutantsError::Missed(missed.join(", ")));
    }
    let caught = those(|verdict| matches!(verdict, Verdict::Caught { .. } | Verdict::Modelled(..)));
    let caught = caught.iter().filter(|name| !name.contains('+')).count();
    if is_all && caught < CAUGHT_MIN {
        return Err(MutantsError::TooFew { caught, wanted: CAUGHT_MIN });
    }
    let is_small = |(_, verdict): &(Rules, Verdict)| match verdict {
        Verdict::Caught { shrunk, .. } => shrunk.is_small(),
        Verdict::Crude(_)
        | Verdict::Modelled(..)
        | Verdict::Covered
        | Verdict::Tested(_)
        | Verdict::Missed => false,
    };
    if is_all && !found.iter().any(is_small) {
        return Err(MutantsError::NoneSmall);
    }
    Ok(())
}
