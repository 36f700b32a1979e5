//! How far a transfer of images is: a bar for each blob and one for all, lines in a log, or events for a program.
//!
//! The fields of the events are in docs/transfers.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use peak_sdk::oci::Digest;
use peak_sdk::transfer::{Event, ProgressState};
use serde_json::{Value, json};

use super::{
    BAR_DELAY, BAR_INTERVAL, Form, LINE_INTERVAL, Progress, UNKNOWN, style, watched, write_line,
};
use crate::output::{human_size, printable};

/// Most blobs that have a bar of their own at the same time.
const BLOB_BARS: usize = 6;

/// How often a program is told how far all of it is.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// How far a transfer is: fed from any thread by [`listener`](Self::listener), drawn by [`watch`](Self::watch) alone.
pub(crate) struct TransferMeter {
    progress: Progress,
    name: &'static str,
    message: String,
    begun: Instant,
    state: Mutex<ProgressState>,
    bars: Mutex<Bars>,
}

#[derive(Default)]
struct Bars {
    total: Option<ProgressBar>,
    blobs: BTreeMap<Digest, ProgressBar>,
}

impl TransferMeter {
    pub(super) fn new(progress: Progress, name: &'static str, message: String) -> Self {
        let begun = Instant::now();
        Self {
            progress,
            name,
            message,
            begun,
            state: Mutex::new(ProgressState::new(begun)),
            bars: Mutex::default(),
        }
    }

