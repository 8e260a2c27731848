//! What the demo shows: text on standard output, and while partitions move one line that changes, if
//! somebody watches.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;

/// Where the demo writes.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    bar: Option<ProgressBar>,
    last: Option<String>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, bar: None, last: None }
    }

    /// Writes text as it is.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(|error| {
            Failure::failed(format!("the demo cannot show anything: {error}"), "let it write")
        })
    }

    /// Writes a chapter's heading.
    pub(super) fn chapter(&mut self, text: &str) -> Result<(), Failure> {
        self.print(&format!("\n# {text}\n\n"))
    }

    /// Shows that `done` of `total` partitions have moved. Without a terminal a line is written when
    /// something has changed.
    pub(super) fn progress(&mut self, done: u64, total: u64, more: &str) -> Result<(), Failure> {
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| bar(total));
            bar.set_message(more.to_owned());
            bar.set_position(done);
            return Ok(());
        }
        let line = format!("{done} of {total} partitions moved; {more}\n");
        if self.last.as_ref() == Some(&line) {
            return Ok(());
        }
        self.print(&line)?;
        self.last = Some(line);
        Ok(())
    }

    /// Leaves the changing line as it stands.
    pub(super) fn end_progress(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }
}

fn bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    // The template is a constant; should it not fit this version, the plain bar does.
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} partitions moved; {msg}");
    match style {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
