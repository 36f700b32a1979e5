//! Ending a scan or a packing from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends the scan or packing that it was given to ([`PackOptions::cancel_flag`](crate::PackOptions::cancel_flag))
/// with [`PackError::Cancelled`](crate::PackError::Cancelled), from any thread.
///
/// Clones are the same flag; two flags are equal if one is a clone of the other. Once set it stays set.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends what the flag was given to, within the time that a few files take.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Cancels when the returned value is dropped: for a future that waits for a packing on another thread,
    /// and may be dropped itself.
    ///
    /// ```
    /// # use peak_pack::CancelFlag;
    /// let flag = CancelFlag::new();
    /// drop(flag.cancel_on_drop());
    /// assert!(flag.is_cancelled());
    /// ```
    #[must_use = "dropping it cancels"]
    pub fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for CancelFlag {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CancelFlag {}

/// Cancels its [`CancelFlag`] when it is dropped.
#[derive(Debug)]
pub struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
