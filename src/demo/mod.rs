//! The tutorial's chapter on handoff with real processes: one node is filled, others join, partitions
//! move while everybody watches, and nothing is lost.
//!
//! Starts `tanodb node` processes and talks to them as any client does; it decides nothing about the
//! cluster. Every wait has a name and a deadline. It succeeds only if all that it shows has held, and
//! leaves neither a process nor a file behind; after a failure it names the folder with the logs.

use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use tanodb_actors::protocol::hash::RingSize;
use tanodb_actors::protocol::id::NodeName;
use tanodb_actors::wire::admin::PartitionTable;

use crate::contact::Connect;
use crate::failure::{Exit, Failure};
use crate::output::numbers::{counted, duration};

mod checks;
mod members;
mod nodes;
mod screen;
mod story;

use checks::{Entry, Loss, loss};
use members::Members;
use nodes::Nodes;
use screen::Screen;

/// How long the demo waits for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Nodes of the cluster, 2 to 16.
    pub nodes: u8,
    /// Partitions of the ring.
    pub ring_size: RingSize,
    /// Buckets to fill.
    pub buckets: u16,
    /// Keys in each bucket.
    pub keys: u16,
}

impl Options {
    fn entries(&self) -> impl Iterator<Item = Entry> {
        Entry::all(self.buckets, self.keys)
    }
}

/// Shows everything, and cleans up.
///
/// # Errors
///
/// Something did not hold or a node ended: says what, what is lost, and what each node said last.
pub async fn run<C: Connect>(
    network: &C,
    program: PathBuf,
    options: Options,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let began = Instant::now();
    let folder = tempfile::Builder::new().prefix("tanodb-demo-").tempdir().map_err(|error| {
        Failure::failed(format!("no folder for the demo: {error}"), "make room for temporary files")
    })?;
    let nodes = Nodes::new(program, folder.path());
    let members = Members::new(network);
    let mut demo = Demo { options, nodes, members, screen: Screen::new(out), last_seen: None };
    match demo.until_done_or_interrupted().await {
        Ok(()) => {
            let took = duration(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            demo.screen.print(&format!("\nAll of it held. Done in {took}.\n"))
        }
        Err(End::Interrupted) => {
            demo.nodes.stop().await?;
            Err(Failure::failed("interrupted; the nodes are stopped", "run it again"))
        }
        Err(End::Failed(failure)) => {
            let failure = demo.explained(failure).await;
            // The failure that matters is the first one.
            demo.nodes.stop().await.ok();
            let kept = folder.keep();
            Err(Failure { next: format!("read the logs in {}", kept.display()), ..failure })
        }
    }
}

struct Demo<'a, C: Connect> {
    options: Options,
    nodes: Nodes,
    members: Members<'a, C>,
    screen: Screen<'a>,
    /// The last report of what every node held, and when it came.
    last_seen: Option<(PartitionTable, Instant)>,
}

/// Why the story was not told to its end.
enum End {
    /// Ctrl-C.
    Interrupted,
    /// Something did not hold.
    Failed(Failure),
}

impl<C: Connect> Demo<'_, C> {
    async fn until_done_or_interrupted(&mut self) -> Result<(), End> {
        let told = {
            let interrupted = pin!(actix_rt::signal::ctrl_c());
            let story = pin!(self.story());
            match select(story, interrupted).await {
                Either::Left((told, _)) => told.map_err(End::Failed),
                Either::Right(_) => Err(End::Interrupted),
            }
        };
        self.screen.end_progress();
        told?;
        self.nodes.stop().await.map_err(End::Failed)
    }

    /// The failure with who ended, what is lost and why, and what each node said last.
    async fn explained(&mut self, failure: Failure) -> Failure {
        let dead = self.nodes.dead_by_now().await;
        let mut details = failure.details.clone();
        let mut reason = failure.reason.clone();
        if let Some((name, how)) = dead.first() {
            reason = format!("'{name}' ended in the middle of the demo ({how})");
            if !failure.reason.contains(&format!("'{name}' ended")) {
                details.push(format!("noticed by this: {}", failure.reason));
            }
            let names: Vec<_> = dead.into_iter().map(|(name, _)| name).collect();
            details.extend(self.loss(&names).await);
        }
        details.extend(self.nodes.last_words());
        // Whatever it was, all that the demo had made is gone.
        Failure { reason, exit: Exit::Failed, ..failure }.with(details)
    }

    /// What went with the dead nodes.
    async fn loss(&mut self, dead: &[NodeName]) -> Vec<String> {
        let Some((last, seen)) = self.last_seen.take() else {
            return vec!["no node had said what it holds, so nobody knows what is lost".to_owned()];
        };
        let age = duration(u64::try_from(seen.elapsed().as_millis()).unwrap_or(u64::MAX));
        let now = self.members.partitions_of_the_living(dead).await;
        let Loss { partitions, objects, keys_lost, keys_thinned } =
            loss(&last, &now, dead, self.options.entries(), self.options.ring_size);
        if partitions == 0 {
            return vec![format!("it held no partition {age} before this, so nothing is lost")];
        }
        let partitions = counted(u64::try_from(partitions).unwrap_or(u64::MAX), "partition");
        let objects = counted(objects, "object");
        vec![
            format!("lost with it: {partitions} with {objects}, as reported {age} before this"),
            format!("keys that have no replica left: {keys_lost}; that have fewer: {keys_thinned}"),
            "why: these nodes keep their data in memory, so what only they held went with them"
                .to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests;
