//! Freeing the space of what nothing names any more, while the store is in use.
//!
//! Marking reads beside everything else and takes no lock. Removing holds the lock that keeps additions out,
//! a few files at a time, and leaves what was added or looked at since the collection began. Links go, and
//! are gone for good, before the content that they name: a crash at any point leaves content that nothing
//! names, and never a name without content.

mod family;
mod options;
mod report;
mod uses;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use peak_oci::{Digest, Selector};

use crate::store::{Repository, Store, StoreError};
use family::{Family, Member};

pub use options::GarbageOptions;
pub use report::{GarbageCount, GarbageProblem, GarbageReport};
pub(crate) use uses::{Key, Uses};

/// How many files are removed while additions wait.
const BATCH: usize = 64;

/// How many manifests are: each takes several changes that are made durable one by one.
const MANIFEST_BATCH: usize = 8;

impl Store {
    /// Removes the blobs of each repository that none of its manifests names, then the files that no
    /// repository names any more.
    ///
    /// Pushes and pulls go on meanwhile: additions wait for a few files to be removed at most. What was
    /// acknowledged stays complete, and a reader that has a file open reads it to its end. A repository of
    /// which a manifest cannot be read keeps everything; the report says so.
    ///
    /// Takes memory for each distinct digest of the store (about 20 bytes), for each blob and manifest of the
    /// largest repository, and for each digest that is used while it runs.
    ///
    /// # Errors
    ///
    /// [`StoreError::CollectionUnderWay`] if another collection runs, [`StoreError::Stopped`] if it was
    /// [stopped](GarbageOptions::stop_when), [`StoreError::Io`] if the file system
    /// refuses to list or remove. What was removed until then was garbage.
    pub fn collect_garbage(&self, options: &GarbageOptions) -> Result<GarbageReport, StoreError> {
        let begun = Instant::now();
        let collection = Collection::begin(self, options)?;
        let mut report = GarbageReport {
            dry_run: options.dry_run,
            ..GarbageReport::default()
        };
        collection.run(&mut report)?;
        report.milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            dry_run = report.dry_run,
            manifests = report.manifests.removed,
            blobs = report.blobs.removed,
            files = report.contents.removed,
            bytes = report.removed_bytes,
            problems = report.problems.len(),
            milliseconds = report.milliseconds,
            "collected garbage"
        );
        Ok(report)
    }
}

/// A collection that runs: while this exists, uses are noted and there is no other.
struct Collection<'a> {
    store: &'a Store,
    options: &'a GarbageOptions,
}

/// What of a repository may go.
#[derive(Default)]
struct Garbage {
    family: Family,
    /// The manifests that nothing reaches, in the order in which they may go.
    manifests: Vec<Key>,
    /// How many more there are that only their age keeps.
    young: usize,
}

impl Drop for Collection<'_> {
    fn drop(&mut self) {
        self.store.uses().end();
    }
}

impl<'a> Collection<'a> {
    fn begin(store: &'a Store, options: &'a GarbageOptions) -> Result<Self, StoreError> {
        // Who is adding now notes nothing, so that must have ended before anything is read.
        let _removing = store.removing();
        if store.uses().begin() {
            Ok(Self { store, options })
        } else {
            Err(StoreError::CollectionUnderWay)
        }
    }

    fn run(&self, report: &mut GarbageReport) -> Result<(), StoreError> {
        let mut named = HashSet::new();
        let mut all_named = true;
        for name in self.store.repository_directories()? {
            self.options.stop.check()?;
            report.repositories += 1;
            let repository = self.store.repository(&name);
            let gone = match self.find(&repository) {
                Ok(garbage) => self.remove(&repository, &garbage, report)?,
                Err(error @ StoreError::Stopped) => return Err(error),
                Err(error) => {
                    report.problem(Some(&name), &error);
                    HashSet::new()
                }
            };
            if let Err(error) = add_named(&repository, &gone, &mut named) {
                // What it names is not known, so no file is known to be garbage.
                report.problem(None, &error);
                all_named = false;
            }
        }
        if all_named {
            self.sweep_contents(&named, report)?;
        }
        Ok(())
    }

    /// Reads all manifests of a repository and tells which of them are garbage. Changes nothing.
    fn find(&self, repository: &Repository) -> Result<Garbage, StoreError> {
        let mut garbage = Garbage::default();
        let mut young = Vec::new();
        for digest in repository.manifest_digests()? {
            self.options.stop.check()?;
            let Some(member) = read_member(repository, digest)? else {
                continue;
            };
            if self.options.untagged
                && !self.is_old(&repository.paths().manifest(&member.digest))?
            {
                young.push(Key::of(&member.digest));
            }
            garbage.family.add(member);
        }
        if self.options.untagged {
            let tagged = repository.tag_targets()?;
            let lasting = garbage.family.reached(tagged.iter().map(Key::of));
            let reached = garbage
                .family
                .reached(lasting.iter().chain(&young).copied());
            garbage.young = reached.len() - lasting.len();
            garbage.manifests = garbage.family.unreached(&reached);
        }
        Ok(garbage)
    }

