//! Rules about the source that no lint can check.
//!
//! Each rule comes with samples that it must refuse and samples that it must let pass, so a rule that
//! has stopped working is noticed. Words are looked for in code: what stands in comments and texts does
//! not count, unless the rule says so. Tests within a crate are free of the rules about purity.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

#[path = "tidy/checks.rs"]
mod checks;
#[path = "tidy/source.rs"]
mod source;

use checks::{
    Check, FILE_LINES_MAX, FUNCTION_LINES_MAX, changing_statics, hashed_maps, nameless_file,
    no_module_doc, random_selects, too_long_file, too_long_functions,
};
use source::{Source, beginnings, occurrences, root, sample, samples, sources};

/// Every folder with source of ours.
const EVERYWHERE: &[&str] = &["src/", "actors/", "tests/", "examples/", "benches/", "xtask/"];

#[test]
fn the_source_keeps_every_rule() {
    let sources = sources();
    assert!(sources.len() > 20, "the source was not found");
    let complaints: Vec<String> = rules()
        .iter()
        .flat_map(|rule| sources.iter().flat_map(move |source| rule.complaints(source)))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_rule_refuses_what_it_should_and_nothing_else() {
    for rule in rules() {
        assert!(!rule.bad.is_empty(), "nothing shows that this can fail: {}", rule.promise);
        for source in &rule.bad {
            assert!(!rule.complaints(source).is_empty(), "{}: {source:?}", rule.promise);
        }
        for source in &rule.good {
            let complaints = rule.complaints(source);
            assert!(complaints.is_empty(), "{complaints:?}: {source:?}");
        }
    }
}

#[test]
fn the_simulator_is_switched_on_in_one_line() {
    let switch = |source: &Source| source.text.matches("feature = \"sim\"").count();
    let in_lib = sources().iter().filter(|file| file.path == "actors/src/lib.rs").map(switch).sum();
    let exists = root().join("actors/src/sim").exists();
    assert_eq!(usize::from(exists), in_lib, "one cfg line for the folder, in actors/src/lib.rs");
}

// ---------------------------------------------------------------------------------------- the rules

struct Rule {
    promise: &'static str,
    /// Beginnings of the paths it is about.
    within: &'static [&'static str],
    /// Beginnings of the paths that are free of it.
    except: &'static [&'static str],
    check: Check,
    bad: Vec<Source>,
    good: Vec<Source>,
}

impl Rule {
    /// Code that is shipped within some folders does not use these words.
    fn without(
        promise: &'static str,
        within: &'static [&'static str],
        except: &'static [&'static str],
        words: &'static str,
    ) -> Self {
        let words: Vec<&str> = words.split_whitespace().collect();
        let sample = |text: String| Source { path: format!("{}sample.rs", within[0]), text };
        Self {
            promise,
            within,
            except,
            bad: words.iter().map(|word| sample(format!("//! Doc.\n{word} "))).collect(),
            good: words.iter().map(|word| sample(format!("// {word}\n\"{word}\""))).collect(),
            check: Box::new(move |source| occurrences(&source.shipped(), &words)),
        }
    }

    fn complaints(&self, source: &Source) -> Vec<String> {
        let begins =
            |folders: &[&str]| folders.iter().any(|folder| source.path.starts_with(folder));
        if !begins(self.within) || begins(self.except) {
            return Vec::new();
        }
        let found = (self.check)(source);
        found
            .iter()
            .map(|(line, what)| format!("{}:{line}: {what} ({})", source.path, self.promise))
            .collect()
    }
}

fn rules() -> Vec<Rule> {
    [purity_rules(), determinism_rules(), shape_rules()].into_iter().flatten().collect()
}

