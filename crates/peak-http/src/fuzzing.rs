//! What holds for the headers of any server: the bodies of fuzz targets (docs/fuzzing.md). No part of the interface.

use crate::resume::ContentRange;

/// `Content-Range`.
pub fn content_range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(range) = ContentRange::parse(text) else {
        return;
    };
    assert!(range.start() <= range.end());
    let total = range.total().map_or("*".to_owned(), |total| {
        assert!(range.end() < total);
        assert_eq!(
            range.is_rest_of(total, range.start()),
            range.end() == total - 1
        );
        total.to_string()
    });
    let written = format!("bytes {}-{}/{total}", range.start(), range.end());
    assert_eq!(ContentRange::parse(&written), Some(range), "{written:?}");
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("content_range", super::content_range);
    }
}
