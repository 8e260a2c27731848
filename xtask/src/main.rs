//! Long-running programs for developers of TanoDB: `cargo xtask bench handoff`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a terminal")]

mod bench;

use std::env;
use std::process::ExitCode;

use bench::{BenchError, Extent, ideal};

const USAGE: &str = "\
usage: cargo xtask bench handoff|empty [--quick]

  bench handoff   how fast partitions move, beside the fastest stream of the same entries
  bench empty     how fast partitions move that hold nothing; part of `bench handoff`
    --quick       a tenth of the entries, one run instead of three";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["bench", what] => bench(what, Extent::Full),
        ["bench", what, "--quick"] => bench(what, Extent::Quick),
        [ideal::RECEIVER, address] => Some(ideal::receive(address).map_err(Into::into)),
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

/// `None`: there is no such measurement.
fn bench(what: &str, extent: Extent) -> Option<Result<(), BenchError>> {
    let system = actix_rt::System::new();
    match what {
        "handoff" => Some(system.block_on(bench::handoff(extent))),
        "empty" => Some(system.block_on(bench::empty(extent))),
        _ => None,
    }
}
