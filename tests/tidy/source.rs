//! Reading source: files, lines, and code apart from comments and texts.

use std::fs;
use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug, Clone)]
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
}

pub fn sample(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

pub fn samples(path: &str, texts: &[&str]) -> Vec<Source> {
    texts.iter().map(|text| sample(path, text)).collect()
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file in the repository, in order.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["src", "actors", "tests", "examples", "benches", "xtask"] {
        collect(&root().join(folder), &mut found);
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            let text = fs::read_to_string(&path).expect("the file can be read");
            let inner = path.strip_prefix(root()).expect("it lies in the repository");
            let path = inner.to_string_lossy().replace('\\', "/");
            found.push(Source { path, text });
        }
    }
}

impl Source {
    /// The text with comments, texts and characters blanked. Every line keeps its place.
    pub fn code(&self) -> String {
        let mut code = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(first) = rest.chars().next() {
            let skipped = comment(rest).or_else(|| quoted(rest)).or_else(|| character(rest));
            let (piece, after) = rest.split_at(skipped.unwrap_or(first.len_utf8()));
            match skipped {
                None => code.push_str(piece),
                Some(_) => code.extend(piece.chars().map(|c| if c == '\n' { c } else { ' ' })),
            }
            rest = after;
        }
        code
    }

    /// The code without the tests: none for a file of tests, else all but the modules of tests.
    pub fn shipped(&self) -> String {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return String::new();
        }
        let mut code = self.code();
        for (place, _) in self.code().match_indices("#[cfg(test)]") {
            let item = code[place..].lines().nth(1).unwrap_or_default();
            if item.contains("mod ") && item.trim_end().ends_with('{') {
                let end = body_end(&code[place..]).map_or(code.len(), |length| place + length);
                let blank = code[place..end].replace(|c| c != '\n', " ");
                code.replace_range(place..end, &blank);
            }
        }
        code
    }
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let mut depth = 0;
    for (place, _) in rest.char_indices() {
        if rest[place..].starts_with("/*") {
            depth += 1;
        } else if rest[..place].ends_with("*/") && place >= 4 {
            depth -= 1;
            if depth == 0 {
                return Some(place);
            }
        }
    }
    Some(rest.len())
}

fn quoted(rest: &str) -> Option<usize> {
    let plain = rest.strip_prefix('b').unwrap_or(rest);
    let raw = plain.strip_prefix('r');
    let hashes = raw.map_or(0, |text| text.len() - text.trim_start_matches('#').len());
    let body = raw.unwrap_or(plain)[hashes..].strip_prefix('"')?;
    let start = rest.len() - body.len();
    if raw.is_some() {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(body.find(&end).map_or(rest.len(), |place| start + place + end.len()));
    }
    let mut escaped = false;
    for (place, character) in body.char_indices() {
        match character {
            '"' if !escaped => return Some(start + place + 1),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    Some(rest.len())
}

/// A character such as `'{'`, as opposed to a lifetime.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if let Some(escape) = body.strip_prefix('\\') {
        let first = escape.chars().next()?.len_utf8();
        return escape[first..].find('\'').map(|place| place + first + 3);
    }
    let first = body.chars().next()?.len_utf8();
    body[first..].starts_with('\'').then_some(first + 2)
}

/// Lines with their numbers, from 1.
pub fn numbered(code: &str) -> Vec<(usize, String)> {
    code.lines().enumerate().map(|(place, line)| (place + 1, line.to_owned())).collect()
}

/// The number of the line in which a place is.
pub fn line_of(code: &str, place: usize) -> usize {
    code[..place].matches('\n').count() + 1
}

/// Where a word begins. `rand` is not a word of `operand`, nor `tanodb::` of `my_tanodb::`.
pub fn places(code: &str, word: &str) -> Vec<usize> {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    let open = |edge: Option<char>, next: Option<char>| {
        !(edge.is_some_and(inner) && next.is_some_and(inner))
    };
    let matches = code.match_indices(word).map(|(place, _)| place);
    let whole = matches.filter(|&place| {
        let (before, after) = (&code[..place], &code[place + word.len()..]);
        open(word.chars().next(), before.chars().next_back())
            && open(word.chars().next_back(), after.chars().next())
    });
    whole.collect()
}

/// Where the body of the item that begins here ends. `None` for one without a body.
pub fn body_end(code: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (place, character) in code.char_indices() {
        match character {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(place);
                }
            }
            _ => {}
        }
    }
    None
}

/// The lines with one of these words. `std::fs` is also found in `use std::{fs, io}`.
pub fn occurrences(code: &str, words: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for word in words {
        let imported = word.rsplit_once("::").map(|(from, name)| grouped(code, from, name));
        for place in places(code, word).into_iter().chain(imported.unwrap_or_default()) {
            found.push((line_of(code, place), (*word).to_owned()));
        }
    }
    found
}

/// Where groups of imports from a module begin that have this name in them.
fn grouped(code: &str, from: &str, name: &str) -> Vec<usize> {
    let groups = places(code, &format!("{from}::{{")).into_iter();
    let with_name = groups.filter(|&place| {
        let end = code[place..].find(';').map_or(code.len(), |length| place + length);
        !name.is_empty() && !places(&code[place..end], name).is_empty()
    });
    with_name.collect()
}

/// The lines in which one of these stands, whatever follows it.
pub fn beginnings(code: &str, starts: &[&str]) -> Vec<(usize, String)> {
    let lines = numbered(code).into_iter();
    lines.filter(|(_, line)| starts.iter().any(|start| line.contains(start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_are_no_code() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"a "b \" // {" c"#, "a             c"),
            ("a r#\"b \" {\"# c", "a            c"),
            (r"a '{' '\'' '\u{7d}' 'a c", "a                   'a c"),
            ("fn a<'b>(c: &'b str)", "fn a<'b>(c: &'b str)"),
        ];
        for (text, code) in cases {
            assert_eq!(sample("a.rs", text).code(), code, "{text}");
        }
    }

    #[test]
    fn tests_are_not_shipped() {
        let text = "a\n#[cfg(test)]\nmod b;\nc\n#[cfg(test)]\nmod tests {\ninner {}\n}\ne\n";
        let shipped = sample("src/a.rs", text).shipped();
        assert!(shipped.starts_with("a\n") && shipped.contains("\nc\n"), "{shipped}");
        assert!(!shipped.contains("inner") && shipped.ends_with("\ne\n"), "{shipped}");
        assert_eq!(sample("src/a/tests.rs", text).shipped(), "");
    }

    #[test]
    fn a_word_is_found_whole() {
        assert_eq!(places("rand operand rand_core (rand)", "rand"), [0, 24]);
        assert_eq!(places("my_tanodb::a tanodb::b", "tanodb::"), [13]);
        assert_eq!(places("async fn a()", "async"), [0]);
    }

    #[test]
    fn a_word_is_found_in_a_group_of_imports() {
        let code = "use std::{\n    fs,\n    io,\n};\nuse my_std::{net};\nuse std::{offset};";
        assert_eq!(occurrences(code, &["std::fs"]), [(1, "std::fs".to_owned())]);
        assert_eq!(occurrences(code, &["std::net", "std::set"]), []);
    }
}
