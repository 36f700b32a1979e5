//! What manifests of several kinds have in common.

use std::collections::BTreeMap;

use crate::descriptor::Descriptor;
use crate::json::{Builder, Fields, Json, JsonError, UnknownFields};
use crate::media_type::MediaType;

/// How many layers, blobs or manifests one manifest may name. A real image has at most 127 layers; artifacts have more.
pub(super) const MAX_DESCRIPTORS: usize = 10_000;

/// The members that image manifests, indexes and artifact manifests share, and what is left over.
pub(super) struct Members {
    pub(super) artifact_type: Option<MediaType>,
    pub(super) subject: Option<Descriptor>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) unknown: UnknownFields,
}

impl Members {
    /// Takes them out of an object whose own members were taken before.
    pub(super) fn take(mut fields: Fields) -> Result<Self, JsonError> {
        // Its meaning was found out before: see `kind`.
        let _declared: Option<String> = fields.optional("mediaType")?;
        Ok(Self {
            artifact_type: fields.optional_text("artifactType")?,
            subject: fields.optional("subject")?,
            annotations: fields.or_default("annotations")?,
            unknown: fields.rest(),
        })
    }
}

/// Begins a manifest: what stands before its own members.
pub(super) fn begin(
    schema_version: Option<u64>,
    media_type: &MediaType,
    artifact_type: Option<&MediaType>,
) -> Builder {
    Builder::new()
        .optional("schemaVersion", schema_version.as_ref())
        .member("mediaType", media_type)
        .optional("artifactType", artifact_type)
}

/// Ends a manifest: what stands behind its own members.
pub(super) fn end(
    builder: Builder,
    subject: Option<&Descriptor>,
    annotations: &BTreeMap<String, String>,
    unknown: &UnknownFields,
) -> Json {
    builder
        .optional("subject", subject)
        .unless_default("annotations", annotations)
        .finish(unknown)
}

/// `schemaVersion` has to be there and has to be this one.
pub(super) fn schema_version(fields: &mut Fields, expected: u64) -> Result<u64, JsonError> {
    let version = fields.required("schemaVersion")?;
    if version == expected {
        Ok(version)
    } else {
        Err(
            JsonError::here(format!("expected the version {expected}, found {version}"))
                .below("schemaVersion"),
        )
    }
}

/// A list that is no longer than lists of manifests are allowed to be.
pub(super) fn bounded<T>(name: &str, list: Vec<T>) -> Result<Vec<T>, JsonError> {
    if list.len() > MAX_DESCRIPTORS {
        let length = list.len();
        return Err(JsonError::here(format!(
            "expected at most {MAX_DESCRIPTORS} entries, found {length}"
        ))
        .below(name));
    }
    Ok(list)
}
