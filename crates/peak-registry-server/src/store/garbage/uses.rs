//! What was added or looked at while a collection of garbage runs.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_oci::Digest;

/// Stands for a digest in the sets of a collection: its first 128 bits.
///
/// Should two digests ever share these, one of them is kept although it is garbage. That is the harmless
/// way round, so the rest of a digest is not worth its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u128);

impl Key {
    pub(crate) fn of(digest: &Digest) -> Self {
        let start = digest.hex().get(..32).unwrap_or_default();
        // A digest has that many hexadecimal digits and more; anything else would share one key, and be kept.
        Self(u128::from_str_radix(start, 16).unwrap_or_default())
    }
}

/// The uses since the collection that runs began; `None` while none runs, when nothing is noted.
///
/// Whoever adds or looks something up holds the store's lock for adding while noting it, and a collection
/// begins and removes under the lock for removing: so a use is either seen by what the collection reads, or
/// it is in here before anything is removed.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    since_begin: Mutex<Option<HashSet<Key>>>,
}

impl Uses {
    pub(crate) fn note(&self, digest: &Digest) {
        if let Some(uses) = self.lock().as_mut() {
            uses.insert(Key::of(digest));
        }
    }

    /// Begins to note. Returns whether it did: there is one collection at a time.
    pub(crate) fn begin(&self) -> bool {
        let mut uses = self.lock();
        let begins = uses.is_none();
        if begins {
            *uses = Some(HashSet::new());
        }
        begins
    }

    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    pub(crate) fn contains(&self, key: Key) -> bool {
        self.lock().as_ref().is_some_and(|uses| uses.contains(&key))
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashSet<Key>>> {
        // Every operation is a single step, so the set is valid after any panic.
        self.since_begin
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_noted_only_while_a_collection_runs() {
        let uses = Uses::default();
        let digest = Digest::sha256_of(b"x");
        uses.note(&digest);
        assert!(uses.begin());
        assert!(!uses.begin());
        assert!(!uses.contains(Key::of(&digest)));
        uses.note(&digest);
        assert!(uses.contains(Key::of(&digest)));
        uses.end();
        assert!(!uses.contains(Key::of(&digest)));
        assert!(uses.begin());
    }

    #[test]
    fn digests_have_keys_of_their_own() {
        let keys: HashSet<Key> = [&b"a"[..], b"b", b"c"]
            .iter()
            .flat_map(|bytes| {
                [
                    Digest::sha256_of(bytes),
                    Digest::of(peak_oci::Algorithm::Sha512, bytes),
                ]
            })
            .map(|digest| Key::of(&digest))
            .collect();
        assert_eq!(keys.len(), 6);
    }
}
