//! How much a build may take.

/// Upper limits of what a build reads from an artifact, a Dockerfile or a base image.
///
/// All of them hold for what really arrives, whatever an archive declares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct Limits {
    /// Entries of an archive.
    pub entries: usize,
    /// Bytes of an archive's directory, which is held in memory while it is unpacked.
    pub directory_bytes: u64,
    /// Bytes of all files of an archive together, unpacked.
    pub total_bytes: u64,
    /// Bytes of one file of an archive, unpacked.
    pub entry_bytes: u64,
    /// How many times larger than its packed form a file may be; applies from
    /// [`ratio_from_bytes`](Self::ratio_from_bytes) on.
    pub ratio: u64,
    /// Files below this size may compress as well as they like.
    pub ratio_from_bytes: u64,
    /// Bytes of a path or a link's target.
    pub path_bytes: usize,
    /// Components of a path.
    pub path_depth: usize,
    /// Bytes of a Dockerfile.
    pub dockerfile_bytes: u64,
    /// Instructions of a Dockerfile.
    pub instructions: usize,
    /// Memory for the names of the files of all stages and base images together, in bytes.
    pub tree_bytes: usize,
    /// Bytes of all layers of a base image together, unpacked.
    pub base_bytes: u64,
}

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 100_000,
            directory_bytes: 24 * MIB,
            total_bytes: 8 * GIB,
            entry_bytes: 4 * GIB,
            ratio: 200,
            ratio_from_bytes: GIB,
            path_bytes: 1024,
            path_depth: 64,
            dockerfile_bytes: MIB,
            instructions: 1000,
            tree_bytes: 512 * 1024 * 1024,
            base_bytes: 64 * GIB,
        }
    }
}
