//! What a rule looks at: each function answers with the lines that break it.

use crate::source::{Source, body_end, line_of, numbered, occurrences, places};

/// Lines of a file, its tests included.
pub const FILE_LINES_MAX: usize = 500;

/// Lines of a function. A table may be longer; it says so in a comment above: `// A table: ...`.
pub const FUNCTION_LINES_MAX: usize = 70;

/// A line and what is wrong with it.
pub type Finding = (usize, String);

/// What a rule does with a file.
pub type Check = Box<dyn Fn(&Source) -> Vec<Finding>>;

pub fn changing_statics(source: &Source) -> Vec<Finding> {
    let cells = ["Atomic", "Mutex", "RwLock", "Cell", "Once"];
    let lines = numbered(&source.shipped());
    let changing = lines.into_iter().filter(|(_, line)| {
        let item = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        item.starts_with("static mut ")
            || item.starts_with("static ") && cells.iter().any(|cell| item.contains(cell))
    });
    changing.map(|(number, line)| (number, line.trim().to_owned())).collect()
}

pub fn hashed_maps(source: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = source.text.lines().collect();
    let excused = |line: usize| {
        let above = line.checked_sub(2).map(|place| lines[place].trim_start());
        above.is_some_and(|comment| comment.starts_with("// Never iterated: "))
    };
    let found = occurrences(&source.shipped(), &["HashMap", "HashSet"]);
    found.into_iter().filter(|(line, _)| !excused(*line)).collect()
}

pub fn random_selects(source: &Source) -> Vec<Finding> {
    let code = source.code();
    let mut found = occurrences(&code, &["futures::select", "futures_util::select"]);
    for place in places(&code, "select!") {
        let body = code[place + "select!".len()..].trim_start_matches([' ', '\n', '{', '(']);
        if !body.starts_with("biased;") {
            found.push((line_of(&code, place), "select!".to_owned()));
        }
    }
    found
}

pub fn too_long_file(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX { vec![(lines, format!("{lines} lines"))] } else { Vec::new() }
}

pub fn no_module_doc(source: &Source) -> Vec<Finding> {
    let first = source.text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//! ").is_some_and(|doc| !doc.trim().is_empty());
    if says { Vec::new() } else { vec![(1, "no module doc".to_owned())] }
}

pub fn nameless_file(source: &Source) -> Vec<Finding> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    let nameless = ["util.rs", "utils.rs", "common.rs", "helpers.rs", "misc.rs", "types.rs"];
    if nameless.contains(&name) { vec![(1, name.to_owned())] } else { Vec::new() }
}

pub fn too_long_functions(source: &Source) -> Vec<Finding> {
    let code = source.code();
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for place in places(&code, "fn ") {
        let first = line_of(&code, place);
        let length = body_end(&code[place..]).map_or(0, |end| line_of(&code[place..], end));
        if length > FUNCTION_LINES_MAX && !is_table(&lines[..first - 1]) {
            let signature = lines[first - 1].trim();
            found.push((first, format!("{length} lines: {signature}")));
        }
    }
    found
}

/// Whether the comments and attributes right above a function call it a table.
fn is_table(above: &[&str]) -> bool {
    let heads = above.iter().rev().map(|line| line.trim_start());
    let mut heads = heads.take_while(|line| line.starts_with("//") || line.starts_with("#["));
    heads.any(|line| line.starts_with("// A table: "))
}
