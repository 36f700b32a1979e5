//! Fetches a Bearer token from the token server that a challenge names (Docker token authentication).

use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use peak_http::address::{is_internal, is_loopback};
use peak_http::{Body, Operation, Origin};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::challenge::Challenge;
use super::{Credentials, Scope};

/// Largest answer of a token server that is read, in bytes.
const MAX_ANSWER: u64 = 256 * 1024;
/// Lifetime of a token whose server says nothing, or less.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// A token is not used in the last moments of its life: it must still be valid when it arrives.
const MARGIN: Duration = Duration::from_secs(5);

/// Why no token could be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the registry {registry} names no usable token server")]
    Realm { registry: String },
    #[error(
        "the registry {registry} names the token server {realm}, which it has no business sending us to"
    )]
    ForbiddenRealm { registry: String, realm: String },
    #[error("the token server {realm} refuses the credentials ({status})")]
    Refused { realm: String, status: StatusCode },
    #[error("the token server {realm} answered {status}")]
    Status { realm: String, status: StatusCode },
    #[error("the answer of the token server {realm} holds no usable token")]
    Answer { realm: String },
    #[error("the token server {realm} cannot be reached")]
    Transport {
        realm: String,
        #[source]
        source: peak_http::Error,
    },
}

/// A token, ready to be sent.
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) expires: Instant,
}

/// One request to a token server.
#[derive(Debug)]
pub(crate) struct Request {
    url: Url,
    realm: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: Option<SecretString>,
    #[serde(default)]
    token: Option<SecretString>,
    /// Seconds. What is no number of them counts as none, for a token is worth more than its lifetime.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Request {
    /// What to ask for, from the challenge that `registry` answered with; `scope` where the challenge names none.
    pub(crate) fn new(
        registry: &Url,
        challenge: &Challenge,
        scope: Option<&Scope>,
    ) -> Result<Self, TokenError> {
        let unusable = || TokenError::Realm {
            registry: shown(registry),
        };
        let mut url = challenge
            .parameter("realm")
            .and_then(|realm| registry.join(realm).ok())
            .ok_or_else(unusable)?;
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() {
            return Err(unusable());
        }
        let realm = shown(&url);
        if !is_permitted(registry, &url) {
            return Err(TokenError::ForbiddenRealm {
                registry: shown(registry),
                realm,
            });
        }
        let scope = challenge
            .parameter("scope")
            .map(str::to_owned)
            .or_else(|| scope.map(ToString::to_string));
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = challenge.parameter("service") {
                query.append_pair("service", service);
            }
            // A space separates scopes; token servers expect them one by one.
            for one in scope.iter().flat_map(|scope| scope.split(' ')) {
                if !one.is_empty() {
                    query.append_pair("scope", one);
                }
            }
        }
        Ok(Self { url, realm })
    }

    pub(crate) async fn send(
        self,
        client: &peak_http::Client,
        credentials: Option<&Credentials>,
    ) -> Result<Token, TokenError> {
        let Self { url, realm } = self;
        let asked = Instant::now();
        let mut builder = http::Request::builder()
            .method(Method::GET)
            .uri(url.as_str())
            .extension(Operation("get_registry_token"));
        if let Some(header) = credentials.and_then(Credentials::basic) {
            builder = builder.header(AUTHORIZATION, header);
        }
        let Ok(request) = builder.body(Body::empty()) else {
            return Err(TokenError::Answer { realm });
        };
        let transport = |source| TokenError::Transport {
            realm: realm.clone(),
            source,
        };
        let response = client.send(request).await.map_err(transport)?;
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(TokenError::Refused { realm, status });
        }
        if !status.is_success() {
            return Err(TokenError::Status { realm, status });
        }
        let bytes = response.bytes(MAX_ANSWER).await.map_err(transport)?;
        // The error of the parser may quote what it read, which may be a token.
        serde_json::from_slice::<Answer>(&bytes)
            .ok()
            .and_then(|answer| answer.into_token(asked))
            .ok_or(TokenError::Answer { realm })
    }
}

impl Answer {
    fn into_token(self, asked: Instant) -> Option<Token> {
        let not_empty = |token: &SecretString| !token.expose_secret().is_empty();
        let token = self
            .access_token
            .filter(not_empty)
            .or(self.token.filter(not_empty))?;
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
        header.set_sensitive(true);
        let life = Duration::from_secs(self.expires_in.as_u64().unwrap_or_default())
            .clamp(SHORTEST_LIFE, LONGEST_LIFE);
        Some(Token {
            header,
            expires: asked + life.saturating_sub(MARGIN),
        })
    }
}

