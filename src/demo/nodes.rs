//! The demo's node processes: started, watched, stopped. None outlives the demo.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tanodb_actors::protocol::id::NodeName;

use super::Options;
use crate::config::address::HostPort;
use crate::config::setting;
use crate::failure::Failure;
use crate::launch::wait::{Seen, TimedOut, wait_for};
use crate::launch::{Launch, Life, Started, last_lines};

/// How long a node may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How long a node may take to stop in order.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// A connection may break a moment before its process counts as ended.
const END_SHOWS_WITHIN: Duration = Duration::from_millis(500);

/// Lines of its log that a node is quoted with.
const LAST_WORDS: usize = 2;

/// All processes, in the order of their start.
#[derive(Debug)]
pub(super) struct Nodes {
    program: PathBuf,
    folder: PathBuf,
    started: Vec<Started>,
}

impl Nodes {
    pub(super) fn new(program: PathBuf, folder: &Path) -> Self {
        Self { program, folder: folder.to_owned(), started: Vec::new() }
    }

    /// Starts nodes until there are `count`, waits until the new ones serve, and gives back where.
    pub(super) async fn start_up_to(
        &mut self,
        count: u8,
        options: &Options,
    ) -> Result<Vec<(NodeName, HostPort)>, Failure> {
        let first_new = self.started.len();
        while self.started.len() < usize::from(count) {
            let node = self.start_one(options)?;
            self.started.push(node);
        }
        wait_for("every started node listens", READY_WITHIN, async || {
            self.all_run()?;
            let mut addresses = Vec::new();
            for node in self.started.iter().skip(first_new) {
                match node.address().map_err(|error| unreadable(node.log(), &error))? {
                    Some(address) => addresses.push((node.name().clone(), address)),
                    None => return Ok(Seen::NotYet(format!("'{}' does not yet", node.name()))),
                }
            }
            Ok(Seen::Yes(addresses))
        })
        .await
    }

    fn start_one(&self, options: &Options) -> Result<Started, Failure> {
        let number = self.started.len() + 1;
        let next = "make sure that the folder for temporary files can be written";
        let name = NodeName::new(&format!("tanodb{number}@127.0.0.1"))
            .map_err(|error| Failure::failed(error.to_string(), "use fewer nodes"))?;
        let launch = Launch {
            program: self.program.clone(),
            listen: HostPort::loopback(0),
            data_dir: self.folder.join(name.as_str()),
            log: self.folder.join(format!("{name}.log")),
            settings: vec![(&setting::RING_SIZE, options.ring_size.to_string())],
            life: Life::WithStarter,
            name,
        };
        launch.start().map_err(|error| {
            Failure::failed(format!("'{}' cannot be started: {error}", launch.name), next)
        })
    }

    /// Fails as soon as a process has ended.
    pub(super) fn all_run(&mut self) -> Result<(), Failure> {
        match self.dead().into_iter().next() {
            None => Ok(()),
            Some((name, how)) => Err(Failure::failed(format!("'{name}' ended: {how}"), "")),
        }
    }

    /// Nodes whose process has ended, and how.
    pub(super) fn dead(&mut self) -> Vec<(NodeName, String)> {
        let how = |node: &mut Started| match node.ended() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("pid {}, {status}", node.pid())),
            Err(error) => Some(format!("pid {}, {error}", node.pid())),
        };
        let one = |node: &mut Started| Some((node.name().clone(), how(node)?));
        self.started.iter_mut().filter_map(one).collect()
    }

    /// The same, after a moment in which an end that has begun shows.
    pub(super) async fn dead_by_now(&mut self) -> Vec<(NodeName, String)> {
        let shown = wait_for("a process has ended", END_SHOWS_WITHIN, async || {
            let dead = self.dead();
            Ok::<_, TimedOut>(if dead.is_empty() {
                Seen::NotYet(String::new())
            } else {
                Seen::Yes(dead)
            })
        });
        shown.await.unwrap_or_default()
    }

    /// What each node said last, a line for each.
    pub(super) fn last_words(&mut self) -> Vec<String> {
        let one = |node: &mut Started| {
            let state = match node.ended() {
                Ok(None) => "runs".to_owned(),
                Ok(Some(status)) => status.to_string(),
                Err(error) => error.to_string(),
            };
            let words = last_lines(node.log(), LAST_WORDS).unwrap_or_default().join(" | ");
            format!("'{}' (pid {}, {state}) said last: {words}", node.name(), node.pid())
        };
        self.started.iter_mut().map(one).collect()
    }

    /// Lets all nodes stop in order; what does not in time is killed, and named.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
        for node in &mut self.started {
            node.let_go();
        }
        let started = &mut self.started;
        let stopped = wait_for("every node has stopped", STOPPED_WITHIN, async || {
            let runs = |node: &mut Started| matches!(node.ended(), Ok(None));
            let left =
                started.iter_mut().filter_map(|node| runs(node).then(|| node.name().clone()));
            let left: Vec<_> = left.map(|name| format!("'{name}'")).collect();
            Ok::<_, TimedOut>(if left.is_empty() {
                Seen::Yes(())
            } else {
                Seen::NotYet(format!("{} still run", left.join(", ")))
            })
        });
        let stopped = stopped.await;
        if stopped.is_err() {
            for node in &mut self.started {
                // One that has ended meanwhile cannot be killed, and need not be.
                node.kill().ok();
            }
        }
        stopped.map_err(Failure::from)
    }
}

fn unreadable(log: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", log.display()), "make the log readable")
}
