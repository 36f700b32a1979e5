//! What a run of a mirror did, or would do.

use peak_oci::{Digest, Reference, Tag};

use crate::TransferError;

/// What a run did; in a dry run, what it would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MirrorReport {
    /// The repositories of this run's shard, in the order of the plan.
    pub repositories: Vec<RepositoryReport>,
    /// Whether a failure ended the run before everything was tried.
    pub is_stopped: bool,
    /// Whether it was told to stop before everything was tried.
    pub is_interrupted: bool,
}

/// What became of one repository.
#[derive(Debug)]
#[non_exhaustive]
pub struct RepositoryReport {
    /// The source.
    pub from: Reference,
    /// How many of its tags the plan means.
    pub tags: usize,
    /// What became of each destination.
    pub destinations: Vec<DestinationReport>,
    /// What went wrong.
    pub failures: Vec<MirrorFailure>,
}

/// What became of one destination.
#[derive(Debug)]
#[non_exhaustive]
pub struct DestinationReport {
    /// The repository.
    pub to: Reference,
    /// The tags that were copied, by name.
    pub copied: Vec<CopiedTag>,
    /// How many tags were the same already.
    pub unchanged: usize,
    /// The tags that were deleted, by name.
    pub deleted: Vec<Tag>,
}

/// A tag that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedTag {
    /// The tag.
    pub tag: Tag,
    /// What it stands for at the destination now.
    pub digest: Digest,
    /// Bytes of blobs that were moved.
    pub bytes: u64,
    /// Layers that stay where their `urls` point: their licence allows that, and neither end has them.
    pub missing_foreign_layers: Vec<Digest>,
}

/// Something that went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub struct MirrorFailure {
    /// The destination, where one is to blame or meant.
    pub to: Option<Reference>,
    /// The tag, where it was about one.
    pub tag: Option<Tag>,
    /// What went wrong.
    pub error: TransferError,
}

impl MirrorReport {
    /// Everything that went wrong, in the order of the plan.
    pub fn failures(&self) -> impl Iterator<Item = &MirrorFailure> {
        self.repositories
            .iter()
            .flat_map(|repository| &repository.failures)
    }

    /// How many tags were copied, over all destinations.
    pub fn copied(&self) -> usize {
        self.destinations()
            .map(|destination| destination.copied.len())
            .sum()
    }

    /// How many tags were the same already.
    pub fn unchanged(&self) -> usize {
        self.destinations()
            .map(|destination| destination.unchanged)
            .sum()
    }

    /// How many tags were deleted.
    pub fn deleted(&self) -> usize {
        self.destinations()
            .map(|destination| destination.deleted.len())
            .sum()
    }

    /// Bytes of blobs that were moved.
    pub fn bytes(&self) -> u64 {
        self.destinations()
            .flat_map(|destination| &destination.copied)
            .fold(0, |sum, copied| sum.saturating_add(copied.bytes))
    }

    fn destinations(&self) -> impl Iterator<Item = &DestinationReport> {
        self.repositories
            .iter()
            .flat_map(|repository| &repository.destinations)
    }
}
