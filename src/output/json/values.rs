//! Keys, values and development nodes as JSON.

use serde::Serialize;
use tanodb_actors::protocol::id::NodeName;

use super::{JoinJson, text};

#[derive(Debug, Serialize)]
struct KeyJson<'a> {
    bucket: &'a str,
    key: &'a str,
}

/// `put`.
#[must_use]
pub fn stored(bucket: &str, key: &str) -> String {
    text("tanodb.put/1", KeyJson { bucket, key })
}

#[derive(Debug, Serialize)]
struct DeletedJson<'a> {
    bucket: &'a str,
    key: &'a str,
    existed: bool,
}

/// `delete`.
#[must_use]
pub fn deleted(bucket: &str, key: &str, existed: bool) -> String {
    text("tanodb.delete/1", DeletedJson { bucket, key, existed })
}

#[derive(Debug, Serialize)]
struct GotJson<'a> {
    bucket: &'a str,
    key: &'a str,
    value: Option<&'a str>,
    value_hex: Option<String>,
}

/// `get` of a key that exists. A value that is not UTF-8 is given in hexadecimal digits instead.
#[must_use]
pub fn got(bucket: &str, key: &str, value: &[u8]) -> String {
    let as_text = std::str::from_utf8(value).ok();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let value_hex = if as_text.is_none() { Some(hex(value)) } else { None };
    text("tanodb.get/1", GotJson { bucket, key, value: as_text, value_hex })
}

/// One development node.
#[derive(Debug, Serialize)]
pub struct DevrelNode {
    /// Its name.
    pub node: NodeName,
    /// Where it listens, or listened last.
    pub address: String,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Its log file.
    pub log: String,
}

#[derive(Debug, Serialize)]
struct DevrelJson<'a> {
    nodes: &'a [DevrelNode],
}

#[derive(Debug, Serialize)]
struct JoinsJson<'a> {
    staged: Vec<JoinJson<'a>>,
}

/// `devrel join`: each new node and the member that staged it.
#[must_use]
pub fn devrel_joins(staged: &[(NodeName, NodeName)]) -> String {
    let staged = staged.iter().map(|(node, contact)| JoinJson { node, contact }).collect();
    text("tanodb.devrel-join/1", JoinsJson { staged })
}

/// `devrel status`, and what `devrel start` and `devrel stop` leave.
#[must_use]
pub fn devrel(nodes: &[DevrelNode]) -> String {
    text("tanodb.devrel-status/1", DevrelJson { nodes })
}
