//! How fast partitions move: what is measured, how often, and what is printed.
//!
//! A figure alone says more about the machine than about the program. So the fastest stream of the same
//! entries that two plain threads can do is measured beside it, in the same run: the ideal stream.

pub mod ideal;
mod shape;
mod spread;

use serde::Serialize;

use ideal::{Entries, IdealError};
use shape::{SHAPES, Shape};
use spread::Spread;

/// Runs of each measurement, of which the median is reported.
const RUNS: usize = 3;

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

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The ideal stream broke.
    #[error("ideal stream: {0}")]
    Ideal(#[from] IdealError),
}

/// The figures of one shape, as one line of JSON holds them.
#[derive(Debug, Serialize)]
struct Figures {
    bench: &'static str,
    shape: &'static str,
    objects: u64,
    value_bytes: u64,
    ideal_seconds: Spread,
}

/// Measures every shape and prints a row for each, then the same as lines of JSON.
///
/// # Errors
///
/// [`BenchError`]. The rows before are printed.
pub fn handoff(extent: Extent) -> Result<(), BenchError> {
    println!("| values | objects | ideal s | ideal objects/s | ideal MB/s |");
    println!("|---|--:|--:|--:|--:|");
    let mut lines = Vec::new();
    for shape in SHAPES {
        let figures = match extent {
            Extent::Full => measure(shape, RUNS)?,
            Extent::Quick => measure(shape.tenth(), 1)?,
        };
        print_row(&figures);
        lines.push(serde_json::json!(figures));
    }
    println!();
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

fn measure(shape: Shape, runs: usize) -> Result<Figures, BenchError> {
    let entries: Entries = (0..shape.objects).map(|number| shape.entry(number)).collect();
    let seconds: Result<Vec<f64>, IdealError> =
        (0..runs).map(|_| ideal::measure(&entries).map(|time| time.as_secs_f64())).collect();
    Ok(Figures {
        bench: "handoff",
        shape: shape.name,
        objects: shape.objects,
        value_bytes: shape.value_bytes(),
        ideal_seconds: Spread::of(seconds?),
    })
}

fn print_row(figures: &Figures) {
    let seconds = &figures.ideal_seconds;
    let objects = seconds.map(|seconds| figures.objects as f64 / seconds);
    let megabytes = seconds.map(|seconds| figures.value_bytes as f64 / MEGABYTE / seconds);
    println!(
        "| {} | {} | {seconds:.3} | {objects:.0} | {megabytes:.0} |",
        figures.shape, figures.objects
    );
}
