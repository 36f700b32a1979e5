//! What the events of a transfer add up to: how far it is, how fast, and how long it may still take. No clock of its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use peak_oci::Digest;

use super::Event;

/// The rate is that of the last so many seconds: long enough to be calm, short enough to follow the network.
const WINDOW: Duration = Duration::from_secs(10);

/// Samples are at least so far apart, so that there are few of them whatever the number of events.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// Before so much time no rate is said: it would be a guess.
const MIN_MEASURED: Duration = Duration::from_millis(500);

/// How far a transfer is.
///
/// It is fed with [events](Event) and the time, and asked with the time; it has no clock, so that it can be tested and
/// drawn in any way. Its memory is that of the blobs that are moving at the moment.
///
/// ```
/// use std::time::{Duration, Instant};
/// use peak_oci::Digest;
/// use peak_transfer::{Event, ProgressState};
///
/// let start = Instant::now();
/// let digest = Digest::sha256_of(b"a layer");
/// let mut state = ProgressState::new(start);
/// state.apply(&Event::Planned { manifests: 1, blobs: 1, bytes: 100 }, start);
/// state.apply(&Event::Started { digest: digest.clone(), size: 100, offset: 20 }, start);
///
/// let later = start + Duration::from_secs(2);
/// state.apply(&Event::Bytes { digest, count: 40 }, later);
/// assert_eq!((state.done_bytes(), state.total_bytes()), (60, 100));
/// assert_eq!(state.bytes_per_second(later), Some(20));
/// assert_eq!(state.time_left(later), Some(Duration::from_secs(2)));
/// ```
#[derive(Clone, Debug)]
pub struct ProgressState {
    manifests: usize,
    blobs: usize,
    total: u64,
    moved: u64,
    resumed: u64,
    skipped: u64,
    mounted: u64,
    blobs_done: usize,
    images: usize,
    retries: u64,
    active: BTreeMap<Digest, BlobProgress>,
    /// When, and how many bytes had been moved then.
    samples: VecDeque<(Instant, u64)>,
}

/// How far one blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobProgress {
    /// Its bytes.
    pub size: u64,
    /// How many of them are there.
    pub done: u64,
}

impl ProgressState {
    /// Nothing has happened yet.
    pub fn new(now: Instant) -> Self {
        Self {
            manifests: 0,
            blobs: 0,
            total: 0,
            moved: 0,
            resumed: 0,
            skipped: 0,
            mounted: 0,
            blobs_done: 0,
            images: 0,
            retries: 0,
            active: BTreeMap::new(),
            samples: VecDeque::from([(now, 0)]),
        }
    }

