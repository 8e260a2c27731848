//! What is said when the command line cannot be understood: the parser's words in our form.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::arguments::Arguments;
use crate::failure::Failure;

/// The parser's error as a failure; `None`: it is not one but help or version, to be printed.
pub(super) fn failure(error: &clap::Error, words: impl Iterator<Item = String>) -> Option<Failure> {
    let kind = error.kind();
    if kind == ErrorKind::DisplayHelp || kind == ErrorKind::DisplayVersion {
        return None;
    }
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Some(Failure::usage("a command is missing", help_of(words)));
    }
    let help = help_of(words);
    let next = match suggestion(error) {
        Some(word) => format!("did you mean '{word}'? {help}"),
        None => help,
    };
    Some(Failure::usage(first_paragraph(&error.render().to_string()), next))
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

/// `see 'tanodb cluster --help'` for words that name the command `cluster`.
fn help_of(words: impl Iterator<Item = String>) -> String {
    let mut command = Arguments::command();
    let mut path = vec![command.get_name().to_owned()];
    for word in words {
        if let Some(inner) = command.find_subcommand(&word).cloned() {
            path.push(word);
            command = inner;
        }
    }
    format!("see '{} --help'", path.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_that_of_the_command_that_was_meant() {
        let help = |words: &str| help_of(words.split(' ').map(str::to_owned));
        assert_eq!(
            help("--node 127.0.0.1:1 cluster commit --plan 1"),
            "see 'tanodb cluster commit --help'"
        );
        assert_eq!(help("put cluster plan v --n 17"), "see 'tanodb put --help'");
        assert_eq!(help("nonsense"), "see 'tanodb --help'");
    }
}
