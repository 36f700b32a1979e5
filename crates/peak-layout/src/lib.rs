//! Images on disk, as source and as destination: OCI image layouts and archives.
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
//! The same in one tar file are [`OciArchive`] and [`OciArchiveWriter`]; what `docker save` writes and `docker load` reads
//! are [`DockerArchive`] and [`DockerArchiveWriter`], which keep the id of an image but not its digest.
//!
//! A layout directory takes up what an interrupted run has left, also the beginnings of large blobs; an archive starts
//! again. It is not a place to serve images from (`peak-registry-server` is), and removes no blobs that nothing points to
//! any longer.

// Image layouts: in a directory, and in one tar file.
mod archive;
mod directory;

// What `docker save` writes and `docker load` reads.
mod docker_archive;

// What layouts consist of.
mod blob;
mod document;
mod index;
mod partial;
mod referrers;

// How they are kept on disk, and read and written.
mod blocking;
mod file;
mod positioned;
mod replacement;
mod staging;
mod tar;

// What can go wrong.
mod archive_error;
mod error;

// For tests.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use archive::{OciArchive, OciArchiveWriter};
pub use directory::Directory;
pub use docker_archive::{
    DockerArchive, DockerArchiveOptions, DockerArchiveSender, DockerArchiveStream,
    DockerArchiveWriter,
};

pub use archive_error::ArchiveError;
pub use error::LayoutError;

use blocking::blocking;