/// As much of a URL as an error may show.
fn shown(url: &Url) -> String {
    Origin::of(url).map_or_else(|| "?".to_owned(), |origin| origin.to_string())
}

/// Whether `registry` may send us, perhaps with credentials, to `realm`.
fn is_permitted(registry: &Url, realm: &Url) -> bool {
    let same_host = registry.host() == realm.host();
    // From a registry that is protected, never to a server that is not.
    let protected = realm.scheme() == "https" || registry.scheme() == "http" && same_host;
    let both_local = is_loopback(registry) && is_loopback(realm);
    (protected && (same_host || !is_internal(realm))) || both_local
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::challenge;

    fn request(registry: &str, header: &str) -> Result<String, TokenError> {
        let challenge = challenge::parse(header).remove(0);
        let scope = Scope("repository:a/b:pull".to_owned());
        let registry = Url::parse(registry).unwrap();
        Request::new(&registry, &challenge, Some(&scope)).map(|request| request.url.to_string())
    }

    #[test]
    fn the_question_is_built_from_the_challenge() {
        let url = request(
            "https://registry.example/v2/a/b/manifests/v1",
            r#"Bearer realm="https://auth.example/token?kept=1",service="reg & co",scope="repository:a/b:pull repository:c:pull""#,
        );
        assert_eq!(
            url.unwrap(),
            "https://auth.example/token?kept=1&service=reg+%26+co&scope=repository%3Aa%2Fb%3Apull&scope=repository%3Ac%3Apull"
        );
    }

    #[test]
    fn a_challenge_without_scope_gets_that_of_the_request_and_a_relative_realm_is_resolved() {
        let url = request(
            "https://registry.example/v2/a/b/tags/list",
            r#"Bearer realm="/token""#,
        );
        assert_eq!(
            url.unwrap(),
            "https://registry.example/token?scope=repository%3Aa%2Fb%3Apull"
        );
    }

    #[test]
    fn a_registry_cannot_send_us_to_machines_of_our_own_network() {
        for (registry, realm) in [
            (
                "https://registry.example/v2/",
                "https://169.254.169.254/latest",
            ),
            ("https://registry.example/v2/", "https://localhost:8080/"),
            ("https://registry.example/v2/", "http://auth.example/"),
            (
                "https://registry.example/v2/",
                "http://registry.example/token",
            ),
            ("http://registry.example/v2/", "http://auth.example/"),
            ("http://registry.example/v2/", "http://127.0.0.1/"),
        ] {
            let error = request(registry, &format!("Bearer realm=\"{realm}\"")).unwrap_err();
            assert!(
                matches!(error, TokenError::ForbiddenRealm { .. }),
                "{realm}"
            );
        }
        for (registry, realm) in [
            ("http://127.0.0.1:5000/v2/", "http://localhost:5001/token"),
            ("http://registry.example/v2/", "https://auth.example/token"),
            ("http://10.0.0.1:5000/v2/", "http://10.0.0.1:5001/token"),
            ("https://10.0.0.1/v2/", "https://10.0.0.1:5001/token"),
        ] {
            assert!(
                request(registry, &format!("Bearer realm=\"{realm}\"")).is_ok(),
                "{realm}"
            );
        }
        let error = request(
            "https://registry.example/v2/",
            "Bearer realm=\"file:///etc/x\"",
        );
        assert!(matches!(error, Err(TokenError::Realm { .. })));
    }

    #[test]
    fn either_name_of_the_token_is_read_and_its_life_is_bounded() {
        let token = |json: &str| {
            let answer: Answer = serde_json::from_str(json).unwrap();
            let asked = Instant::now();
            answer
                .into_token(asked)
                .map(|token| (token.header, token.expires.duration_since(asked).as_secs()))
        };
        let (header, life) = token(r#"{"token":"t","access_token":"a","expires_in":300}"#).unwrap();
        assert_eq!((header.to_str().unwrap(), life), ("Bearer a", 295));
        assert!(header.is_sensitive());
        assert_eq!(token(r#"{"token":"t","access_token":""}"#).unwrap().1, 55);
        assert_eq!(
            token(r#"{"token":"t","expires_in":99999999999999}"#)
                .unwrap()
                .1,
            86_395
        );
        for odd in ["null", "-1", "300.5", r#""300""#, "[]"] {
            let json = format!(r#"{{"token":"t","expires_in":{odd}}}"#);
            assert_eq!(token(&json).unwrap().1, 55, "{odd}");
        }
        assert!(token(r#"{"token":"a\nb"}"#).is_none());
        assert!(token("{}").is_none());
    }
}
