//! What each registry was found to be able to do in this process, so that nobody has to find it out again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most registries that are remembered.
const MOST: usize = 64;

/// Bytes of a chunk where nothing else is known: more was refused by a large registry (GHCR, as reported in 2022).
pub(crate) const CHUNK: u64 = 4 * 1024 * 1024;

/// What one registry can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    /// Most bytes of a blob in one request.
    pub(crate) whole: u64,
    /// Most bytes of a chunk, where blobs are sent in chunks.
    pub(crate) chunk: u64,
    /// Whether it mounts blobs from other repositories, or at least does not fail when it is asked to.
    pub(crate) mounts: bool,
    /// Whether it ends an upload when it is told to.
    pub(crate) cancels: bool,
}

impl Default for Capability {
    fn default() -> Self {
        Self {
            whole: u64::MAX,
            chunk: CHUNK,
            mounts: true,
            cancels: true,
        }
    }
}

/// What all registries can do that have shown it.
#[derive(Default)]
pub(crate) struct Capabilities {
    known: Mutex<HashMap<String, Capability>>,
}

impl Capabilities {
    pub(crate) fn of(&self, registry: &str) -> Capability {
        self.lock().get(registry).copied().unwrap_or_default()
    }

    /// Changes what is known about a registry. Of too many registries nothing is kept.
    pub(crate) fn learn(&self, registry: &str, change: impl FnOnce(&mut Capability)) {
        let mut known = self.lock();
        if known.len() < MOST || known.contains_key(registry) {
            change(known.entry(registry.to_owned()).or_default());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Capability>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_is_about_one_registry_and_does_not_fill_the_memory() {
        let all = Capabilities::default();
        all.learn("r.example", |one| one.mounts = false);
        assert!(!all.of("r.example").mounts);
        assert_eq!(all.of("other.example"), Capability::default());
        for number in 0..1000 {
            all.learn(&format!("r{number}.example"), |one| one.cancels = false);
        }
        assert_eq!(all.lock().len(), MOST);
    }
}
