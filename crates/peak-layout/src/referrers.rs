//! What refers to a manifest of a layout. No I/O of its own.
//!
//! The layout's specification has no place for it. As regctl does and as registries without lists of their own have it,
//! there is one index for each subject, named after it (distribution-spec 1.1, "Referrers Tag Schema"); it is found by
//! that name, and by tools such as oras that follow everything that `index.json` points to. What those list in
//! `index.json` itself, without a name, is found here, too.

use peak_oci::{Descriptor, Digest, Index, MAX_REFERRERS, Manifest, Raw, Selector, Tag};

use crate::{LayoutError, index};

/// What refers to `subject`, as far as `index.json` leads there.
pub(crate) fn find(
    images: &Index,
    subject: &Digest,
    read: impl Fn(&Descriptor) -> Result<Raw<Manifest>, LayoutError>,
) -> Result<Vec<Descriptor>, LayoutError> {
    let mut found = match Tag::of_referrers(subject) {
        Some(tag) => list(images, &tag, &read)?.manifests,
        None => Vec::new(),
    };
    let nameless = images
        .manifests
        .iter()
        .filter(|entry| index::name_of(entry).is_none() && entry.media_type.is_manifest());
    for entry in nameless.take(MAX_REFERRERS) {
        let refers = read(entry)?
            .value()
            .subject()
            .is_some_and(|about| about.digest == *subject);
        if refers && !found.iter().any(|known| known.digest == entry.digest) {
            found.push(entry.clone());
        }
    }
    if found.len() > MAX_REFERRERS {
        return Err(LayoutError::TooManyReferrers {
            subject: subject.clone(),
            limit: MAX_REFERRERS,
        });
    }
    Ok(found)
}

/// The list that is kept under a tag; an empty one where there is none.
pub(crate) fn list(
    images: &Index,
    tag: &Tag,
    read: impl Fn(&Descriptor) -> Result<Raw<Manifest>, LayoutError>,
) -> Result<Index, LayoutError> {
    let entry = match index::select(images, Some(&Selector::Tag(tag.clone()))) {
        Ok(Some(entry)) => entry,
        Ok(None) | Err(LayoutError::UnknownImage { .. }) => return Ok(Index::new(Vec::new())),
        Err(error) => return Err(error),
    };
    match read(entry)?.into_value() {
        Manifest::Index(index) => Ok(index),
        _ => Ok(Index::new(Vec::new())),
    }
}

/// How a referrer stands in a list: with its artifact type and annotations, so that one may choose without reading it.
pub(crate) fn entry(manifest: &Raw<Manifest>) -> Descriptor {
    let mut entry = manifest.descriptor();
    entry.artifact_type = manifest.value().artifact_type().cloned();
    entry.annotations.clone_from(manifest.value().annotations());
    entry
}
