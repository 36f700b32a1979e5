//! The small files of a layout, wherever they stand: `oci-layout`, `index.json`, manifests. No I/O.

use std::path::Path;

use bytes::Bytes;
use peak_oci::{Digest, Index, Manifest, MediaType, Raw};
use serde::Deserialize;

use crate::LayoutError;

pub(crate) const MARKER: &str = "oci-layout";
pub(crate) const INDEX: &str = "index.json";
pub(crate) const MARKER_CONTENT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
pub(crate) const MAX_MARKER_SIZE: u64 = 4 * 1024;

const VERSION: &str = "1.0.0";

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

/// Refuses an `oci-layout` of a version that we do not know. `path` is that of the file, `layout` of the whole.
pub(crate) fn check_marker(bytes: &[u8], path: &Path, layout: &Path) -> Result<(), LayoutError> {
    let marker: Marker =
        serde_json::from_slice(bytes).map_err(LayoutError::json(path.to_path_buf()))?;
    if marker.version == VERSION {
        Ok(())
    } else {
        Err(LayoutError::Version {
            path: layout.to_path_buf(),
            version: marker.version.chars().take(32).collect(),
        })
    }
}

/// Reads an `index.json`.
pub(crate) fn index(bytes: Vec<u8>, path: &Path) -> Result<Index, LayoutError> {
    let index = MediaType::OCI_INDEX;
    match Manifest::parse(Bytes::from(bytes), Some(index.as_str())).map(Raw::into_value) {
        Ok(Manifest::Index(index)) => Ok(index),
        Ok(_) => Err(LayoutError::NotAnIndex {
            path: path.to_path_buf(),
        }),
        Err(source) => Err(LayoutError::InvalidIndex {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// Writes an `index.json`.
pub(crate) fn index_bytes(index: &Index, path: &Path) -> Result<Bytes, LayoutError> {
    match index.to_raw() {
        Ok(raw) => Ok(raw.bytes().clone()),
        Err(source) => Err(LayoutError::InvalidIndex {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// Reads a manifest of the layout and checks that it is the one asked for.
pub(crate) fn manifest(
    bytes: Vec<u8>,
    digest: Digest,
    media_type: Option<&MediaType>,
) -> Result<Raw<Manifest>, LayoutError> {
    let raw = Manifest::parse(Bytes::from(bytes), media_type.map(MediaType::as_str)).map_err(
        |source| LayoutError::InvalidManifest {
            digest: digest.clone(),
            source,
        },
    )?;
    raw.verify(&digest)
        .map_err(|source| LayoutError::Integrity { digest, source })
}

/// Refuses a manifest whose digest is not that of its bytes: as a blob it would have a wrong name.
pub(crate) fn refuse_signed(manifest: &Raw<Manifest>) -> Result<(), LayoutError> {
    if manifest.payload() == manifest.bytes() {
        Ok(())
    } else {
        Err(LayoutError::Signed {
            digest: manifest.digest().clone(),
        })
    }
}

/// Where a blob is in a layout. A digest is parsed, so it cannot name anything else.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}
