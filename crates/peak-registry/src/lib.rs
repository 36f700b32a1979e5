//! Client of OCI and Docker registries.
//!
//! [`Registry`] is the client, [`Repository`] one repository of one registry: it gets manifests as the bytes they are,
//! and is a `Source` of images for `peak-transfer`.
//!
//! ```no_run
//! use peak_oci::{Reference, Source};
//! use peak_registry::{Credentials, Registry};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder()
//!     .credentials("registry.example", Credentials::new("robot", "secret".into()))
//!     .build()?;
//! let reference: Reference = "registry.example/team/app:v1".parse()?;
//! let repository = registry.repository(&reference);
//!
//! let digest = repository.get_manifest_digest(&reference.selector_or_latest()).await?;
//! let manifest = repository.get_manifest(&digest.into()).await?;
//! println!("{} {}", manifest.media_type(), manifest.digest());
//!
//! // A blob arrives as a stream that goes on by itself when the connection does not last.
//! if let Some(config) = manifest.value().children().first() {
//!     let read = repository.blob(config, 0).await?;
//!     assert_eq!(read.offset, 0);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Credentials at rest are found by a [`Keychain`], where people keep them for Docker and podman:
//!
//! ```no_run
//! use peak_registry::{Credentials, Keychain, Registry};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder()
//!     .keychain(Keychain::from_environment())
//!     .build()?;
//! let login = registry
//!     .login("registry.example", Credentials::new("robot", "secret".into()))
//!     .await?;
//! println!("kept in {}", login.kept_in);
//! // Which source answers for an image, and why the others do not.
//! print!("{}", registry.explain_credentials(&"registry.example/team/app".parse()?).await?);
//! # Ok(())
//! # }
//! ```
//!
//! Manifests are verified against the digest by which they are asked for. Blobs are not: they stream through, and
//! whoever keeps them checks them (`peak-layout` does, before they become visible).
//!
//! Registries are spoken to over HTTPS; over plain HTTP only on loopback, or when marked
//! [`insecure`](RegistryBuilder::insecure). Credentials go to the registry they are for, to the token server that it
//! names, and nowhere else. What each registry does in its own way, and how that is met, is in `docs/registries.md`.
//!
//! It is no server (`peak-registry-server` is), unpacks no images and knows nothing of files.

// The client, and one repository.
mod client;
mod connection;
mod repository;

// What can be asked of a repository and of a registry.
mod blobs;
mod delete;
mod manifests;
mod probe;
mod referrers;
mod tags;

// How long lists are walked.
mod links;
mod pages;

// Who asks.
mod auth;

// What is learnt of each registry, and how its patience is spared.
mod capabilities;
mod host;
mod known_blobs;
mod notices;
mod own_writes;
mod pace;
mod pauses;
mod root;
mod schemes;

// What can go wrong.
mod error;
mod reasons;

// For tests.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use client::{Registry, RegistryBuilder};
pub use repository::Repository;

pub use blobs::ranges::ParallelRanges;
pub use blobs::upload::{UploadOptions, UploadState};
pub use manifests::FetchedManifest;

pub use auth::{
    CredentialProvider, CredentialSource, Credentials, ExaminedHelper, ExaminedSource, Explanation,
    ExplanationStep, KeptIn, Keychain, KeychainBuilder, KeychainError, Login, Logout,
    SourceOutcome, SourceState,
};
pub use notices::RateLimit;
pub use probe::{
    Authentication, BlobUploads, Deletes, Deletion, DigestHeader, ManifestHeaders, Mounts,
    NotAsked, Paging, ProbeOptions, ProbeReport, Probed, Ranges, ReferrersList, TokenLifetime,
};

pub use error::RegistryError;
pub use reasons::Reasons;
