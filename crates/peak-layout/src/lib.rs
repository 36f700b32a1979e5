//! OCI image layouts on disk, as source and as destination of images.
//!
//! A [`Directory`] implements the content traits of `peak-oci`, so that `peak-transfer` can move images into it and
//! out of it, and `peak_oci::validate` can check what it holds. Blobs are hashed while they are written, appear by a
//! rename once they are verified, and `index.json` comes last: at every moment, also after a crash, other tools find
//! either the old layout or the new one.
//!
//! ```
//! use bytes::Bytes;
//! use peak_layout::Directory;
//! use peak_oci::{Descriptor, Digest, ImageManifest, MediaType, Placement, Sink, Source};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("hello");
//! let layout = Directory::create(&path)?;
//!
//! let content = Bytes::from_static(b"{}");
//! let config = Descriptor::new(MediaType::OCI_EMPTY, Digest::sha256_of(&content), 2);
//! let mut writer = layout.blob_writer(&config).await?;
//! writer.write(content).await?;
//! writer.commit().await?;
//!
//! let manifest = ImageManifest::new(config, Vec::new()).to_raw()?;
//! let placement = Placement::Root { tag: Some("v1".parse()?) };
//! layout.put_manifest(&manifest, &placement).await?;
//!
//! let read_back = Directory::open(&path)?.manifest(None).await?;
//! assert_eq!(read_back.digest(), manifest.digest());
//! # Ok(())
//! # }
//! ```
//!
//! It is not a place to serve images from (`peak-registry-server` is), removes no blobs that nothing points to any
//! longer, and does not yet read or write the archive forms (`oci-archive:`, `docker-archive:`), nor take up the
//! partial files of an earlier run: those are fetched again.

mod blob;
mod directory;
mod error;
mod file;
mod index;
mod staging;

pub use directory::Directory;
pub use error::LayoutError;

/// Runs what waits for the disk where waiting is allowed.
///
/// Dropping the future does not stop what has begun; every such piece is short and leaves nothing half-visible.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LayoutError> + Send + 'static,
) -> Result<T, LayoutError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LayoutError::Shutdown),
    }
}