    /// What is to be told of events.
    pub(crate) fn listener(self: &Arc<Self>) -> impl Fn(Event) + Send + Sync + 'static {
        let meter = Arc::clone(self);
        move |event| meter.hear(&event)
    }

    fn hear(&self, event: &Event) {
        self.state().apply(event, Instant::now());
        if let (Form::Json, Some(mut line)) = (&*self.progress.0, as_json(event)) {
            if let Value::Object(members) = &mut line {
                members.insert("step".to_owned(), self.name.into());
            }
            write_line(&line.to_string());
        }
    }

    /// Does the work and shows now and then how far it is, also when nothing moves.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        let (first, next) = match &*self.progress.0 {
            Form::Bars(_) => (BAR_DELAY, BAR_INTERVAL),
            Form::Lines => (LINE_INTERVAL, LINE_INTERVAL),
            Form::Json => (EVENT_INTERVAL, EVENT_INTERVAL),
            Form::Silent => return work.await,
        };
        watched(pin!(work), first, next, || self.show(Instant::now())).await
    }

    fn show(&self, now: Instant) {
        let state = self.state().clone();
        match &*self.progress.0 {
            Form::Bars(bars) => self.draw(bars, &state, now),
            Form::Lines if state.total_bytes() > 0 => {
                write_line(&format!("{}: {}", self.name, summary(&state, now)));
            }
            Form::Lines => {
                let seconds = self.begun.elapsed().as_secs();
                let message = &self.message;
                write_line(&format!("{}: {message}, {seconds} s so far", self.name));
            }
            Form::Json => {
                let line = json!({
                    "event": "progress",
                    "step": self.name,
                    "bytes": state.done_bytes(),
                    "total": state.total_bytes(),
                    "moved": state.moved_bytes(),
                    "blobs": state.blobs_done(),
                    "totalBlobs": state.blobs(),
                    "images": state.images_done(),
                    "retries": state.retries(),
                    "bytesPerSecond": state.bytes_per_second(now),
                    "secondsLeft": state.time_left(now).map(|left| left.as_secs()),
                });
                write_line(&line.to_string());
            }
            Form::Silent => {}
        }
    }

    fn draw(&self, screen: &indicatif::MultiProgress, state: &ProgressState, now: Instant) {
        let mut bars = self.bars();
        let active: BTreeMap<_, _> = state.active().collect();
        bars.blobs.retain(|digest, bar| {
            let moves = active.contains_key(digest);
            if !moves {
                bar.finish_and_clear();
                screen.remove(bar);
            }
            moves
        });
        let total = bars
            .total
            .get_or_insert_with(|| screen.add(styled(self.name, UNKNOWN)));
        if state.total_bytes() > 0 && total.length() == Some(0) {
            total.set_style(style("{prefix:>9}  {bar:24} {wide_msg}"));
        }
        total.set_length(state.total_bytes());
        total.set_position(state.done_bytes());
        if state.total_bytes() > 0 {
            total.set_message(summary(state, now));
        } else {
            total.set_message(printable(&self.message));
        }
        total.tick();
        let total = total.clone();
        for (digest, blob) in active {
            if !bars.blobs.contains_key(digest) {
                if bars.blobs.len() >= BLOB_BARS {
                    continue;
                }
                let name: String = digest.hex().chars().take(9).collect();
                let bar = styled(&name, "{prefix:>9}  {bar:24} {bytes} of {total_bytes}");
                let bar = screen.insert_before(&total, bar);
                bars.blobs.insert(digest.clone(), bar);
            }
            if let Some(bar) = bars.blobs.get(digest) {
                bar.set_length(blob.size);
                bar.set_position(blob.done.min(blob.size));
                bar.tick();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bars(&self) -> MutexGuard<'_, Bars> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TransferMeter {
    fn drop(&mut self) {
        let bars = self.bars();
        for bar in bars.blobs.values().chain(&bars.total) {
            bar.finish_and_clear();
        }
    }
}

fn styled(prefix: &str, template: &'static str) -> ProgressBar {
    ProgressBar::new(0)
        .with_prefix(prefix.to_owned())
        .with_style(style(template))
}

/// `1.0 GB of 4.0 GB, 3 of 9 blobs, 120.0 MB/s, 25 s left`, as far as it is known.
fn summary(state: &ProgressState, now: Instant) -> String {
    let mut text = format!(
        "{} of {}, {} of {} blobs",
        human_size(state.done_bytes()),
        human_size(state.total_bytes()),
        state.blobs_done(),
        state.blobs()
    );
    if let Some(rate) = state.bytes_per_second(now) {
        let _ = write!(text, ", {}/s", human_size(rate));
    }
    match state.time_left(now) {
        Some(left) if !left.is_zero() => {
            let _ = write!(text, ", {} left", human_time(left));
        }
        _ => {}
    }
    text
}

fn human_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// An event for a program. Single pieces of blobs are not told: they would be thousands a second.
fn as_json(event: &Event) -> Option<Value> {
    let blob = |name: &str, digest: &Digest, size: u64| json!({"event": name, "digest": digest.to_string(), "size": size});
    Some(match event {
        Event::Planned {
            manifests,
            blobs,
            bytes,
        } => json!({"event": "planned", "manifests": manifests, "blobs": blobs, "bytes": bytes}),
        Event::Started {
            digest,
            size,
            offset: 0,
        } => blob("started", digest, *size),
        Event::Started {
            digest,
            size,
            offset,
        } => json!({
            "event": "resumed",
            "digest": digest.to_string(),
            "size": size,
            "offset": offset,
        }),
        Event::Retried { digest, offset } => json!({
            "event": "retried",
            "digest": digest.to_string(),
            "offset": offset,
        }),
        Event::Skipped { digest, size } => blob("skipped", digest, *size),
        Event::Mounted { digest, size } => blob("mounted", digest, *size),
        Event::Finished { digest, size } => blob("finished", digest, *size),
        Event::Omitted { digest, size } => blob("omitted", digest, *size),
        Event::Image { digest } => json!({"event": "image", "digest": digest.to_string()}),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_is_known() {
        let start = Instant::now();
        let mut state = ProgressState::new(start);
        let digest = Digest::sha256_of(b"x");
        let planned = Event::Planned {
            manifests: 1,
            blobs: 2,
            bytes: 500_000_000,
        };
        state.apply(&planned, start);
        assert_eq!(summary(&state, start), "0 B of 500.0 MB, 0 of 2 blobs");
        let started = Event::Started {
            digest: digest.clone(),
            size: 400_000_000,
            offset: 100_000_000,
        };
        state.apply(&started, start);
        let later = start + Duration::from_secs(2);
        let count = 4_000_000;
        state.apply(&Event::Bytes { digest, count }, later);
        assert_eq!(
            summary(&state, later),
            "104.0 MB of 500.0 MB, 0 of 2 blobs, 2.0 MB/s, 3 min 18 s left"
        );
        assert_eq!(human_time(Duration::from_secs(7322)), "2 h 2 min");
    }

    #[test]
    fn a_blob_that_goes_on_is_told_as_resumed() {
        let digest = Digest::sha256_of(b"x");
        let started = |offset| Event::Started {
            digest: digest.clone(),
            size: 9,
            offset,
        };
        assert_eq!(as_json(&started(0)).unwrap()["event"], "started");
        let resumed = as_json(&started(4)).unwrap();
        assert_eq!(resumed["event"], "resumed");
        assert_eq!(resumed["offset"], 4);
        let piece = Event::Bytes {
            digest: digest.clone(),
            count: 1,
        };
        assert_eq!(as_json(&piece), None);
    }
}
