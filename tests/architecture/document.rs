//! The document, its tables between markers, and the source it speaks of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the folders and files that the document names are looked for, in this order.
pub const ROOTS: &[&str] = &["", "actors/src/", "actors/src/runtime/"];

/// More states than this are not listed by name in one row.
pub const NAMES_MAX: usize = 3;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn architecture() -> String {
    read("ARCHITECTURE.md")
}

/// A Markdown table with columns of equal width, so that it can be read as it stands.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let all = || std::iter::once(&heads).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        assert_eq!(row.len(), widths.len(), "a cell for each column: {row:?}");
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let lines = [line(&heads), line(&rule)].into_iter().chain(rows.iter().map(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Rows that say the same become one, named after all of them. When they are more than `names_max`, the row
/// comes last and is called `every other state`.
pub fn folded(rows: Vec<Vec<String>>, names_max: usize) -> Vec<Vec<String>> {
    let mut folded: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for mut cells in rows {
        let name = cells.remove(0);
        match folded.iter_mut().find(|(_, known)| *known == cells) {
            Some((names, _)) => names.push(name),
            None => folded.push((vec![name], cells)),
        }
    }
    folded.sort_by_key(|(names, _)| names.len() > names_max);
    let many = folded.iter().filter(|(names, _)| names.len() > names_max).count();
    assert!(many <= 1, "only one row can be called that of every other state");
    let row = |(names, cells): (Vec<String>, Vec<String>)| {
        let is_many = names.len() > names_max;
        let name = if is_many { "every other state".to_owned() } else { names.join(", ") };
        std::iter::once(name).chain(cells).collect()
    };
    folded.into_iter().map(row).collect()
}

/// Compares a table with the one the document has under this name.
pub fn assert_in_document(name: &str, table: &str) {
    let document = architecture();
    let begin = format!("<!-- table: {name} -->\n");
    let written = document
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once("\n<!-- end -->"))
        .map(|(table, _)| table);
    assert!(
        written == Some(table),
        "update the table in ARCHITECTURE.md: between '{}' and '<!-- end -->' must stand\n\n{table}\n",
        begin.trim_end()
    );
}

/// The names of the variants of an enum, in the order in which the source has them.
pub fn variants(path: &str, name: &str) -> Vec<String> {
    let source = read(path);
    let head = format!("pub enum {name} {{\n");
    let (_, body) = source.split_once(&head).unwrap_or_else(|| panic!("{path} has no enum {name}"));
    let (body, _) = body.split_once("\n}").expect("an enum ends");
    let variant = |line: &&str| line.starts_with("    ") && line.as_bytes()[4].is_ascii_uppercase();
    let lines = body.lines().filter(|line| line.len() > 4).filter(variant);
    lines.map(|line| first_word(line.trim()).to_owned()).collect()
}

/// The name of a variant, as its debug output begins.
pub fn variant_of(value: &impl std::fmt::Debug) -> String {
    first_word(&format!("{value:?}")).to_owned()
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

/// Fails when a walk has left a variant out.
pub fn assert_all_are_walked(path: &str, name: &str, walked: impl Iterator<Item = String>) {
    let walked: BTreeSet<String> = walked.collect();
    let all: BTreeSet<String> = variants(path, name).into_iter().collect();
    assert_eq!(walked, all, "the walk has every variant of {name} in {path}");
}

/// Every Rust file of the repository: its path and text.
pub fn rust_files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["src", "actors", "tests", "xtask"] {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "the source was not found");
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            let inner = path.strip_prefix(root()).expect("it lies in the repository");
            let inner = inner.to_string_lossy().replace('\\', "/");
            let text = fs::read_to_string(&path).expect("the file can be read");
            found.push((inner, text));
        }
    }
}

#[test]
fn rows_that_say_the_same_are_folded() {
    let row = |name: &str, cell: &str| vec![name.to_owned(), cell.to_owned()];
    let many: Vec<Vec<String>> = ["a", "b", "c", "d"].map(|name| row(name, "no")).into();
    let few = vec![row("e", "yes"), row("f", "yes")];
    let rows = many.into_iter().chain(few).collect();
    assert_eq!(folded(rows, 3), [row("e, f", "yes"), row("every other state", "no")]);
}

#[test]
fn variants_are_read_as_they_stand() {
    let read = variants("actors/src/protocol/slots.rs", "Direction");
    assert_eq!(read, ["Outbound", "Inbound"]);
    let value = Some(3);
    assert_eq!(variant_of(&value), "Some");
}
