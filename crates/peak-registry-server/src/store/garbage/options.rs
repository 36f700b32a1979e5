//! What a collection of garbage may do.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::store::stop::Stop;

/// What [`Store::collect_garbage`](crate::Store::collect_garbage) may remove.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GarbageOptions {
    pub(super) grace: Duration,
    pub(super) dry_run: bool,
    pub(super) untagged: bool,
    pub(super) stop: Stop,
}

impl Default for GarbageOptions {
    fn default() -> Self {
        Self {
            grace: Self::DEFAULT_GRACE,
            dry_run: false,
            untagged: false,
            stop: Stop::default(),
        }
    }
}

impl GarbageOptions {
    /// An hour: longer than most pushes take between their first blob and their manifest.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(60 * 60);

    /// The defaults: an hour of grace, manifests stay, garbage is removed.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long something stays after it was added, or a client last asked whether it is there (noted to ten
    /// seconds). Default: an hour.
    ///
    /// Whatever it is, nothing is removed that is added or asked for while the collection runs. A push that
    /// takes longer than this may find some of its blobs gone, is told so, and pushes them again.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// Removes nothing, and reports what would be removed. Default: no.
    #[must_use]
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// Removes manifests too that no tag reaches: not directly, nor through an index, nor as what refers to
    /// a manifest that is reached. Default: no, as clients may know them by digest.
    #[must_use]
    pub fn untagged(mut self, yes: bool) -> Self {
        self.untagged = yes;
        self
    }

    /// Ends early with [`StoreError::Stopped`](crate::StoreError::Stopped), within a few files, once `flag` is true. Default: never.
    #[must_use]
    pub fn stop_when(mut self, flag: Arc<AtomicBool>) -> Self {
        self.stop = Stop::when(flag);
        self
    }
}
