//! The examples of `docs/json.md` are what the code prints.

use std::collections::BTreeMap;

use tanodb_actors::protocol::id::NodeName;

use super::super::samples;
use super::*;

const MANUAL: &str = include_str!("../../../docs/json.md");

/// The first block of JSON under each heading that names a schema.
fn examples() -> BTreeMap<&'static str, String> {
    let mut examples = BTreeMap::new();
    for section in MANUAL.split("\n## ").skip(1) {
        let Some(name) = section.split('`').nth(1) else { continue };
        let Some((_, block)) = section.split_once("```json\n") else { continue };
        let Some((block, _)) = block.split_once("```") else { continue };
        examples.insert(name, block.to_owned());
    }
    examples
}

fn printed() -> BTreeMap<&'static str, String> {
    let node = |number: u8| NodeName::new(&format!("tanodb{number}@127.0.0.1")).unwrap();
    let started = |number: u8, pid| DevrelNode {
        node: node(number),
        address: format!("127.0.0.1:{}", 7649 + u32::from(number)),
        pid,
        log: format!("devrel/tanodb{number}@127.0.0.1/tanodb.log"),
    };
    BTreeMap::from([
        ("tanodb.ping/1", ping(&samples::pong())),
        ("tanodb.put/1", stored("bucket-1", "key-1")),
        ("tanodb.get/1", got("bucket-1", "key-1", "value".as_bytes())),
        ("tanodb.delete/1", deleted("bucket-1", "key-1", true)),
        ("tanodb.cluster-join/1", join_staged(&node(2), &node(1))),
        ("tanodb.cluster-plan/1", plan(&samples::plan())),
        ("tanodb.cluster-commit/1", committed(2)),
        ("tanodb.cluster-clear/1", cleared(2)),
        ("tanodb.member-status/1", member_status(&samples::members())),
        ("tanodb.ring-status/1", ring_status(&samples::ring())),
        ("tanodb.partitions/1", partitions(&samples::partitions())),
        ("tanodb.transfers/1", transfers(&samples::transfers())),
        ("tanodb.devrel-join/1", devrel_joins(&[(node(2), node(1))])),
        ("tanodb.devrel-status/1", devrel(&[started(1, Some(4711)), started(2, None)])),
    ])
}

#[test]
fn the_manual_shows_what_is_printed() {
    let (shown, printed) = (examples(), printed());
    for (schema, text) in &printed {
        assert_eq!(shown.get(schema), Some(text), "{schema}: docs/json.md needs this:\n{text}");
    }
    assert_eq!(shown.len(), printed.len(), "the manual shows what nothing prints");
}

#[test]
fn every_document_names_its_form_first() {
    for (schema, text) in printed() {
        assert!(text.starts_with(&format!("{{\n  \"schema\": \"{schema}\"")), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    }
}

#[test]
fn a_value_that_is_no_text_is_given_in_hexadecimal_digits() {
    let text = got("b", "k", &[0xff, 0x00]);
    assert!(text.contains("\"value\": null") && text.contains("\"value_hex\": \"ff00\""), "{text}");
}
