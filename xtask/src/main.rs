//! Long-running programs for developers of TanoDB: `cargo xtask bench handoff`, `cargo xtask swarm`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a terminal")]

mod bench;
mod model;
mod swarm;

use std::env;
use std::process::ExitCode;

use bench::{BenchError, Extent, ideal};
use model::Bound;
use swarm::mutants;
use tanodb_actors::protocol::rules::Rules;

/// A simulated second is some hundred thousand small allocations on one thread, for which this one takes half
/// the time of the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: cargo xtask bench handoff|empty [--quick]
       cargo xtask model [--full]
       cargo xtask swarm --seeds N | --seed N | --speed | --mutants [NAMES]

  bench handoff   how fast partitions move, beside the fastest stream of the same entries
  bench empty     how fast partitions move that hold nothing; part of `bench handoff`
    --quick       a tenth of the entries, one run instead of three

  model             every order of events of a small cluster, over the shipped protocol types
    --full          with larger bounds: minutes, and gigabytes of memory

  swarm --seeds N   plays random runs of whole clusters, from seed 0 on, and prints what they were worth;
                    stops at the first that fails, makes it smaller and shows it
  swarm --seed N    plays one of them again
  swarm --speed     how many virtual seconds the simulator plays in a real one
  swarm --mutants   builds itself with bugs that can be switched on, and has such runs find each of them;
                    NAMES: some of them only, separated by commas, a pair with a + between";

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
enum XtaskError {
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error("a property of a model does not hold")]
    Model,
    #[error(transparent)]
    Swarm(#[from] swarm::SwarmError),
    #[error(transparent)]
    Mutants(#[from] mutants::MutantsError),
}

fn main() -> ExitCode {
    // Nothing unless it is asked for: what simulated nodes log is the same for every run.
    let mut logger = env_logger::Builder::new();
    logger.filter_level(log::LevelFilter::Off).parse_default_env().format_timestamp(None).init();
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome: Option<Result<(), XtaskError>> = match words.as_slice() {
        ["bench", what] => bench(what, Extent::Full).map(|done| Ok(done?)),
        ["bench", what, "--quick"] => bench(what, Extent::Quick).map(|done| Ok(done?)),
        ["model"] => Some(explored(Rules::default(), Bound::Default)),
        ["model", "--full"] => Some(explored(Rules::default(), Bound::Full)),
        #[cfg(tanodb_mutants)]
        ["model", "--mutant", names] => {
            names.parse().ok().map(|rules| explored(rules, Bound::Default))
        }
        ["swarm", "--seeds", count] => count.parse().ok().map(|count| Ok(swarm::many(count)?)),
        ["swarm", "--speed"] => Some(swarm::speed().map_err(Into::into)),
        ["swarm", "--seed", seed] => seed.parse().ok().map(|seed| Ok(swarm::one(seed)?)),
        ["swarm", "--mutants"] => Some(mutants::build_and_hunt("").map_err(Into::into)),
        ["swarm", "--mutants", names] => Some(mutants::build_and_hunt(names).map_err(Into::into)),
        #[cfg(tanodb_mutants)]
        [mutants::HUNT, names, decisions, stories] => {
            let programs = mutants::hunt::Programs::at(decisions, stories);
            Some(mutants::hunt::all(names, &programs).map_err(Into::into))
        }
        [ideal::RECEIVER, address] => {
            Some(ideal::receive(address).map_err(|error| XtaskError::Bench(error.into())))
        }
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            Some(Ok(()))
        }
        _ => None,
    };
    match outcome {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn explored(rules: Rules, bound: Bound) -> Result<(), XtaskError> {
    if model::run(rules, bound) { Ok(()) } else { Err(XtaskError::Model) }
}

/// `None`: there is no such measurement.
fn bench(what: &str, extent: Extent) -> Option<Result<(), BenchError>> {
    let system = actix_rt::System::new();
    match what {
        "handoff" => Some(system.block_on(bench::handoff(extent))),
        "empty" => Some(system.block_on(bench::empty(extent))),
        _ => None,
    }
}
