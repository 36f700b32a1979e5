//! Progress on standard error: bars on a terminal, plain lines in a log, JSON lines for a program.
//!
//! Commands report what happens through [`Progress`] and never ask which form it takes.

mod layers;
mod transfer;

use std::io::{IsTerminal, Write};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

pub(crate) use self::transfer::TransferMeter;

use crate::arguments::ProgressMode;
use crate::color::{self, Paint};
use crate::output::{human_size, printable};

/// How long something has to take before a bar is drawn for it, and how often it is drawn then.
const BAR_DELAY: Duration = Duration::from_millis(500);
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// How often a log is told how far a transfer is.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How a bar looks whose end is known, and one whose end is not. They fit 80 columns.
const KNOWN: &str = "{prefix:>9}  {bar:24} {bytes}/{total_bytes} {bytes_per_sec}";
const UNKNOWN: &str = "{prefix:>9}  {spinner} {elapsed:>4}  {wide_msg}";

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
            Form::Lines => write_line(&format!("{} {message}", warning_label("warning:"))),
            Form::Json => write_line(&json!({"event": "warning", "message": message}).to_string()),
            Form::Bars(bars) => {
                print_above(bars, &format!("{}  {message}", warning_label("  warning")));
            }
        }
    }

    /// Something that a person asked for and that is not there, which is no failure.
    pub(crate) fn note(&self, message: &str) {
        match &*self.0 {
            Form::Silent => {}
            Form::Lines => write_line(message),
            Form::Json => write_line(&json!({"event": "note", "message": message}).to_string()),
            Form::Bars(bars) => print_above(bars, message),
        }
    }

    /// Begins to show how far a part of the job is. Dropping what it returns takes the bar away.
    pub(crate) fn meter(&self, name: &'static str, message: impl Into<String>) -> Meter {
        Meter {
            progress: self.clone(),
            name,
            message: message.into(),
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            total: AtomicU64::new(0),
            bar: Mutex::new(None),
        }
    }

    /// Begins to show how far a transfer of images is. Dropping what it returns takes the bars away.
    pub(crate) fn transfer(
        &self,
        name: &'static str,
        message: impl Into<String>,
    ) -> Arc<TransferMeter> {
        Arc::new(TransferMeter::new(self.clone(), name, message.into()))
    }
}

/// How far a part of the job is: fed from any thread, drawn by [`watch`](Self::watch) alone.
pub(crate) struct Meter {
    progress: Progress,
    name: &'static str,
    message: String,
    begun: Instant,
    moved: AtomicU64,
    /// 0 where nobody knows how much there is to do.
    total: AtomicU64,
    bar: Mutex<Option<ProgressBar>>,
}

impl Meter {
    /// More bytes than known before are to be moved.
    pub(crate) fn expect_more(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes have moved, or need not move since they are there already.
    pub(crate) fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Does the work and shows now and then how far it is, also when nothing moves.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        let (first, next) = match &*self.progress.0 {
            Form::Bars(_) => (BAR_DELAY, BAR_INTERVAL),
            Form::Lines => (LINE_INTERVAL, LINE_INTERVAL),
            Form::Silent | Form::Json => return work.await,
        };
        watched(pin!(work), first, next, || self.show()).await
    }

    fn show(&self) {
        let moved = self.moved.load(Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed);
        match &*self.progress.0 {
            Form::Bars(bars) => {
                let mut bar = self.bar();
                let bar = bar.get_or_insert_with(|| bars.add(self.new_bar(total)));
                if total > 0 && bar.length() == Some(0) {
                    bar.set_style(style(KNOWN));
                }
                bar.set_length(total);
                bar.set_position(moved);
                bar.tick();
            }
            Form::Lines if total > 0 => write_line(&format!(
                "{}: {} of {}",
                self.name,
                human_size(moved),
                human_size(total)
            )),
            Form::Lines => {
                let seconds = self.begun.elapsed().as_secs();
                write_line(&format!(
                    "{}: {}, {seconds} s so far",
                    self.name, self.message
                ));
            }
            Form::Silent | Form::Json => {}
        }
    }

    fn new_bar(&self, total: u64) -> ProgressBar {
        ProgressBar::new(total)
            .with_prefix(self.name)
            .with_message(printable(&self.message))
            .with_style(style(if total > 0 { KNOWN } else { UNKNOWN }))
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &*self.bar() {
            bar.finish_and_clear();
        }
    }
}

/// Does the work and shows how far it is: the first time after this long, and then every so often. The work stays where
/// it is, as it may be large.
async fn watched<T>(
    mut work: Pin<&mut impl Future<Output = T>>,
    first: Duration,
    next: Duration,
    show: impl Fn(),
) -> T {
    let mut pause = first;
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = tokio::time::sleep(pause) => show(),
        }
        pause = next;
    }
}

fn warning_label(text: &str) -> String {
    color::painted(text, Paint::Warning, color::is_on(&std::io::stderr()))
}

/// A bar, or where nobody knows how much there is to do only a sign of life: a bar without an end would look full.
fn style(template: &'static str) -> ProgressStyle {
    // The templates are constants of ours; were one wrong, the plain bar would do.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn print_above(bars: &MultiProgress, line: &str) {
    bars.suspend(|| write_line(line));
}

/// Standard error may be closed; there is then nobody to tell.
fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
