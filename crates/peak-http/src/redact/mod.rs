//! What may be shown of URLs and headers in errors, logs and spans: lists of what is known to be harmless.
//! Everything else is hidden, since signed URLs and services put secrets under names nobody can foresee.

mod json;

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use url::Url;

pub(crate) use self::json::json;

/// What stands in the place of a hidden value.
pub const HIDDEN: &str = "REDACTED";

/// Query keys whose values may be shown.
const SHOWN_QUERY_KEYS: &[&str] = &[
    "artifactType",
    "buildStatus",
    "count",
    "dateFrom",
    "dateTo",
    "digest",
    "force",
    "from",
    "fromImage",
    "last",
    "lastBuildStatus",
    "mount",
    "n",
    "names",
    "pageNumber",
    "pageSize",
    "quiet",
    "repo",
    "scope",
    "searchTerm",
    "service",
    "status",
    "tag",
    "tags",
    "versionIds",
    "versions",
];

/// Headers whose values may be shown.
const SHOWN_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-ranges",
    "api-version",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "etag",
    "host",
    "if-range",
    "last-modified",
    "oci-chunk-min-length",
    "oci-filters-applied",
    "oci-subject",
    "ostype",
    "range",
    "retry-after",
    "server",
    "transfer-encoding",
    "user-agent",
    "x-request-id",
];

/// The URL as text without user, password and fragment, with the values of all query keys hidden
/// that are not known to be harmless.
pub fn url(url: &Url) -> String {
    let mut shown = url.clone();
    // Both calls fail only for URLs that cannot have credentials, and then there is nothing to remove.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    if let Some(query) = url.query() {
        let query: Vec<String> = query.split('&').map(query_pair).collect();
        shown.set_query(Some(&query.join("&")));
    }
    shown.into()
}

fn query_pair(pair: &str) -> String {
    match pair.split_once('=') {
        // A key that is not spelled plainly (percent encoded) is not on the list, and hidden.
        // Some servers also split pairs at `;`, so a value that has one may hold another pair.
        Some((key, value)) if SHOWN_QUERY_KEYS.contains(&key) && !value.contains(';') => {
            pair.to_owned()
        }
        Some((key, _)) => format!("{key}={HIDDEN}"),
        None if pair.is_empty() => String::new(),
        None => HIDDEN.to_owned(),
    }
}

/// A view of `headers` for `Debug` output: the values of headers that are not known to be harmless, or are marked
/// sensitive, are hidden.
pub fn headers(headers: &HeaderMap) -> impl fmt::Debug + '_ {
    ShownHeaders(headers)
}

/// Each header with the value that may be shown of it, without control characters.
pub(crate) fn shown_headers(headers: &HeaderMap) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    headers.iter().map(|(name, value)| {
        let name = name.as_str();
        let shown = if !SHOWN_HEADERS.contains(&name) || value.is_sensitive() {
            HIDDEN.into()
        } else {
            match value.to_str() {
                Ok(text) => text.into(),
                Err(_) => format!("{value:?}").into(),
            }
        };
        (name, shown)
    })
}

struct ShownHeaders<'a>(&'a HeaderMap);

impl fmt::Debug for ShownHeaders<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = formatter.debug_map();
        for (name, value) in shown_headers(self.0) {
            map.entry(&name, &value);
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_known_query_keys_keep_their_values() {
        for (given, shown) in [
            ("http://h/p", "http://h/p"),
            ("http://h/p?n=5&last=a", "http://h/p?n=5&last=a"),
            (
                "https://h/p?X-Amz-Signature=abc&n=1",
                "https://h/p?X-Amz-Signature=REDACTED&n=1",
            ),
            ("https://h/p?abc", "https://h/p?REDACTED"),
            ("https://h/p?%6E=5", "https://h/p?%6E=REDACTED"),
            ("https://h/p?", "https://h/p?"),
            ("https://u:p@h/p#token", "https://h/p"),
            ("https://h/p?n=1;token=2", "https://h/p?n=REDACTED"),
        ] {
            assert_eq!(url(&Url::parse(given).unwrap()), shown, "{given}");
        }
    }

    #[test]
    fn only_known_headers_keep_their_values() {
        let mut map = HeaderMap::new();
        map.insert("content-type", HeaderValue::from_static("text/plain"));
        map.insert("authorization", HeaderValue::from_static("Bearer secret"));
        map.insert("x-api-key", HeaderValue::from_static("secret"));
        let mut marked = HeaderValue::from_static("secret");
        marked.set_sensitive(true);
        map.insert("etag", marked);
        let text = format!("{:?}", headers(&map));
        assert!(text.contains("text/plain"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
