//! Indexes.

mod edit;
mod select;

use std::collections::BTreeMap;

pub use edit::{IndexError, Merge, Mixing};
pub use select::NoMatchingPlatform;

use super::kind::Kind;
use super::members::{self, Members};
use super::{Manifest, ManifestError, read_as, written};
use crate::descriptor::Descriptor;
use crate::json::{Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde};
use crate::media_type::MediaType;
use crate::raw::Raw;

/// An OCI image index (image-spec, image-index.md) or a Docker manifest list, which has the same members.
///
/// To change one, clone the view, edit it and write it with [`Index::to_raw`]: members that this version does not know
/// are kept at every level.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use peak_oci::{Descriptor, Index, MediaType, Merge, Mixing};
///
/// let image = |content: &[u8], platform: &str| {
///     Ok::<_, peak_oci::PlatformError>(Descriptor::of(MediaType::OCI_MANIFEST, content).with_platform(platform.parse()?))
/// };
/// let old = Index::create(vec![image(b"1", "linux/amd64")?, image(b"2", "linux/arm64")?], Mixing::Refuse)?;
/// let new = Index::create(vec![image(b"3", "linux/arm64")?, image(b"4", "linux/riscv64")?], Mixing::Refuse)?;
///
/// let merged = old.merge(&new, &Merge::new())?;
/// let platforms: Vec<_> = merged.platforms().map(ToString::to_string).collect();
/// assert_eq!(platforms, ["linux/amd64", "linux/arm64", "linux/riscv64"]);
/// assert_eq!(merged.select(&"linux/aarch64".parse()?)?, &new.manifests[0]);
/// let written = merged.to_raw()?;
/// assert_eq!(written.value().as_index(), Some(&merged));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// What it is; also where the document itself does not say. Always written by [`Index::to_raw`].
    pub media_type: MediaType,
    /// The type of an artifact.
    pub artifact_type: Option<MediaType>,
    /// What it lists.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    pub subject: Option<Descriptor>,
    /// Annotations; see [`crate::annotations`].
    pub annotations: BTreeMap<String, String>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl Index {
    /// An OCI index of these manifests, whatever they are. [`Index::create`] finds out which type of index fits them.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: MediaType::OCI_INDEX,
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            unknown: UnknownFields::default(),
        }
    }

    /// Writes it as compact JSON: known members in a fixed order, then the unknown ones as they came.
    ///
    /// # Errors
    /// [`ManifestError`] when what was put together is no index that could be read again.
    pub fn to_raw(&self) -> Result<Raw<Manifest>, ManifestError> {
        written(self)
    }

    pub(super) fn from_document(document: Json, media_type: MediaType) -> Result<Self, JsonError> {
        let mut fields = Fields::exact(document)?;
        let schema_version = members::schema_version(&mut fields, 2)?;
        let manifests = members::bounded("manifests", fields.list("manifests")?)?;
        let members = Members::take(fields)?;
        Ok(Self {
            schema_version,
            media_type,
            artifact_type: members.artifact_type,
            manifests,
            subject: members.subject,
            annotations: members.annotations,
            unknown: members.unknown,
        })
    }
}

impl FromJson for Index {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        read_as(value, Kind::Index, Self::from_document)
    }
}

impl ToJson for Index {
    fn to_json(&self) -> Json {
        let builder = members::begin(
            Some(self.schema_version),
            &self.media_type,
            self.artifact_type.as_ref(),
        )
        .member("manifests", &self.manifests);
        members::end(
            builder,
            self.subject.as_ref(),
            &self.annotations,
            &self.unknown,
        )
    }
}

json_serde!(Index);
