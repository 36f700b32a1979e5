//! Descriptors: what points to content.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::digest::Digest;
use crate::json::{Builder, Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde};
use crate::media_type::MediaType;
use crate::platform::Platform;
use crate::verify::{Verifier, VerifyError};

/// What some content is: its media type, digest and size, and what else is known about it (image-spec, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes; at most `i64::MAX` when read from a document.
    pub size: u64,
    /// Where else the content can be had.
    pub urls: Vec<String>,
    /// Annotations; see [`crate::annotations`].
    pub annotations: BTreeMap<String, String>,
    /// The content itself, embedded. Not verified; see [`Descriptor::embedded`].
    pub data: Option<Bytes>,
    /// What a manifest in an index is for.
    pub platform: Option<Platform>,
    /// The type of the artifact that the content is the manifest of.
    pub artifact_type: Option<MediaType>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl Descriptor {
    /// A descriptor with what every descriptor has.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
            unknown: UnknownFields::default(),
        }
    }

    /// The descriptor of these bytes, with their SHA-256 digest.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256_of(bytes), bytes.len() as u64)
    }

    /// Sets the platform.
    #[must_use]
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }

    /// Sets an annotation.
    #[must_use]
    pub fn with_annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// An annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    /// The embedded content, checked against size and digest; `None` where there is none.
    ///
    /// # Errors
    /// [`VerifyError`] when the embedded bytes are not what the descriptor says.
    pub fn embedded(&self) -> Result<Option<&Bytes>, VerifyError> {
        let Some(data) = &self.data else {
            return Ok(None);
        };
        let mut verifier = Verifier::for_descriptor(self);
        verifier.update(data)?;
        verifier.finish()?;
        Ok(Some(data))
    }
}

/// Embedded bytes stand in the document as standard base64.
struct Base64(Bytes);

impl FromJson for Base64 {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match STANDARD.decode(String::from_json(value)?) {
            Ok(bytes) => Ok(Self(bytes.into())),
            Err(error) => Err(JsonError::here(format!("not base64: {error}"))),
        }
    }
}

impl ToJson for Base64 {
    fn to_json(&self) -> Json {
        Json::String(STANDARD.encode(&self.0))
    }
}

fn check_size(size: u64) -> Result<u64, JsonError> {
    if i64::try_from(size).is_ok() {
        Ok(size)
    } else {
        Err(JsonError::here(format!(
            "expected a size of at most {} bytes, found {size}",
            i64::MAX
        ))
        .below("size"))
    }
}

impl FromJson for Descriptor {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        let mut fields = Fields::exact(value)?;
        Ok(Self {
            media_type: fields.required("mediaType")?,
            digest: fields.required("digest")?,
            size: check_size(fields.required("size")?)?,
            urls: fields.or_default("urls")?,
            annotations: fields.or_default("annotations")?,
            data: fields.optional("data")?.map(|Base64(bytes)| bytes),
            platform: fields.optional("platform")?,
            artifact_type: fields.optional_text("artifactType")?,
            unknown: fields.rest(),
        })
    }
}

impl ToJson for Descriptor {
    fn to_json(&self) -> Json {
        Builder::new()
            .member("mediaType", &self.media_type)
            .member("digest", &self.digest)
            .member("size", &self.size)
            .unless_default("urls", &self.urls)
            .unless_default("annotations", &self.annotations)
            .optional("data", self.data.clone().map(Base64).as_ref())
            .optional("platform", self.platform.as_ref())
            .optional("artifactType", self.artifact_type.as_ref())
            .finish(&self.unknown)
    }
}

json_serde!(Descriptor);
