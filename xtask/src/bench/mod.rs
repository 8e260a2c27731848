//! How fast partitions move: what is measured, how often, and what is printed.
//!
//! A figure alone says more about the machine than about the program. So the fastest stream of the same
//! entries that two plain threads can do is measured beside it, in the same run: the ideal stream.

mod cluster;
pub mod ideal;
mod load;
mod moved;
mod program;
mod shape;
mod spread;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use tanodb::client::ClientError;
use tanodb_actors::protocol::hash::{RingHash, RingSize};
use tanodb_actors::wire::admin::PartitionTable;

use cluster::{Cluster, ClusterError};
use ideal::{Entries, IdealError};
use program::BuildError;
use shape::{SHAPES, Shape};
use spread::Spread;

/// Runs of each measurement, of which the median is reported.
const RUNS: usize = 3;

/// Nodes that join the first.
const JOINERS: usize = 2;

/// Value bytes of a megabyte, as in every table of `docs/performance.md`.
const MEGABYTE: f64 = 1e6;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All entries, three runs.
    Full,
    /// A tenth of the entries, one run.
    Quick,
}

impl Extent {
    fn runs(self) -> usize {
        match self {
            Extent::Full => RUNS,
            Extent::Quick => 1,
        }
    }

    fn of(self, shape: Shape) -> Shape {
        match self {
            Extent::Full => shape,
            Extent::Quick => shape.tenth(),
        }
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is no node to measure.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The nodes did not do what they were asked to.
    #[error(transparent)]
    Nodes(#[from] ClusterError),
    /// The first node could not be filled.
    #[error("filling the first node: {0}")]
    Fill(#[from] ClientError),
    /// The move was not the planned one.
    #[error("{planned} partitions should have moved, {moved} have")]
    NotAsPlanned {
        /// By the plan.
        planned: u32,
        /// By what the nodes hold afterwards.
        moved: usize,
    },
    /// Not everything is where it belongs after the move: a time for that is worth nothing.
    #[error("after the move, {} partitions differ: {}", .0.len(), .0.join("; "))]
    Differs(Vec<String>),
    /// The ideal stream broke.
    #[error("ideal stream: {0}")]
    Ideal(#[from] IdealError),
}

/// One move of the partitions of two joining nodes, and the ideal stream of what was moved.
#[derive(Debug, Clone, Copy)]
struct Run {
    objects: usize,
    value_bytes: usize,
    handoff_seconds: f64,
    ideal_seconds: f64,
}

/// The figures of one shape, as one line of JSON holds them.
#[derive(Debug, Serialize)]
struct Figures {
    bench: &'static str,
    values: &'static str,
    objects: Spread,
    handoff_seconds: Spread,
    handoff_objects_per_second: Spread,
    handoff_megabytes_per_second: Spread,
    ideal_seconds: Spread,
    ideal_objects_per_second: Spread,
    ideal_megabytes_per_second: Spread,
    /// How fast the partitions moved, as a part of the ideal: the same bytes, so the times say it.
    ratio: Spread,
}

impl Figures {
    fn of(shape: Shape, runs: &[Run]) -> Self {
        let spread = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure).collect());
        Self {
            bench: "handoff",
            values: shape.name,
            objects: spread(|run| run.objects as f64),
            handoff_seconds: spread(|run| run.handoff_seconds),
            handoff_objects_per_second: spread(|run| run.objects as f64 / run.handoff_seconds),
            handoff_megabytes_per_second: spread(|run| run.megabytes() / run.handoff_seconds),
            ideal_seconds: spread(|run| run.ideal_seconds),
            ideal_objects_per_second: spread(|run| run.objects as f64 / run.ideal_seconds),
            ideal_megabytes_per_second: spread(|run| run.megabytes() / run.ideal_seconds),
            ratio: spread(|run| run.ideal_seconds / run.handoff_seconds),
        }
    }
}

impl Run {
    fn megabytes(&self) -> f64 {
        self.value_bytes as f64 / MEGABYTE
    }
}

/// The figures of a move of empty partitions, as one line of JSON holds them.
#[derive(Debug, Serialize)]
struct EmptyFigures {
    bench: &'static str,
    partitions: usize,
    seconds: Spread,
}

/// Moves every shape to two joining nodes, and prints a row for each, then the same as lines of JSON; at
/// the end [`empty`].
///
/// # Errors
///
/// [`BenchError`]. The rows before are printed.
pub async fn handoff(extent: Extent) -> Result<(), BenchError> {
    let program = program::build()?;
    println!("| values | objects moved | handoff s | MB/s | ideal s | MB/s | handoff / ideal |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let mut lines = Vec::new();
    for shape in SHAPES {
        let shape = extent.of(shape);
        let mut runs = Vec::new();
        for _ in 0..extent.runs() {
            runs.push(run(&program, shape).await?);
        }
        let figures = Figures::of(shape, &runs);
        println!(
            "| {} | {:.0} | {:.3} | {:.0} | {:.3} | {:.0} | {:.2} |",
            figures.values,
            figures.objects,
            figures.handoff_seconds,
            figures.handoff_megabytes_per_second,
            figures.ideal_seconds,
            figures.ideal_megabytes_per_second,
            figures.ratio,
        );
        lines.push(serde_json::json!(figures));
    }
    println!();
    for line in lines {
        println!("{line}");
    }
    empty_of(extent, &program).await
}

/// Moves partitions without entries to two joining nodes: what a transfer costs before its first byte.
///
/// # Errors
///
/// [`BenchError`].
pub async fn empty(extent: Extent) -> Result<(), BenchError> {
    empty_of(extent, &program::build()?).await
}

async fn empty_of(extent: Extent, program: &Path) -> Result<(), BenchError> {
    let (mut seconds, mut partitions) = (Vec::new(), 0);
    for _ in 0..extent.runs() {
        let moved = Moved::to_joiners(Cluster::of_one(program).await?).await?;
        seconds.push(moved.seconds);
        partitions = moved.partitions.len();
    }
    let figures = EmptyFigures { bench: "empty", partitions, seconds: Spread::of(seconds) };
    println!("\n{partitions} empty partitions, from commit to settled: {:.3} s", figures.seconds);
    println!("{}", serde_json::json!(figures));
    Ok(())
}

async fn run(program: &Path, shape: Shape) -> Result<Run, BenchError> {
    let cluster = Cluster::of_one(program).await?;
    load::load(cluster.first_client(), shape).await?;
    // The nodes end here: the ideal stream has the machine for itself.
    let moved = Moved::to_joiners(cluster).await?;
    let differences = moved::differences(&moved::expected(shape, moved.size), &moved.table);
    if !differences.is_empty() {
        return Err(BenchError::Differs(differences));
    }
    let entry = |number| (Shape::key(number).into_bytes(), shape.value(number));
    let numbers = moved::entries_in(&moved.partitions, shape, moved.size);
    let entries: Entries = numbers.map(entry).collect();
    let ideal = ideal::measure(&entries)?;
    Ok(Run {
        objects: entries.len(),
        value_bytes: entries.values().map(Vec::len).sum(),
        handoff_seconds: moved.seconds,
        ideal_seconds: ideal.as_secs_f64(),
    })
}

/// A move that is over.
struct Moved {
    /// From the commit until all had settled.
    seconds: f64,
    size: RingSize,
    /// What every node holds afterwards.
    table: PartitionTable,
    /// What the first node has given away.
    partitions: BTreeSet<RingHash>,
}

impl Moved {
    /// Has nodes join, and moves to them what the plan gives them.
    async fn to_joiners(mut cluster: Cluster) -> Result<Self, BenchError> {
        let plan = cluster.plan_joins(JOINERS).await?;
        let seconds = cluster.time_to_settle(&plan).await?.as_secs_f64();
        let (size, table) = (cluster.ring_size().await?, cluster.partitions().await?);
        let partitions = moved::partitions_away_from(cluster.first_name(), &table);
        let planned: u32 = plan.transfers.iter().map(|transfer| transfer.count).sum();
        if partitions.len() != planned as usize {
            return Err(BenchError::NotAsPlanned { planned, moved: partitions.len() });
        }
        Ok(Self { seconds, size, table, partitions })
    }
}
