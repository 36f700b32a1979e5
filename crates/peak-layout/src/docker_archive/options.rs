//! How Docker archives are written, and what things are called in them.

use peak_oci::{Digest, Reference, Tag};

use crate::LayoutError;

/// A layer may become this large whatever it was, in bytes.
const ALWAYS_ALLOWED: u64 = 1024 * 1024 * 1024;

/// A layer may grow this many times. Gzip cannot do more than about 1030.
const DEFAULT_RATIO: u64 = 250;

/// How an archive is written.
#[derive(Clone, Debug)]
#[must_use]
pub struct DockerArchiveOptions {
    name: Option<Reference>,
    always_allowed: u64,
    ratio: u64,
}

impl DockerArchiveOptions {
    /// An image without a name; layers that grow to more than 1 GiB may grow by 250 times.
    pub fn new() -> Self {
        Self {
            name: None,
            always_allowed: ALWAYS_ALLOWED,
            ratio: DEFAULT_RATIO,
        }
    }

    /// What the image is called when it is loaded; without a tag, `latest` is added.
    pub fn name(mut self, name: Reference) -> Self {
        self.name = Some(name);
        self
    }

    /// How many times its compressed size a layer may have. One that becomes larger, and larger than
    /// [is always allowed](Self::always_allowed), is taken for an attack on the disk.
    pub fn maximum_ratio(mut self, ratio: u64) -> Self {
        self.ratio = ratio;
        self
    }

    /// How large a layer may become, in bytes, however small it was when it was compressed.
    pub fn always_allowed(mut self, bytes: u64) -> Self {
        self.always_allowed = bytes;
        self
    }

    /// An image in an archive has a name with a tag, or none.
    pub(super) fn check(&self) -> Result<(), LayoutError> {
        match self.name.as_ref().and_then(Reference::digest) {
            None => Ok(()),
            Some(digest) => Err(LayoutError::NamedByDigest {
                digest: digest.clone(),
            }),
        }
    }

    /// The name that is written down, and its tag: the full one, because tools differ in what they make of a short one.
    pub(super) fn image_name(&self, tag: Option<&Tag>) -> Option<(String, Tag)> {
        let name = self.name.as_ref()?;
        let tag = tag.or_else(|| name.tag()).cloned();
        let tag = tag.unwrap_or_else(Tag::latest);
        Some((name.with_tag(tag.clone()).canonical(), tag))
    }

    /// How large a layer of this size may become, in bytes.
    pub(super) fn limit(&self, size: u64) -> u64 {
        size.saturating_mul(self.ratio).max(self.always_allowed)
    }
}

impl Default for DockerArchiveOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a layer is called that was decompressed.
pub(super) fn layer_name(diff_id: &Digest) -> String {
    format!("{}.tar", diff_id.hex())
}
