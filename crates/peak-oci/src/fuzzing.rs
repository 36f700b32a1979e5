//! What holds for any text and any document, whoever sent it: the bodies of fuzz targets (docs/fuzzing.md). No part of
//! the interface.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bytes::Bytes;

use crate::{
    Digest, ImageConfig, MAX_MANIFEST_SIZE, Manifest, MediaType, Platform, Raw, Reference,
    RepositoryName, Selector, Tag,
};

/// References, and the names, tags and selectors they are made of.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    is_written_as_read::<RepositoryName>(text);
    is_written_as_read::<Tag>(text);
    is_written_as_read::<Selector>(text);
    let Some(reference) = is_written_as_read::<Reference>(text) else {
        return;
    };
    assert!(text.len() <= Reference::MAX_LENGTH);
    assert!(!reference.registry().contains('/'));
    let mut forms = vec![reference.familiar()];
    if reference.has_registry() {
        forms.push(reference.canonical());
        let parts = Reference::new(
            reference.registry(),
            reference.repository().clone(),
            reference.tag().cloned(),
            reference.digest().cloned(),
        );
        assert_eq!(parts.as_ref().ok(), Some(&reference), "from its parts");
    }
    for form in forms {
        assert_eq!(
            Reference::parse(&form).as_ref(),
            Ok(&reference),
            "{form:?} means the same"
        );
    }
}

/// Digests.
pub fn digest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(digest) = is_written_as_read::<Digest>(text) {
        assert_eq!(digest.hex().len(), digest.algorithm().hex_length());
        assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
    }
}

/// Platforms: what is written means the same when it is read again.
pub fn platform(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse().as_ref(), Ok(&platform));
        let normalized = platform.clone().normalized();
        assert_eq!(normalized.clone().normalized(), normalized);
        assert_eq!(platform.mismatch(&platform), Some(0), "it is for itself");
    }
}

/// Manifests of every type and image configs: those that are read keep their bytes, and are read again from what is
/// written.
pub fn manifest(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    for claimed in [
        MediaType::OCI_MANIFEST,
        MediaType::OCI_INDEX,
        MediaType::DOCKER_MANIFEST,
        MediaType::DOCKER_MANIFEST_LIST,
    ] {
        if let Ok(read) = Manifest::parse(bytes.clone(), Some(claimed.as_str())) {
            assert_eq!(read.value().media_type(), &claimed, "it is what it came as");
        }
    }
    if let Ok(read) = Manifest::parse(bytes.clone(), None) {
        manifest_holds(&bytes, &read);
    }
    if let Ok(config) = ImageConfig::parse(bytes.clone()) {
        assert_eq!(config.bytes(), &bytes);
        let written = config.value().to_raw();
        let written = written.as_ref().map(Raw::bytes);
        let again = written.map(|written| ImageConfig::parse(written.clone()));
        assert_eq!(
            again.ok().and_then(Result::ok).as_ref().map(Raw::value),
            Some(config.value())
        );
        if let Some(steps) = config.value().steps() {
            assert!(steps.len() >= config.value().rootfs.diff_ids.len());
        }
    }
}

fn manifest_holds(bytes: &Bytes, read: &Raw<Manifest>) {
    assert_eq!(read.bytes(), bytes);
    assert!(read.size() <= MAX_MANIFEST_SIZE);
    assert_eq!(read.digest(), &Digest::sha256_of(read.payload()));
    let manifest = read.value();
    for child in manifest.children().into_iter().chain(manifest.subject()) {
        assert!(i64::try_from(child.size).is_ok());
    }
    let claimed = Manifest::parse(bytes.clone(), Some(manifest.media_type().as_str()));
    assert_eq!(claimed.as_ref().ok(), Some(read), "as what it is");
    if manifest.as_schema1().is_some() {
        return;
    }
    let written = manifest.to_raw();
    assert!(written.is_ok(), "it can be written: {written:?}");
    let Ok(written) = written else {
        return;
    };
    let again = Manifest::parse(
        written.bytes().clone(),
        Some(manifest.media_type().as_str()),
    );
    assert_eq!(again.as_ref().ok(), Some(&written), "and read again");
    assert_eq!(written.value(), manifest, "and is the same");
}

/// Reads a text; what can be read is written the same.
fn is_written_as_read<T>(text: &str) -> Option<T>
where
    T: FromStr + Display + Debug + PartialEq,
{
    let value: T = text.parse().ok()?;
    assert_eq!(value.to_string(), text);
    Some(value)
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("reference", super::reference);
        hold("digest", super::digest);
        hold("platform", super::platform);
        hold("manifest", super::manifest);
    }
}
