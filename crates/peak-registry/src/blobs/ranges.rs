//! When a blob is asked for in several ranges at once, and how many bodies a registry is asked for at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most registries whose lanes are counted together.
const MOST: usize = 64;

/// How long the speed of a blob is watched before it counts.
const WATCHED: Duration = Duration::from_millis(250);

/// How a large blob comes in several ranges at the same time, which helps where one connection is slower than the way
/// to the registry.
///
/// It happens only with registries that have shown that they know ranges, only where a blob comes slowly in one piece
/// (elsewhere more requests cost more than they bring), and only with connections that no other blob needs: with as many blobs on their way as there may be ranges, each comes in one piece at a time. What comes early is
/// kept in memory until it is its turn: at most `length` × (`at_once` − 1) bytes for all blobs of a registry together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ParallelRanges {
    pub(super) at_once: usize,
    pub(super) from_size: u64,
    pub(super) length: u64,
    pub(super) slower_than: u64,
}

impl ParallelRanges {
    /// Four at once, of 2 MiB, for blobs of more than 64 MiB that come with less than 32 MiB a second.
    pub fn new() -> Self {
        Self {
            at_once: 4,
            from_size: 64 * 1024 * 1024,
            length: 2 * 1024 * 1024,
            slower_than: 32 * 1024 * 1024,
        }
    }

    /// Each blob comes in one piece, whatever its size.
    pub fn none() -> Self {
        Self::new().at_once(1)
    }

    /// How many bodies of blobs one registry is asked for at the same time before no further ranges are asked for; 1
    /// means no ranges.
    pub fn at_once(mut self, count: usize) -> Self {
        self.at_once = count.clamp(1, 64);
        self
    }

    /// Blobs of at most so many bytes come in one piece.
    pub fn from_size(mut self, bytes: u64) -> Self {
        self.from_size = bytes;
        self
    }

    /// How many bytes each range has that is asked for before its turn; at least 1.
    pub fn length(mut self, bytes: u64) -> Self {
        self.length = bytes.max(1);
        self
    }

    /// A blob that comes with at least so many bytes a second, reckoned from its beginning, goes on in one piece;
    /// [`u64::MAX`] asks for ranges from the beginning, whatever the speed.
    pub fn slower_than(mut self, bytes_per_second: u64) -> Self {
        self.slower_than = bytes_per_second;
        self
    }

    /// Whether so many bytes in such a time are few enough for more ranges.
    pub(super) fn are_for_speed(&self, bytes: u64, time: Duration) -> bool {
        if self.slower_than == u64::MAX {
            return true;
        }
        let enough = u128::from(self.slower_than) * time.as_millis() / 1000;
        time >= WATCHED && u128::from(bytes) < enough
    }

    pub(super) fn are_for(&self, bytes: u64) -> bool {
        self.at_once > 1 && bytes > self.from_size.max(self.length)
    }
}

impl Default for ParallelRanges {
    fn default() -> Self {
        Self::new()
    }
}

/// The bodies that each registry is asked for at the same time.
#[derive(Default)]
pub(crate) struct Lanes {
    pub(super) ranges: ParallelRanges,
    of: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Lanes {
    pub(crate) fn new(ranges: ParallelRanges) -> Self {
        Self {
            ranges,
            of: Mutex::default(),
        }
    }

    /// Those of one registry.
    pub(super) fn of(&self, registry: &str) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lanes) = of.get(registry) {
            return Arc::clone(lanes);
        }
        let lanes = Arc::new(Semaphore::new(self.ranges.at_once));
        if of.len() < MOST {
            of.insert(registry.to_owned(), Arc::clone(&lanes));
        }
        lanes
    }
}

/// Takes a lane if one is free. Nobody waits for one: how many blobs come at once is decided elsewhere.
pub(super) fn take(lanes: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(lanes).try_acquire_owned().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_fast_goes_on_in_one_piece() {
        let ranges = ParallelRanges::new().slower_than(1000);
        let second = Duration::from_secs(1);
        assert!(!ranges.are_for_speed(1000, second));
        assert!(ranges.are_for_speed(999, second));
        // Too early to say.
        assert!(!ranges.are_for_speed(0, Duration::from_millis(249)));
        assert!(ranges.are_for_speed(0, Duration::from_millis(250)));
        assert!(
            ranges
                .slower_than(u64::MAX)
                .are_for_speed(u64::MAX, Duration::ZERO)
        );
    }
}
