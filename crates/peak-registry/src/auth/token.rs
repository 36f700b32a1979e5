//! Fetches Bearer tokens from the token server that a challenge names: by GET (Docker token authentication), and by
//! POST as OAuth2 has it for identity tokens.

use std::time::{Duration, Instant, SystemTime};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use peak_http::{Body, Operation, Origin, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::challenge::Challenge;
use super::credentials::Credentials;
use super::realm::{self, Trust, shown};
use super::scope::Scope;

/// Largest answer of a token server that is read, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;
/// Longest token that is used, in bytes: what servers take in a header is far less.
const MAX_TOKEN: usize = 64 * 1024;
/// Lifetime of a token whose server says nothing, or less.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// A token is renewed in the last moments of its life: it must still be valid when it arrives.
const MARGIN: Duration = Duration::from_secs(5);
/// For how long a token server is asked, with all retries.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// How many redirects a token server may answer with; all within its own origin.
const MAX_REDIRECTS: usize = 3;
/// How we call ourselves towards OAuth2 servers.
const CLIENT_ID: &str = "peak-sdk-rust";

/// Why no token could be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the registry {registry} names no usable token server")]
    Realm { registry: String },
    #[error(
        "the registry {registry} names the token server {realm}, which it has no business sending us to"
    )]
    ForbiddenRealm { registry: String, realm: String },
    #[error(
        "the registry {registry} names the token server {realm} over plain HTTP, or TLS that is not verified, where anybody may have put the name; no credentials are sent there"
    )]
    UnprotectedChallenge { registry: String, realm: String },
    #[error("the token server {realm} redirects to {target}, where no credentials are sent")]
    Redirected { realm: String, target: String },
    #[error("the token server {realm} redirects again and again")]
    TooManyRedirects { realm: String },
    #[error("the token server {realm} refuses the credentials ({status})")]
    Refused { realm: String, status: StatusCode },
    #[error("the token server {realm} gives no token without credentials ({status})")]
    NotAnonymous { realm: String, status: StatusCode },
    #[error("the token server {realm} answered {status}")]
    Status { realm: String, status: StatusCode },
    #[error("the answer of the token server {realm} holds no usable token")]
    Answer { realm: String },
    #[error("the user name has a colon or other characters that cannot be sent")]
    UserName,
    #[error("the token server {realm} cannot be asked")]
    Transport {
        realm: String,
        #[source]
        source: peak_http::Error,
    },
}

impl TokenError {
    /// Whether other credentials would be needed.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotAnonymous { .. })
    }

    /// What the token server answered, where it said no.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } | Self::NotAnonymous { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// A token, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Marked sensitive, so that `Debug` does not show it.
    pub(crate) header: HeaderValue,
    /// For how long it is good, as the server says it.
    pub(crate) said_life: Option<Duration>,
    /// When to get another.
    pub(crate) renew: Instant,
    /// When it is worth nothing.
    pub(crate) expires: Instant,
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
    /// RFC 3339; likewise.
    #[serde(default)]
    issued_at: serde_json::Value,
}

/// A token server, as a registry names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenServer {
    /// With the query that the registry gave it.
    url: Url,
    service: Option<String>,
    trust: Trust,
    registry: String,
}

impl TokenServer {
    /// The server that `challenge`, an answer of `registry`, names. `is_protected`: see [`realm::judge`].
    pub(crate) fn named_by(
        registry: &Url,
        is_protected: bool,
        challenge: &Challenge,
    ) -> Result<Self, TokenError> {
        let unusable = || TokenError::Realm {
            registry: shown(registry),
        };
        let mut url = challenge
            .parameter("realm")
            .and_then(|realm| registry.join(realm).ok())
            .ok_or_else(unusable)?;
        let plain = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !plain {
            return Err(unusable());
        }
        url.set_fragment(None);
        let trust = realm::judge(registry, is_protected, &url).ok_or_else(|| {
            TokenError::ForbiddenRealm {
                registry: shown(registry),
                realm: shown(&url),
            }
        })?;
        Ok(Self {
            url,
            service: challenge.parameter("service").map(str::to_owned),
            trust,
            registry: shown(registry),
        })
    }

