//! Progress on standard error: bars on a terminal, plain lines in a log, JSON lines for a program.
//!
//! Commands report what happens through [`Progress`] and never ask which form it takes.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::arguments::ProgressMode;
use crate::output::{human_size, printable};

/// How long something has to take before a bar is drawn for it.
const BAR_DELAY: Duration = Duration::from_millis(500);
/// How often a log is told how far a transfer is.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Tells a person or a program what is going on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Form>);

enum Form {
    Silent,
    Lines,
    Json,
    Bars(MultiProgress),
}

impl Progress {
    /// The form asked for; `auto` looks at standard error.
    pub(crate) fn new(mode: ProgressMode, quiet: bool) -> Self {
        let bars = || Form::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self(Arc::new(match mode {
            _ if quiet => Form::Silent,
            ProgressMode::None => Form::Silent,
            ProgressMode::Json => Form::Json,
            ProgressMode::Bar => bars(),
            ProgressMode::Auto if std::io::stderr().is_terminal() => bars(),
            ProgressMode::Auto => Form::Lines,
        }))
    }

    /// A step of the job has begun or ended.
    pub(crate) fn step(&self, name: &str, message: &str) {
        match &*self.0 {
            Form::Silent => {}
            Form::Lines => write_line(&format!("{name}: {message}")),
            Form::Json => {
                write_line(&json!({"event": "step", "step": name, "message": message}).to_string());
            }
            Form::Bars(bars) => print_above(bars, &format!("{name:>9}  {message}")),
        }
    }

    /// A line of a build's log.
    pub(crate) fn log_line(&self, message: &str) {
        let message = printable(message);
        match &*self.0 {
            Form::Silent => {}
            Form::Lines => write_line(&format!("build | {message}")),
            Form::Json => write_line(&json!({"event": "log", "message": message}).to_string()),
            Form::Bars(bars) => print_above(bars, &format!("{:>9}  {message}", "|")),
        }
    }

    /// The end of a log that led to a failure; said only where the log itself was not shown.
    pub(crate) fn end_of_log<'a>(&self, lines: impl IntoIterator<Item = &'a String>) {
        if let Form::Silent = &*self.0 {
            for line in lines {
                write_line(&format!("build | {}", printable(line)));
            }
        }
    }

    /// Something that may fail the job later, or that a person should know.
    pub(crate) fn warning(&self, message: &str) {
        match &*self.0 {
            Form::Silent => {}
            Form::Lines => write_line(&format!("warning: {message}")),
            Form::Json => write_line(&json!({"event": "warning", "message": message}).to_string()),
            Form::Bars(bars) => print_above(bars, &format!("{:>9}  {message}", "warning")),
        }
    }

    /// Begins to show how many bytes have moved. Dropping what it returns takes the bar away.
    pub(crate) fn transfer(&self, what: &'static str) -> TransferProgress {
        let now = Instant::now();
        TransferProgress {
            progress: self.clone(),
            what,
            state: Mutex::new(TransferState {
                moved: 0,
                total: 0,
                begun: now,
                last_line: now,
                bar: None,
            }),
        }
    }
}

/// The progress of one transfer, fed from any thread.
pub(crate) struct TransferProgress {
    progress: Progress,
    what: &'static str,
    state: Mutex<TransferState>,
}

struct TransferState {
    moved: u64,
    total: u64,
    begun: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl TransferProgress {
    /// More bytes than known before are to be moved.
    pub(crate) fn expect_more(&self, bytes: u64) {
        let mut state = self.state();
        state.total = state.total.saturating_add(bytes);
    }

    /// Bytes have moved, or need not move since they are there already.
    pub(crate) fn moved(&self, bytes: u64) {
        let mut state = self.state();
        state.moved = state.moved.saturating_add(bytes);
        match &*self.progress.0 {
            // What is done in a moment gets no bar.
            Form::Bars(bars) if state.bar.is_some() || state.begun.elapsed() >= BAR_DELAY => {
                let (moved, total) = (state.moved, state.total);
                let bar = state
                    .bar
                    .get_or_insert_with(|| bars.add(new_bar(self.what)));
                bar.set_length(total);
                bar.set_position(moved);
            }
            Form::Lines if state.last_line.elapsed() >= LINE_INTERVAL => {
                state.last_line = Instant::now();
                write_line(&format!(
                    "{}: {} of {}",
                    self.what,
                    human_size(state.moved),
                    human_size(state.total)
                ));
            }
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, TransferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A blob is done; only a program wants to know each one.
    pub(crate) fn blob(&self, event: &str, digest: &str, size: u64) {
        if let Form::Json = &*self.progress.0 {
            write_line(
                &json!({"event": event, "step": self.what, "digest": digest, "size": size})
                    .to_string(),
            );
        }
    }
}

impl Drop for TransferProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.state().bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_prefix(what);
    // The template is a constant of ours; were it wrong, the plain bar would do.
    match ProgressStyle::with_template(
        "{prefix:>9}  {bar:32} {bytes}/{total_bytes} {bytes_per_sec}",
    ) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn print_above(bars: &MultiProgress, line: &str) {
    bars.suspend(|| write_line(line));
}

/// Standard error may be closed; there is then nobody to tell.
fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
