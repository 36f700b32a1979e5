//! Ending long work early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::StoreError;

/// Whether to go on; by default for ever.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    pub(crate) fn when(flag: Arc<AtomicBool>) -> Self {
        Self(Some(flag))
    }

    /// [`StoreError::Stopped`] once the flag is set.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &self.0 {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(StoreError::Stopped),
            _ => Ok(()),
        }
    }
}