// A table: one rule after another.
fn purity_rules() -> Vec<Rule> {
    vec![
        Rule::without(
            "decisions and bytes have no input, output, clock or chance",
            &["actors/src/protocol/", "actors/src/wire/"],
            &[],
            "actix tokio async await crate::runtime crate::sim std::fs std::net std::thread \
             std::env Instant SystemTime rand:: rand_core rand_chacha HashMap HashSet log::",
        ),
        Rule::without(
            "decisions know nothing of bytes",
            &["actors/src/protocol/"],
            &[],
            "crate::wire",
        ),
        Rule::without(
            "the runtime does not need the simulator",
            &["actors/src/runtime/"],
            &[],
            "crate::sim",
        ),
        Rule::without(
            "the simulator runs the actors of the runtime and has none of its own",
            &["actors/src/sim/"],
            &[],
            "Actor Handler actix::",
        ),
        Rule::without(
            "simulated nodes share a thread, so they would share what is global",
            &["actors/src/", "src/kv/"],
            &[],
            "SystemService ArbiterService from_registry SystemRegistry thread_local! OnceLock \
             OnceCell LazyLock LazyCell lazy_static!",
        ),
        Rule {
            promise: "a static that changes is shared by all nodes of a process; the one panic hook of a process \
                      notes what belongs to which thread",
            within: &["actors/src/", "src/kv/"],
            except: &["actors/src/sim/panics.rs"],
            check: Box::new(changing_statics),
            bad: samples(
                "src/kv/a.rs",
                &["static COUNT: AtomicU64 = x;", "pub static mut M: u8 = 0;"],
            ),
            good: samples(
                "src/kv/a.rs",
                &["a: &'static Mutex<u8>", "static NAMES: [&str; 2] = x;"],
            ),
        },
        Rule {
            promise: "an embedder does not need the program",
            within: &["actors/"],
            except: &[],
            check: Box::new(|source| occurrences(&source.text, &["tanodb::"])),
            bad: samples("actors/src/a.rs", &["use tanodb::kv;", "/// See [`tanodb::kv`]."]),
            good: samples("actors/src/a.rs", &["use tanodb_actors::protocol;"]),
        },
        Rule {
            promise: "the simulator is a folder, not a way to change the others",
            within: &["actors/src/"],
            except: &["actors/src/lib.rs"],
            check: Box::new(|source| occurrences(&source.text, &["feature = \"sim\""])),
            bad: samples("actors/src/runtime/a.rs", &["#[cfg(feature = \"sim\")]\nmod a;"]),
            good: samples("actors/src/lib.rs", &["#[cfg(feature = \"sim\")]\nmod sim;"]),
        },
    ]
}

// A table: one rule after another.
fn determinism_rules() -> Vec<Rule> {
    vec![
        Rule::without(
            "only tcp.rs touches sockets",
            &["actors/src/"],
            &["actors/src/runtime/tcp.rs"],
            "tokio::net std::net actix_rt::net",
        ),
        Rule::without(
            "only the disk touches files",
            &["actors/src/"],
            &["actors/src/runtime/disk/"],
            "std::fs tokio::fs",
        ),
        Rule::without(
            "only the clock reads time",
            &["actors/src/runtime/"],
            &["actors/src/runtime/clock.rs"],
            "Instant SystemTime UNIX_EPOCH",
        ),
        Rule::without(
            "what the simulator runs can be repeated; only the world of a process is the system's",
            &["actors/src/runtime/", "src/kv/"],
            &["actors/src/runtime/env/process.rs"],
            "tokio::spawn task::spawn spawn_blocking thread::spawn thread::sleep block_on \
             Arbiter::new Arbiter::current System::current rand::rng rand::random thread_rng \
             getrandom RandomState DefaultHasher",
        ),
        Rule::without(
            "tokio's watch channel wakes its receivers in random order; see runtime/latest.rs",
            EVERYWHERE,
            &[],
            "sync::watch watch::Sender watch::Receiver watch::channel",
        ),
        Rule::without(
            "the key/value store runs in the simulator",
            &["src/kv/"],
            &[],
            "Instant SystemTime std::thread std::net tokio::net std::env rand::",
        ),
        Rule {
            promise: "the order of a hashed map changes from run to run; one that is never iterated \
                      says so in the line above: // Never iterated: ...",
            within: &["src/kv/"],
            except: &[],
            check: Box::new(hashed_maps),
            bad: samples("src/kv/a.rs", &["use std::collections::HashMap;", "x: HashSet<u8>,"]),
            good: samples(
                "src/kv/a.rs",
                &["// Never iterated: found by key.\nx: HashMap<u8, u8>,"],
            ),
        },
        Rule {
            promise: "a select without `biased;` takes its branches in random order",
            within: EVERYWHERE,
            except: &[],
            check: Box::new(random_selects),
            bad: samples(
                "src/a.rs",
                &[
                    "tokio::select! { x = y => {} }",
                    "select! {\n    // biased;\n    x = y => {} }",
                    "futures::select! { biased; x = y => {} }",
                    "use futures_util::select;",
                    "use futures_util::{FutureExt, select};",
                ],
            ),
            good: samples("src/a.rs", &["tokio::select! {\n    biased;\n    x = y => {}\n}"]),
        },
    ]
}

