//! Which seeds a story runs on, and what is said when one of them fails.
//!
//! Owns: the one environment variable of the simulator, `TANODB_SEED`. It holds a number (`17`) or a range
//! (`0..300`, its end not included); without it a story runs on the first seeds, as many as it asks for.
//! What a story does with its seed is its own business.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::str::FromStr;

/// The environment variable that chooses the seeds. Nothing else reads it.
pub const SEED_VARIABLE: &str = "TANODB_SEED";

/// Seeds, as the environment variable writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seeds(Range<u64>);

/// A text that chooses no seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{SEED_VARIABLE} is '{0}', neither a number nor a range like 0..300")]
struct NoSeeds(String);

impl FromStr for Seeds {
    type Err = NoSeeds;

    fn from_str(text: &str) -> Result<Self, NoSeeds> {
        let refused = || NoSeeds(text.to_owned());
        let number = |part: &str| part.trim().parse::<u64>().map_err(|_not_one| refused());
        let range = match text.split_once("..") {
            Some((first, end)) => number(first)?..number(end)?,
            // The last number of all has no successor to end before.
            None => number(text)?..number(text)?.checked_add(1).ok_or_else(refused)?,
        };
        // A run over no seed would pass without having shown anything.
        if range.is_empty() { Err(refused()) } else { Ok(Self(range)) }
    }
}

/// The seeds to run a story on: those of [`SEED_VARIABLE`], or else the first `count`.
///
/// # Panics
///
/// If the variable is set and chooses no seed: a test that ran on others would prove nothing.
pub fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let Seeds(chosen) = match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|wrong: NoSeeds| panic!("{wrong}")),
        Err(std::env::VarError::NotPresent) => Seeds(0..count),
        Err(std::env::VarError::NotUnicode(text)) => {
            panic!("{}", NoSeeds(text.to_string_lossy().into_owned()))
        }
    };
    chosen
}

/// The command that runs a story again on one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay<'a> {
    /// The package of the test, with what its build needs: `tanodb-actors --features sim`.
    pub package: &'a str,
    /// The name of the test, or enough of it.
    pub story: &'a str,
    /// The seed.
    pub seed: u64,
}

impl fmt::Display for Replay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, story, seed } = self;
        write!(f, "{SEED_VARIABLE}={seed} cargo test -p {package} {story}")
    }
}

/// Runs a story on each of its [`seeds`]. Where one panics, seed and [`Replay`] are printed, and the panic
/// goes on.
///
/// # Panics
///
/// As the story does, and as [`seeds`].
pub fn for_each_seed(package: &str, story: &str, count: u64, run: impl FnMut(u64)) {
    if let Err((replay, panic)) = run_all(package, story, seeds(count), run) {
        report(&replay.to_string());
        resume_unwind(panic);
    }
}

#[expect(clippy::print_stderr, reason = "beside the panic's own message, where the reader looks")]
fn report(replay: &str) {
    eprintln!("\nseed failed; run it again with\n    {replay}");
}

type Panic = Box<dyn Any + Send>;

fn run_all<'a>(
    package: &'a str,
    story: &'a str,
    seeds: impl Iterator<Item = u64>,
    mut run: impl FnMut(u64),
) -> Result<(), (Replay<'a>, Panic)> {
    for seed in seeds {
        // The closure is not called again after a panic, so nobody sees what it left half done.
        catch_unwind(AssertUnwindSafe(|| run(seed)))
            .map_err(|panic| (Replay { package, story, seed }, panic))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_holds_a_number_or_a_range() {
        for (text, range) in [("17", 17..18), (" 0..300 ", 0..300), ("5..6", 5..6), ("0", 0..1)] {
            assert_eq!(text.parse(), Ok(Seeds(range)), "{text}");
        }
    }

    #[test]
    fn what_would_run_no_seed_is_refused_by_its_text() {
        for text in
            ["", "all", "3..3", "9..2", "1..", "..4", "-1", "1..2..3", &u64::MAX.to_string()]
        {
            let refused = text.parse::<Seeds>().unwrap_err().to_string();
            assert!(refused.contains(&format!("'{text}'")), "{refused}");
        }
    }

    #[test]
    fn a_panic_ends_the_story_with_the_command_to_run_its_seed_again() {
        let mut ran = Vec::new();
        let (replay, panic) = run_all("tanodb", "a_story", 3..9, |seed| {
            ran.push(seed);
            assert_ne!(seed, 5, "unlucky");
        })
        .unwrap_err();
        assert_eq!(ran, [3, 4, 5]);
        assert_eq!(replay.to_string(), "TANODB_SEED=5 cargo test -p tanodb a_story");
        assert!(panic.downcast::<String>().unwrap().contains("unlucky"));
    }

    #[test]
    fn a_story_without_a_panic_runs_on_every_seed() {
        let mut ran = Vec::new();
        run_all("tanodb", "a_story", 0..4, |seed| ran.push(seed)).unwrap();
        assert_eq!(ran, [0, 1, 2, 3]);
    }
}
