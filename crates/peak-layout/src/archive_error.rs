//! What can be wrong with the archive itself.

/// Why a file cannot be read as a tar archive of images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The archive as a whole is compressed, so that it cannot be read at an offset.
    #[error("it is compressed with {how}; decompress it first")]
    Compressed {
        /// The format.
        how: &'static str,
    },
    /// It does not begin like a tar.
    #[error("it is not a tar archive")]
    NotTar,
    /// It ends before its mark of the end.
    #[error("it is cut off")]
    Truncated,
    /// A header contradicts itself, or has what no tool should write.
    #[error("the entry at byte {offset} has no valid header")]
    Header {
        /// Where, in bytes.
        offset: u64,
    },
    /// A kind of entry that no archive of images has.
    #[error("the entry at byte {offset} is {what}")]
    Kind {
        /// The kind.
        what: &'static str,
        /// Where, in bytes.
        offset: u64,
    },
    /// A name or its extension is longer than any tool writes.
    #[error("the entry at byte {offset} has a name of more than {limit} bytes")]
    LongName {
        /// The limit in bytes.
        limit: usize,
        /// Where, in bytes.
        offset: u64,
    },
    /// More entries, or longer names altogether, than any image has.
    #[error("it has more than {limit} entries, or too much of names")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A name that leads out of the archive.
    #[error("its entry {name:?} leads out of the archive")]
    Outside {
        /// The name.
        name: String,
    },
    /// Two different entries of one name.
    #[error("it has two different entries {name:?}")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A link that leads out of the archive, in a circle, or stands where a file has to be.
    #[error("its entry {name:?} is a link that cannot be followed")]
    Link {
        /// The name.
        name: String,
    },
    /// A file that every such archive has.
    #[error("it has no file {name:?}")]
    Missing {
        /// The name.
        name: String,
    },
    /// A `manifest.json` that contradicts itself or the config.
    #[error("its image is not whole: {why}")]
    Image {
        /// What is wrong.
        why: String,
    },
}
