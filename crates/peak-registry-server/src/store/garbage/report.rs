//! What a collection of garbage did.

use peak_oci::RepositoryName;
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// How many problems a report names; the rest are counted.
const NAMED_PROBLEMS: usize = 100;

/// What a collection did with one kind of thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GarbageCount {
    /// How many were removed; in a dry run, would be.
    pub removed: u64,
    /// How many were kept because something names them.
    pub kept: u64,
    /// How many nothing names, but they are younger than the grace time or were used meanwhile.
    pub spared: u64,
}

/// What [`Store::collect_garbage`](crate::Store::collect_garbage) did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GarbageReport {
    /// Whether nothing was removed because only the report was wanted.
    pub dry_run: bool,
    /// How many repositories were looked at.
    pub repositories: u64,
    /// Manifests of repositories; none is removed unless that was asked for.
    pub manifests: GarbageCount,
    /// Blobs of repositories: one that two repositories have counts twice.
    pub blobs: GarbageCount,
    /// Files with the bytes of blobs and manifests, once for all repositories.
    pub contents: GarbageCount,
    /// The size of the files that were removed, in bytes; in a dry run, would be.
    pub removed_bytes: u64,
    /// The size of the files that were kept or spared, in bytes.
    pub kept_bytes: u64,
    /// What could not be read. Nothing of that repository was removed.
    pub problems: Vec<GarbageProblem>,
    /// How many problems there are beyond those.
    pub more_problems: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Something that kept a collection from removing garbage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GarbageProblem {
    /// The repository of which nothing was removed; without one, it is the files of all.
    pub repository: Option<RepositoryName>,
    /// What could not be read, and why.
    pub reason: String,
}

impl GarbageReport {
    pub(super) fn problem(&mut self, repository: Option<&RepositoryName>, error: &StoreError) {
        if self.problems.len() >= NAMED_PROBLEMS {
            self.more_problems += 1;
            return;
        }
        self.problems.push(GarbageProblem {
            repository: repository.cloned(),
            reason: error.with_causes(),
        });
    }
}
