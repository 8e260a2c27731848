//! How durations and sizes are written in settings and flags: a whole number and a unit.

use std::time::Duration;

/// Units of a duration, and their milliseconds.
const DURATION_UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of a size, and their bytes. `K` alone is missing: it means 1,000 to some and 1,024 to others.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// No digits in front.
    #[error("'{0}' does not start with a whole number")]
    NoNumber(String),
    /// Digits alone.
    #[error("'{text}' has no unit: write one of {units} behind it")]
    NoUnit {
        /// What was written.
        text: String,
        /// What may stand behind the number.
        units: String,
    },
    /// Something else behind the digits.
    #[error("'{unit}' is not a unit here: write one of {units}")]
    UnknownUnit {
        /// What was written.
        unit: String,
        /// What may stand there.
        units: String,
    },
    /// More than 64 bits can count.
    #[error("'{0}' is too large")]
    TooLarge(String),
}

/// Reads `500ms`, `60s`, `10m` (or `10min`), `2h`, `1d`.
///
/// # Errors
///
/// [`UnitError`] says what is missing.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// Reads `64KiB`, `1MiB` (steps of 1,024) and `64KB`, `1MB` (steps of 1,000), in bytes.
///
/// # Errors
///
/// [`UnitError`] says what is missing.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, &SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let unit = unit.trim_start();
    if digits.is_empty() {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    let known = || units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if unit.is_empty() {
        return Err(UnitError::NoUnit { text: text.to_owned(), units: known() });
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::UnknownUnit { unit: unit.to_owned(), units: known() });
    };
    let number = digits.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(*factor))
        .ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, millis) in [("0s", 0), ("500ms", 500), ("60s", 60_000), ("2 min", 120_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("10m"), parse_duration("600s"));
        assert_eq!(parse_duration("1d"), parse_duration("24h"));
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_the_units() {
        let refused = parse_duration("60").unwrap_err().to_string();
        assert_eq!(refused, "'60' has no unit: write one of ms, s, m, min, h, d behind it");
    }

    #[test]
    fn a_size_counts_in_1024_only_with_an_i() {
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size("1MB"), Ok(1_000_000));
        assert_eq!(parse_size("0B"), Ok(0));
    }

    #[test]
    fn nonsense_is_refused_and_nothing_overflows() {
        assert!(matches!(parse_duration("soon"), Err(UnitError::NoNumber(_))));
        assert!(matches!(parse_duration(""), Err(UnitError::NoNumber(_))));
        assert!(matches!(parse_duration("-1s"), Err(UnitError::NoNumber(_))));
        assert!(matches!(parse_duration("1fortnight"), Err(UnitError::UnknownUnit { .. })));
        assert!(matches!(parse_size("1K"), Err(UnitError::UnknownUnit { .. })));
        assert!(matches!(parse_size("18446744073709551615TiB"), Err(UnitError::TooLarge(_))));
        assert!(matches!(parse_size("99999999999999999999999B"), Err(UnitError::TooLarge(_))));
    }
}