// A table: one rule after another.
fn shape_rules() -> Vec<Rule> {
    let long_file = format!("//! Doc.\n{}", "fn a() {}\n".repeat(FILE_LINES_MAX));
    let long_body = "    a();\n".repeat(FUNCTION_LINES_MAX);
    let long = format!("impl A {{\nfn long(x: [u8; 2]) {{\n{long_body}}}\n}}\n");
    let table = format!("// A table: every pair.\n#[must_use]\nfn long() {{\n{long_body}}}\n");
    let short = "fn a() { if x {} }\n".repeat(FUNCTION_LINES_MAX);
    vec![
        Rule {
            promise: "a file has at most 500 lines",
            within: EVERYWHERE,
            except: &[],
            check: Box::new(too_long_file),
            bad: samples("src/a.rs", &[&long_file]),
            good: samples("src/a.rs", &[&long_file[..long_file.len() - "fn a() {}\n".len()]]),
        },
        Rule {
            promise: "a function has at most 70 lines; a table says that it is one",
            within: EVERYWHERE,
            except: &[],
            check: Box::new(too_long_functions),
            bad: samples("src/a.rs", &[&long]),
            good: samples("src/a.rs", &[&table, &short, "trait A { fn long(x: [u8; 2]); }"]),
        },
        Rule {
            promise: "a file says first what it is",
            within: EVERYWHERE,
            except: &[],
            check: Box::new(no_module_doc),
            bad: samples("src/a.rs", &["use std::fs;\n", "", "//!\nuse std::fs;"]),
            good: samples("src/a.rs", &["//! Names.\n"]),
        },
        Rule {
            promise: "done or not there",
            within: EVERYWHERE,
            except: &[],
            check: Box::new(|source| occurrences(&source.text, BANNED)),
            bad: BANNED.iter().map(|word| sample("src/a.rs", &format!("// {word}: x"))).collect(),
            good: samples("src/a.rs", &["// before nowadays, placeholders, XXXL\n"]),
        },
        Rule {
            promise: "a test runs, and its name is a sentence",
            within: EVERYWHERE,
            except: &[],
            check: Box::new(|source| beginnings(&source.code(), BANNED_IN_TESTS)),
            bad: BANNED_IN_TESTS.iter().map(|word| sample("src/a.rs", word)).collect(),
            good: samples("src/a.rs", &["fn tests_run() {}", "// #[ignore]"]),
        },
        Rule {
            promise: "a file is named for what it holds",
            within: EVERYWHERE,
            except: &[],
            check: Box::new(nameless_file),
            bad: samples("src/util.rs", &["//! Doc."]),
            good: samples("src/utility_bill.rs", &["//! Doc."]),
        },
    ]
}

/// Written in two halves, so that this file keeps the rule too.
const BANNED: &[&str] = &[
    concat!("for", " now"),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X"),
    concat!("place", "holder"),
    concat!("ha", "ck"),
];

const BANNED_IN_TESTS: &[&str] = &["fn test_", "#[ignore", "#[should_panic"];
