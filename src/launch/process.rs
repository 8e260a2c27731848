//! Processes that others started: whether one still runs, and how to tell it to stop.
//!
//! A process id is used again after its process has ended. Where the system tells when a process began
//! (`/proc`), that is compared too; elsewhere the id alone must do.

use std::io;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process and, where it is known, when it began in ticks since the machine's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number.
    pub pid: u32,
    /// Tells two processes of one number apart.
    pub began: Option<u64>,
}

impl ProcessId {
    /// The process that has this number now.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self { pid, began: stat(pid).map(|stat| stat.began) }
    }

    /// Whether exactly this process still runs. One that has ended but was not waited for does not.
    #[must_use]
    pub fn is_running(self) -> bool {
        match (stat(self.pid), self.began) {
            (Some(stat), Some(began)) => stat.began == began && !stat.has_ended,
            (Some(stat), None) => !stat.has_ended,
            (None, Some(_)) => false,
            (None, None) => self.number().is_some_and(|pid| test_kill_process(pid).is_ok()),
        }
    }

    /// Tells it to stop in order (SIGTERM). One that has ended already needs nothing.
    ///
    /// # Errors
    ///
    /// The system does not let us; the process goes on.
    pub fn terminate(self) -> io::Result<()> {
        match self.number() {
            Some(pid) if self.is_running() => Ok(kill_process(pid, Signal::TERM)?),
            Some(_) | None => Ok(()),
        }
    }

    fn number(self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

/// What `/proc` says of a process.
struct Stat {
    began: u64,
    has_ended: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields behind the program's name, which is in brackets and may contain anything.
fn parse(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // Field 22 of the line; the state is field 3.
    let began = fields.nth(18)?.parse().ok()?;
    Some(Stat { began, has_ended: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_beginning() {
        let myself = ProcessId::of(std::process::id());
        assert!(myself.is_running());
        if let Some(began) = myself.began {
            let stranger = ProcessId { began: Some(began + 1), ..myself };
            assert!(!stranger.is_running(), "another process has the number now");
            stranger.terminate().unwrap();
        }
    }

    #[test]
    fn a_process_that_ended_does_not_run_even_if_nobody_waited_for_it() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = ProcessId::of(child.id());
        assert!(process.is_running());
        process.terminate().unwrap();
        child.wait().unwrap();
        assert!(!process.is_running());
    }

    #[test]
    fn a_name_full_of_brackets_does_not_shift_the_fields() {
        let fields = "R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse(&format!("77 (a ) b)) {fields}")).unwrap().began, 4242);
        assert!(parse(&format!("77 (cat) {}", fields.replacen('R', "Z", 1))).unwrap().has_ended);
        assert!(parse("nonsense").is_none());
    }
}
