//! When a blob is asked for in several ranges at once, and how many bodies a registry is asked for at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most registries whose lanes are counted together.
const MOST: usize = 64;

/// How a large blob comes in several ranges at the same time, which helps where one connection is slower than the way
/// to the registry.
///
/// It happens only with registries that have shown that they know ranges, and only with connections that no other blob
/// needs: with as many blobs on their way as there may be ranges, each comes in one piece at a time. What comes early is
/// kept in memory until it is its turn: at most `length` × (`at_once` − 1) bytes for all blobs of a registry together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ParallelRanges {
    pub(super) at_once: usize,
    pub(super) from_size: u64,
    pub(super) length: u64,
}

impl ParallelRanges {
    /// Four at once, of 2 MiB, for blobs of more than 64 MiB.
    pub fn new() -> Self {
        Self {
            at_once: 4,
            from_size: 64 * 1024 * 1024,
            length: 2 * 1024 * 1024,
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
