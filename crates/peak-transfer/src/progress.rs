//! What a transfer tells while it works.

use std::fmt;
use std::sync::Arc;

use peak_oci::Digest;

/// Something that happened in a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// All manifests are read: so much is to be moved, at most (what the destination has is skipped).
    Planned {
        /// Manifests, the root and indexes among them.
        manifests: usize,
        /// Blobs, each counted once.
        blobs: usize,
        /// Bytes of these blobs.
        bytes: u64,
    },
    /// A blob has begun to move.
    Started {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
        /// How many of them the destination had from earlier.
        offset: u64,
    },
    /// Bytes of a blob are written, or handed to the destination's connection. Each counts once, also when it is sent again.
    Bytes {
        /// The blob.
        digest: Digest,
        /// How many more.
        count: u64,
    },
    /// The destination has the blob already.
    Skipped {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// The destination took the blob over from another repository of its own; none of its bytes were moved.
    Mounted {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// Something went wrong with a blob, and the destination goes on with it.
    Retried {
        /// The blob.
        digest: Digest,
        /// How many bytes of it are there.
        offset: u64,
    },
    /// A blob is verified and in its place.
    Finished {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
}

/// Whoever listens to a transfer.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Listener {
    pub(crate) fn new(listen: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listen)))
    }

    /// Makes the event only where somebody listens.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(listen) = &self.0 {
            listen(event());
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Some" } else { "None" })
    }
}
