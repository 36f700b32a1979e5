//! One image from one end to another.

use peak_oci::{Digest, MediaType, Placement, Selector, Sink, Source};

use crate::progress::{Event, Listener};
use crate::{TransferError, plan, schedule};

/// Blobs at once where nothing else is asked for: what public registries put up with.
const DEFAULT_CONCURRENCY: usize = 4;

/// How an image is moved.
#[derive(Clone, Debug)]
#[must_use]
pub struct CopyOptions {
    concurrency: usize,
    listener: Listener,
}

impl CopyOptions {
    /// Four blobs at once, and nobody listens.
    pub fn new() -> Self {
        Self {
            concurrency: DEFAULT_CONCURRENCY,
            listener: Listener::default(),
        }
    }

    /// How many blobs (and child manifests) move at once; at least 1.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Is told what happens, from within the transfer: it should be quick and must not block.
    pub fn progress(mut self, listen: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listen);
        self
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The digest of the image: of its index or manifest.
    pub digest: Digest,
    /// The type of that index or manifest.
    pub media_type: MediaType,
    /// All bytes of the image: its manifests, and each blob once.
    pub size: u64,
    /// Blobs that were moved.
    pub blobs_copied: usize,
    /// Blobs that the destination had.
    pub blobs_skipped: usize,
    /// Bytes of the blobs that were moved.
    pub bytes_copied: u64,
    /// Bytes of the blobs that the destination had.
    pub bytes_skipped: u64,
}

/// Moves an image, whole and unchanged: all platforms of an index, the same manifest bytes, the same digest.
///
/// `selector` says which image of `source`; `None` means its only or default one. `placement` says under which name
/// the image becomes visible in `sink`; that happens last, after every blob and every other manifest.
///
/// Dropping the future ends the transfer: blobs that are complete stay for the next run, nothing else is visible.
///
/// # Errors
/// The first failure, by the end that is to blame. Content that is not what its digest says is
/// [an integrity error](TransferError::is_integrity).
pub async fn copy(
    source: &dyn Source,
    selector: Option<&Selector>,
    sink: &dyn Sink,
    placement: Placement,
    options: &CopyOptions,
) -> Result<CopyReport, TransferError> {
    let plan = plan::make(source, selector, options.concurrency).await?;
    let listener = &options.listener;
    listener.tell(|| Event::Planned {
        manifests: plan.children.len() + 1,
        blobs: plan.blobs.len(),
        bytes: plan.bytes(),
    });
    sink.prepare(&plan.root, &plan.blobs)
        .await
        .map_err(|error| TransferError::writing(format!("image {}", plan.root.digest()), error))?;
    let moved = schedule::run(source, sink, &plan.blobs, options.concurrency, listener).await?;
    let mut size = moved
        .copied_bytes
        .saturating_add(moved.skipped_bytes)
        .saturating_add(plan.root.size());
    for manifest in &plan.children {
        sink.put_manifest(manifest, &Placement::Child)
            .await
            .map_err(|error| {
                TransferError::writing(format!("manifest {}", manifest.digest()), error)
            })?;
        size = size.saturating_add(manifest.size());
    }
    sink.put_manifest(&plan.root, &placement)
        .await
        .map_err(|error| {
            TransferError::writing(format!("manifest {}", plan.root.digest()), error)
        })?;
    Ok(CopyReport {
        digest: plan.root.digest().clone(),
        media_type: plan.root.media_type().clone(),
        size,
        blobs_copied: moved.copied,
        blobs_skipped: moved.skipped,
        bytes_copied: moved.copied_bytes,
        bytes_skipped: moved.skipped_bytes,
    })
}
