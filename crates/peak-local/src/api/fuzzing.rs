//! What holds for the requests of any client; see [`crate::fuzzing`].
#![expect(
    clippy::missing_panics_doc,
    reason = "they panic where something does not hold, which is all they are for"
)]

use axum::http::header::{HeaderMap, HeaderValue, RANGE};

use super::range::{Part, part};

/// `Range` of a file: a line with the file's size, and the header.
pub fn file_range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (size, header) = text.split_once('\n').unwrap_or(("10", text));
    let size: u64 = size.parse().unwrap_or(10);
    let of = |header: &str| {
        let value = HeaderValue::from_str(header).ok()?;
        Some(part(&HeaderMap::from_iter([(RANGE, value)]), "\"a\"", size))
    };
    if let Some(Part::Some { start, length }) = of(header) {
        assert!(length > 0);
        let end = start.checked_add(length);
        assert!(end.is_some_and(|end| end <= size), "it lies in the file");
        let written = format!("bytes={start}-{}", end.unwrap_or_default() - 1);
        assert_eq!(
            of(&written),
            Some(Part::Some { start, length }),
            "{written:?}"
        );
    }
}
