//! Reading manifests from a source: each checked against the descriptor that pointed to it, all together bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use peak_oci::{ContentError, ContentErrorKind, Descriptor, Manifest, Raw, Selector, Sink, Source};

use crate::TransferError;

/// Manifests are kept in memory until they are written, so there is a limit to those of one image all together.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// The manifests of one image, as they are read.
pub(crate) struct Manifests<'a> {
    pub(crate) source: &'a dyn Source,
    /// Has to be able to hold them.
    sink: &'a dyn Sink,
    bytes: AtomicU64,
}

impl<'a> Manifests<'a> {
    pub(crate) fn new(source: &'a dyn Source, sink: &'a dyn Sink) -> Self {
        Self {
            source,
            sink,
            bytes: AtomicU64::new(0),
        }
    }

    /// The image that is meant; `None` means the source's only or default one.
    pub(crate) async fn root(
        &self,
        selector: Option<&Selector>,
    ) -> Result<Raw<Manifest>, TransferError> {
        let root = self.source.manifest(selector).await.map_err(|error| {
            let what = selector.map_or_else(
                || "the image".to_owned(),
                |selector| format!("image `{selector}`"),
            );
            TransferError::reading(what, error)
        })?;
        self.count(root.size())?;
        match selector {
            Some(Selector::Digest(_)) => verified(root, selector),
            _ => Ok(root),
        }
    }

    /// The manifest under a tag, if there is one.
    pub(crate) async fn tagged(
        &self,
        selector: &Selector,
    ) -> Result<Option<Raw<Manifest>>, TransferError> {
        match self.root(Some(selector)).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(TransferError::Source { source, .. })
                if source.kind() == ContentErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The same for a tag that most images do not have: the source is asked for it in the way that is the surest and the
    /// cheapest where the answer is no.
    pub(crate) async fn find(
        &self,
        selector: &Selector,
    ) -> Result<Option<Raw<Manifest>>, TransferError> {
        let found = self.source.manifest_digest(selector).await;
        match found.map_err(|error| TransferError::reading(format!("image `{selector}`"), error))? {
            Some(digest) => self.tagged(&Selector::Digest(digest)).await,
            None => Ok(None),
        }
    }

    /// What a descriptor points to.
    pub(crate) async fn fetch(&self, child: &Descriptor) -> Result<Raw<Manifest>, TransferError> {
        // Before anything is read: what the descriptor says is what is accepted.
        self.count(child.size)?;
        let selector = Selector::Digest(child.digest.clone());
        let manifest = self
            .source
            .manifest(Some(&selector))
            .await
            .map_err(|error| TransferError::reading(format!("manifest {}", child.digest), error))?;
        let manifest = verified(manifest, Some(&selector))?;
        if manifest.size() == child.size {
            Ok(manifest)
        } else {
            Err(TransferError::ManifestSize {
                digest: child.digest.clone(),
                expected: child.size,
                actual: manifest.size(),
            })
        }
    }

    /// Whether the destination can hold it, which is found out before anything is moved.
    pub(crate) fn check(&self, manifest: &Raw<Manifest>) -> Result<(), TransferError> {
        self.sink.holds(manifest).map_err(|error| {
            TransferError::writing(format!("manifest {}", manifest.digest()), error)
        })
    }

    fn count(&self, size: u64) -> Result<(), TransferError> {
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) > MAX_MANIFEST_BYTES {
            return Err(TransferError::TooLarge {
                limit_bytes: MAX_MANIFEST_BYTES,
            });
        }
        Ok(())
    }
}

/// Sources verify; that they did is checked where everything depends on it.
fn verified(
    manifest: Raw<Manifest>,
    selector: Option<&Selector>,
) -> Result<Raw<Manifest>, TransferError> {
    let Some(Selector::Digest(digest)) = selector else {
        return Ok(manifest);
    };
    manifest.verify(digest).map_err(|error| {
        let error = ContentError::new(
            ContentErrorKind::Integrity,
            "the source gave another manifest",
        )
        .with_source(error);
        TransferError::reading(format!("manifest {digest}"), error)
    })
}
