//! Manifests and tags of one repository.
//!
//! The order of writing is what makes a crash harmless: first the bytes, which nobody sees, then
//! the entry in the subject's referrers, which counts only with the record, then the record, which
//! makes the manifest visible by digest, and last the tag.

use std::path::Path;

use bytes::Bytes;
use peak_oci::{Descriptor, Digest, MAX_MANIFEST_SIZE, Manifest, MediaType, Raw, Selector, Tag};

use crate::store::layout;
use crate::store::page::{self, Page};
use crate::store::record::{MAX_SMALL_FILE, Record};
use crate::store::{Repository, StoreError};

/// What the store knows about a manifest without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredManifest {
    /// The digest that it was pushed by, or its SHA-256 one.
    pub digest: Digest,
    /// The media type that it was pushed with.
    pub media_type: MediaType,
    /// How many bytes it has.
    pub size: u64,
}

/// What becomes of a manifest that points to content that the repository does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Refused,
    Accepted,
}

impl Repository {
    /// Puts a manifest under a tag or its digest, byte for byte as given.
    ///
    /// What the manifest points to has to be in the repository, so that whoever sees it can read
    /// all of it. The subject need not exist, nor layers that have `urls` of their own.
    ///
    /// `content_type` is what the sender says that it is; without it the manifest's own `mediaType`
    /// or form tells. When this returns `Ok` the manifest is on stable storage.
    ///
    /// # Errors
    ///
    /// [`StoreError::ManifestInvalid`] if it is too large, no manifest of a known kind, or of
    /// another kind than was said; [`StoreError::DigestMismatch`] if it does not have the digest;
    /// [`StoreError::ManifestBlobUnknown`] and [`StoreError::ManifestSizeMismatch`] if it points to
    /// content that the repository does not have.
    pub fn put_manifest(
        &self,
        selector: &Selector,
        content_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Raw<Manifest>, StoreError> {
        self.put(selector, content_type, bytes, Missing::Refused)
    }

    /// As [`put_manifest`](Self::put_manifest), but what the manifest points to need not be there,
    /// as for the index of a mirror that keeps one platform. What is there must be as described.
    ///
    /// # Errors
    ///
    /// Those of [`put_manifest`](Self::put_manifest) but for [`StoreError::ManifestBlobUnknown`].
    pub fn put_sparse_manifest(
        &self,
        selector: &Selector,
        content_type: Option<&str>,
        bytes: Bytes,
    ) -> Result<Raw<Manifest>, StoreError> {
        self.put(selector, content_type, bytes, Missing::Accepted)
    }

    fn put(
        &self,
        selector: &Selector,
        content_type: Option<&str>,
        bytes: Bytes,
        missing: Missing,
    ) -> Result<Raw<Manifest>, StoreError> {
        let manifest = Manifest::parse(bytes, content_type)
            .map_err(|source| StoreError::ManifestInvalid { source })?;
        let (manifest, tag) = match selector {
            Selector::Digest(expected) => (check_digest(manifest, expected)?, None),
            Selector::Tag(tag) => (manifest, Some(tag)),
        };
        let digest = manifest.digest().clone();

        let _adding = self.store().adding();
        self.store().uses().note(&digest);
        self.check_children(manifest.value(), missing)?;
        // Content is kept under the digest of its bytes, which is not what a signed manifest is called.
        let content = (manifest.payload() != manifest.bytes())
            .then(|| Digest::sha256_of(manifest.bytes()))
            .filter(|content| *content != digest);
        self.store()
            .uses()
            .note(content.as_ref().unwrap_or(&digest));
        let place = self
            .store()
            .layout()
            .content(content.as_ref().unwrap_or(&digest));
        self.store().write_file(&place, manifest.bytes())?;
        let subject = manifest
            .value()
            .subject()
            .map(|subject| subject.digest.clone());
        if let Some(subject) = &subject {
            let entry = self.paths().referrer(subject, &digest);
            self.store().files().create_marker(&entry)?;
        }
        self.write_record(&Record {
            repository: self.name().clone(),
            digest: digest.clone(),
            content,
            media_type: manifest.media_type().clone(),
            subject,
        })?;
        if let Some(tag) = tag {
            self.write_tag(tag, &digest)?;
        }
        Ok(manifest)
    }

    /// Lets a tag point to a manifest that the repository has, whatever it pointed to before.
    ///
    /// # Errors
    ///
    /// [`StoreError::ManifestUnknown`] if the repository does not have the manifest.
    pub fn put_tag(&self, tag: &Tag, digest: &Digest) -> Result<(), StoreError> {
        let _adding = self.store().adding();
        if !self.use_manifest(digest)? {
            return Err(self.manifest_unknown(digest.to_string()));
        }
        self.write_tag(tag, digest)
    }

    /// Whether the repository has the manifest of this digest. Asking counts as a use: garbage
    /// collection leaves the manifest alone for its grace time, so that a push may rely on the answer.
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool, StoreError> {
        let _adding = self.store().adding();
        self.use_manifest(digest)
    }

    /// As [`has_manifest`](Self::has_manifest), for callers that hold the lock for adding.
    fn use_manifest(&self, digest: &Digest) -> Result<bool, StoreError> {
        let present = self.store().files().touch(&self.paths().manifest(digest))?;
        if present {
            self.store().uses().note(digest);
        }
        Ok(present)
    }

    /// Whether the repository has the manifest, without counting as a use.
    pub(crate) fn records_manifest(&self, digest: &Digest) -> Result<bool, StoreError> {
        let record = self.paths().manifest(digest);
        Ok(self.store().files().size_of(&record)?.is_some())
    }

    /// Digest, media type and size of a manifest. Asking counts as a use, as for
    /// [`has_manifest`](Self::has_manifest).
    ///
    /// # Errors
    ///
    /// [`StoreError::ManifestUnknown`] if the repository does not have it.
    pub fn manifest_entry(&self, selector: &Selector) -> Result<StoredManifest, StoreError> {
        let _adding = self.store().adding();
        let record = self.record(selector)?;
        self.use_manifest(&record.digest)?;
        let size = self.content_size(record.content())?;
        Ok(StoredManifest {
            digest: record.digest,
            media_type: record.media_type,
            size,
        })
    }

    /// A manifest's bytes as they were put, checked against its digest, and what it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::ManifestUnknown`] if the repository does not have it, [`StoreError::Damaged`]
    /// if the bytes on disk are not those of the digest.
    pub fn manifest_bytes(
        &self,
        selector: &Selector,
    ) -> Result<(StoredManifest, Bytes), StoreError> {
        let (record, bytes) = loop {
            let record = self.record(selector)?;
            match self.content_bytes(record.content()) {
                Ok(bytes) => break (record, bytes),
                // Deleted and collected since the record was read, which goes first: then there is another
                // record, or none.
                Err(StoreError::Damaged { .. }) if !self.records_manifest(&record.digest)? => {}
                Err(error) => return Err(error),
            }
        };
        let entry = StoredManifest {
            digest: record.digest,
            media_type: record.media_type,
            size: bytes.len() as u64,
        };
        Ok((entry, bytes))
    }

    /// A manifest, read.
    ///
    /// # Errors
    ///
    /// As for [`manifest_bytes`](Self::manifest_bytes).
    pub fn manifest(&self, selector: &Selector) -> Result<Raw<Manifest>, StoreError> {
        let (entry, bytes) = self.manifest_bytes(selector)?;
        let manifest = Manifest::parse(bytes, Some(entry.media_type.as_str()))
            .map_err(|source| StoreError::ManifestInvalid { source })?;
        check_digest(manifest, &entry.digest)
    }

    /// The manifests that name `subject` as their subject: at most `limit` of those that sort after
    /// `last`, sorted by digest.
    pub fn referrers_page(
        &self,
        subject: &Digest,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Page<Digest>, StoreError> {
        let mut page = page::Collector::new(last, limit);
        let mut failure = None;
        let entries = self.paths().referrers(subject);
        self.store().files().for_each_name(&entries, |name| {
            if let Some(digest) = layout::digest_of(name).filter(|digest| page.wants(digest)) {
                match self.records_manifest(&digest) {
                    Ok(true) => page.add(digest),
                    Ok(false) => {}
                    Err(error) => failure = Some(error),
                }
            }
            failure.is_none()
        })?;
        failure.map_or_else(|| Ok(page.finish()), Err)
    }

    /// What the tags point to.
    pub(crate) fn tag_targets(&self) -> Result<Vec<Digest>, StoreError> {
        let mut targets = Vec::new();
        let mut failure = None;
        let tags = self.paths().tags();
        self.store().files().for_each_name(&tags, |name| {
            if let Ok(tag) = name.parse::<Tag>() {
                match self.tag_target(&tag) {
                    Ok(target) => targets.extend(target),
                    Err(error) => failure = Some(error),
                }
            }
            failure.is_none()
        })?;
        failure.map_or(Ok(targets), Err)
    }

    /// By which digest the store has the bytes of a manifest; `None` if the repository does not have
    /// it.
    pub(crate) fn content_of(&self, digest: &Digest) -> Result<Option<Digest>, StoreError> {
        match self.record(&Selector::Digest(digest.clone())) {
            Ok(record) => Ok(Some(record.content().clone())),
            Err(StoreError::ManifestUnknown { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks that everything that the manifest points to is there, as it is described.
    fn check_children(&self, manifest: &Manifest, absent: Missing) -> Result<(), StoreError> {
        let in_index = manifest.as_index().is_some();
        let mut missing = Vec::new();
        // Schema 1 says no sizes, so being there is all that can be checked.
        for layer in manifest.as_schema1().iter().flat_map(|image| &image.layers) {
            if self.size_of_blob(&layer.digest)?.is_none() {
                missing.push(layer.digest.clone());
            }
        }
        for child in manifest.children() {
            match self.size_of_child(child, in_index)? {
                Some(actual) if actual == child.size => {}
                Some(actual) => {
                    return Err(StoreError::ManifestSizeMismatch {
                        digest: child.digest.clone(),
                        described: child.size,
                        actual,
                    });
                }
                // Somebody else serves it; registries do not get such layers.
                None if !child.urls.is_empty() => {}
                None => missing.push(child.digest.clone()),
            }
        }
        if missing.is_empty() || absent == Missing::Accepted {
            Ok(())
        } else {
            Err(StoreError::ManifestBlobUnknown {
                repository: self.name().clone(),
                missing,
            })
        }
    }

    fn size_of_child(&self, child: &Descriptor, in_index: bool) -> Result<Option<u64>, StoreError> {
        // An index may list content of any type, and only its sender knows which way it came.
        if in_index && self.use_manifest(&child.digest)? {
            let record = self.record(&Selector::Digest(child.digest.clone()))?;
            return self.content_size(record.content()).map(Some);
        }
        let may_be_blob = !(in_index && child.media_type.is_manifest());
        if may_be_blob {
            self.size_of_blob(&child.digest)
        } else {
            Ok(None)
        }
    }

    fn write_record(&self, record: &Record) -> Result<(), StoreError> {
        let place = self.paths().manifest(&record.digest);
        let bytes = serde_json::to_vec(record)
            .map_err(|error| StoreError::io("write", &place)(error.into()))?;
        self.store().write_file(&place, &bytes)
    }

    fn write_tag(&self, tag: &Tag, digest: &Digest) -> Result<(), StoreError> {
        self.store()
            .write_file(&self.paths().tag(tag), format!("{digest}\n").as_bytes())
    }

    /// What a tag points to.
    pub(crate) fn tag_target(&self, tag: &Tag) -> Result<Option<Digest>, StoreError> {
        let path = self.paths().tag(tag);
        self.store()
            .files()
            .read(&path, MAX_SMALL_FILE)?
            .map(|bytes| parse_tag_file(&path, &bytes))
            .transpose()
    }

    pub(crate) fn record(&self, selector: &Selector) -> Result<Record, StoreError> {
        let unknown = || self.manifest_unknown(selector.to_string());
        let mut digest = match selector {
            Selector::Digest(digest) => digest.clone(),
            Selector::Tag(tag) => self.tag_target(tag)?.ok_or_else(unknown)?,
        };
        let (path, record) = loop {
            let path = self.paths().manifest(&digest);
            if let Some(record) = self.store().read_record(&path)? {
                break (path, record);
            }
            // The tag may point elsewhere by now, and what it pointed to be deleted.
            let moved = match selector {
                Selector::Digest(_) => None,
                Selector::Tag(tag) => self.tag_target(tag)?,
            };
            digest = moved.filter(|now| *now != digest).ok_or_else(unknown)?;
        };
        if record.digest == digest && record.repository == *self.name() {
            Ok(record)
        } else {
            Err(StoreError::Damaged {
                path,
                reason: format!("it is about {} of {}", record.digest, record.repository),
            })
        }
    }

    fn content_bytes(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        let path = self.store().layout().content(digest);
        let bytes = self
            .store()
            .files()
            .read(&path, MAX_MANIFEST_SIZE)?
            .ok_or_else(|| self.content_missing(digest))?;
        let actual = Digest::of(digest.algorithm(), &bytes);
        if actual == *digest {
            Ok(Bytes::from(bytes))
        } else {
            Err(StoreError::Damaged {
                path,
                reason: format!("its digest is {actual}"),
            })
        }
    }

    pub(crate) fn manifest_unknown(&self, reference: String) -> StoreError {
        StoreError::ManifestUnknown {
            repository: self.name().clone(),
            reference,
        }
    }
}

fn check_digest(manifest: Raw<Manifest>, expected: &Digest) -> Result<Raw<Manifest>, StoreError> {
    let bytes = manifest.bytes().clone();
    manifest
        .verify(expected)
        .map_err(|_| StoreError::DigestMismatch {
            expected: expected.clone(),
            actual: Digest::of(expected.algorithm(), &bytes),
        })
}

fn parse_tag_file(path: &Path, bytes: &[u8]) -> Result<Digest, StoreError> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.trim_end().parse().ok())
        .ok_or_else(|| StoreError::Damaged {
            path: path.to_path_buf(),
            reason: "it holds no digest".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use serde_json::json;

    use super::*;
    use crate::store::Store;

    fn index(number: u32) -> Bytes {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [],
            "annotations": { "number": number.to_string() },
        });
        Bytes::from(index.to_string())
    }

    #[test]
    fn a_tag_is_there_all_the_time_while_it_moves_and_what_it_left_is_deleted() {
        let store = Store::in_memory();
        let repository = store.repository(&"demo".parse().unwrap());
        let tag = Selector::Tag("latest".parse().unwrap());
        repository.put_manifest(&tag, None, index(0)).unwrap();
        let moving = repository.clone();
        let at = tag.clone();
        let moves = thread::spawn(move || {
            for number in 1..1000 {
                moving.put_manifest(&at, None, index(number)).unwrap();
                let left = Digest::sha256_of(&index(number - 1));
                moving.delete_manifest(&Selector::Digest(left)).unwrap();
            }
        });
        while !moves.is_finished() {
            repository.manifest_bytes(&tag).unwrap();
        }
        moves.join().unwrap();
        let (last, _) = repository.manifest_bytes(&tag).unwrap();
        assert_eq!(last.digest, Digest::sha256_of(&index(999)));
    }
}
