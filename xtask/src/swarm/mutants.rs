//! `cargo xtask swarm --mutants`: whether random runs notice what is broken on purpose.
//!
//! The bugs exist only in a build with `--cfg tanodb_mutants`. This program builds itself so, into a target
//! folder of its own, and starts that program, which hunts (`hunt`). What runs do not notice, and a model or
//! a test does, stands in `beyond`.

#[cfg(any(test, tanodb_mutants))]
mod beyond;
#[cfg(tanodb_mutants)]
pub mod hunt;
#[cfg(tanodb_mutants)]
mod trial;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde_json::Value;

/// The first word of the command that the other build takes; the mutants' names follow, or an empty word, and
/// the programs with the tests.
pub const HUNT: &str = "hunt-mutants";

/// Optimised enough to play many runs, and built in half the time of a release.
const PROFILE: &str = "mutants";

/// Tests are started once or twice each: what is built soonest is over soonest.
const PROFILE_OF_TESTS: &str = "dev";

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
    /// Cargo did not say where a program is that it has built.
    #[error("cargo names no program '{0}'")]
    NotFound(String),
    /// The hunt has said what it did not find.
    #[error("the hunt for mutants failed: {0}")]
    Failed(ExitStatus),
    /// There is no such mutant.
    #[cfg(tanodb_mutants)]
    #[error(transparent)]
    Unknown(#[from] tanodb_actors::protocol::mutant::UnknownMutant),
    /// Some mutants were not caught.
    #[cfg(tanodb_mutants)]
    #[error("nothing catches {0}")]
    Missed(String),
    /// No run that shows one was made small.
    #[cfg(tanodb_mutants)]
    #[error("no run that shows a mutant was made small enough to be read")]
    NoneSmall,
    /// Too few were caught by runs to say that those see what is broken.
    #[cfg(tanodb_mutants)]
    #[error("runs and models caught {caught} single mutants, {wanted} at least they must")]
    TooFew {
        /// How many were.
        caught: usize,
        /// How many must be.
        wanted: usize,
    },
}

/// Builds this program and the tests of the protocol with mutants, and hunts those of the given names, all if
/// there are none.
pub fn build_and_hunt(names: &str) -> Result<(), MutantsError> {
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let folder = folder.join("mutants");
    let built = build(&folder, PROFILE, &["build", "--package", "xtask"])?;
    let program = executable(&built, "xtask")?;
    let tests = ["test", "--no-run", "--package", "tanodb-actors", "--features", "sim"];
    let tests = [&tests[..], &["--lib", "--test", "sim"]].concat();
    let built = build(&folder, PROFILE_OF_TESTS, &tests)?;
    let (decisions, stories) = (executable(&built, "tanodb_actors")?, executable(&built, "sim")?);
    let mut hunt = Command::new(&program);
    // What nodes say of what is broken on purpose is no news.
    hunt.args([HUNT, names, &decisions, &stories]).env("RUST_LOG", "off");
    let hunted = hunt.status().map_err(|source| MutantsError::NotStarted { program, source })?;
    if hunted.success() { Ok(()) } else { Err(MutantsError::Failed(hunted)) }
}

/// What cargo tells of what it builds with mutants, a JSON object a line.
fn build(folder: &Path, profile: &str, what: &[&str]) -> Result<String, MutantsError> {
    let cargo = env::var("CARGO").unwrap_or_else(|_not_set| "cargo".to_owned());
    let mut build = Command::new(&cargo);
    build.args(what).args(["--quiet", "--message-format", "json-render-diagnostics"]);
    build.args(["--profile", profile, "--target-dir"]).arg(folder);
    build.env("RUSTFLAGS", "--cfg tanodb_mutants").stderr(Stdio::inherit());
    let not_started = |source| MutantsError::NotStarted { program: cargo.clone(), source };
    let built = build.output().map_err(not_started)?;
    if built.status.success() {
        Ok(String::from_utf8_lossy(&built.stdout).into_owned())
    } else {
        Err(MutantsError::NotBuilt(built.status))
    }
}

/// The program of this name that was built.
fn executable(built: &str, name: &str) -> Result<String, MutantsError> {
    let told = built.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_it = |told: &Value| told.pointer("/target/name").and_then(Value::as_str) == Some(name);
    let path = |told: Value| told.get("executable").and_then(Value::as_str).map(str::to_owned);
    told.filter(is_it).find_map(path).ok_or_else(|| MutantsError::NotFound(name.to_owned()))
}