    pub(crate) fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// A token for `scope`, as whom `credentials` say, or as nobody.
    pub(crate) async fn token(
        &self,
        client: &peak_http::Client,
        scope: &Scope,
        credentials: Option<&Credentials>,
    ) -> Result<Token, TokenError> {
        let first = self.ask(client, scope, credentials).await;
        let refused = match &first {
            Err(TokenError::Status { status, .. }) => *status == StatusCode::BAD_REQUEST,
            Err(error) => error.is_refusal(),
            Ok(_) => false,
        };
        match scope.without_any().filter(|_| refused) {
            // Some servers do not know "any action", and want to be told which.
            Some(spelled) => self.ask(client, &spelled, credentials).await,
            None => first,
        }
    }

    async fn ask(
        &self,
        client: &peak_http::Client,
        scope: &Scope,
        credentials: Option<&Credentials>,
    ) -> Result<Token, TokenError> {
        let asked = Instant::now();
        let Some(credentials) = credentials else {
            let response = self.get(client, scope, None).await?;
            return self.read(response, asked, false).await;
        };
        if self.trust == Trust::Anonymous {
            return Err(TokenError::UnprotectedChallenge {
                registry: self.registry.clone(),
                realm: shown(&self.url),
            });
        }
        // Each server knows one way or both; the other is tried where it does not know the first.
        let not_known = |response: &Response| matches!(response.status().as_u16(), 404 | 405 | 501);
        let response = if credentials.is_identity_token() {
            let response = self.post(client, scope, credentials).await?;
            if not_known(&response) {
                self.get(client, scope, Some(credentials)).await?
            } else {
                response
            }
        } else {
            let response = self.get(client, scope, Some(credentials)).await?;
            if not_known(&response) {
                self.post(client, scope, credentials).await?
            } else {
                response
            }
        };
        self.read(response, asked, true).await
    }

    /// The URL to GET a token from.
    fn question(&self, scope: &Scope) -> Url {
        let mut url = self.url.clone();
        let scopes: Vec<String> = scope.parts().collect();
        if self.service.is_some() || !scopes.is_empty() {
            // What the registry put there stays as it is.
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            for one in &scopes {
                query.append_pair("scope", one);
            }
        }
        url
    }

    async fn get(
        &self,
        client: &peak_http::Client,
        scope: &Scope,
        credentials: Option<&Credentials>,
    ) -> Result<Response, TokenError> {
        let header = credentials
            .map(|credentials| credentials.basic().ok_or(TokenError::UserName))
            .transpose()?;
        self.follow(client, self.question(scope), |url| {
            let mut builder = http::Request::builder()
                .method(Method::GET)
                .uri(url.as_str());
            if let Some(header) = &header {
                builder = builder.header(AUTHORIZATION, header.clone());
            }
            builder.body(Body::empty())
        })
        .await
    }

    async fn post(
        &self,
        client: &peak_http::Client,
        scope: &Scope,
        credentials: &Credentials,
    ) -> Result<Response, TokenError> {
        let form = self.form(scope, credentials);
        self.follow(client, self.url.clone(), |url| {
            http::Request::builder()
                .method(Method::POST)
                .uri(url.as_str())
                .header(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                )
                .body(Body::from(form.expose_secret().to_owned()))
        })
        .await
    }

    fn form(&self, scope: &Scope, credentials: &Credentials) -> SecretString {
        let secret = credentials.secret().expose_secret();
        let mut form = Serializer::new(String::new());
        if credentials.is_identity_token() {
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("refresh_token", secret);
        } else {
            form.append_pair("grant_type", "password");
            form.append_pair("username", credentials.user());
            form.append_pair("password", secret);
        }
        form.append_pair("client_id", CLIENT_ID);
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        let scope = scope.to_string();
        if !scope.is_empty() {
            form.append_pair("scope", &scope);
        }
        form.finish().into()
    }

