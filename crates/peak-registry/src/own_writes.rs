//! What we have put into registries just now. Some of them (Quay) deny for a moment that it is there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use peak_http::Response;
use peak_oci::{Digest, RepositoryName, Selector, Tag};
use tokio::time::Instant;

use crate::connection::Call;
use crate::{RegistryError, Repository};

/// For how long after our own write "not found" may be a delay of the registry's.
const FRESH: Duration = Duration::from_secs(10);

/// How many writes are remembered, of all registries.
const MOST: usize = 256;

/// The waits before asking again. Three seconds in all: longer delays are not to be bridged unseen.
const WAITS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
];

/// The manifests that were put last.
#[derive(Default)]
pub(crate) struct OwnWrites {
    writes: Mutex<VecDeque<Write>>,
}

struct Write {
    registry: String,
    repository: RepositoryName,
    digest: Digest,
    tag: Option<Tag>,
    at: Instant,
}

impl Write {
    fn is_in(&self, repository: &Repository) -> bool {
        self.registry == repository.registry() && self.repository == *repository.name()
    }

    fn is_of(&self, selector: &Selector) -> bool {
        match selector {
            Selector::Digest(digest) => self.digest == *digest,
            Selector::Tag(tag) => self.tag.as_ref() == Some(tag),
        }
    }
}

impl OwnWrites {
    /// A manifest was put.
    pub(crate) fn add(&self, repository: &Repository, digest: &Digest, selector: &Selector) {
        let mut writes = self.lock();
        if writes.len() >= MOST {
            writes.pop_front();
        }
        writes.push_back(Write {
            registry: repository.registry().to_owned(),
            repository: repository.name().clone(),
            digest: digest.clone(),
            tag: match selector {
                Selector::Tag(tag) => Some(tag.clone()),
                Selector::Digest(_) => None,
            },
            at: Instant::now(),
        });
    }

    /// It was deleted again: from now on "not found" is the truth. A manifest takes its tags along.
    fn forget(&self, repository: &Repository, selector: &Selector) {
        let mut writes = self.lock();
        match selector {
            Selector::Digest(digest) => {
                writes.retain(|write| !write.is_in(repository) || write.digest != *digest);
            }
            Selector::Tag(_) => {
                let of_tag = |write: &&mut Write| write.is_in(repository) && write.is_of(selector);
                writes.iter_mut().filter(of_tag).for_each(|write| {
                    write.tag = None;
                });
            }
        }
    }

    fn has(&self, repository: &Repository, selector: &Selector) -> bool {
        let mut writes = self.lock();
        writes.retain(|write| write.at.elapsed() < FRESH);
        writes
            .iter()
            .any(|write| write.is_in(repository) && write.is_of(selector))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Write>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// Sends a request about a manifest. When it is one that was put by this client a moment ago and the registry says
    /// that it has no such thing, it is asked again a few times.
    pub(crate) async fn call_about(
        &self,
        selector: &Selector,
        call: impl Fn() -> Call,
    ) -> Result<Response, RegistryError> {
        for wait in WAITS {
            let response = self.call(call()).await?;
            if response.status() != StatusCode::NOT_FOUND
                || !self.connection().own_writes().has(self, selector)
            {
                return Ok(response);
            }
            tracing::debug!(repository = %self, %selector, ?wait, "not there yet; asking again");
            tokio::time::sleep(wait).await;
        }
        self.call(call()).await
    }

    /// A manifest or a tag was deleted.
    pub(crate) fn forget_write(&self, selector: &Selector) {
        self.connection().own_writes().forget(self, selector);
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

    fn tag(text: &str) -> Selector {
        Selector::Tag(text.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_counts_for_its_repository_tag_and_digest_until_it_is_old_or_deleted() {
        let (ours, other) = (repository("r.example/a"), repository("r.example/b"));
        let digest = Digest::sha256_of(b"x");
        let by_digest = Selector::Digest(digest.clone());
        let writes = OwnWrites::default();
        writes.add(&ours, &digest, &tag("v1"));
        assert!(writes.has(&ours, &tag("v1")) && writes.has(&ours, &by_digest));
        assert!(!writes.has(&ours, &tag("v2")) && !writes.has(&other, &tag("v1")));
        writes.forget(&other, &by_digest);
        writes.forget(&ours, &tag("v1"));
        assert!(!writes.has(&ours, &tag("v1")) && writes.has(&ours, &by_digest));
        writes.add(&ours, &digest, &tag("v1"));
        writes.forget(&ours, &by_digest);
        assert!(!writes.has(&ours, &tag("v1")));

        writes.add(&ours, &digest, &tag("v1"));
        tokio::time::advance(FRESH).await;
        assert!(!writes.has(&ours, &tag("v1")));
    }

    #[test]
    fn many_writes_do_not_fill_the_memory() {
        let ours = repository("r.example/a");
        let writes = OwnWrites::default();
        for number in 0..1000 {
            let digest = Digest::sha256_of(&[0]);
            writes.add(&ours, &digest, &tag(&number.to_string()));
        }
        assert_eq!(writes.lock().len(), MOST);
        assert!(writes.has(&ours, &tag("999")) && !writes.has(&ours, &tag("0")));
    }
}
