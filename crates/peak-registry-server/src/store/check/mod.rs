//! Whether the store is as it should be: what a crash leaves is put in order, the rest is told.

mod options;
mod report;

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use peak_oci::{Algorithm, Digest, Hasher, Manifest, Selector, Tag};

use crate::store::record::Record;
use crate::store::stop::Stop;
use crate::store::{Repository, Store, StoreError, is_content_directory, layout};

pub use options::CheckOptions;
pub use report::{CheckReport, Finding, FindingKind};

/// How much of a file is hashed at a time, in bytes.
const HASH_BUFFER: usize = 256 * 1024;

impl Store {
    /// Looks whether everything is there that the store says, puts in order what a crash leaves, and reports the rest.
    ///
    /// Requests go on meanwhile. Nothing is removed but entries of referrers without a manifest: what is damaged may
    /// still be somebody's. Takes memory for the names in the largest directory.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stopped`] if it was [stopped](CheckOptions::stop_when), [`StoreError::Io`] if the file system
    /// refuses to list or to repair. What cannot be read is a finding.
    pub fn check(&self, options: &CheckOptions) -> Result<CheckReport, StoreError> {
        let begun = Instant::now();
        let mut check = Check {
            store: self,
            stop: &options.stop,
            report: CheckReport::default(),
        };
        check.top()?;
        for name in self.repository_directories()? {
            check.repository(&self.repository(&name))?;
        }
        check.contents(options.contents)?;
        let mut report = check.report;
        report.milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(report)
    }
}

struct Check<'a> {
    store: &'a Store,
    stop: &'a Stop,
    report: CheckReport,
}

