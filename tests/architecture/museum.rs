//! What `tests/museum.md` says of each failure of the museum: every number is there once, and names tests that
//! are where it says, or the reason why there is none.

use crate::document::{read, root};
use crate::names::{has_test, is_a_test};

/// The museum's numbers. It has gaps.
const PIECES: &str = "
    1 2 3 5 6 7 8 10 11 13 14 15 17 18 19 20 22 23 24 25 26 28 29 30 32 33 35 36 37 39 40 41 42 44 45 46 47 49
    51 52 53 55 56 58 59 60 61 63 64 65 67 68 70 71 72 73 75 76 77 79 80 81 82 84 85 87 89 90 91 93 94 96 97 99
    100 101 102 104 105 106 108 109 110";

/// Those of its annex.
const ANNEX: &str = "1 2 3 6 7 8 10 11 12 14 15 16 18 19";

/// One row: the number, and where the failure is played.
struct Row {
    id: String,
    place: String,
}

fn rows(text: &str) -> Vec<Row> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = cells.filter_map(|line| {
        let [id, _, place] = line.split(" | ").collect::<Vec<_>>().try_into().ok()?;
        let is_one = id.starts_with(['M', 'L']) && id[1..].parse::<u32>().is_ok();
        is_one.then(|| Row { id: id.to_owned(), place: place.to_owned() })
    });
    rows.collect()
}

/// Every test that a row names, with the file before it.
fn tests_of(row: &Row) -> Vec<(String, String)> {
    let (mut file, mut tests) = (String::new(), Vec::new());
    for quoted in row.place.split('`').skip(1).step_by(2) {
        if is_a_test(quoted) && !quoted.contains('.') {
            tests.push((file.clone(), quoted.to_owned()));
        } else if quoted.ends_with(".rs") {
            quoted.clone_into(&mut file);
        }
    }
    tests
}

/// What is wrong with a row.
fn complaint(row: &Row) -> Option<String> {
    let tests = tests_of(row);
    let has_reason = ["later", "types", "design"].iter().any(|word| row.place.contains(word));
    if tests.is_empty() && !has_reason {
        return Some(format!("{} names neither a test nor a reason", row.id));
    }
    tests.iter().find_map(|(file, test)| {
        if !root().join(file).is_file() {
            return Some(format!("{} names {file:?}, which is no file", row.id));
        }
        let is_there = has_test(&read(file), test);
        (!is_there).then(|| format!("{} names {test}, which is not in {file}", row.id))
    })
}

#[test]
fn every_piece_of_the_museum_is_there_once() {
    let ids: Vec<String> = rows(&read("tests/museum.md")).into_iter().map(|row| row.id).collect();
    let pieces = PIECES.split_whitespace().map(|number| format!("M{number:0>2}"));
    let annex = ANNEX.split_whitespace().map(|number| format!("L{number}"));
    let all: Vec<String> = pieces.chain(annex).collect();
    assert_eq!(all.len(), 83 + 14);
    assert_eq!(ids, all, "the rows of tests/museum.md, in order");
}

#[test]
fn every_test_the_museum_names_is_there() {
    let rows = rows(&read("tests/museum.md"));
    let complaints: Vec<String> = rows.iter().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "tests/museum.md:\n{}", complaints.join("\n"));
    let named: usize = rows.iter().map(|row| tests_of(row).len()).sum();
    assert!(named > 80, "only {named} tests were found");
}

#[test]
fn a_row_without_a_test_or_with_one_that_is_not_there_is_refused() {
    let bad = [
        "nothing",
        "`tests/tidy.rs`: `a_rule_nobody_has_written_down`",
        "`tests/nowhere.rs`: `the_source_keeps_every_rule`",
    ];
    for place in bad {
        let row = Row { id: "M01".to_owned(), place: place.to_owned() };
        assert!(complaint(&row).is_some(), "{place}");
    }
    let good = ["`tests/tidy.rs`: `the_source_keeps_every_rule`", "later: nobody can leave"];
    for place in good {
        let row = Row { id: "M01".to_owned(), place: place.to_owned() };
        assert_eq!(complaint(&row), None);
    }
}