    /// Something has happened.
    pub fn apply(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Planned {
                manifests,
                blobs,
                bytes,
            } => {
                self.manifests = self.manifests.saturating_add(*manifests);
                self.blobs = self.blobs.saturating_add(*blobs);
                self.total = self.total.saturating_add(*bytes);
            }
            Event::Started {
                digest,
                size,
                offset,
            } => {
                self.resumed = self.resumed.saturating_add(*offset);
                let blob = BlobProgress {
                    size: *size,
                    done: *offset,
                };
                self.active.insert(digest.clone(), blob);
            }
            Event::Bytes { digest, count } => {
                self.moved = self.moved.saturating_add(*count);
                if let Some(blob) = self.active.get_mut(digest) {
                    blob.done = blob.done.saturating_add(*count);
                }
                self.sample(now);
            }
            Event::Retried { .. } => self.retries = self.retries.saturating_add(1),
            Event::Skipped { size, .. } => {
                self.skipped = self.skipped.saturating_add(*size);
                self.blobs_done += 1;
            }
            Event::Mounted { digest, size } => {
                self.active.remove(digest);
                self.mounted = self.mounted.saturating_add(*size);
                self.blobs_done += 1;
            }
            Event::Finished { digest, .. } => {
                self.active.remove(digest);
                self.blobs_done += 1;
            }
            Event::Omitted { .. } => {}
            Event::Image { .. } => self.images += 1,
        }
    }

    fn sample(&mut self, now: Instant) {
        self.forget(now);
        let is_due = self
            .samples
            .back()
            .is_none_or(|(last, _)| now.saturating_duration_since(*last) >= SAMPLE_INTERVAL);
        if is_due {
            self.samples.push_back((now, self.moved));
        }
    }

    /// Lets go of samples that are out of the window, except the last of them, where the window begins.
    fn forget(&mut self, now: Instant) {
        while let Some((second, _)) = self.samples.get(1) {
            if now.saturating_duration_since(*second) < WINDOW {
                break;
            }
            self.samples.pop_front();
        }
    }

    /// Bytes of all blobs planned so far.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// Bytes that are at the destination: moved, or there from earlier, or taken over.
    pub fn done_bytes(&self) -> u64 {
        self.moved
            .saturating_add(self.resumed)
            .saturating_add(self.skipped)
            .saturating_add(self.mounted)
            .min(self.total)
    }

    /// Bytes that were moved by this transfer.
    pub fn moved_bytes(&self) -> u64 {
        self.moved
    }

    /// Bytes that did not have to be moved, as the destination had them.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped.saturating_add(self.resumed)
    }

    /// Bytes that the destination took over from another place of its own.
    pub fn mounted_bytes(&self) -> u64 {
        self.mounted
    }

    /// Blobs planned so far.
    pub fn blobs(&self) -> usize {
        self.blobs
    }

    /// Blobs that are at the destination.
    pub fn blobs_done(&self) -> usize {
        self.blobs_done
    }

    /// Images that are visible at the destination, whole.
    pub fn images_done(&self) -> usize {
        self.images
    }

    /// How often something went wrong on the way of a blob, and the transfer went on.
    pub fn retries(&self) -> u64 {
        self.retries
    }

    /// The blobs that are moving at the moment, by digest.
    pub fn active(&self) -> impl Iterator<Item = (&Digest, BlobProgress)> {
        self.active.iter().map(|(digest, blob)| (digest, *blob))
    }

    /// Bytes per second over the last ten seconds; `None` as long as there is too little to say.
    pub fn bytes_per_second(&self, now: Instant) -> Option<u64> {
        let out_of_window =
            |(time, _): &&(Instant, u64)| now.saturating_duration_since(*time) >= WINDOW;
        // Where the window begins: the last sample that is out of it, or the oldest.
        let begin = self
            .samples
            .iter()
            .take_while(out_of_window)
            .last()
            .or_else(|| self.samples.front())?;
        let (time, moved) = *begin;
        let measured = now.saturating_duration_since(time);
        if measured < MIN_MEASURED {
            return None;
        }
        let bytes = u128::from(self.moved.saturating_sub(moved));
        let rate = bytes * 1000 / measured.as_millis().max(1);
        u64::try_from(rate).ok()
    }

    /// How long the rest may take at the present rate; `None` as long as nobody can say.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        let left = self.total.saturating_sub(self.done_bytes());
        if left == 0 {
            return Some(Duration::ZERO);
        }
        let rate = self.bytes_per_second(now).filter(|rate| *rate > 0)?;
        Some(Duration::from_secs(left.div_ceil(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn digest(name: &str) -> Digest {
        Digest::sha256_of(name.as_bytes())
    }

    fn planned(blobs: usize, bytes: u64) -> Event {
        Event::Planned {
            manifests: 1,
            blobs,
            bytes,
        }
    }

    fn started(name: &str, size: u64, offset: u64) -> Event {
        Event::Started {
            digest: digest(name),
            size,
            offset,
        }
    }

    fn bytes(name: &str, count: u64) -> Event {
        Event::Bytes {
            digest: digest(name),
            count,
        }
    }

    #[test]
    fn what_was_there_counts_as_done_but_not_for_the_rate() {
        let start = Instant::now();
        let mut state = ProgressState::new(start);
        state.apply(&planned(4, 1000), start);
        let skipped = Event::Skipped {
            digest: digest("skipped"),
            size: 300,
        };
        state.apply(&skipped, start);
        let mounted = Event::Mounted {
            digest: digest("mounted"),
            size: 200,
        };
        state.apply(&mounted, start);
        state.apply(&started("resumed", 400, 100), start);
        assert_eq!(state.done_bytes(), 600);
        let later = start + 4 * SECOND;
        state.apply(&bytes("resumed", 200), later);
        assert_eq!(state.bytes_per_second(later), Some(50));
        assert_eq!(state.time_left(later), Some(4 * SECOND));
        assert_eq!(state.moved_bytes(), 200);
        let active: Vec<_> = state.active().map(|(_, blob)| blob).collect();
        assert_eq!(
            active,
            [BlobProgress {
                size: 400,
                done: 300
            }]
        );
        let finished = Event::Finished {
            digest: digest("resumed"),
            size: 400,
        };
        state.apply(&finished, later);
        assert_eq!(state.active().count(), 0);
        assert_eq!((state.blobs_done(), state.blobs()), (3, 4));
    }

    #[test]
    fn the_rate_follows_the_last_ten_seconds() {
        let start = Instant::now();
        let mut state = ProgressState::new(start);
        state.apply(&planned(1, 1_000_000), start);
        state.apply(&started("a", 1_000_000, 0), start);
        let mut now = start;
        for _ in 0..60 {
            now += SECOND;
            state.apply(&bytes("a", 100), now);
        }
        assert_eq!(state.bytes_per_second(now), Some(100));
        // Ten times as fast: after the window nothing is left of before.
        for _ in 0..11 {
            now += SECOND;
            state.apply(&bytes("a", 1000), now);
        }
        assert_eq!(state.bytes_per_second(now), Some(1000));
        // And when nothing comes any more, the rate falls to nothing, also without an event.
        assert!(state.bytes_per_second(now + 5 * SECOND).unwrap() < 1000);
        now += 30 * SECOND;
        assert_eq!(state.bytes_per_second(now), Some(0));
        assert_eq!(state.time_left(now), None);
    }

    #[test]
    fn memory_does_not_grow_with_the_number_of_events() {
        let start = Instant::now();
        let mut state = ProgressState::new(start);
        let mut now = start;
        for _ in 0..100_000 {
            now += Duration::from_millis(1);
            state.apply(&bytes("a", 1), now);
        }
        assert!(state.samples.len() < 50, "{}", state.samples.len());
        assert_eq!(state.bytes_per_second(now), Some(1000));
    }

    #[test]
    fn nothing_is_said_before_there_is_something_to_say() {
        let start = Instant::now();
        let mut state = ProgressState::new(start);
        state.apply(&planned(1, 100), start);
        assert_eq!(state.bytes_per_second(start), None);
        assert_eq!(state.time_left(start + SECOND), None);
        assert_eq!(
            ProgressState::new(start).time_left(start),
            Some(Duration::ZERO)
        );
    }
}