    /// Sends what `make` makes, and follows redirects that stay within the server: what is sent proves who we are.
    async fn follow(
        &self,
        client: &peak_http::Client,
        mut url: Url,
        make: impl Fn(&Url) -> http::Result<http::Request<Body>>,
    ) -> Result<Response, TokenError> {
        let realm = || shown(&self.url);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = make(&url).map_err(|_| TokenError::Answer { realm: realm() })?;
            request
                .extensions_mut()
                .insert(Operation("get_registry_token"));
            let response = client
                .send(request)
                .await
                .map_err(|source| TokenError::Transport {
                    realm: realm(),
                    source,
                })?;
            let location = response
                .headers()
                .get(LOCATION)
                .filter(|_| response.status().is_redirection())
                .and_then(|value| value.to_str().ok())
                .and_then(|location| url.join(location).ok());
            let Some(next) = location else {
                return Ok(response);
            };
            if Origin::of(&next) != Origin::of(&self.url) {
                return Err(TokenError::Redirected {
                    realm: realm(),
                    target: shown(&next),
                });
            }
            url = next;
        }
        Err(TokenError::TooManyRedirects { realm: realm() })
    }

    async fn read(
        &self,
        response: Response,
        asked: Instant,
        with_credentials: bool,
    ) -> Result<Token, TokenError> {
        let realm = shown(&self.url);
        let status = response.status();
        match status {
            status if status.is_success() => {}
            // 400 is how OAuth2 says that a grant is worth nothing (RFC 6749, 5.2).
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
                if with_credentials =>
            {
                return Err(TokenError::Refused { realm, status });
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(TokenError::NotAnonymous { realm, status });
            }
            status => return Err(TokenError::Status { realm, status }),
        }
        let bytes = response
            .bytes(MAX_ANSWER)
            .await
            .map_err(|source| TokenError::Transport {
                realm: realm.clone(),
                source,
            })?;
        // The error of the parser may quote what it read, which may be a token.
        serde_json::from_slice::<Answer>(&bytes)
            .ok()
            .and_then(|answer| answer.into_token(asked, SystemTime::now()))
            .ok_or(TokenError::Answer { realm })
    }
}

impl Answer {
    fn into_token(self, asked: Instant, now: SystemTime) -> Option<Token> {
        let usable = |token: &SecretString| (1..=MAX_TOKEN).contains(&token.expose_secret().len());
        let said_life = self.expires_in.as_u64().map(Duration::from_secs);
        let life = said_life
            .unwrap_or_default()
            .clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let age = self
            .issued_at
            .as_str()
            .and_then(|text| age_of(text, now))
            // Of no use: a clock runs wrong, or every request would renew it.
            .filter(|age| life.saturating_sub(*age) > 2 * MARGIN)
            .unwrap_or_default();
        let token = self
            .access_token
            .filter(usable)
            .or(self.token.filter(usable))?;
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
        header.set_sensitive(true);
        let left = life.saturating_sub(age);
        Some(Token {
            header,
            said_life,
            renew: asked + left.saturating_sub(MARGIN),
            expires: asked + left,
        })
    }
}

