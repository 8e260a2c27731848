//! The model checker's word on the shipped protocol types: `cargo xtask model`.
//!
//! Each model explores every order of events of a small cluster with `stateright`. The types of
//! `tanodb_actors::protocol` are driven themselves, not copies; what the runtime around them does is stood in for.
//! What each model leaves out stands in its file, what was covered in `docs/model.md`.

mod agreement;
mod graph;
mod handoff;
mod runs;

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use tanodb_actors::protocol::rules::Rules;

use graph::{Graph, print_of};

pub(crate) use runs::Bound;

/// The property that is computed over the explored graph.
const TERMINATES: &str = "Terminates";

/// What came of exploring one model.
pub(crate) struct Run {
    name: &'static str,
    unique: usize,
    generated: usize,
    depth: usize,
    took: Duration,
    held: Vec<&'static str>,
    failed: Vec<Failed>,
}

/// A property that does not hold, and the events that show it.
struct Failed {
    property: &'static str,
    events: Vec<String>,
}

/// What came of all models.
pub(crate) struct Verdict(Vec<Run>);

impl Verdict {
    /// Whether every property holds.
    pub(crate) fn holds(&self) -> bool {
        self.0.iter().all(|run| run.failed.is_empty())
    }

    /// The first model in which a property does not hold, and the property.
    #[cfg(tanodb_mutants)]
    pub(crate) fn first_failed(&self) -> Option<(&'static str, &'static str)> {
        let of = |run: &Run| run.failed.first().map(|failed| (run.name, failed.property));
        self.0.iter().find_map(of)
    }
}

/// Explores the models by given rules until a property does not hold.
pub(crate) fn check(rules: Rules, bound: Bound, mut told: impl FnMut(&Run)) -> Verdict {
    let mut all = Vec::new();
    for start in runs::of(rules, bound) {
        let run = start();
        told(&run);
        let holds = run.failed.is_empty();
        all.push(run);
        if !holds {
            break;
        }
    }
    Verdict(all)
}

/// `cargo xtask model`: explores, prints the table, and the events that show what does not hold. Tells whether
/// all holds.
pub(crate) fn run(rules: Rules, bound: Bound) -> bool {
    let (model, states, steps, depth) = ("model", "states", "steps", "depth");
    println!("{model:<36} {states:>9} {steps:>10} {depth:>5} {:>6}  properties", "s");
    let verdict = check(rules, bound, print_row);
    for run in &verdict.0 {
        for failed in &run.failed {
            println!("\n{}: {} does not hold:", run.name, failed.property);
            for (number, event) in failed.events.iter().enumerate() {
                println!("{:>4}. {event}", number + 1);
            }
        }
    }
    verdict.holds()
}

fn print_row(run: &Run) {
    let failed = run.failed.iter().map(|failed| format!("NOT {}", failed.property));
    let held = run.held.iter().map(|property| (*property).to_owned());
    let properties: Vec<String> = failed.chain(held).collect();
    println!(
        "{:<36} {:>9} {:>10} {:>5} {:>6.1}  {}",
        run.name,
        run.unique,
        run.generated,
        run.depth,
        run.took.as_secs_f64(),
        properties.join(", ")
    );
}

/// Explores one model. `make` makes it anew; a graph asks whether everything ends.
fn explore<M>(name: &'static str, make: impl Fn(Graph) -> M, has_ends: bool) -> Run
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Debug + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Debug + Display + Send + Sync + 'static,
{
    let began = Instant::now();
    let graph = if has_ends { Graph::recording() } else { Graph::forgetting() };
    let model = make(graph.clone());
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let (mut held, mut failed, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
    for property in checker.model().properties() {
        let events = discoveries
            .get(property.name)
            .map(|path| path.clone().into_actions().iter().map(ToString::to_string).collect());
        match (property.expectation, events) {
            (Expectation::Sometimes, Some(_)) => {}
            (Expectation::Always | Expectation::Eventually, None) => held.push(property.name),
            (Expectation::Always | Expectation::Eventually, Some(events)) => {
                failed.push(Failed { property: property.name, events });
            }
            (Expectation::Sometimes, None) => {
                unseen.push(Failed { property: property.name, events: Vec::new() });
            }
        }
    }
    // A run that a violation has cut short has not seen everything.
    if failed.is_empty() {
        match graph.ends() {
            Some(ends) if ends.stuck == 0 && ends.ends > 0 => held.push(TERMINATES),
            Some(ends) => {
                let events = events_of(&make(Graph::forgetting()), &ends.way);
                failed.push(Failed { property: TERMINATES, events });
            }
            None => {}
        }
        failed.extend(unseen);
    }
    Run {
        name,
        unique: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        held,
        failed,
    }
}

/// The events on a way that is given by the prints of its states.
fn events_of<M>(model: &M, way: &[u64]) -> Vec<String>
where
    M: Model,
    M::State: Hash,
    M::Action: Display,
{
    let mut events = Vec::new();
    let mut at = model.init_states().into_iter().next();
    for print in way.iter().skip(1) {
        let steps = at.as_ref().map(|state| model.next_steps(state)).unwrap_or_default();
        let step = steps.into_iter().find(|(_, next)| print_of(next) == *print);
        at = step.map(|(action, next)| {
            events.push(action.to_string());
            next
        });
    }
    events
}
