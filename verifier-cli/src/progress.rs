//! A progress bar with the time left, on a terminal; nothing anywhere else.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far the work is. Cheap to call often.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows on stderr if that is a terminal.
    #[must_use]
    pub fn on_stderr() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(5));
        let template = if crate::cli::colour() {
            "{msg:28} [{bar:30.cyan}] {human_pos}/{human_len} entries, {eta} left"
        } else {
            "{msg:28} [{bar:30}] {human_pos}/{human_len} entries, {eta} left"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Self(bar)
    }

    /// Shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// What is being done.
    pub fn stage(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// More entries than were known so far.
    pub fn expect(&self, entries: u64) {
        self.0.inc_length(entries);
    }

    /// Entries done.
    pub fn done(&self, entries: u64) {
        self.0.inc(entries);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
