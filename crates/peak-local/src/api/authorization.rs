//! Who may ask the Peak API: the optional token. The registry asks by itself.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use peak_oci::Digest;
use secrecy::{ExposeSecret, SecretString};

use super::error::ApiError;
use crate::error::LocalError;

/// The token that a request must have. Only its digest is kept.
#[derive(Clone)]
pub(crate) struct AccessToken(Arc<Digest>);

impl AccessToken {
    /// The token as it was configured.
    pub(crate) fn new(token: &SecretString) -> Result<Self, LocalError> {
        let token = token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LocalError::Token);
        }
        Ok(Self(Arc::new(Digest::sha256_of(token.as_bytes()))))
    }

    /// Whether this is the token. How long that takes does not depend on where the two differ.
    fn is(&self, presented: &[u8]) -> bool {
        let presented = Digest::sha256_of(presented);
        let difference = self
            .0
            .hex()
            .bytes()
            .zip(presented.hex().bytes())
            .fold(0, |all, (one, other)| all | (one ^ other));
        std::hint::black_box(difference) == 0
    }

    /// The Peak API: the header is the token, with no scheme.
    fn admits_verbatim(&self, headers: &HeaderMap) -> bool {
        headers
            .get(AUTHORIZATION)
            .is_some_and(|value| self.is(value.as_bytes()))
    }

    /// Upkeep: the secret, after the scheme `Bearer`.
    fn admits_bearer(&self, headers: &HeaderMap) -> bool {
        headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .is_some_and(|presented| self.is(presented))
    }
}

/// Lets requests to the Peak API through that have the token.
pub(super) async fn require_verbatim(
    State(token): State<AccessToken>,
    request: Request,
    next: Next,
) -> Response {
    if token.admits_verbatim(request.headers()) {
        return next.run(request).await;
    }
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "the header `Authorization` must be the token that the embedded platform was started with, and nothing else",
    )
    .into_response()
}

/// Lets requests for upkeep through that have the secret.
pub(super) async fn require_bearer(
    State(secret): State<AccessToken>,
    request: Request,
    next: Next,
) -> Response {
    if secret.admits_bearer(request.headers()) {
        return next.run(request).await;
    }
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "the secret in the platform's state directory is needed",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[test]
    fn the_api_wants_the_token_verbatim() {
        let token = AccessToken::new(&"open-sesame".into()).unwrap();
        assert!(token.admits_verbatim(&headers("open-sesame")));
        assert!(!token.admits_verbatim(&headers("Bearer open-sesame")));
        assert!(!token.admits_verbatim(&headers("open-sesam")));
        assert!(!token.admits_verbatim(&headers("Basic dXNlcjpvcGVuLXNlc2FtZQ==")));
        assert!(!token.admits_verbatim(&HeaderMap::new()));
    }

    #[test]
    fn upkeep_wants_it_after_bearer() {
        let token = AccessToken::new(&"open-sesame".into()).unwrap();
        assert!(token.admits_bearer(&headers("Bearer open-sesame")));
        for other in [
            "open-sesame",
            "Bearer open-sesam",
            "Bearer ",
            "Basic open-sesame",
        ] {
            assert!(!token.admits_bearer(&headers(other)), "{other}");
        }
        assert!(!token.admits_bearer(&HeaderMap::new()));
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_refused() {
        for token in ["", "with space", "line\nbreak", "schlüssel"] {
            assert!(AccessToken::new(&token.into()).is_err(), "{token:?}");
        }
    }
}
