//! Who may ask: the optional token, as the Peak API and as the registry want it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

    /// The registry: the token is the password of any user.
    fn admits_basic(&self, headers: &HeaderMap) -> bool {
        let password = || {
            let (scheme, credentials) =
                headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
            let credentials = STANDARD.decode(credentials.trim()).ok()?;
            let colon = credentials.iter().position(|byte| *byte == b':')?;
            let password = credentials.get(colon.checked_add(1)?..)?;
            scheme
                .eq_ignore_ascii_case("basic")
                .then(|| self.is(password))
        };
        password().unwrap_or(false)
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

/// Lets requests to the registry through that have the token.
pub(super) async fn require_basic(
    State(token): State<AccessToken>,
    request: Request,
    next: Next,
) -> Response {
    if token.admits_basic(request.headers()) {
        return next.run(request).await;
    }
    let body = serde_json::json!({"errors": [{
        "code": "UNAUTHORIZED",
        "message": "the token that the embedded platform was started with is needed, as the password of any user",
    }]});
    (
        StatusCode::UNAUTHORIZED,
        [(WWW_AUTHENTICATE, "Basic realm=\"peak local\"")],
        axum::Json(body),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())])
    }

    fn basic(credentials: &str) -> HeaderMap {
        headers(&format!("Basic {}", STANDARD.encode(credentials)))
    }

    #[test]
    fn the_api_wants_the_token_verbatim() {
        let token = AccessToken::new(&"open-sesame".into()).unwrap();
        assert!(token.admits_verbatim(&headers("open-sesame")));
        assert!(!token.admits_verbatim(&headers("Bearer open-sesame")));
        assert!(!token.admits_verbatim(&headers("open-sesam")));
        assert!(!token.admits_verbatim(&basic("user:open-sesame")));
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
    fn the_registry_wants_it_as_the_password_of_any_user() {
        let token = AccessToken::new(&"open:sesame".into()).unwrap();
        assert!(token.admits_basic(&basic("ali:open:sesame")));
        assert!(token.admits_basic(&basic(":open:sesame")));
        assert!(!token.admits_basic(&basic("ali:sesame")));
        assert!(!token.admits_basic(&basic("open:sesame")));
        assert!(!token.admits_basic(&headers("open:sesame")));
        assert!(!token.admits_basic(&headers("Basic %%%")));
        assert!(!token.admits_basic(&HeaderMap::new()));
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_refused() {
        for token in ["", "with space", "line\nbreak", "schlüssel"] {
            assert!(AccessToken::new(&token.into()).is_err(), "{token:?}");
        }
    }
}
