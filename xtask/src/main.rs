//! Long-running programs for developers of TanoDB: `cargo xtask bench handoff`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a terminal")]

mod bench;

use std::env;
use std::process::ExitCode;

use bench::{Extent, ideal};

const USAGE: &str = "\
usage: cargo xtask bench handoff [--quick]

  bench handoff   how fast partitions move, beside the fastest stream of the same entries
    --quick       a tenth of the entries, one run instead of three";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["bench", "handoff"] => bench::handoff(Extent::Full),
        ["bench", "handoff", "--quick"] => bench::handoff(Extent::Quick),
        [ideal::RECEIVER, address] => ideal::receive(address).map_err(Into::into),
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
