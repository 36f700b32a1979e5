//! Moves images from any source to any destination: streamed, verified, several blobs at once.
//!
//! The ends implement the content traits of `peak-oci`; this crate knows nothing else of them. [`copy`] reads all
//! manifests first, then moves the blobs that the destination lacks, each once, then writes the manifests, the root
//! last: only then does the image become visible. Memory is bounded by the number of blobs at once, never by their
//! size.
//!
//! ```no_run
//! use peak_registry::Registry;
//! use peak_transfer::{CopyOptions, Event, Target, copy};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder().build()?;
//! let from: Target = "docker://registry.example/team/app:v1".parse()?;
//! let to: Target = "oci:target/app:v1".parse()?;
//!
//! let (sink, placement) = to.open_sink(&registry)?;
//! let (source, selector) = from.open_source(&registry)?;
//! let options = CopyOptions::new().progress(|event| {
//!     if let Event::Finished { digest, .. } = event {
//!         tracing::info!(%digest, "a blob is in its place");
//!     }
//! });
//! let report = copy(source.as_ref(), selector.as_ref(), sink.as_ref(), placement, &options).await?;
//! assert_eq!(report.blobs_skipped, 0);
//! # Ok(())
//! # }
//! ```
//!
//! [`Transfer`] moves several images in one run, each digest once, and says beforehand what would move. [`mirror()`]
//! keeps whole repositories the same as others, by a plan.
//!
//! It is no client of anything (`peak-registry` is one) and stores nothing itself (`peak-layout` does).

// One image, or several in one run: what is to be moved, and its way.
mod blob;
mod copy;
mod flights;
mod foreign;
mod lanes;
mod manifests;
mod plan;
mod select;
mod several;

// Whole repositories, by a plan.
mod mirror;

// Places of images by their names.
mod target;

// What is told, and what can go wrong.
mod error;
mod progress;

// For tests.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use copy::{BlobAction, CopyOptions, CopyPreview, CopyReport, Transfer, copy};
pub use select::Platforms;

pub use mirror::{
    CopiedTag, Destination, DestinationReport, MirrorDestination, MirrorFailure, MirrorOptions,
    MirrorPlan, MirrorReport, MirrorRepository, PlanError, Repositories, RepositoryReport, Shard,
    ShardError, TagFilter, TagFilterError, mirror, mirror_until,
};

pub use target::{Clients, Target, TargetError};

pub use error::TransferError;
pub use progress::{BlobProgress, Event, ProgressState};