impl Check<'_> {
    fn found(&mut self, kind: FindingKind, path: &Path, reason: impl Into<String>) {
        let root = self.store.layout().root();
        let path = path.strip_prefix(root).unwrap_or(path);
        self.report.add(Finding {
            kind,
            path: path.display().to_string(),
            reason: reason.into(),
        });
    }

    /// Takes a failure to read for a finding about that file.
    fn unreadable(&mut self, path: &Path, error: &StoreError) {
        let reason = match error {
            StoreError::Damaged { reason, .. } => reason.clone(),
            other => other.with_causes(),
        };
        self.found(FindingKind::Damaged, path, reason);
    }

    /// Calls `look` with each name of a directory that `read` understands; the others are foreign.
    fn each<T>(
        &mut self,
        directory: &Path,
        read: impl Fn(&str) -> Option<T>,
        mut look: impl FnMut(&mut Self, T, &Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for name in self.names_in(directory)? {
            self.stop.check()?;
            let path = directory.join(&name);
            match read(&name) {
                Some(item) => look(self, item, &path)?,
                None => self.foreign(&path),
            }
        }
        Ok(())
    }

    fn foreign(&mut self, path: &Path) {
        self.found(
            FindingKind::Foreign,
            path,
            "the registry did not put it there",
        );
    }

    /// The store's own directory, and what is not looked into later.
    fn top(&mut self) -> Result<(), StoreError> {
        let layout = self.store.layout();
        let known = layout.known();
        self.each(
            layout.root(),
            |name| known.contains(&layout.root().join(name)).then_some(()),
            |_, (), _| Ok(()),
        )?;
        self.each(&layout.repositories(), layout::repository_of, |_, _, _| {
            Ok(())
        })?;
        // Each would have been completed, if it could be read.
        self.each(
            &layout.deleting(),
            |_| Some(()),
            |check, (), path| match check.store.read_record(path) {
                Err(error @ StoreError::Damaged { .. }) => {
                    check.unreadable(path, &error);
                    Ok(())
                }
                result => result.map(drop),
            },
        )?;
        self.each(
            &layout.contents(),
            |name| name.parse::<Algorithm>().ok(),
            |check, _, directory| {
                check.each(
                    directory,
                    |name| is_content_directory(name).then_some(()),
                    |_, (), _| Ok(()),
                )
            },
        )
    }

    fn repository(&mut self, repository: &Repository) -> Result<(), StoreError> {
        self.report.repositories += 1;
        let paths = repository.paths();
        let known = [
            paths.blobs(),
            paths.manifests(),
            paths.tags(),
            paths.subjects(),
        ];
        self.each(
            paths.directory(),
            |name| known.contains(&paths.directory().join(name)).then_some(()),
            |_, (), _| Ok(()),
        )?;
        self.each(
            &paths.manifests(),
            layout::digest_of,
            |check, digest, path| check.manifest(repository, &digest, path),
        )?;
        self.each(&paths.blobs(), layout::digest_of, |check, digest, path| {
            check.blob(repository, &digest, path)
        })?;
        self.each(
            &paths.tags(),
            |name| name.parse::<Tag>().ok(),
            |check, tag, path| check.tag(repository, &tag, path),
        )?;
        self.each(
            &paths.subjects(),
            layout::digest_of,
            |check, subject, directory| {
                check.each(directory, layout::digest_of, |check, referrer, path| {
                    check.referrer(repository, &subject, &referrer, path)
                })
            },
        )
    }

    /// A manifest's record, its bytes, what it points to, and its place among the referrers of its subject.
    fn manifest(
        &mut self,
        repository: &Repository,
        digest: &Digest,
        path: &Path,
    ) -> Result<(), StoreError> {
        self.report.manifests += 1;
        let selector = Selector::Digest(digest.clone());
        let record = match repository.record(&selector) {
            Ok(record) => record,
            Err(StoreError::ManifestUnknown { .. }) => return Ok(()),
            Err(error) => {
                self.unreadable(path, &error);
                return Ok(());
            }
        };
        self.entry_of(repository, &record)?;
        match repository.manifest(&selector) {
            Ok(manifest) => self.children(repository, manifest.value(), path),
            Err(StoreError::ManifestUnknown { .. }) => Ok(()),
            Err(error) => {
                let content = self.store.layout().content(record.content());
                self.unreadable(&content, &error);
                Ok(())
            }
        }
    }

    /// Makes the entry of a manifest among its subject's referrers again where it is missing.
    fn entry_of(&mut self, repository: &Repository, record: &Record) -> Result<(), StoreError> {
        let Some(subject) = &record.subject else {
            return Ok(());
        };
        let entry = repository.paths().referrer(subject, &record.digest);
        if self.store.files().size_of(&entry)?.is_some() {
            return Ok(());
        }
        let _removing = self.store.removing();
        if !repository.records_manifest(&record.digest)? {
            return Ok(());
        }
        self.store.files().create_marker(&entry)?;
        self.found(
            FindingKind::Repaired,
            &entry,
            "the manifest names this subject, but was missing among its referrers",
        );
        Ok(())
    }

    fn children(
        &mut self,
        repository: &Repository,
        manifest: &Manifest,
        path: &Path,
    ) -> Result<(), StoreError> {
        let mut missing = 0_usize;
        let mut first = None;
        for child in manifest.children() {
            let (present, content) = match repository.content_of(&child.digest) {
                Ok(Some(content)) => (true, content),
                Ok(None) => (repository.links_blob(&child.digest)?, child.digest.clone()),
                // The record is a finding of its own.
                Err(StoreError::Damaged { .. }) => continue,
                Err(error) => return Err(error),
            };
            if !present {
                if child.urls.is_empty() {
                    missing += 1;
                    first.get_or_insert_with(|| child.digest.clone());
                }
                continue;
            }
            let content = self.store.layout().content(&content);
            // That it is missing is found where the repository's own list of it is looked at.
            if let Some(size) = self
                .store
                .files()
                .size_of(&content)?
                .filter(|size| *size != child.size)
            {
                self.found(
                    FindingKind::Damaged,
                    &content,
                    format!(
                        "it has {size} bytes, but a manifest of {} says {}",
                        repository.name(),
                        child.size
                    ),
                );
            }
        }
        let layers = manifest
            .as_schema1()
            .into_iter()
            .flat_map(|image| &image.layers);
        for layer in layers {
            if !repository.links_blob(&layer.digest)? {
                missing += 1;
                first.get_or_insert_with(|| layer.digest.clone());
            }
        }
        // Deleted between the two looks, it misses nothing.
        if let Some(first) = first
            && self.store.files().size_of(path)?.is_some()
        {
            let reason = match missing {
                1 => format!("it points to {first}, which its repository does not have"),
                more => format!(
                    "it points to {first} and {} more that its repository does not have",
                    more - 1
                ),
            };
            self.found(FindingKind::Incomplete, path, reason);
        }
        Ok(())
    }

    fn blob(
        &mut self,
        repository: &Repository,
        digest: &Digest,
        link: &Path,
    ) -> Result<(), StoreError> {
        self.report.blobs += 1;
        let content = self.store.layout().content(digest);
        if self.store.files().size_of(&content)?.is_some() {
            return Ok(());
        }
        // Taken from the repository and collected as garbage between the two looks, nothing is missing.
        let _removing = self.store.removing();
        if self.store.files().size_of(link)?.is_some()
            && self.store.files().size_of(&content)?.is_none()
        {
            let name = repository.name();
            self.found(
                FindingKind::Damaged,
                &content,
                format!("repository {name} has it, but the file is missing"),
            );
        }
        Ok(())
    }

    fn tag(&mut self, repository: &Repository, tag: &Tag, path: &Path) -> Result<(), StoreError> {
        self.report.tags += 1;
        let dangling = || match repository.tag_target(tag)? {
            Some(digest) if !repository.records_manifest(&digest)? => Ok(Some(digest)),
            _ => Ok(None),
        };
        match dangling() {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(error) => {
                self.unreadable(path, &error);
                return Ok(());
            }
        }
        // A deletion takes the manifest before its tags, under the lock that this waits for.
        let _removing = self.store.removing();
        if let Some(digest) = dangling()? {
            let reason = format!("it points to {digest}, which its repository does not have");
            self.found(FindingKind::DanglingTag, path, reason);
        }
        Ok(())
    }

    /// Removes an entry among a subject's referrers whose manifest is not there, or names another subject.
    fn referrer(
        &mut self,
        repository: &Repository,
        subject: &Digest,
        referrer: &Digest,
        path: &Path,
    ) -> Result<(), StoreError> {
        let is_right = || match self
            .store
            .read_record(&repository.paths().manifest(referrer))
        {
            Ok(record) => Ok(record.is_some_and(|record| record.subject.as_ref() == Some(subject))),
            // The record is a finding of its own; what it says is not known.
            Err(StoreError::Damaged { .. }) => Ok(true),
            Err(error) => Err(error),
        };
        if is_right()? {
            return Ok(());
        }
        // A push makes the entry before the record, under the lock that this waits for.
        let _removing = self.store.removing();
        if !is_right()? && self.store.files().remove(path)? {
            self.found(
                FindingKind::Repaired,
                path,
                "a referrer was listed that is not there",
            );
        }
        Ok(())
    }

    fn contents(&mut self, read: bool) -> Result<(), StoreError> {
        for directory in self.store.content_directories()? {
            let digest_of = |name: &str| self.store.content_digest(&directory, name);
            let mut digests = Vec::new();
            for name in self.names_in(&directory)? {
                match digest_of(&name) {
                    Some(digest) => digests.push(digest),
                    None => self.foreign(&directory.join(&name)),
                }
            }
            self.report.contents += digests.len() as u64;
            if read {
                digests.iter().try_for_each(|digest| self.content(digest))?;
            }
        }
        Ok(())
    }

    /// Reads content and compares it with its digest.
    fn content(&mut self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.store.layout().content(digest);
        match self.hash(digest.algorithm(), &path) {
            Ok(Some(actual)) if actual != *digest => {
                self.found(
                    FindingKind::Damaged,
                    &path,
                    format!("its digest is {actual}"),
                );
            }
            Ok(_) => {}
            Err(error @ StoreError::Stopped) => return Err(error),
            Err(error) => self.unreadable(&path, &error),
        }
        Ok(())
    }

    /// The digest of a file; `None` if it was collected as garbage meanwhile.
    fn hash(&mut self, algorithm: Algorithm, path: &Path) -> Result<Option<Digest>, StoreError> {
        let Some(mut file) = self.store.files().open(path)? else {
            return Ok(None);
        };
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; HASH_BUFFER];
        loop {
            self.stop.check()?;
            let count = file
                .read(&mut buffer)
                .map_err(StoreError::io("read", path))?;
            self.report.read_bytes += count as u64;
            match buffer.get(..count) {
                None | Some([]) => return Ok(Some(hasher.finish())),
                Some(bytes) => hasher.update(bytes),
            }
        }
    }

    fn names_in(&self, directory: &Path) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        self.store.files().for_each_name(directory, |name| {
            names.push(name.to_owned());
            true
        })?;
        Ok(names)
    }
}
