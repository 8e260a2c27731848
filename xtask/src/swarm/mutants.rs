//! `cargo xtask swarm --mutants`: whether random runs notice what is broken on purpose.
//!
//! The bugs exist only in a build with `--cfg tanodb_mutants`. This program builds itself so, into a target
//! folder of its own, and starts that program, which hunts (`hunt`). What runs need not notice, because
//! something else does, stands in `beyond`.

#[cfg(any(test, tanodb_mutants))]
mod beyond;
#[cfg(tanodb_mutants)]
pub mod hunt;

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

/// The first word of the command that the other build takes; the mutants' names follow, or an empty word.
pub const HUNT: &str = "hunt-mutants";

/// Optimised enough to run, and built in half the time of a release.
const PROFILE: &str = "mutants";

/// Why a hunt ends as a failure.
#[derive(Debug, thiserror::Error)]
pub enum MutantsError {
    /// A program could not be started.
    #[error("'{program}' cannot be started: {source}")]
    NotStarted {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The program with mutants could not be built; the compiler has said why.
    #[error("the program with mutants is not built: {0}")]
    NotBuilt(ExitStatus),
    /// The hunt has said what it did not find.
    #[error("the hunt for mutants failed: {0}")]
    Failed(ExitStatus),
    /// There is no such mutant.
    #[cfg(tanodb_mutants)]
    #[error(transparent)]
    Unknown(#[from] tanodb_actors::protocol::mutant::UnknownMutant),
    /// Some mutants were not caught that must be.
    #[cfg(tanodb_mutants)]
    #[error("nothing catches {0}")]
    Missed(String),
    /// Too few were caught to say that the runs see what is broken.
    #[cfg(tanodb_mutants)]
    #[error("{caught} mutants were caught, {wanted} at least must be")]
    TooFew {
        /// How many were.
        caught: usize,
        /// How many must be.
        wanted: usize,
    },
}

/// Builds this program with mutants and has it hunt those of the given names, all if there are none.
pub fn build_and_hunt(names: &str) -> Result<(), MutantsError> {
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = folder.join("mutants");
    let cargo = env::var("CARGO").unwrap_or_else(|_not_set| "cargo".to_owned());
    let mut build = Command::new(&cargo);
    build.args(["build", "--quiet", "--package", "xtask", "--profile", PROFILE, "--target-dir"]);
    build.arg(&folder).env("RUSTFLAGS", "--cfg tanodb_mutants");
    let built = run(&mut build, cargo)?;
    if !built.success() {
        return Err(MutantsError::NotBuilt(built));
    }
    let program = folder.join(PROFILE).join("xtask");
    let mut hunt = Command::new(&program);
    // What nodes say of what is broken on purpose is no news.
    hunt.args([HUNT, names]).env("RUST_LOG", "off");
    let hunted = run(&mut hunt, program.display().to_string())?;
    if hunted.success() { Ok(()) } else { Err(MutantsError::Failed(hunted)) }
}

fn run(command: &mut Command, program: String) -> Result<ExitStatus, MutantsError> {
    command.status().map_err(|source| MutantsError::NotStarted { program, source })
}
