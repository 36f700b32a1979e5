//! What a transfer tells while it works: events, and what they add up to.

mod state;

use std::fmt;
use std::sync::Arc;

use peak_oci::Digest;

pub use state::{BlobProgress, ProgressState};

/// Something that happened in a transfer.
///
/// For every blob that [`Planned`](Event::Planned) counts there comes either [`Skipped`](Event::Skipped),
/// [`Mounted`](Event::Mounted), or [`Started`](Event::Started), [`Bytes`](Event::Bytes) and
/// [`Finished`](Event::Finished) in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The manifests of an image are read: so much more is to be moved, at most (what the destination has is skipped).
    Planned {
        /// Manifests, the root, indexes and referrers among them.
        manifests: usize,
        /// Blobs, each counted once for an image.
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
        /// How many of them the destination had from earlier: with more than 0 it is resumed.
        offset: u64,
    },
    /// Bytes of a blob are written.
    Bytes {
        /// The blob.
        digest: Digest,
        /// How many more.
        count: u64,
    },
    /// Something went wrong on the way of a blob, and the transfer goes on with it.
    Retried {
        /// The blob.
        digest: Digest,
        /// How many of its bytes are known to be there.
        offset: u64,
    },
    /// The destination has the blob already.
    Skipped {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// The destination took the blob over from another place of its own.
    Mounted {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// A blob is verified and in its place.
    Finished {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// A layer stays where its `urls` point: its licence allows that, and neither end has it. It is not among what was
    /// [planned](Event::Planned).
    Omitted {
        /// The layer.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// An image is visible at the destination, whole but for what was [omitted](Event::Omitted).
    Image {
        /// The digest of its index or manifest.
        digest: Digest,
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
