//! Starts `tanodb node` as a process of its own, and tells when it is ready, or how it ended.
//!
//! Used by the development nodes, which go on when their starter has ended, and by the demo, whose nodes
//! end with it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tanodb_actors::protocol::id::NodeName;

use crate::config::address::HostPort;
use crate::config::setting::{self, SECTION, Setting, VARIABLE_PREFIX};

pub mod process;
pub mod wait;

/// What a node prints on standard output, with its address behind it, as soon as it serves.
pub const READY: &str = "listening on ";

/// Most of a log's end that is ever looked at, in bytes.
const TAIL_BYTES: u64 = 64 * 1024;

/// How long the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until somebody stops it.
    ByItself,
    /// At most as long as the starter: its standard input closes when the starter ends, however it ends.
    WithStarter,
}

/// A node to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The `tanodb` program.
    pub program: PathBuf,
    /// The node's name.
    pub name: NodeName,
    /// Where it listens. Port 0: a free one.
    pub listen: HostPort,
    /// Where it keeps its files.
    pub data_dir: PathBuf,
    /// Where its output goes, appended.
    pub log: PathBuf,
    /// Further settings.
    pub settings: Vec<(&'static Setting, String)>,
    /// How long it lives.
    pub life: Life,
}

impl Launch {
    /// Starts the process in a group of its own, so that Ctrl-C reaches the starter only.
    ///
    /// # Errors
    ///
    /// The log cannot be written or the program not be started. No process is left behind.
    pub fn start(&self) -> io::Result<Started> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let log_start = log.metadata()?.len();
        let mut command = Command::new(&self.program);
        command.args(self.arguments()).stdout(log.try_clone()?).stderr(log).process_group(0);
        // One address cannot be that of several nodes, so it is not inherited.
        command.env_remove(setting::ADVERTISE.variable());
        match self.life {
            Life::ByItself => command.stdin(Stdio::null()),
            Life::WithStarter => without_settings(command.stdin(Stdio::piped())),
        };
        let child = command.spawn()?;
        Ok(Started { name: self.name.clone(), child, log: self.log.clone(), log_start })
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![OsString::from("node")];
        let mut value = |setting: &Setting, text: OsString| {
            arguments.extend([format!("--{}", setting.flag()).into(), text]);
        };
        value(&setting::NAME, self.name.as_str().into());
        value(&setting::LISTEN, self.listen.to_string().into());
        value(&setting::DATA_DIR, self.data_dir.clone().into());
        for (setting, text) in &self.settings {
            value(setting, text.into());
        }
        match self.life {
            Life::ByItself => {}
            Life::WithStarter => {
                arguments.push(format!("--{}", setting::STDIN_GUARD.flag()).into());
            }
        }
        arguments
    }
}

/// The environment of a demo is always the same one.
fn without_settings(command: &mut Command) -> &mut Command {
    let section = format!("{VARIABLE_PREFIX}{SECTION}__").to_ascii_uppercase();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(&section) {
            command.env_remove(name);
        }
    }
    command
}

/// A node's process.
#[derive(Debug)]
pub struct Started {
    name: NodeName,
    child: Child,
    log: PathBuf,
    log_start: u64,
}

impl Started {
    /// The node.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Where the node listens, once it has said so.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn address(&self) -> io::Result<Option<HostPort>> {
        let text = read_from(&self.log, self.log_start)?;
        // The last line may not be whole yet.
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let said = whole.lines().find_map(|line| line.strip_prefix(READY));
        Ok(said.and_then(|address| address.trim().parse().ok()))
    }

    /// How the process ended, if it has.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Closes the standard input of a process that lives with its starter: it begins to stop.
    pub fn let_go(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Ends the process at once, and waits until it has.
    ///
    /// # Errors
    ///
    /// The system does not let us.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

/// The last `count` lines of a log.
///
/// # Errors
///
/// It cannot be read.
pub fn last_lines(log: &Path, count: usize) -> io::Result<Vec<String>> {
    let length = std::fs::metadata(log)?.len();
    let text = read_from(log, length.saturating_sub(TAIL_BYTES))?;
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(count);
    Ok(lines.into_iter().skip(first).map(str::to_owned).collect())
}

/// At most [`TAIL_BYTES`] from `start` on.
fn read_from(log: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
pub(crate) mod tests;
