//! The types of the OCI image and distribution specifications, and of Docker's that came before them.
//!
//! | for | there is |
//! |---|---|
//! | names of images | [`Reference`], [`RepositoryName`], [`Tag`], [`Selector`] |
//! | hashes of content | [`Digest`], [`Hasher`], [`Verifier`] |
//! | what points to content | [`Descriptor`], [`MediaType`], [`mod@annotations`] |
//! | manifests of every type, and the bytes they are | [`Manifest`], [`Raw`] |
//! | OCI image manifests, Docker v2 schema 2 | [`ImageManifest`], [`ImageConfig`] with [`ImageConfig::steps`] |
//! | OCI indexes, Docker manifest lists | [`Index`]: [`create`](Index::create), [`add`](Index::add), [`remove`](Index::remove), [`retain_platforms`](Index::retain_platforms), [`merge`](Index::merge), [`select`](Index::select) |
//! | Docker v2 schema 1, signed or not | [`Schema1Manifest`] |
//! | OCI artifact manifests | [`ArtifactManifest`] |
//! | what an image is for, and what runs where | [`Platform`], [`Platform::mismatch`] |
//! | where content comes from and goes to | [`content`]: [`Source`], [`Sink`], [`validate`] |
//!
//! A manifest **is its bytes**: [`Raw`] keeps them beside the typed view, and the digest is theirs. To change one, clone
//! the view, edit it and write it with `to_raw`: what this version does not know is kept at every level. What comes from
//! outside is bounded and checked before it is used: sizes before parsing, nesting, duplicate keys, members that other
//! readers would take for known ones, names that could leave a directory. Errors say where.
//!
//! # Putting an image together
//!
//! ```
//! use peak_oci::{Descriptor, Digest, ImageConfig, ImageManifest, Manifest, MediaType, Platform, Reference};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reference = Reference::parse("127.0.0.1:5000/hello/web:1.0")?;
//! assert_eq!(reference.registry(), "127.0.0.1:5000");
//! assert_eq!(reference.repository().as_str(), "hello/web");
//!
//! let layer = b"the bytes of a tar";
//! let config = ImageConfig::new(&Platform::new("linux", "amd64"), vec![Digest::sha256_of(layer)]).to_raw()?;
//! let manifest = ImageManifest::new(
//!     Descriptor::of(MediaType::OCI_CONFIG, config.bytes()),
//!     vec![Descriptor::of(MediaType::OCI_LAYER, layer)],
//! )
//! .to_raw()?;
//!
//! // Read as a stranger would, the bytes and so the digest stay the same.
//! let received = Manifest::parse(manifest.bytes().clone(), Some("application/vnd.oci.image.manifest.v1+json"))?;
//! assert_eq!(received.digest(), manifest.digest());
//! assert_eq!(received.value().children().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Images for several platforms
//!
//! ```
//! use peak_oci::{Descriptor, Digest, ImageConfig, ImageManifest, Index, MediaType, Merge, Mixing, Platform};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An image whose config says what it is for, as an index lists it.
//! let image = |platform: &str, layer: &[u8]| -> Result<Descriptor, Box<dyn std::error::Error>> {
//!     let config = ImageConfig::new(&platform.parse()?, vec![Digest::sha256_of(layer)]).to_raw()?;
//!     let config_descriptor = Descriptor::of(MediaType::OCI_CONFIG, config.bytes());
//!     let layers = vec![Descriptor::of(MediaType::OCI_LAYER, layer)];
//!     let manifest = ImageManifest::new(config_descriptor, layers).to_raw()?;
//!     Ok(manifest.descriptor_for_index(Some(config.value())))
//! };
//!
//! // Create an index …
//! let released = Index::create(vec![image("linux/amd64", b"1.0")?, image("linux/arm64", b"1.0")?], Mixing::Refuse)?;
//!
//! // … put a fix for one architecture over it, and leave the rest as it is …
//! let fixed = Index::create(vec![image("linux/amd64", b"1.1")?, image("linux/arm64", b"1.1")?], Mixing::Refuse)?;
//! let merged = released.merge(&fixed, &Merge::new().architectures(["arm64"]))?;
//! assert_eq!(merged.manifests, [released.manifests[0].clone(), fixed.manifests[1].clone()]);
//!
//! // … and find what runs on a machine.
//! assert_eq!(merged.select(&"linux/aarch64".parse()?)?, &fixed.manifests[1]);
//! let error = merged.select(&Platform::new("linux", "s390x")).unwrap_err();
//! assert_eq!(error.to_string(), "there is no manifest for linux/s390x; there are linux/amd64, linux/arm64");
//! # Ok(())
//! # }
//! ```
//!
//! # What it is not
//!
//! It does no input or output and has no runtime. It does not compress, and so does not compute the `diff_id` of a
//! compressed layer. It keeps the signatures of schema 1 manifests but does not verify them, and it does not make such
//! manifests.
//!
//! # Features
//!
//! `aws-lc-rs` computes digests with that library, which needs a C compiler to build; on processors without
//! instructions for SHA it is nearly twice as fast as the pure Rust of the default.

// Names, and hashes of content.
mod digest;
mod hash;
mod media_type;
mod reference;
mod text;
mod verify;

// Documents, and how JSON is read into them and written.
pub mod annotations;
mod config;
mod descriptor;
mod json;
mod manifest;
mod platform;
mod raw;

// Where content comes from and goes to.
pub mod content;

// For tests.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use media_type::{MediaType, MediaTypeError};
pub use reference::{
    Reference, ReferenceError, RepositoryName, RepositoryNameError, Selector, SelectorError, Tag,
    TagError, without_user,
};
pub use verify::{Verifier, VerifyError};

pub use config::{ContainerConfig, History, ImageConfig, MAX_CONFIG_SIZE, RootFs, Step};
pub use descriptor::Descriptor;
pub use json::{JsonError, UnknownFields};
pub use manifest::{
    ArtifactManifest, ImageManifest, Index, IndexError, MAX_MANIFEST_SIZE, Manifest, ManifestError,
    Merge, Mixing, NoMatchingPlatform, Schema1Layer, Schema1Manifest, Schema1Signature,
    V1Compatibility,
};
pub use platform::{Platform, PlatformError};
pub use raw::Raw;

pub use content::{
    BlobEvent, BlobListener, BlobOutcome, BlobRead, BlobStream, BlobWriter, BoxFuture,
    ContentError, ContentErrorKind, MAX_INDEX_DEPTH, MAX_REFERRERS, Placement, Sink, Source,
    TagStream, TakeError, ValidationReport, open_blob, read_verified, stream_verified, validate,
};
