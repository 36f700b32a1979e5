//! What a check looks at.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::store::stop::Stop;

/// What [`Store::check`](crate::Store::check) looks at.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    pub(super) contents: bool,
    pub(super) stop: Stop,
}

impl CheckOptions {
    /// The defaults: names, records, tags, manifests and sizes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads every blob too and compares it with its digest. Default: no, as that takes as long as reading the
    /// whole store.
    #[must_use]
    pub fn contents(mut self, yes: bool) -> Self {
        self.contents = yes;
        self
    }

    /// Ends early with [`StoreError::Stopped`](crate::StoreError::Stopped), within a few pieces of a file, once `flag` is true. Default: never.
    #[must_use]
    pub fn stop_when(mut self, flag: Arc<AtomicBool>) -> Self {
        self.stop = Stop::when(flag);
        self
    }
}
