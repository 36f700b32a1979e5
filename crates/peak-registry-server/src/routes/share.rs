//! The memory for bodies, shared by those that are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What all bodies together may hold in memory, in bytes, as long as each can have
/// [`LEAST`] of it.
const TOTAL: usize = 32 * 1024 * 1024;

/// What each body may hold however many there are, in bytes. Less costs more time than it saves
/// memory, as every piece is a trip to the disk and back.
const LEAST: usize = 64 * 1024;

/// Counts the bodies under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bodies {
    count: Arc<AtomicUsize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    count: Arc<AtomicUsize>,
}

impl Bodies {
    pub(crate) fn join(&self) -> Share {
        self.count.fetch_add(1, Ordering::Relaxed);
        Share {
            count: Arc::clone(&self.count),
        }
    }
}

impl Share {
    /// How many bytes this body may hold now, at most `most`.
    pub(crate) fn size(&self, most: usize) -> usize {
        let count = self.count.load(Ordering::Relaxed).max(1);
        (TOTAL / count).max(LEAST).min(most)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bodies_hold_less_each() {
        let bodies = Bodies::default();
        let mut shares = vec![bodies.join()];
        assert_eq!(shares[0].size(512 * 1024), 512 * 1024);
        shares.extend((1..200).map(|_| bodies.join()));
        let each = shares[0].size(512 * 1024);
        assert!(each * 200 <= TOTAL && each > 2 * LEAST, "{each}");
        shares.extend((200..10_000).map(|_| bodies.join()));
        assert_eq!(shares[0].size(512 * 1024), LEAST);
        assert_eq!(shares[0].size(1000), 1000);
        shares.truncate(1);
        assert_eq!(shares[0].size(512 * 1024), 512 * 1024);
    }
}
