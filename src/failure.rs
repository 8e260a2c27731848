//! How a command fails: one line of reason, one line of what to do next, and an exit code.

use std::fmt;
use std::io::{self, Write};

use tanodb_actors::wire::admin::{AdminRefusal, Effect};

use crate::config::ConfigError;
use crate::launch::wait::TimedOut;
use crate::output::plain;

/// What a failed command left behind, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Refused or failed; nothing changed.
    Failed = 1,
    /// The command line or a setting is wrong; nothing was tried.
    Usage = 2,
    /// It may have been carried out: the answer was lost.
    Unknown = 3,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, with the values needed to act.
    pub reason: String,
    /// What was seen, a line each.
    pub details: Vec<String>,
    /// What to do.
    pub next: String,
    /// What became of the request.
    pub exit: Exit,
}

impl Failure {
    /// Nothing changed.
    #[must_use]
    pub fn failed(reason: impl Into<String>, next: impl Into<String>) -> Self {
        let (reason, next) = (reason.into(), next.into());
        Self { reason, details: Vec::new(), next, exit: Exit::Failed }
    }

    /// The request itself is wrong.
    #[must_use]
    pub fn usage(reason: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::failed(reason, next) }
    }

    /// It may have been carried out.
    #[must_use]
    pub fn unknown(reason: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit: Exit::Unknown, ..Self::failed(reason, next) }
    }

    /// The same failure of a request that only reads: whatever became of it, nothing changed.
    #[must_use]
    pub fn of_a_read(self) -> Self {
        let exit = match self.exit {
            Exit::Unknown => Exit::Failed,
            exit @ (Exit::Failed | Exit::Usage) => exit,
        };
        Self { exit, ..self }
    }

    /// The same failure with what was seen.
    #[must_use]
    pub fn with(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// Writes reason, details and what is next, each on a line of its own.
    ///
    /// # Errors
    ///
    /// Whatever the writer says.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "error: {}", plain(&self.reason))?;
        for detail in &self.details {
            writeln!(out, "  {}", plain(detail))?;
        }
        writeln!(out, "next: {}", plain(&self.next))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

impl From<AdminRefusal> for Failure {
    fn from(refusal: AdminRefusal) -> Self {
        let exit = match refusal.effect {
            Effect::Nothing => Exit::Failed,
            Effect::Unknown => Exit::Unknown,
        };
        Self { exit, ..Self::failed(refusal.reason, refusal.hint) }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string(), error.hint())
    }
}

impl From<TimedOut> for Failure {
    fn from(error: TimedOut) -> Self {
        Self::failed(error.to_string(), "see the logs of the nodes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_of_reason_and_one_of_what_is_next() {
        let failure = Failure::unknown("the answer\nwas lost", "look before you repeat it");
        let mut text = Vec::new();
        failure.write(&mut text).unwrap();
        assert_eq!(text, b"error: the answer\\nwas lost\nnext: look before you repeat it\n");
    }

    #[test]
    fn a_read_whose_answer_was_lost_changed_nothing() {
        assert_eq!(Failure::unknown("r", "n").of_a_read().exit, Exit::Failed);
        assert_eq!(Failure::usage("r", "n").of_a_read().exit, Exit::Usage);
    }

    #[test]
    fn a_refusal_keeps_what_became_of_the_request() {
        let refusal = |effect| AdminRefusal { reason: "r".into(), hint: "h".into(), effect };
        assert_eq!(Failure::from(refusal(Effect::Nothing)).exit, Exit::Failed);
        assert_eq!(Failure::from(refusal(Effect::Unknown)).exit, Exit::Unknown);
    }
}