    /// Removes the garbage of a repository. Returns what would go in a dry run, where it stays.
    fn remove(
        &self,
        repository: &Repository,
        garbage: &Garbage,
        report: &mut GarbageReport,
    ) -> Result<HashSet<Digest>, StoreError> {
        let manifests = self.remove_manifests(repository, garbage, report)?;
        let needed = garbage.family.children_without(&manifests);
        let mut unneeded = Vec::new();
        for digest in repository.blob_digests()? {
            if needed.contains(&Key::of(&digest)) {
                report.blobs.kept += 1;
            } else if self.is_old(&repository.paths().blob(&digest))? {
                unneeded.push(digest);
            } else {
                report.blobs.spared += 1;
            }
        }
        for batch in unneeded.chunks(BATCH) {
            let removed = self.remove_unused(batch, |digest| repository.paths().blob(digest))?;
            report.blobs.removed += removed.len() as u64;
            report.blobs.spared += (batch.len() - removed.len()) as u64;
        }
        if !self.options.dry_run {
            return Ok(HashSet::new());
        }
        let manifests = manifests
            .iter()
            .filter_map(|key| garbage.family.digest(*key))
            .cloned();
        Ok(unneeded.into_iter().chain(manifests).collect())
    }

    /// Removes manifests that nothing reaches, as long as that is so. Returns which.
    fn remove_manifests(
        &self,
        repository: &Repository,
        garbage: &Garbage,
        report: &mut GarbageReport,
    ) -> Result<HashSet<Key>, StoreError> {
        let mut removed = HashSet::new();
        for batch in garbage.manifests.chunks(MANIFEST_BATCH) {
            self.options.stop.check()?;
            let _removing = self.store.removing();
            // What is used by now was unreached, as were its parts: they stay together.
            let used = garbage.manifests.iter().copied();
            let used = used.filter(|key| self.store.uses().contains(*key));
            let revived = garbage.family.reached(used);
            for key in batch.iter().filter(|key| !revived.contains(key)) {
                let Some(digest) = garbage.family.digest(*key) else {
                    continue;
                };
                if self.options.dry_run || repository.remove_unreached(digest)? {
                    removed.insert(*key);
                }
            }
        }
        let spared = garbage.young + garbage.manifests.len() - removed.len();
        report.manifests.removed += removed.len() as u64;
        report.manifests.spared += spared as u64;
        report.manifests.kept += (garbage.family.len() - removed.len() - spared) as u64;
        Ok(removed)
    }

    /// Removes the files that nothing names, directory by directory.
    fn sweep_contents(
        &self,
        named: &HashSet<Key>,
        report: &mut GarbageReport,
    ) -> Result<(), StoreError> {
        let place = |digest: &Digest| self.store.layout().content(digest);
        for directory in self.store.content_directories()? {
            self.options.stop.check()?;
            let mut garbage = Vec::new();
            let mut sizes = HashMap::new();
            for digest in self.store.content_digests(&directory)? {
                let Some(state) = self.store.files().look_at(&place(&digest))? else {
                    continue;
                };
                report.kept_bytes += state.size;
                if named.contains(&Key::of(&digest)) {
                    report.contents.kept += 1;
                } else if state.age() >= self.options.grace {
                    sizes.insert(digest.clone(), state.size);
                    garbage.push(digest);
                } else {
                    report.contents.spared += 1;
                }
            }
            for batch in garbage.chunks(BATCH) {
                let removed = self.remove_unused(batch, place)?;
                report.contents.removed += removed.len() as u64;
                report.contents.spared += (batch.len() - removed.len()) as u64;
                let bytes: u64 = removed.iter().filter_map(|digest| sizes.get(*digest)).sum();
                report.removed_bytes += bytes;
                report.kept_bytes -= bytes;
            }
        }
        Ok(())
    }

    /// Removes the files of those digests that nobody has used since the collection began. Returns which
    /// those are; in a dry run they stay.
    fn remove_unused<'b>(
        &self,
        batch: &'b [Digest],
        place: impl Fn(&Digest) -> PathBuf,
    ) -> Result<Vec<&'b Digest>, StoreError> {
        self.options.stop.check()?;
        let _removing = self.store.removing();
        let unused: Vec<&Digest> = batch
            .iter()
            .filter(|digest| !self.store.uses().contains(Key::of(digest)))
            .collect();
        if !self.options.dry_run {
            let files: Vec<PathBuf> = unused.iter().map(|digest| place(digest)).collect();
            self.store.files().remove_all(&files)?;
        }
        Ok(unused)
    }

    /// Whether a file is older than the grace time. One that is gone is not: there is nothing to remove.
    fn is_old(&self, file: &Path) -> Result<bool, StoreError> {
        let state = self.store.files().look_at(file)?;
        Ok(state.is_some_and(|state| state.age() >= self.options.grace))
    }
}

/// What a manifest says about others; `None` if it is gone meanwhile.
fn read_member(repository: &Repository, digest: Digest) -> Result<Option<Member>, StoreError> {
    let manifest = match repository.manifest(&Selector::Digest(digest.clone())) {
        Ok(manifest) => manifest.into_value(),
        Err(StoreError::ManifestUnknown { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let layers = manifest.as_schema1().into_iter();
    let layers = layers.flat_map(|image| image.layers.iter().map(|layer| &layer.digest));
    let children = manifest
        .children()
        .into_iter()
        .map(|child| &child.digest)
        .chain(layers)
        .map(Key::of)
        .collect();
    Ok(Some(Member {
        subject: manifest.subject().map(|subject| Key::of(&subject.digest)),
        children,
        digest,
    }))
}

/// Adds what a repository names, but for what is `gone` from it.
fn add_named(
    repository: &Repository,
    gone: &HashSet<Digest>,
    named: &mut HashSet<Key>,
) -> Result<(), StoreError> {
    let stays = |digest: &Digest| !gone.contains(digest);
    let blobs = repository.blob_digests()?;
    named.extend(blobs.iter().filter(|digest| stays(digest)).map(Key::of));
    for digest in repository.manifest_digests()?.into_iter().filter(stays) {
        named.extend(repository.content_of(&digest)?.as_ref().map(Key::of));
    }
    Ok(())
}
