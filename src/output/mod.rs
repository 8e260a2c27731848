//! What the command line prints: pure functions from a node's answers to text.
//!
//! Tables and texts are `riak_core`'s, column by column, so that an operator finds everything where it
//! always was. The same answers as JSON stand in [`json`]. Nothing here asks a node or writes anywhere.

mod columns;
mod date;
pub mod json;
mod member_status;
pub mod numbers;
mod partitions;
mod plan;
mod ring_status;
mod transfers;

pub use columns::{Align, Columns};
pub use member_status::member_status;
pub use partitions::OWNED;
pub use partitions::partitions;
pub use plan::plan;
pub use ring_status::ring_status;
pub use transfers::transfers;

use tanodb_actors::protocol::id::NodeName;

/// Width of every section.
const WIDTH: usize = 79;

/// A section's first line: its title in the middle of `=`.
fn title(text: &str) -> String {
    let text = format!(" {text} ");
    format!("{text:=^WIDTH$}\n")
}

/// A line across the section.
fn dashes() -> String {
    format!("{}\n", "-".repeat(WIDTH))
}

/// A name as `riak_core` prints it.
#[must_use]
pub fn quoted(name: &NodeName) -> String {
    format!("'{name}'")
}

/// What `cluster join` says when the join is staged.
#[must_use]
pub fn join_staged(node: &NodeName, contact: &NodeName) -> String {
    format!("Success: staged join request for {} to {}\n", quoted(node), quoted(contact))
}

fn list(names: &[NodeName]) -> String {
    names.iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// The text on one line and without control characters: what a node, a log or a user wrote cannot move
/// the cursor or pass for a line of ours.
#[must_use]
pub fn plain(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let one = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
