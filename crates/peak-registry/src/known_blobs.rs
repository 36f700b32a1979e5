//! Which repository is known to have which blob, so that another one of the same registry can have it without sending it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use peak_oci::{Digest, RepositoryName};

use crate::Repository;

/// Most blobs that are remembered; the oldest are forgotten.
const MOST: usize = 4096;

/// The blobs that were seen in repositories.
#[derive(Default)]
pub(crate) struct KnownBlobs(Mutex<Known>);

type Key = (String, Digest);

#[derive(Default)]
struct Known {
    places: HashMap<Key, RepositoryName>,
    order: VecDeque<Key>,
}

impl KnownBlobs {
    /// The repository has the blob.
    pub(crate) fn add(&self, repository: &Repository, digest: &Digest) {
        let key = (repository.registry().to_owned(), digest.clone());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = repository.name().clone();
        if known.places.insert(key.clone(), place).is_none() {
            known.order.push_back(key);
        }
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.places.remove(&oldest);
        }
    }

    /// Where in the registry of this repository the blob is.
    pub(crate) fn find(&self, repository: &Repository, digest: &Digest) -> Option<RepositoryName> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (repository.registry().to_owned(), digest.clone());
        known.places.get(&key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    fn repository(name: &str) -> Repository {
        let registry = Registry::builder().build().unwrap();
        registry.repository(&name.parse().unwrap())
    }

    #[test]
    fn a_blob_is_known_at_its_registry_and_the_oldest_are_forgotten() {
        let known = KnownBlobs::default();
        let digest = Digest::sha256_of(b"x");
        known.add(&repository("r.example/a"), &digest);
        let found = known.find(&repository("r.example/b"), &digest).unwrap();
        assert_eq!(found.as_str(), "a");
        assert_eq!(known.find(&repository("other.example/b"), &digest), None);
        for number in 0..MOST {
            known.add(
                &repository("r.example/a"),
                &Digest::sha256_of(&number.to_le_bytes()),
            );
        }
        assert_eq!(known.find(&repository("r.example/b"), &digest), None);
        assert_eq!(known.0.lock().unwrap().places.len(), MOST);
    }
}
