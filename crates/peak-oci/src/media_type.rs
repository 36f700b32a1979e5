//! Media types of manifests, configs and layers.

use std::borrow::Cow;
use std::str::FromStr;

use crate::text::{Excerpt, text_value};

/// A media type, such as `application/vnd.oci.image.manifest.v1+json`.
///
/// It is a text and any well-formed type can be held; the constants are those that this crate knows how to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Cow<'static, str>);

/// A text that is no media type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a media type; the form is `type/subtype`, at most {} bytes of visible ASCII",
    Excerpt(text),
    MediaType::MAX_LENGTH
)]
pub struct MediaTypeError {
    text: String,
}

impl MediaType {
    /// The longest media type that is accepted, in bytes.
    pub const MAX_LENGTH: usize = 255;

    /// OCI image index.
    pub const OCI_INDEX: Self = Self::known("application/vnd.oci.image.index.v1+json");
    /// OCI image manifest.
    pub const OCI_MANIFEST: Self = Self::known("application/vnd.oci.image.manifest.v1+json");
    /// OCI image config.
    pub const OCI_CONFIG: Self = Self::known("application/vnd.oci.image.config.v1+json");
    /// The two bytes `{}`: the config of a manifest that needs none.
    pub const OCI_EMPTY: Self = Self::known("application/vnd.oci.empty.v1+json");
    /// OCI layer, an uncompressed tar.
    pub const OCI_LAYER: Self = Self::known("application/vnd.oci.image.layer.v1.tar");
    /// OCI layer, a tar under gzip.
    pub const OCI_LAYER_GZIP: Self = Self::known("application/vnd.oci.image.layer.v1.tar+gzip");
    /// OCI layer, a tar under zstd.
    pub const OCI_LAYER_ZSTD: Self = Self::known("application/vnd.oci.image.layer.v1.tar+zstd");
    /// OCI artifact manifest, from before artifacts became image manifests.
    pub const OCI_ARTIFACT_MANIFEST: Self =
        Self::known("application/vnd.oci.artifact.manifest.v1+json");
    /// Docker manifest list v2.
    pub const DOCKER_MANIFEST_LIST: Self =
        Self::known("application/vnd.docker.distribution.manifest.list.v2+json");
    /// Docker image manifest v2, schema 2.
    pub const DOCKER_MANIFEST: Self =
        Self::known("application/vnd.docker.distribution.manifest.v2+json");
    /// Docker image manifest v2, schema 1, unsigned.
    pub const DOCKER_MANIFEST_V1: Self =
        Self::known("application/vnd.docker.distribution.manifest.v1+json");
    /// Docker image manifest v2, schema 1, signed.
    pub const DOCKER_MANIFEST_V1_SIGNED: Self =
        Self::known("application/vnd.docker.distribution.manifest.v1+prettyjws");
    /// Docker image config.
    pub const DOCKER_CONFIG: Self = Self::known("application/vnd.docker.container.image.v1+json");
    /// Docker layer, a tar under gzip.
    pub const DOCKER_LAYER_GZIP: Self =
        Self::known("application/vnd.docker.image.rootfs.diff.tar.gzip");
    /// Docker layer, an uncompressed tar.
    pub const DOCKER_LAYER: Self = Self::known("application/vnd.docker.image.rootfs.diff.tar");

    /// Every type of manifest that is read, the preferred first, as they stand in an `Accept` header: one request for all
    /// of them, and no registry converts what it has to schema 1.
    pub const MANIFESTS: [Self; 7] = [
        Self::DOCKER_MANIFEST_LIST,
        Self::DOCKER_MANIFEST,
        Self::OCI_INDEX,
        Self::OCI_MANIFEST,
        Self::OCI_ARTIFACT_MANIFEST,
        Self::DOCKER_MANIFEST_V1_SIGNED,
        Self::DOCKER_MANIFEST_V1,
    ];

    const fn known(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The media type of a `Content-Type` header: parameters stripped, in lower case.
    ///
    /// # Errors
    /// [`MediaTypeError`] when nothing usable is left.
    pub fn from_content_type(header: &str) -> Result<Self, MediaTypeError> {
        let essence = header.split(';').next().unwrap_or_default().trim();
        essence.to_ascii_lowercase().parse()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a manifest of any of the types in [`MediaType::MANIFESTS`].
    pub fn is_manifest(&self) -> bool {
        Self::MANIFESTS.contains(self)
    }

    /// Whether this is an OCI index or a Docker manifest list.
    pub fn is_index(&self) -> bool {
        *self == Self::OCI_INDEX || *self == Self::DOCKER_MANIFEST_LIST
    }

    /// Whether this is an OCI image manifest or a Docker v2 schema 2 manifest.
    pub fn is_image_manifest(&self) -> bool {
        *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST
    }

    /// Whether this is a Docker v2 schema 1 manifest, signed or not.
    pub fn is_schema1(&self) -> bool {
        *self == Self::DOCKER_MANIFEST_V1 || *self == Self::DOCKER_MANIFEST_V1_SIGNED
    }

    /// Whether this is the config of a runnable image.
    pub fn is_image_config(&self) -> bool {
        *self == Self::OCI_CONFIG || *self == Self::DOCKER_CONFIG
    }

    /// Whether this is a layer that is the tar itself, with no compression round it.
    pub fn is_uncompressed_layer(&self) -> bool {
        *self == Self::OCI_LAYER || *self == Self::DOCKER_LAYER
    }

    /// Whether content of this type may be missing at a source because its licence keeps it where its `urls` point.
    pub fn is_foreign_layer(&self) -> bool {
        self.0
            .starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
            || self
                .0
                .starts_with("application/vnd.docker.image.rootfs.foreign.diff.")
    }

    /// Whether a header of this type says nothing about what a manifest is, so that its content decides.
    pub(crate) fn is_generic(&self) -> bool {
        matches!(
            self.as_str(),
            "application/octet-stream"
                | "binary/octet-stream"
                | "application/json"
                | "text/plain"
                | "text/json"
        )
    }
}

text_value!(MediaType);

impl FromStr for MediaType {
    type Err = MediaTypeError;

    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let has_form = text
            .split_once('/')
            .is_some_and(|(class, subtype)| !class.is_empty() && !subtype.is_empty());
        let has_only_visible = text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if has_form && has_only_visible && text.len() <= Self::MAX_LENGTH {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(MediaTypeError {
                text: text.chars().take(200).collect(),
            })
        }
    }
}

impl PartialEq<str> for MediaType {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for MediaType {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_lose_parameters_and_case() {
        let media_type = MediaType::from_content_type(
            " Application/VND.oci.image.index.v1+JSON ; charset=utf-8",
        )
        .unwrap();
        assert_eq!(media_type, MediaType::OCI_INDEX);
        assert!(media_type.is_index() && !media_type.is_image_manifest());
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in [
            "",
            "json",
            "/json",
            "application/",
            "application/\u{7}x",
            "application/ü",
            &"a/".repeat(200),
        ] {
            assert!(text.parse::<MediaType>().is_err(), "accepted {text:?}");
        }
    }
}
