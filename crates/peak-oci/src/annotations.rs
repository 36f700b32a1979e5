//! Names of the predefined annotations (image-spec, annotations.md) and of those that tools around it use.

/// When the image was built, RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// Who answers for the image.
pub const AUTHORS: &str = "org.opencontainers.image.authors";
/// Where to learn more about the image.
pub const URL: &str = "org.opencontainers.image.url";
/// Where the documentation is.
pub const DOCUMENTATION: &str = "org.opencontainers.image.documentation";
/// Where the source code is.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// The version of the packaged software.
pub const VERSION: &str = "org.opencontainers.image.version";
/// The source revision of the packaged software.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// Who distributes the image.
pub const VENDOR: &str = "org.opencontainers.image.vendor";
/// The licences, as an SPDX expression.
pub const LICENSES: &str = "org.opencontainers.image.licenses";
/// The name of what a descriptor points to: in the `index.json` of an image layout, the tag.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// A title for people.
pub const TITLE: &str = "org.opencontainers.image.title";
/// A description for people.
pub const DESCRIPTION: &str = "org.opencontainers.image.description";
/// The digest of the image that this one is based on.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// The reference of the image that this one is based on.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The full reference of an image in the `index.json` that `ctr` and `docker save` write.
pub const CONTAINERD_IMAGE_NAME: &str = "io.containerd.image.name";
/// What `BuildKit` lists in an index beside images: `attestation-manifest`.
pub const DOCKER_REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The digest of the manifest in the same index that such an entry is about.
pub const DOCKER_REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
