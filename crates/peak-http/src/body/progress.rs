//! When the connection last took bytes of a request body.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Shared by a body that is being sent and the timeout that must not count the time it takes to send it.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    milliseconds: AtomicU64,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            milliseconds: AtomicU64::new(0),
        }
    }

    pub(crate) fn touch(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.milliseconds.store(elapsed, Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.milliseconds.load(Ordering::Relaxed))
    }
}
