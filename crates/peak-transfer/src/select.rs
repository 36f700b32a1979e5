//! Which platforms of an image are moved.

use std::collections::HashSet;

use peak_oci::annotations::{DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE};
use peak_oci::{
    Descriptor, Digest, ImageConfig, Index, MAX_CONFIG_SIZE, MAX_INDEX_DEPTH, Manifest, Platform,
    Raw, read_verified,
};

use crate::TransferError;
use crate::manifests::Manifests;

/// What `BuildKit` calls the statements about how an image was built, which stand beside it in its index.
const ATTESTATION: &str = "attestation-manifest";

/// Which platforms of an image are moved; all by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Platforms {
    wanted: Vec<Platform>,
    may_be_missing: bool,
}

impl Platforms {
    /// Every one: the image is moved as it is.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only these; without any, all.
    ///
    /// Of an index, one platform means the manifest that [runs best on it](Index::select) and nothing else. Several
    /// mean an index of their manifests and of the attestations about those: it is **another index than the source's,
    /// with another digest**, unless nothing had to be left out. Indexes within the index are followed to a depth of
    /// [`MAX_INDEX_DEPTH`].
    ///
    /// An image for one platform is checked by its config: it has to run on one of those wanted. Artifacts, which say
    /// no platform, are moved as they are.
    pub fn only(platforms: impl IntoIterator<Item = Platform>) -> Self {
        Self {
            wanted: platforms.into_iter().collect(),
            may_be_missing: false,
        }
    }

    /// Takes those that there are, where not all are there; it is an error only where none is.
    pub fn where_available(mut self) -> Self {
        self.may_be_missing = true;
        self
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// The image that is left of `root` when only the wanted platforms are taken.
pub(crate) async fn choose(
    manifests: &Manifests<'_>,
    root: Raw<Manifest>,
    platforms: &Platforms,
) -> Result<Raw<Manifest>, TransferError> {
    if platforms.is_all() {
        return Ok(root);
    }
    let Some(index) = root.value().as_index() else {
        check_config(manifests, &root, platforms).await?;
        return Ok(root);
    };
    let mut flat = index.clone();
    flat.manifests = leaves(manifests, index).await?;
    let mut chosen: Vec<Descriptor> = Vec::new();
    let mut missing = None;
    for wanted in &platforms.wanted {
        match flat.select(wanted) {
            Ok(found) if chosen.iter().any(|known| known.digest == found.digest) => {}
            Ok(found) => chosen.push(found.clone()),
            Err(error) => missing = missing.or(Some(error)),
        }
    }
    match missing {
        Some(source) if chosen.is_empty() || !platforms.may_be_missing => {
            return Err(TransferError::NoPlatform {
                digest: root.digest().clone(),
                source,
            });
        }
        _ => {}
    }
    if let ([_], [only]) = (platforms.wanted.as_slice(), chosen.as_slice()) {
        return manifests.fetch(only).await;
    }
    let kept: HashSet<&Digest> = chosen.iter().map(|chosen| &chosen.digest).collect();
    let mut seen = HashSet::new();
    flat.manifests
        .retain(|listed| is_kept(listed, &kept) && seen.insert(listed.digest.clone()));
    if flat == *index {
        return Ok(root);
    }
    flat.to_raw().map_err(|source| TransferError::Index {
        digest: root.digest().clone(),
        source,
    })
}

fn is_kept(listed: &Descriptor, kept: &HashSet<&Digest>) -> bool {
    let describes_kept = || {
        listed.annotation(DOCKER_REFERENCE_TYPE) == Some(ATTESTATION)
            && listed
                .annotation(DOCKER_REFERENCE_DIGEST)
                .and_then(|digest| digest.parse::<Digest>().ok())
                .is_some_and(|digest| kept.contains(&digest))
    };
    kept.contains(&listed.digest) || describes_kept()
}

/// Everything that an index lists and that is no index, in order.
async fn leaves(
    manifests: &Manifests<'_>,
    index: &Index,
) -> Result<Vec<Descriptor>, TransferError> {
    let mut found: Vec<Descriptor> = index.manifests.clone();
    let mut followed = HashSet::new();
    for _ in 0..MAX_INDEX_DEPTH {
        if !found.iter().any(|listed| listed.media_type.is_index()) {
            return Ok(found);
        }
        let mut below = Vec::with_capacity(found.len());
        for listed in found {
            if !listed.media_type.is_index() {
                below.push(listed);
            } else if followed.insert(listed.digest.clone()) {
                match manifests.fetch(&listed).await?.into_value() {
                    Manifest::Index(inner) => below.extend(inner.manifests),
                    _ => below.push(listed),
                }
            }
        }
        found = below;
    }
    if found.iter().any(|listed| listed.media_type.is_index()) {
        return Err(TransferError::TooDeep {
            limit: MAX_INDEX_DEPTH,
        });
    }
    Ok(found)
}

/// An image for one platform says in its config which one that is.
async fn check_config(
    manifests: &Manifests<'_>,
    root: &Raw<Manifest>,
    platforms: &Platforms,
) -> Result<(), TransferError> {
    let actual = match root.value() {
        Manifest::Image(image) if image.config.media_type.is_image_config() => {
            let what = || format!("config {}", image.config.digest);
            let bytes = read_verified(manifests.source, &image.config, MAX_CONFIG_SIZE)
                .await
                .map_err(|error| TransferError::reading(what(), error))?;
            let config = ImageConfig::parse(bytes)
                .map_err(|error| TransferError::reading(what(), error.into()))?;
            config.value().platform()
        }
        Manifest::Schema1(old) => match &old.architecture {
            Some(architecture) => Platform::new("linux", architecture.as_str()),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let fits = |wanted: &Platform| wanted.mismatch(&actual).is_some();
    if !actual.is_known() || platforms.wanted.iter().any(fits) {
        return Ok(());
    }
    let wanted: Vec<_> = platforms.wanted.iter().map(ToString::to_string).collect();
    Err(TransferError::OtherPlatform {
        digest: root.digest().clone(),
        wanted: wanted.join(", "),
        actual: Box::new(actual),
    })
}
