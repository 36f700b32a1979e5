//! What an answer to a request of an upload says, as far as the upload goes on by it.

use http::header::{LOCATION, RANGE};
use http::{HeaderMap, HeaderName, StatusCode};
use peak_oci::Digest;
use url::Url;

use crate::error::RegistryError;
use crate::manifests::said_digest;

/// The smallest chunk that the registry takes, in bytes (distribution-spec 1.1, "Pushing a blob in chunks").
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// Largest smallest chunk that is believed, in bytes: a registry that wants more is asked for less and has to refuse it.
const MOST_CHUNK_MIN_LENGTH: u64 = 1024 * 1024 * 1024;

/// Codes that mean that the session is of no more use, whatever the status.
const SESSION_CODES: [&str; 2] = ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"];

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// Where the upload goes on, if it says so; an error where nothing must be sent there.
    pub(crate) location: Option<Result<Url, &'static str>>,
    /// First and last byte of the `Range` header, as they stand there.
    pub(crate) range: Option<(u64, u64)>,
    /// The smallest chunk that it takes.
    pub(crate) min_chunk: u64,
    /// The digest that it says.
    pub(crate) digest: Option<Digest>,
    /// It is no success, but may be one a little later.
    pub(crate) is_transient: bool,
    /// It says that it does not know the session, or no longer wants it.
    pub(crate) is_about_session: bool,
}

impl Reply {
    /// Reads an answer to a request for `asked`. What the registry says to explain a failure is in `error`.
    pub(crate) fn new(
        asked: &Url,
        status: StatusCode,
        headers: &HeaderMap,
        error: Option<&RegistryError>,
    ) -> Self {
        Self {
            status,
            location: location(asked, headers),
            range: headers
                .get(RANGE)
                .and_then(|value| range(value.to_str().ok()?)),
            min_chunk: headers
                .get(CHUNK_MIN_LENGTH)
                .and_then(|value| number(value.to_str().ok()?.trim()))
                .map_or(0, |least| least.min(MOST_CHUNK_MIN_LENGTH)),
            digest: said_digest(headers),
            is_transient: error.is_some_and(RegistryError::is_transient),
            is_about_session: error.is_some_and(|error| {
                error
                    .codes()
                    .iter()
                    .any(|code| SESSION_CODES.contains(code))
            }),
        }
    }
}

/// The `Location` of an answer, resolved against what was asked; its query stays byte for byte.
fn location(asked: &Url, headers: &HeaderMap) -> Option<Result<Url, &'static str>> {
    let text = headers.get(LOCATION)?.to_str().ok();
    let Some(mut url) = text.and_then(|text| asked.join(text).ok()) else {
        return Some(Err("where the upload goes on cannot be read"));
    };
    url.set_fragment(None);
    Some(if may_follow(asked, &url) {
        Ok(url)
    } else {
        Err("the upload would go on where nothing must be sent")
    })
}

/// Whether an upload may go on at `url`: not less protected than `from`, and not inside our network unless that is.
pub(super) fn may_follow(from: &Url, url: &Url) -> bool {
    let downgraded = from.scheme() == "https" && url.scheme() != "https";
    let inward = peak_http::address::is_internal(url)
        && !peak_http::address::is_internal(from)
        && url.host() != from.host();
    !downgraded && !inward && matches!(url.scheme(), "http" | "https")
}

/// `0-N` and `bytes=0-N`, as registries write it.
fn range(text: &str) -> Option<(u64, u64)> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").unwrap_or(text);
    let (start, end) = text.trim_start_matches(['=', ' ']).split_once('-')?;
    Some((number(start.trim())?, number(end.trim())?))
}

/// Digits only: `parse` would also take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The URL with the digest appended; what its query has stays byte for byte, since it may be signed.
pub(super) fn with_digest(mut url: Url, digest: &Digest) -> Url {
    let query = match url.query() {
        Some(query) if !query.is_empty() => format!("{query}&digest={digest}"),
        _ => format!("digest={digest}"),
    };
    url.set_query(Some(&query));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_appended_and_nothing_else_changed() {
        let digest = Digest::sha256_of(b"");
        for (before, sign) in [
            ("https://r.example/u/1", '?'),
            ("https://r.example/u/1?_state=a%2Fb%3D&x=+", '&'),
        ] {
            let url = with_digest(Url::parse(before).unwrap(), &digest);
            assert_eq!(url.as_str(), format!("{before}{sign}digest={digest}"));
        }
    }

    #[test]
    fn ranges_are_read_in_both_forms() {
        for (text, expected) in [
            ("0-9", Some((0, 9))),
            ("bytes=0-9", Some((0, 9))),
            ("bytes 0-9", Some((0, 9))),
            (" 5-9 ", Some((5, 9))),
            ("0--1", None),
            ("-9", None),
            ("", None),
            ("0-99999999999999999999", None),
        ] {
            // An empty number is none: "-9" has no beginning.
            assert_eq!(range(text), expected, "{text}");
        }
    }

    #[test]
    fn the_smallest_chunk_is_believed_up_to_a_limit() {
        let asked = Url::parse("https://r.example/v2/a/blobs/uploads/").unwrap();
        for (said, expected) in [
            ("65536", 65536),
            ("99999999999", MOST_CHUNK_MIN_LENGTH),
            ("x", 0),
        ] {
            let headers = HeaderMap::from_iter([(CHUNK_MIN_LENGTH, said.parse().unwrap())]);
            let reply = Reply::new(&asked, StatusCode::ACCEPTED, &headers, None);
            assert_eq!(reply.min_chunk, expected);
        }
    }

    #[test]
    fn an_upload_goes_on_anywhere_but_where_nothing_must_be_sent() {
        let asked = Url::parse("https://r.example/v2/a/blobs/uploads/").unwrap();
        for (said, expected) in [
            ("/x?_state=a%2Fb", Some("https://r.example/x?_state=a%2Fb")),
            ("1", Some("https://r.example/v2/a/blobs/uploads/1")),
            ("https://cdn.example/x", Some("https://cdn.example/x")),
            ("//cdn.example/x#part", Some("https://cdn.example/x")),
            ("http://r.example/x", None),
            ("https://169.254.169.254/x", None),
            ("https://localhost/x", None),
            ("ftp://r.example/x", None),
        ] {
            let headers = HeaderMap::from_iter([(LOCATION, said.parse().unwrap())]);
            let reply = Reply::new(&asked, StatusCode::ACCEPTED, &headers, None);
            let location = reply.location.unwrap().ok();
            assert_eq!(location.as_ref().map(Url::as_str), expected, "{said}");
        }
    }
}
