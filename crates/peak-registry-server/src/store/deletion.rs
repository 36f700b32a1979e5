//! Taking manifests and tags out of a repository.
//!
//! A deletion is decided by one rename, which takes the record out of its place; what follows is
//! repeated at the next start if need be.

use std::path::{Path, PathBuf};

use peak_oci::{Digest, Selector, Tag};

use crate::store::record::Record;
use crate::store::{Repository, Store, StoreError};

impl Repository {
    /// Takes a tag, or a manifest and all tags that point to it, from the repository.
    ///
    /// # Errors
    ///
    /// [`StoreError::ManifestUnknown`] if the repository does not have it.
    pub fn delete_manifest(&self, selector: &Selector) -> Result<(), StoreError> {
        let _removing = self.store().removing();
        match selector {
            Selector::Tag(tag) => {
                if self.store().files().remove(&self.paths().tag(tag))? {
                    Ok(())
                } else {
                    Err(self.manifest_unknown(tag.to_string()))
                }
            }
            Selector::Digest(_) => {
                let record = self.record(selector)?;
                let place = self.paths().manifest(&record.digest);
                let decided = self.store().decide_deletion(&place)?;
                self.store().finish_deletion(&decided)
            }
        }
    }

    /// Takes a manifest that no tag points to from the repository, if it is there. Returns whether it
    /// was. The caller holds the lock for removing.
    pub(crate) fn remove_unreached(&self, digest: &Digest) -> Result<bool, StoreError> {
        let record = match self.record(&Selector::Digest(digest.clone())) {
            Ok(record) => record,
            Err(StoreError::ManifestUnknown { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let decided = self
            .store()
            .decide_deletion(&self.paths().manifest(digest))?;
        self.finish_untagged_deletion(&decided, &record)?;
        Ok(true)
    }

    /// Removes the entry among a subject's referrers of a manifest whose deletion is decided, then the
    /// decision.
    fn finish_untagged_deletion(&self, decided: &Path, record: &Record) -> Result<(), StoreError> {
        let files = self.store().files();
        if let Some(subject) = &record.subject {
            files.remove(&self.paths().referrer(subject, &record.digest))?;
        }
        files.remove(decided)?;
        Ok(())
    }
}

impl Store {
    /// Completes the deletions that a process decided and did not get to complete.
    pub(crate) fn finish_deletions(&self) -> Result<(), StoreError> {
        let deleting = self.layout().deleting();
        let mut decided = Vec::new();
        self.files().for_each_name(&deleting, |name| {
            decided.push(deleting.join(name));
            true
        })?;
        for record in &decided {
            match self.finish_deletion(record) {
                // What cannot be read cannot be completed either, and is no reason to serve nothing.
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::warn!(%error, "a deletion cannot be completed");
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Moves a manifest's record out of the repository: from here on the manifest is gone.
    fn decide_deletion(&self, place: &Path) -> Result<PathBuf, StoreError> {
        let decided = self
            .layout()
            .deleting()
            .join(uuid::Uuid::new_v4().to_string());
        self.files().move_away(place, &decided)?;
        Ok(decided)
    }

    /// Removes what still points to a manifest whose deletion is decided, then the decision.
    fn finish_deletion(&self, decided: &Path) -> Result<(), StoreError> {
        let Some(record) = self.read_record(decided)? else {
            return Ok(());
        };
        let repository = self.repository(&record.repository);
        if repository.records_manifest(&record.digest)? {
            // Pushed again since, after an earlier attempt at this failed: its tags are good.
            self.files().remove(decided)?;
            return Ok(());
        }
        let mut tags = Vec::new();
        let mut failure = None;
        self.files()
            .for_each_name(&repository.paths().tags(), |name| {
                if let Ok(tag) = name.parse::<Tag>() {
                    match repository.tag_target(&tag) {
                        Ok(Some(target)) if target == record.digest => tags.push(tag),
                        Ok(_) => {}
                        Err(error) => failure = Some(error),
                    }
                }
                failure.is_none()
            })?;
        if let Some(error) = failure {
            return Err(error);
        }
        for tag in &tags {
            self.files().remove(&repository.paths().tag(tag))?;
        }
        repository.finish_untagged_deletion(decided, &record)
    }
}
