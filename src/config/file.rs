//! A settings file: TOML with one table, every value with the line it stands on.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::setting::{Origin, SECTION, Written, find, nearest};

/// Reads the values of a file by their keys.
///
/// # Errors
///
/// [`ConfigError`] names the file and, unless it could not be read, the line.
pub fn read(path: &Path) -> Result<BTreeMap<&'static str, Written>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<BTreeMap<&'static str, Written>, ConfigError> {
    let origin = |at: usize| Origin::File { path: path.to_owned(), line: line_of(text, at) };
    let document = DeTable::parse(text).map_err(|error| ConfigError::NotToml {
        origin: origin(error.span().map_or(0, |span| span.start)),
        reason: one_line(error.message()),
    })?;
    let mut values = BTreeMap::new();
    for (section, content) in document.get_ref() {
        let DeValue::Table(table) = content.get_ref() else {
            return Err(unknown(section.get_ref(), origin(section.span().start)));
        };
        for (key, value) in table {
            let dotted = format!("{}.{}", section.get_ref(), key.get_ref());
            let here = || origin(key.span().start);
            let setting = match find(key.get_ref()) {
                Some(setting) if section.get_ref() == SECTION => setting,
                Some(_) | None => return Err(unknown(&dotted, here())),
            };
            let Some(text) = scalar(value) else {
                let reason = "write a text, a whole number, true or false".to_owned();
                return Err(ConfigError::BadValue { key: dotted, origin: here(), reason });
            };
            values.insert(setting.key, Written { text, origin: here() });
        }
        if table.is_empty() && section.get_ref() != SECTION {
            return Err(unknown(section.get_ref(), origin(section.span().start)));
        }
    }
    Ok(values)
}

fn unknown(key: &str, origin: Origin) -> ConfigError {
    ConfigError::UnknownKey { key: key.to_owned(), origin, nearest: nearest(key).dotted() }
}

/// A plain value as one would write it on the command line.
fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(is_on) => Some(is_on.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("tanodb.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "# a comment\n[node]\nname = 'a@h'\n\nring_size = 64\ninsecure_open = true\n";
        let values = parse(Path::new("f"), text).unwrap();
        let line = |key: &str| match &values[key].origin {
            Origin::File { line, .. } => *line,
            Origin::Flag(_) | Origin::Variable(_) | Origin::Default => 0,
        };
        assert_eq!((line("name"), line("ring_size"), line("insecure_open")), (3, 5, 6));
        assert_eq!(values["ring_size"].text, "64");
        assert_eq!(values["insecure_open"].text, "true");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        assert_eq!(
            refusal("[node]\nname = 'a@h'\nringsize = 64\n"),
            "tanodb.toml:3: unknown key 'node.ringsize'; the nearest known key is 'node.ring_size'"
        );
        assert_eq!(
            refusal("ring_size = 64\n"),
            "tanodb.toml:1: unknown key 'ring_size'; the nearest known key is 'node.ring_size'"
        );
        assert!(refusal("\n[nodes]\nname = 'a@h'\n").starts_with("tanodb.toml:3: unknown key"));
        assert!(refusal("\n[tls]\n").starts_with("tanodb.toml:2: unknown key 'tls'"));
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        let refused = refusal("[node]\nname = \n");
        assert!(refused.starts_with("tanodb.toml:2: "), "{refused}");
        assert!(!refused.contains('\n'), "{refused}");
    }

    #[test]
    fn a_value_that_is_a_list_is_refused() {
        assert!(refusal("[node]\nname = ['a@h']\n").starts_with("tanodb.toml:2: "));
        assert!(refusal("[node]\nring_size = 64.0\n").starts_with("tanodb.toml:2: "));
    }
}
