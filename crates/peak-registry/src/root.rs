//! What the root of the API says of whether there is a registry.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};

/// What registries since Docker's second API say of themselves.
const API_VERSION: &str = "docker-distribution-api-version";

/// Why what has answered so at `/v2/`, as it answers everybody, is no registry; `None` where it may be one.
///
/// To those who have shown who they are Quay answers with the type of a web page: this is for answers that nobody was
/// asked before.
pub(crate) fn why_no_registry(status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
    match status {
        StatusCode::NOT_FOUND => Some("it has no /v2/, so it is no registry"),
        status if status.is_success() && is_web_page(headers) => {
            Some("what answers is a web page, and no registry")
        }
        _ => None,
    }
}

fn is_web_page(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    let is_html = content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| {
            text.trim_start()
                .to_ascii_lowercase()
                .starts_with("text/html")
        });
    is_html && !headers.contains_key(API_VERSION)
}
