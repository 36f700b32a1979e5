//! What is to be moved: every manifest below the root, and every blob that they name, once.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use peak_oci::{Descriptor, Digest, MAX_INDEX_DEPTH, Manifest, Raw, Selector, Source};

use crate::TransferError;

/// Manifests are kept in memory until they are written, so there is a limit to them all together.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// What is to be moved.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Written last.
    pub(crate) root: Raw<Manifest>,
    /// All others; each comes after those that it points to.
    pub(crate) children: Vec<Raw<Manifest>>,
    /// Each digest once, in the order in which they are named.
    pub(crate) blobs: Vec<Descriptor>,
}

impl Plan {
    pub(crate) fn bytes(&self) -> u64 {
        self.blobs
            .iter()
            .fold(0, |sum, blob| sum.saturating_add(blob.size))
    }
}

/// Reads all manifests, level by level, several at once.
pub(crate) async fn make(
    source: &dyn Source,
    selector: Option<&Selector>,
    concurrency: usize,
) -> Result<Plan, TransferError> {
    let root = source.manifest(selector).await.map_err(|error| {
        let what = selector.map_or_else(
            || "the image".to_owned(),
            |selector| format!("image `{selector}`"),
        );
        TransferError::reading(what, error)
    })?;
    refuse_schema1(&root)?;
    let mut known: HashMap<Digest, Raw<Manifest>> = HashMap::new();
    let mut bytes = root.size();
    let mut level = vec![root.clone()];
    for depth in 0.. {
        let mut wanted: Vec<Descriptor> = Vec::new();
        let mut seen: HashSet<&Digest> = HashSet::new();
        for child in level.iter().flat_map(manifests_of) {
            if !known.contains_key(&child.digest) && seen.insert(&child.digest) {
                wanted.push(child.clone());
            }
        }
        if wanted.is_empty() {
            break;
        }
        if depth >= MAX_INDEX_DEPTH {
            return Err(TransferError::TooDeep {
                limit: MAX_INDEX_DEPTH,
            });
        }
        bytes = wanted
            .iter()
            .fold(bytes, |sum, child| sum.saturating_add(child.size));
        if bytes > MAX_MANIFEST_BYTES {
            return Err(TransferError::TooLarge {
                limit_bytes: MAX_MANIFEST_BYTES,
            });
        }
        level = stream::iter(wanted)
            .map(|child| fetch(source, child))
            .buffered(concurrency)
            .try_collect()
            .await?;
        for manifest in &level {
            known.insert(manifest.digest().clone(), manifest.clone());
        }
    }
    let mut order = Order {
        known,
        ..Order::default()
    };
    order.visit(&root)?;
    Ok(Plan {
        root,
        children: order.children,
        blobs: order.blobs,
    })
}

async fn fetch(source: &dyn Source, child: Descriptor) -> Result<Raw<Manifest>, TransferError> {
    let what = || format!("manifest {}", child.digest);
    let selector = Selector::Digest(child.digest.clone());
    let manifest = source
        .manifest(Some(&selector))
        .await
        .map_err(|error| TransferError::reading(what(), error))?;
    // Sources verify; that they did is checked where everything depends on it.
    let manifest = manifest.verify(&child.digest).map_err(|error| {
        let error = peak_oci::ContentError::new(
            peak_oci::ContentErrorKind::Integrity,
            "the source gave another manifest",
        )
        .with_source(error);
        TransferError::reading(what(), error)
    })?;
    refuse_schema1(&manifest)?;
    if manifest.size() == child.size {
        Ok(manifest)
    } else {
        Err(TransferError::ManifestSize {
            digest: child.digest,
            expected: child.size,
            actual: manifest.size(),
        })
    }
}

/// A manifest of schema 1 does not say the sizes of its layers, without which they cannot be moved and checked.
fn refuse_schema1(manifest: &Raw<Manifest>) -> Result<(), TransferError> {
    if !manifest.media_type().is_schema1() {
        return Ok(());
    }
    let error = peak_oci::ContentError::new(
        peak_oci::ContentErrorKind::Unsupported,
        "images of Docker's schema 1 cannot be copied; push the image again with a newer client",
    );
    Err(TransferError::reading(
        format!("image {}", manifest.digest()),
        error,
    ))
}

/// What an index points to that is a manifest.
fn manifests_of(parent: &Raw<Manifest>) -> impl Iterator<Item = &Descriptor> {
    let children = if parent.value().as_index().is_some() {
        parent.value().children()
    } else {
        Vec::new()
    };
    children.into_iter().filter(|child| is_manifest(child))
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    descriptor.media_type.is_manifest()
}

/// Puts manifests behind what they point to, and blobs into the order in which they are named.
#[derive(Default)]
struct Order {
    known: HashMap<Digest, Raw<Manifest>>,
    visited: HashSet<Digest>,
    children: Vec<Raw<Manifest>>,
    blobs: Vec<Descriptor>,
    sizes: HashMap<Digest, u64>,
}

impl Order {
    /// As deep as the indexes are nested, which was limited when they were read.
    fn visit(&mut self, parent: &Raw<Manifest>) -> Result<(), TransferError> {
        let is_index = parent.value().as_index().is_some();
        for child in parent.value().children() {
            if !(is_index && is_manifest(child)) {
                self.add_blob(child)?;
            } else if self.visited.insert(child.digest.clone())
                && let Some(manifest) = self.known.get(&child.digest).cloned()
            {
                self.visit(&manifest)?;
                self.children.push(manifest);
            }
        }
        Ok(())
    }

    fn add_blob(&mut self, blob: &Descriptor) -> Result<(), TransferError> {
        match self.sizes.insert(blob.digest.clone(), blob.size) {
            None => {
                self.blobs.push(blob.clone());
                Ok(())
            }
            Some(first) if first == blob.size => Ok(()),
            Some(first) => Err(TransferError::ConflictingSizes {
                digest: blob.digest.clone(),
                first,
                second: blob.size,
            }),
        }
    }
}
