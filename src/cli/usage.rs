//! What is said when the command line cannot be understood: the parser's words in our form.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;

/// The parser's error as a failure; `None`: it is not one but help or version, to be printed.
pub(super) fn failure(error: &clap::Error) -> Option<Failure> {
    let text = error.render().to_string();
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp || kind == ErrorKind::DisplayVersion {
        return None;
    }
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Some(Failure::usage("a command is missing", help_of(&text)));
    }
    let next = match suggestion(error) {
        Some(word) => format!("did you mean '{word}'? {}", help_of(&text)),
        None => help_of(&text),
    };
    Some(Failure::usage(first_paragraph(&text), next))
}

/// Up to the first empty line, on one line, without the label.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

fn suggestion(error: &clap::Error) -> Option<&str> {
    let kinds =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let value = kinds.into_iter().find_map(|kind| error.get(kind))?;
    if let ContextValue::String(word) = value {
        return Some(word);
    }
    if let ContextValue::Strings(words) = value {
        return words.first().map(String::as_str);
    }
    None
}

/// `see 'tanodb cluster --help'` for an error that ends with
/// `Usage: tanodb cluster [OPTIONS] <COMMAND>`.
fn help_of(text: &str) -> String {
    let usage = text.split("Usage: ").nth(1).unwrap_or("tanodb");
    let is_word = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    let words: Vec<&str> = usage.split_whitespace().take_while(is_word).collect();
    format!("see '{} --help'", words.join(" "))
}
