//! Progress bars on standard error, when that is a terminal; nothing otherwise.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One long piece of work.
#[derive(Clone, Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins a bar of `total` steps.
    #[must_use]
    pub fn begin(what: &'static str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:<12} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta} left",
        ) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// One step is done.
    pub fn tick(&self) {
        self.0.inc(1);
    }

    /// The work is done: the bar goes away.
    pub fn end(self) {
        self.0.finish_and_clear();
    }
}
