//! The types of the OCI image and distribution specifications, and of Docker's that came before them: references, digests,
//! descriptors, manifests, indexes, configs, platforms, and the traits of everything that content comes from or goes to.
//!
//! A manifest **is its bytes**: [`Raw`] keeps them beside the typed view, and the digest is theirs. What comes from
//! outside is bounded and checked before it is used: sizes before parsing, nesting, duplicate keys, names that could
//! leave a directory.
//!
//! ```
//! use peak_oci::{Descriptor, Digest, ImageConfig, ImageManifest, Manifest, MediaType, Platform, Reference};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reference = Reference::parse("127.0.0.1:5000/hello/web:1.0")?;
//! assert_eq!(reference.registry(), "127.0.0.1:5000");
//! assert_eq!(reference.repository().as_str(), "hello/web");
//!
//! // Put an image together …
//! let layer = b"the bytes of a tar";
//! let config = ImageConfig::new(&Platform::new("linux", "amd64"), vec![Digest::sha256_of(layer)]).to_raw()?;
//! let manifest = ImageManifest::new(
//!     Descriptor::of(MediaType::OCI_CONFIG, config.bytes()),
//!     vec![Descriptor::of(MediaType::OCI_LAYER, layer)],
//! )
//! .to_raw()?;
//!
//! // … and read it as a stranger would: the bytes and so the digest stay the same.
//! let received = Manifest::parse(manifest.bytes().clone(), Some("application/vnd.oci.image.manifest.v1+json"))?;
//! assert_eq!(received.digest(), manifest.digest());
//! assert_eq!(received.value().children().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! What it is not: it does no input or output and has no runtime; it does not compress, and so does not compute the
//! `diff_id` of a compressed layer; it does not read Docker's schema 1 manifests or OCI artifact manifests yet
//! ([`ManifestError::Unsupported`] names them).
//!
//! The feature `aws-lc-rs` computes digests with that library, which needs a C compiler to build; on processors
//! without instructions for SHA it is nearly twice as fast as the pure Rust of the default.

pub mod annotations;
pub mod content;

mod config;
mod descriptor;
mod digest;
mod hash;
mod json;
mod manifest;
mod media_type;
mod platform;
mod raw;
mod reference;
mod text;
mod verify;

pub use config::{ContainerConfig, History, ImageConfig, MAX_CONFIG_SIZE, RootFs, Step};
pub use content::{
    BlobRead, BlobStream, BlobWriter, BoxFuture, ContentError, ContentErrorKind, MAX_INDEX_DEPTH,
    Placement, Sink, Source, ValidationReport, read_verified, validate,
};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use json::{JsonError, UnknownFields};
pub use manifest::{
    ArtifactManifest, ImageManifest, Index, IndexError, MAX_MANIFEST_SIZE, Manifest, ManifestError,
    Merge, Mixing, NoMatchingPlatform, Schema1Layer, Schema1Manifest, Schema1Signature,
    V1Compatibility,
};
pub use media_type::{MediaType, MediaTypeError};
pub use platform::{Platform, PlatformError};
pub use raw::Raw;
pub use reference::{
    Reference, ReferenceError, RepositoryName, RepositoryNameError, Selector, SelectorError, Tag,
    TagError,
};
pub use verify::{Verifier, VerifyError};
