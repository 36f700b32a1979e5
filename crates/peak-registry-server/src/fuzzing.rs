//! What holds for the requests of any client: the bodies of fuzz targets (docs/fuzzing.md). No part of the interface.

use crate::routes::path::Route;
use crate::routes::range::{self, Chunk, Requested};

/// `Range` of a blob and `Content-Range` of a chunk: a line with the blob's size, and the header.
pub fn blob_range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (size, header) = text.split_once('\n').unwrap_or(("10", text));
    let size = size.parse().unwrap_or(10);
    if let Requested::Part { first, last } = range::requested(header, size) {
        assert!(first <= last && last < size);
        let written = format!("bytes={first}-{last}");
        assert_eq!(
            range::requested(&written, size),
            Requested::Part { first, last }
        );
    }
    if let Some(chunk) = range::chunk(header) {
        let Chunk { start, length } = chunk;
        assert!(length > 0);
        let last = start.checked_add(length - 1);
        assert!(last.is_some(), "it ends somewhere");
        for written in [
            format!("{start}-{}", last.unwrap_or_default()),
            format!("bytes {start}-{}/*", last.unwrap_or_default()),
        ] {
            assert_eq!(range::chunk(&written), Some(chunk), "{written:?}");
        }
    }
}

/// Paths of requests: the parts of one that is understood lead to the same.
pub fn registry_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(route) = Route::parse(text) else {
        return;
    };
    let written = match &route {
        Route::Base => "/v2/".to_owned(),
        Route::Catalog => "/v2/_catalog".to_owned(),
        Route::Tags { name } => format!("/v2/{name}/tags/list"),
        Route::Manifest { name, selector } => format!("/v2/{name}/manifests/{selector}"),
        Route::Blob { name, digest } => format!("/v2/{name}/blobs/{digest}"),
        Route::Uploads { name } => format!("/v2/{name}/blobs/uploads/"),
        Route::Upload { name, id } => format!("/v2/{name}/blobs/uploads/{id}"),
        Route::Referrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
    };
    assert_eq!(Route::parse(&written), Ok(route), "{written:?}");
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("blob_range", super::blob_range);
        hold("registry_path", super::registry_path);
    }
}
