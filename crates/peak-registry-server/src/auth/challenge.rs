//! The header `WWW-Authenticate`: how a client is told to say who it is, and where to get a token.

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Uri, header};

use crate::auth::SERVICE;

/// The path of the token endpoint.
pub(crate) const TOKEN_PATH: &str = "/token";

/// What was wrong with the token (RFC 6750, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There was none.
    None,
    InvalidToken,
    InsufficientScope,
}

/// Why a text cannot be where a registry is reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the public URL of a registry has the form https://HOST[:PORT], without a path or a user")]
#[non_exhaustive]
pub struct PublicUrlError;

/// Where the token endpoint is.
#[derive(Debug, Clone)]
pub(crate) enum Realm {
    /// Where the request went. `https` is for servers that do not say themselves how it came.
    Same { https: bool },
    /// There, whatever the request says.
    Fixed(String),
}

impl Default for Realm {
    fn default() -> Self {
        Self::Same { https: false }
    }
}

impl Realm {
    /// At a public URL.
    pub(crate) fn at(url: &str) -> Result<Self, PublicUrlError> {
        let uri: Uri = url.parse().map_err(|_| PublicUrlError)?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(host)) if known && bare && is_plain(host.as_str()) => {
                Ok(Self::Fixed(format!("{scheme}://{host}{TOKEN_PATH}")))
            }
            _ => Err(PublicUrlError),
        }
    }

    pub(crate) fn set_https(&mut self, on: bool) {
        if let Self::Same { https } = self {
            *https = on;
        }
    }

    /// The address for the sender of a request.
    pub(crate) fn of(&self, request: &Parts) -> String {
        match self {
            Self::Fixed(address) => address.clone(),
            Self::Same { https } => match host(request) {
                Some(host) if *https || came_over_tls(request) => {
                    format!("https://{host}{TOKEN_PATH}")
                }
                Some(host) => format!("http://{host}{TOKEN_PATH}"),
                // A request that names no host. Some clients make sense of this.
                None => TOKEN_PATH.to_owned(),
            },
        }
    }
}

/// Whether the server that took the request says that it came over TLS.
#[cfg(feature = "server")]
fn came_over_tls(request: &Parts) -> bool {
    let connection = request.extensions.get::<peak_serve::Connection>();
    connection.is_some_and(peak_serve::Connection::is_secure)
}

#[cfg(not(feature = "server"))]
fn came_over_tls(_: &Parts) -> bool {
    false
}

/// The host that a request names: HTTP/2 has it in the address, HTTP/1 in a header.
fn host(request: &Parts) -> Option<&str> {
    let named = || request.headers.get(header::HOST)?.to_str().ok();
    request
        .uri
        .authority()
        .map(Authority::as_str)
        .or_else(named)
        .filter(|host| is_plain(host) && host.parse::<Authority>().is_ok())
}

/// Whether a text has only what hosts and ports are made of, and nothing that would end a quoted
/// string or begin a user.
fn is_plain(host: &str) -> bool {
    !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte))
}

pub(crate) fn basic() -> String {
    "Basic realm=\"peak registry\"".to_owned()
}

pub(crate) fn bearer(realm: &str, scope: Option<&str>, problem: Problem) -> String {
    let mut text = format!("Bearer realm=\"{realm}\",service=\"{SERVICE}\"");
    if let Some(scope) = scope {
        text.push_str(",scope=\"");
        text.push_str(scope);
        text.push('"');
    }
    text.push_str(match problem {
        Problem::None => "",
        Problem::InvalidToken => ",error=\"invalid_token\"",
        Problem::InsufficientScope => ",error=\"insufficient_scope\"",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(https: bool, uri: &str, host: Option<&str>) -> String {
        let mut request = axum::http::Request::get(uri);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        let mut realm = Realm::default();
        realm.set_https(https);
        realm.of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn clients_are_sent_to_the_host_that_they_asked() {
        for (uri, host, expected) in [
            (
                "/v2/",
                Some("127.0.0.1:5000"),
                "https://127.0.0.1:5000/token",
            ),
            ("/v2/", Some("[::1]:5000"), "https://[::1]:5000/token"),
            (
                "https://registry.example/v2/",
                Some("other"),
                "https://registry.example/token",
            ),
            ("/v2/", None, "/token"),
            ("/v2/", Some("a\",service=\"x"), "/token"),
            ("/v2/", Some("user@evil.example"), "/token"),
            ("/v2/", Some("a/b"), "/token"),
            ("/v2/", Some(""), "/token"),
        ] {
            assert_eq!(realm(true, uri, host), expected, "{uri} {host:?}");
        }
        assert_eq!(realm(false, "/v2/", Some("a:1")), "http://a:1/token");
    }

    #[test]
    fn a_public_url_is_an_origin() {
        for url in ["https://registry.example", "https://registry.example/"] {
            let Ok(Realm::Fixed(address)) = Realm::at(url) else {
                panic!("{url}");
            };
            assert_eq!(address, "https://registry.example/token");
        }
        assert!(Realm::at("http://10.0.0.1:5000").is_ok());
        for url in [
            "",
            "registry.example",
            "ftp://a",
            "https://a/path",
            "https://a?b",
            "https://u:p@a",
            "/",
        ] {
            assert!(Realm::at(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_challenge_says_where_for_what_and_why() {
        assert_eq!(
            bearer(
                "https://a/token",
                Some("repository:b:pull"),
                Problem::InsufficientScope
            ),
            "Bearer realm=\"https://a/token\",service=\"peak-registry\",scope=\"repository:b:pull\",error=\"insufficient_scope\""
        );
        assert_eq!(
            bearer("/token", None, Problem::None),
            "Bearer realm=\"/token\",service=\"peak-registry\""
        );
    }
}
