//! Runs a test of `tanodb-actors` twice: as it is shipped it must pass, and with a rule broken it must fail.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tanodb_actors::broken::VARIABLE;
use tanodb_actors::sim::harness::SEED_VARIABLE;

use super::beyond::{Program, Test};

/// A test that takes longer hangs, and says nothing.
const TEST_MAX: Duration = Duration::from_secs(120);

/// The seeds of a story. One that needs more to notice a mutant notices it too seldom.
const STORY_SEEDS: &str = "0..5";

/// How often a test that runs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The programs with the tests, built with mutants.
pub struct Programs {
    decisions: PathBuf,
    stories: PathBuf,
}

/// What a test said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Passed,
    Failed,
    /// There is no such test, or it hangs, or its program cannot be run.
    Nothing,
}

impl Programs {
    /// Those of these names.
    pub fn at(decisions: &str, stories: &str) -> Self {
        Self { decisions: decisions.into(), stories: stories.into() }
    }

    /// Whether a test passes, and fails with these mutants.
    pub fn notice(&self, test: Test, mutants: &str) -> bool {
        self.run(test, None) == Said::Passed && self.run(test, Some(mutants)) == Said::Failed
    }

    fn run(&self, test: Test, mutants: Option<&str>) -> Said {
        let program = match test.program {
            Program::Decisions => &self.decisions,
            Program::Stories => &self.stories,
        };
        run(program, test.name, mutants).unwrap_or(Said::Nothing)
    }
}

fn run(program: &Path, test: &str, mutants: Option<&str>) -> std::io::Result<Said> {
    let mut command = Command::new(program);
    command.args(["--exact", test, "--test-threads", "1"]).env_remove(VARIABLE);
    command.env(SEED_VARIABLE, STORY_SEEDS).envs(mutants.map(|mutants| (VARIABLE, mutants)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Its exit code says which; without this line a test that does not exist passes.
    if !exists(program, test)? {
        return Ok(Said::Nothing);
    }
    let mut child = command.spawn()?;
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(match status.code() {
                Some(0) => Said::Passed,
                Some(101) => Said::Failed,
                Some(_) | None => Said::Nothing,
            });
        }
        if began.elapsed() > TEST_MAX {
            child.kill()?;
            child.wait()?;
            return Ok(Said::Nothing);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn exists(program: &Path, test: &str) -> std::io::Result<bool> {
    let listed = Command::new(program).args(["--exact", test, "--list"]).output()?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().any(|line| line == format!("{test}: test")))
}
