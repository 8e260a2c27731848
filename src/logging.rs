//! How log lines look: `HH:MM:SS.mmm [info] text key=value`, to standard error, in UTC.
//!
//! `RUST_LOG` chooses what is printed, as `env_logger` reads it; without it, `info` and above. What is
//! logged is said by those who log.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use env_logger::{Builder, Env};
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Record};

use crate::output::plain;

/// Sets the program's logger up. A second call changes nothing.
pub fn start() {
    let started = Builder::from_env(Env::default().default_filter_or("info"))
        .format(|out, record| {
            let style = out.default_level_style(record.level());
            let level = format!("{style}{}{style:#}", level_name(record.level()));
            // A clock before 1970 shows as midnight; the line still says what happened.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            write_line(out, millis, &level, record)
        })
        .try_init();
    if started.is_err() {
        log::debug!("the logger was set up before");
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

fn write_line(
    out: &mut dyn Write,
    millis: u64,
    level: &str,
    record: &Record<'_>,
) -> io::Result<()> {
    let seconds = millis / 1_000;
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    // Keys and values of users are logged, and must not be able to forge a line.
    let text = plain(&record.args().to_string());
    write!(out, "{hour:02}:{minute:02}:{second:02}.{:03} [{level}] {text}", millis % 1_000)?;
    let mut pairs = Pairs { out };
    record.key_values().visit(&mut pairs).map_err(io::Error::other)?;
    writeln!(out)
}

/// Writes key-values behind the text.
struct Pairs<'a> {
    out: &'a mut dyn Write,
}

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = plain(&value.to_string());
        let needs_quotes = value.is_empty() || value.contains([' ', '=', '"']);
        let written = if needs_quotes {
            write!(self.out, " {key}=\"{}\"", value.replace('"', "\\\""))
        } else {
            write!(self.out, " {key}={value}")
        };
        Ok(written?)
    }
}

#[cfg(test)]
mod tests {
    use log::kv::ToValue;

    use super::*;

    fn line(text: &str, pairs: &[(&str, Value<'_>)]) -> String {
        let mut out = Vec::new();
        // 17 minutes, 24.240 seconds into some day.
        let millis = 1_769_904_000_000 + (17 * 60 + 24) * 1_000 + 240;
        let args = format_args!("{text}").to_string();
        let written = write_line(
            &mut out,
            millis,
            level_name(Level::Info),
            &Record::builder().args(format_args!("{args}")).key_values(&pairs).build(),
        );
        written.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_looks_like_the_tutorials() {
        assert_eq!(line("fold req 1118962", &[]), "00:17:24.240 [info] fold req 1118962\n");
    }

    #[test]
    fn key_values_stand_behind_the_text() {
        let pairs = [("partition", 5_u32.to_value()), ("why", "slots full".to_value())];
        assert_eq!(
            line("handoff waits", &pairs),
            "00:17:24.240 [info] handoff waits partition=5 why=\"slots full\"\n"
        );
    }

    #[test]
    fn nothing_that_is_logged_can_forge_a_second_line() {
        let pairs = [("key", "k\n00:00:00.000 [error] forged".to_value())];
        let written = line("fold fun a\u{1b}[2Jb\r\nc", &pairs);
        assert_eq!(written.matches('\n').count(), 1, "{written}");
        assert!(!written.contains('\u{1b}'), "{written}");
    }
}