/// How long ago a time is; `None` for one to come, for the zero of servers that do not know it, and for no time.
fn age_of(text: &str, now: SystemTime) -> Option<Duration> {
    let issued: jiff::Timestamp = text.parse().ok()?;
    // Go's zero time (year 1) and Unix's lie before any registry.
    if issued.as_second() <= 0 {
        return None;
    }
    now.duration_since(SystemTime::from(issued)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::challenge::choose;
    use super::*;

    fn challenge(header: &str) -> Challenge {
        let mut map = http::HeaderMap::new();
        map.insert(http::header::WWW_AUTHENTICATE, header.parse().unwrap());
        choose(&map).unwrap()
    }

    fn question(registry: &str, header: &str, scope: &str) -> String {
        let registry = Url::parse(registry).unwrap();
        let server = TokenServer::named_by(&registry, true, &challenge(header)).unwrap();
        server.question(&Scope::parse(scope)).to_string()
    }

    #[test]
    fn the_question_is_built_from_the_challenge() {
        assert_eq!(
            question(
                "https://registry.example/v2/a/b/manifests/v1",
                r#"Bearer realm="https://auth.example/token?kept=1%2B1",service="reg & co""#,
                "repository:a/b:pull repository:c:pull"
            ),
            "https://auth.example/token?kept=1%2B1&service=reg+%26+co&scope=repository%3Aa%2Fb%3Apull&scope=repository%3Ac%3Apull"
        );
    }

    #[test]
    fn a_relative_realm_is_resolved_and_nothing_is_asked_for_that_is_not_known() {
        let registry = "https://registry.example/v2/a/b/tags/list";
        assert_eq!(
            question(registry, r#"Bearer realm="/token""#, "repository:a/b:pull"),
            "https://registry.example/token?scope=repository%3Aa%2Fb%3Apull"
        );
        assert_eq!(
            question(registry, r#"Bearer realm="token?x""#, ""),
            "https://registry.example/v2/a/b/tags/token?x"
        );
    }

    #[test]
    fn a_realm_that_is_no_server_is_refused() {
        let registry = Url::parse("https://registry.example/v2/").unwrap();
        for header in [
            "Bearer service=x",
            "Bearer realm=\"file:///etc/x\"",
            "Bearer realm=\"https://user:secret@auth.example/\"",
            "Bearer realm=\"https://:secret@auth.example/\"",
        ] {
            let error = TokenServer::named_by(&registry, true, &challenge(header)).unwrap_err();
            assert!(matches!(error, TokenError::Realm { .. }), "{header}");
            assert!(!format!("{error:?} {error}").contains("secret"));
        }
        let forbidden = challenge("Bearer realm=\"http://169.254.169.254/latest/secret\"");
        let error = TokenServer::named_by(&registry, true, &forbidden).unwrap_err();
        assert!(matches!(error, TokenError::ForbiddenRealm { .. }));
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn forms_name_the_grant_and_no_offline_token() {
        let registry = Url::parse("https://registry.example/v2/").unwrap();
        let header = challenge("Bearer realm=\"/oauth2/token\", service=s");
        let server = TokenServer::named_by(&registry, true, &header).unwrap();
        let scope = Scope::parse("repository:a:pull registry:catalog:*");
        let form = |credentials| server.form(&scope, &credentials).expose_secret().to_owned();
        assert_eq!(
            form(Credentials::identity_token("r&t".into())),
            "grant_type=refresh_token&refresh_token=r%26t&client_id=peak-sdk-rust&service=s&scope=repository%3Aa%3Apull+registry%3Acatalog%3A*"
        );
        assert_eq!(
            form(Credentials::new("u", "p".into())),
            "grant_type=password&username=u&password=p&client_id=peak-sdk-rust&service=s&scope=repository%3Aa%3Apull+registry%3Acatalog%3A*"
        );
    }

    /// The token, and the seconds until it is renewed and until it expires.
    fn token(json: &str) -> Option<(String, u64, u64)> {
        // 2026-11-21T12:00:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_400);
        let answer: Answer = serde_json::from_str(json).unwrap();
        let asked = Instant::now();
        let token = answer.into_token(asked, now)?;
        assert!(token.header.is_sensitive());
        assert!(!format!("{token:?}").contains("Bearer"));
        Some((
            token.header.to_str().unwrap().to_owned(),
            token.renew.duration_since(asked).as_secs(),
            token.expires.duration_since(asked).as_secs(),
        ))
    }

    #[test]
    fn either_name_of_the_token_is_read_and_its_life_is_bounded() {
        let bearer = |text: &str| format!("Bearer {text}");
        assert_eq!(
            token(r#"{"token":"t","access_token":"a","expires_in":300}"#),
            Some((bearer("a"), 295, 300))
        );
        assert_eq!(
            token(r#"{"token":"t","access_token":""}"#),
            Some((bearer("t"), 55, 60))
        );
        assert_eq!(token(r#"{"token":"t","expires_in":5}"#).unwrap().2, 60);
        assert_eq!(
            token(r#"{"token":"t","expires_in":99999999999999}"#)
                .unwrap()
                .2,
            86_400
        );
        for odd in ["null", "-1", "300.5", r#""300""#, "[]"] {
            let json = format!(r#"{{"token":"t","expires_in":{odd}}}"#);
            assert_eq!(token(&json).unwrap().2, 60, "{odd}");
        }
        assert_eq!(token(r#"{"token":"a\nb"}"#), None);
        assert_eq!(token("{}"), None);
        let long = format!(r#"{{"token":"{}"}}"#, "a".repeat(MAX_TOKEN + 1));
        assert_eq!(token(&long), None);
    }

    #[test]
    fn life_counts_from_when_the_token_was_issued_unless_that_cannot_be() {
        for (issued, left) in [
            (r#""2026-11-21T11:58:20Z""#, 200),
            (r#""2026-11-21T12:58:20.123+01:00""#, 200),
            // Zero, to come, gone by, about to go by, and no time.
            (r#""0001-01-01T00:00:00Z""#, 300),
            (r#""1970-01-01T00:00:00Z""#, 300),
            (r#""2026-11-21T12:00:09Z""#, 300),
            (r#""2026-11-20T12:00:00Z""#, 300),
            (r#""2026-11-21T11:55:05Z""#, 300),
            (r#""yesterday""#, 300),
            ("7", 300),
            ("null", 300),
        ] {
            let json = format!(r#"{{"token":"t","expires_in":300,"issued_at":{issued}}}"#);
            assert_eq!(token(&json).unwrap().2, left, "{issued}");
        }
    }
}
