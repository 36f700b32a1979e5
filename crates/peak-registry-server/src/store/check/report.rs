//! What a check found.

use serde::{Deserialize, Serialize};

/// How many findings a report names; the rest are counted.
const NAMED_FINDINGS: usize = 1000;

/// What [`Store::check`](crate::Store::check) found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CheckReport {
    /// How many repositories were looked at.
    pub repositories: u64,
    /// How many manifests of repositories.
    pub manifests: u64,
    /// How many tags.
    pub tags: u64,
    /// How many blobs of repositories: one that two repositories have counts twice.
    pub blobs: u64,
    /// How many files with the bytes of blobs and manifests.
    pub contents: u64,
    /// How many bytes of those were read and compared with their digests.
    pub read_bytes: u64,
    /// How many things were put in order.
    pub repaired: u64,
    /// How many things are damaged and need somebody's attention.
    pub damaged: u64,
    /// What was found, in no order.
    pub findings: Vec<Finding>,
    /// How many findings there are beyond those.
    pub more_findings: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Finding {
    /// What it means.
    pub kind: FindingKind,
    /// The file that it is about, below the store's directory.
    pub path: String,
    /// What is wrong, or was.
    pub reason: String,
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum FindingKind {
    /// A crash had left it; it is in order now.
    Repaired,
    /// Content is missing or is not what its digest says, or a file of the store cannot be read. Pushing it again mends
    /// it.
    Damaged,
    /// A tag points to a manifest that is not there. It is left, and asking for it is answered as for a tag that does
    /// not exist; pushing the manifest or the tag again mends it.
    DanglingTag,
    /// A manifest points to something that was deleted from its repository by itself. It cannot be pulled as a whole.
    Incomplete,
    /// A file that the store did not put there. It is left alone.
    Foreign,
}

impl CheckReport {
    /// Whether all that the store says that it has is there: no finding is of another kind than
    /// [`Repaired`](FindingKind::Repaired), [`Incomplete`](FindingKind::Incomplete) or
    /// [`Foreign`](FindingKind::Foreign).
    pub fn is_sound(&self) -> bool {
        self.damaged == 0
    }

    /// Counts a finding, names it while there are not too many, and tells damage to the log.
    pub(super) fn add(&mut self, finding: Finding) {
        match finding.kind {
            FindingKind::Repaired => self.repaired += 1,
            FindingKind::Damaged | FindingKind::DanglingTag => self.damaged += 1,
            FindingKind::Incomplete | FindingKind::Foreign => {}
        }
        if self.findings.len() >= NAMED_FINDINGS {
            self.more_findings += 1;
            return;
        }
        if matches!(
            finding.kind,
            FindingKind::Damaged | FindingKind::DanglingTag
        ) {
            tracing::warn!(
                path = finding.path,
                reason = finding.reason,
                "the registry's store is damaged"
            );
        }
        self.findings.push(finding);
    }
}
