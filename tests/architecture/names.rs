//! What the document names is there: files, tests, actors, frame kinds, purposes, control records.

use std::collections::BTreeSet;

use crate::document::{ROOTS, architecture, read, root, rust_files, variants};

/// What stands between backticks, on one line each.
fn quoted() -> BTreeSet<String> {
    let document = architecture();
    let mut is_code = false;
    let mut found = BTreeSet::new();
    for line in document.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if !is_code {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    assert!(!is_code && found.len() > 100, "the document was not read");
    found
}

fn is_a_path(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let ends = [".rs", ".md", ".toml", "/"].iter().any(|end| text.ends_with(end));
    is_plain && ends && text.len() > 1
}

/// A sentence in snake case: the name of a test.
pub fn is_a_test(text: &str) -> bool {
    let is_snake = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_snake && text.matches('_').count() >= 3
}

/// Whether a test of this name is in the text: a function under an attribute that makes it one.
pub fn has_test(text: &str, name: &str) -> bool {
    let Some((above, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let above = above.trim_end().trim_end_matches("async").trim_end();
    let attribute = above.lines().next_back().unwrap_or_default().trim_start();
    attribute.starts_with("#[") && attribute.contains("test")
}

#[test]
fn every_file_and_folder_it_names_is_there() {
    let exists = |path: &str| ROOTS.iter().any(|start| root().join(start).join(path).exists());
    let missing: Vec<String> =
        quoted().into_iter().filter(|text| is_a_path(text) && !exists(text)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not there: {missing:?}");
}

#[test]
fn every_test_it_names_is_there() {
    let files = rust_files();
    let exists = |name: &str| files.iter().any(|(_, text)| has_test(text, name));
    let named: Vec<String> = quoted().into_iter().filter(|text| is_a_test(text)).collect();
    assert!(named.len() > 20, "the tests were not found");
    let missing: Vec<&String> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names tests that are not there: {missing:?}");
}

#[test]
fn every_actor_has_its_line() {
    let shipped = rust_files().into_iter().filter(|(path, _)| {
        path.starts_with("actors/src/") && !path.contains("/tests") && !path.contains("testing")
    });
    // Actors of tests stand in modules and are indented.
    let actors: BTreeSet<String> = shipped
        .flat_map(|(_, text)| {
            let heads = text.lines().filter_map(|line| line.strip_prefix("impl Actor for "));
            heads.map(|rest| rest.trim_end_matches(" {").to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let document = architecture();
    let (_, lines) = document.split_once("| actor ").expect("a table of actors");
    let (lines, _) = lines.split_once("\n\n").expect("a table ends");
    let listed = lines.lines().skip(2).filter_map(|line| line.split('`').nth(1));
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    assert_eq!(listed, actors, "the table of actors in ARCHITECTURE.md");
}

#[test]
fn every_frame_kind_and_purpose_is_listed() {
    let document = architecture();
    let source = read("actors/src/wire/message.rs");
    let (_, kinds) = source.split_once("pub mod kind {").expect("a module of kinds");
    let mut count = 0;
    for line in kinds.lines().filter_map(|line| line.trim().strip_prefix("pub const ")) {
        let (name, number) = line.split_once(": u16 = ").expect("a kind is a number");
        let row = format!("| {} | `{name}` |", number.trim_end_matches(';'));
        assert!(document.contains(&row), "ARCHITECTURE.md has no row that begins: {row}");
        count += 1;
    }
    assert!(count >= 9, "the kinds were not read");
    for purpose in variants("actors/src/wire/message/hello.rs", "Purpose") {
        let row = format!("| `{purpose}` |");
        assert!(document.contains(&row), "ARCHITECTURE.md has no row that begins: {row}");
    }
}

#[test]
fn every_control_record_is_listed() {
    let document = architecture();
    let mut count = 0;
    for (path, text) in rust_files() {
        if !path.starts_with("actors/src/runtime/") {
            continue;
        }
        for line in text.lines().filter(|line| line.contains("const ") && line.contains("&str = "))
        {
            let (name, value) = line.split_once(": &str = ").unwrap_or_default();
            if name.contains("RECORD") {
                let value = value.trim_matches(['"', ';']);
                let row = format!("| `{value}");
                assert!(document.contains(&row), "ARCHITECTURE.md has no row that begins: {row}");
                count += 1;
            }
        }
    }
    assert!(count >= 7, "the records were not found");
}

#[test]
fn every_invariant_that_is_checked_has_its_line() {
    let document = architecture();
    let folder = "actors/src/sim/invariant/";
    let mut count = 0;
    for (path, text) in rust_files() {
        let Some(file) = path.strip_prefix(folder) else { continue };
        let Some((name, _)) = text.strip_prefix("//! `").and_then(|rest| rest.split_once("`:"))
        else {
            continue;
        };
        let line = document.lines().find(|line| line.starts_with(&format!("| {name} | ")));
        let line = line.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {name}"));
        let named = format!("`sim/invariant/{file}`");
        assert!(line.contains(&named), "the row of {name} does not name {named}");
        count += 1;
    }
    assert!(count >= 18, "the invariants were not found");
}

#[test]
fn the_document_is_short_enough_to_be_read() {
    let lines = architecture().lines().count();
    assert!(lines < 500, "ARCHITECTURE.md has {lines} lines");
}

#[test]
fn a_function_that_is_no_test_is_not_taken_for_one() {
    assert!(has_test("    #[tokio::test]\n    async fn it_is_one() {}", "it_is_one"));
    assert!(!has_test("/// No test.\nfn it_is_none() {}", "it_is_none"));
    assert!(!has_test("#[test]\nfn another() {}", "it_is_not_there"));
}
