//! Who asks, and where: stage, endpoint and token, from the caller or the environment.
//!
//! This is the only module that reads the environment.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use peak_http::{
    Body, Client, ClientBuilder, ErrorKind, Proxies, RequestExt as _, Response, StaticToken,
};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use crate::answer;
use crate::download::{self, Download, SavedFile};
use crate::error::{Error, StatusError};
use crate::request::{Endpoint, Operation};

/// Most bytes of an answer: far more than the largest page.
const MAX_ANSWER_SIZE: u64 = 32 * 1024 * 1024;

const STAGE_VARIABLES: [&str; 2] = ["PEAK__STAGE", "STAGE"];
const TOKEN_VARIABLES: [&str; 2] = ["PEAK_AUTH_TOKEN", "API_KEY"];
const ENDPOINT_VARIABLES: [&str; 1] = ["PEAK_ENDPOINT_URL"];

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The stage is none that the platform has.
    #[error("unknown stage `{name}`; the stages are {}", Stage::NAMES.join(", "))]
    UnknownStage {
        /// The name as it was given.
        name: String,
    },
    /// There is no token, and the endpoint needs one.
    #[error("no token; set PEAK_AUTH_TOKEN to an API key or a bearer token of the stage")]
    MissingToken,
    /// The token cannot stand in a header.
    #[error(
        "the token cannot be sent in a header; see that PEAK_AUTH_TOKEN holds the token alone, without line ends"
    )]
    InvalidToken {
        /// What the transport says.
        #[source]
        source: peak_http::Error,
    },
    /// The token would cross a network unencrypted.
    #[error("the token would be sent unencrypted; give the endpoint as `https://`")]
    TokenInTheClear,
    /// The endpoint is not a base URL.
    #[error(
        "the endpoint cannot be used: {reason}; give it as `https://HOST` or `https://HOST/PATH`"
    )]
    InvalidEndpoint {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client")]
    Client {
        /// What the transport says.
        #[source]
        source: peak_http::Error,
    },
}

/// The platform's installations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Stage {
    /// `https://service.peak.ai`
    #[default]
    Prod,
    /// `https://service.dev.peak.ai`
    Latest,
    /// `https://service.dev.peak.ai`
    Dev,
    /// `https://service.test.peak.ai`
    Test,
    /// `https://service.beta.peak.ai`
    Beta,
    /// `https://service.parvati.peak.ai`
    Parvati,
}

impl Stage {
    /// The names of all stages.
    pub const NAMES: [&'static str; 6] = ["prod", "latest", "dev", "test", "beta", "parvati"];

    /// The stage's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prod => "prod",
            Self::Latest => "latest",
            Self::Dev => "dev",
            Self::Test => "test",
            Self::Beta => "beta",
            Self::Parvati => "parvati",
        }
    }

    fn base_url(self) -> &'static str {
        match self {
            Self::Prod => "https://service.peak.ai",
            Self::Latest | Self::Dev => "https://service.dev.peak.ai",
            Self::Test => "https://service.test.peak.ai",
            Self::Beta => "https://service.beta.peak.ai",
            Self::Parvati => "https://service.parvati.peak.ai",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = SessionError;

    fn from_str(name: &str) -> Result<Self, SessionError> {
        match name {
            "prod" => Ok(Self::Prod),
            "latest" => Ok(Self::Latest),
            "dev" => Ok(Self::Dev),
            "test" => Ok(Self::Test),
            "beta" => Ok(Self::Beta),
            "parvati" => Ok(Self::Parvati),
            _ => Err(SessionError::UnknownStage {
                name: name.to_owned(),
            }),
        }
    }
}

/// A caller's way to one installation of the platform. Cheap to clone.
#[derive(Clone)]
pub struct Session(Arc<Parts>);

struct Parts {
    endpoint: Endpoint,
    token: Option<SecretString>,
    client: Client,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("endpoint", &self.0.endpoint)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session as the environment says: `PEAK__STAGE` or `STAGE`, `PEAK_AUTH_TOKEN` or `API_KEY`,
    /// `PEAK_ENDPOINT_URL`, and the proxies of [`Proxies::from_variables`].
    ///
    /// # Errors
    /// As [`SessionBuilder::build`].
    pub fn from_environment() -> Result<Self, SessionError> {
        Self::builder().build()
    }

    fn of(endpoint: Endpoint, token: Option<SecretString>, client: Client) -> Self {
        Self(Arc::new(Parts {
            endpoint,
            token,
            client,
        }))
    }

    /// A session of which the caller says something; the environment says the rest.
    pub fn builder() -> SessionBuilder {
        SessionBuilder {
            stage: None,
            endpoint: None,
            token: Token::FromEnvironment,
            client: Transport::Options(Box::new(Client::builder())),
            environment: Box::new(process_environment),
        }
    }

    /// Where the platform is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// The token that requests carry, for services of the same platform that take it in another way (its image
    /// registry takes it as a password). Only for the same origin as [`endpoint`](Self::endpoint).
    pub fn token(&self) -> Option<&SecretString> {
        self.0.token.as_ref()
    }

    /// Does an operation and gives its answer.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn call<O: Operation>(&self, operation: &O) -> Result<O::Answer, Error> {
        self.call_as(operation).await
    }

    /// Does an operation and gives its answer as another type than the operation's own, such as
    /// `serde_json::Value` for a program that passes on all that the platform said.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn call_as<T, O>(&self, operation: &O) -> Result<T, Error>
    where
        T: DeserializeOwned,
        O: Operation,
    {
        let mut request = operation.request(&self.0.endpoint)?;
        request
            .extensions_mut()
            .insert(peak_http::Operation(O::NAME));
        self.execute(request).await
    }

    /// Sends a request and decodes its JSON answer, which is part of the attempt: where the answer is lost on its way,
    /// the request is repeated if it may be. An answer without content (204)
    /// counts as `null`, which answers such as [`Done`](crate::Done) take.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn execute<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<T, Error> {
        let asked = Asked::of(&request);
        let request = request.whole_body(MAX_ANSWER_SIZE);
        let response = self.send_as(&asked, request).await?;
        let (empty, url) = (
            response.status() == StatusCode::NO_CONTENT,
            response.url().clone(),
        );
        let body = response
            .bytes(MAX_ANSWER_SIZE)
            .await
            .map_err(|source| asked.failed(source))?;
        let (json, message): (&[u8], _) = if empty {
            (b"null", "the response has no content")
        } else {
            (&body, "the response is not the expected JSON")
        };
        answer::decode(json).map_err(|source| {
            let error = peak_http::Error::new(ErrorKind::Decode, message).with_url(&url);
            asked.failed(error.with_source(source))
        })
    }

    /// Downloads into the file `target`, whose directory must be there. What was in the file is
    /// replaced when all is here and on the disk, in one step; until then the file is as it was.
    ///
    /// A download that is cut off goes on where it stopped if the server can do that for the same
    /// file, and else starts again; both only so often without progress. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`Error`]; [`Error::TargetIsDirectory`] before anything is asked for.
    pub async fn download<D: Download>(
        &self,
        download: &D,
        target: &Path,
    ) -> Result<SavedFile, Error> {
        download::save(self, download, target).await
    }

    /// Sends a request and gives its answer with the body still to be read, once its status is a
    /// success.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn send(&self, request: Request<Body>) -> Result<Response, Error> {
        self.send_as(&Asked::of(&request), request).await
    }

    async fn send_as(&self, asked: &Asked, request: Request<Body>) -> Result<Response, Error> {
        let response = self
            .0
            .client
            .send(request)
            .await
            .map_err(|source| asked.failed(source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let headers = response.headers().clone();
        let url = peak_http::redact::url(response.url());
        let body = response.beginning(StatusError::MAX_BODY_SIZE).await;
        Err(Error::of_status(StatusError::new(
            status,
            asked.method.clone(),
            url,
            &headers,
            &body,
        )))
    }
}

/// What errors say about a request that is gone.
struct Asked {
    method: Method,
    url: String,
}

impl Asked {
    fn of(request: &Request<Body>) -> Self {
        let url = Url::parse(&request.uri().to_string());
        Self {
            method: request.method().clone(),
            url: url.map_or_else(
                |_| request.uri().path().to_owned(),
                |url| peak_http::redact::url(&url),
            ),
        }
    }

    fn failed(&self, source: peak_http::Error) -> Error {
        Error::Http {
            method: self.method.clone(),
            url: self.url.clone(),
            source,
        }
    }
}

/// Gives the value of a variable.
type Environment = dyn Fn(&str) -> Option<String> + Send;

/// Options of a [`Session`].
pub struct SessionBuilder {
    stage: Option<Stage>,
    endpoint: Option<Url>,
    token: Token,
    client: Transport,
    environment: Box<Environment>,
}

enum Token {
    FromEnvironment,
    Given(SecretString),
    None,
}

enum Transport {
    Options(Box<ClientBuilder>),
    Ready(Client),
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SessionBuilder")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl SessionBuilder {
    /// The installation. Else `PEAK__STAGE`, else `STAGE`, else [`Stage::Prod`].
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self
    }

    /// The base URL instead of the stage's: the embedded platform, a proxy, a test. Else
    /// `PEAK_ENDPOINT_URL`.
    #[must_use]
    pub fn endpoint(mut self, url: Url) -> Self {
        self.endpoint = Some(url);
        self
    }

    /// The API key or bearer token, sent as it is. Else `PEAK_AUTH_TOKEN`, else `API_KEY`. An
    /// endpoint on this machine may go without.
    #[must_use]
    pub fn token(mut self, token: SecretString) -> Self {
        self.token = Token::Given(token);
        self
    }

    /// No token, even if the environment has one: it is not for the embedded platform.
    #[must_use]
    pub fn without_token(mut self) -> Self {
        self.token = Token::None;
        self
    }

    /// How requests are sent: time limits, retries, TLS, proxies. The session adds the token, and the proxies that the
    /// environment names unless the options have [some](ClientBuilder::proxies).
    #[must_use]
    pub fn client_options(mut self, options: ClientBuilder) -> Self {
        self.client = Transport::Options(Box::new(options));
        self
    }

    /// What sends requests, as it is: no token is added. For tests and for
    /// servers in the same process.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.client = Transport::Ready(client);
        self
    }

    /// What the environment says, instead of the process's variables.
    #[must_use]
    pub fn environment(mut self, lookup: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        self.environment = Box::new(lookup);
        self
    }

    /// The session. Sends nothing.
    ///
    /// # Errors
    /// [`SessionError`]: an unknown stage, no token where one is needed, an unusable endpoint.
    pub fn build(self) -> Result<Session, SessionError> {
        let endpoint = self.resolve_endpoint()?;
        let (mut options, token) = match (self.client, self.token) {
            (Transport::Ready(client), _) => return Ok(Session::of(endpoint, None, client)),
            (Transport::Options(options), Token::Given(token)) => (options, Some(token)),
            (Transport::Options(options), Token::FromEnvironment) => {
                let token = first_set(&self.environment, &TOKEN_VARIABLES);
                (options, token.map(SecretString::from))
            }
            (Transport::Options(options), Token::None) => (options, None),
        };
        let token = token.filter(|token| !token.expose_secret().is_empty());
        match &token {
            Some(_) if endpoint.url().scheme() == "http" && !endpoint.is_loopback() => {
                return Err(SessionError::TokenInTheClear);
            }
            Some(token) => {
                let token = StaticToken::new(endpoint.url(), token.clone())
                    .map_err(|source| SessionError::InvalidToken { source })?;
                *options = options.authenticator(Arc::new(token));
            }
            None if endpoint.is_loopback() => {}
            None => return Err(SessionError::MissingToken),
        }
        let client = options
            .proxies_unless_set(|| Proxies::from_variables(&self.environment))
            .build()
            .map_err(|source| SessionError::Client { source })?;
        Ok(Session::of(endpoint, token, client))
    }

    fn resolve_endpoint(&self) -> Result<Endpoint, SessionError> {
        if let Some(url) = &self.endpoint {
            return Endpoint::new(url.clone());
        }
        if let Some(text) = first_set(&self.environment, &ENDPOINT_VARIABLES) {
            return Endpoint::parse(&text);
        }
        // Asked for only here: `STAGE` is a common name that may mean something else to whoever
        // gives an endpoint.
        let stage = match self.stage {
            Some(stage) => stage,
            None => first_set(&self.environment, &STAGE_VARIABLES)
                .map_or(Ok(Stage::default()), |name| name.parse())?,
        };
        Endpoint::parse(stage.base_url())
    }
}

/// The first of the variables that is set to something.
fn first_set(environment: &Environment, names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| environment(name))
        .find(|value| !value.is_empty())
}

/// A variable that is not Unicode counts as set: it then fails as what it is meant to be, where
/// taking it for unset could lead to another stage than the one that was meant.
fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes;
    use peak_http::test_util::{Answer, MockService};
    use serde_json::{Value, json};

    use super::*;

    fn with(variables: &[(&str, &str)]) -> SessionBuilder {
        let variables: HashMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Session::builder().environment(move |name| variables.get(name).cloned())
    }

    fn endpoint(builder: SessionBuilder) -> String {
        builder.build().unwrap().endpoint().to_string()
    }

    const TOKEN: (&str, &str) = ("PEAK_AUTH_TOKEN", "t");

    #[test]
    fn each_stage_has_its_url() {
        let urls = [
            ("prod", "https://service.peak.ai/"),
            ("latest", "https://service.dev.peak.ai/"),
            ("dev", "https://service.dev.peak.ai/"),
            ("test", "https://service.test.peak.ai/"),
            ("beta", "https://service.beta.peak.ai/"),
            ("parvati", "https://service.parvati.peak.ai/"),
        ];
        for (name, url) in urls {
            assert_eq!(endpoint(with(&[TOKEN, ("STAGE", name)])), url);
            assert_eq!(name.parse::<Stage>().unwrap().name(), name);
        }
    }

    #[test]
    fn the_caller_goes_before_the_environment() {
        assert_eq!(endpoint(with(&[TOKEN])), "https://service.peak.ai/");
        let both = [TOKEN, ("PEAK__STAGE", "test"), ("STAGE", "beta")];
        assert_eq!(endpoint(with(&both)), "https://service.test.peak.ai/");
        let empty = [TOKEN, ("PEAK__STAGE", ""), ("STAGE", "beta")];
        assert_eq!(endpoint(with(&empty)), "https://service.beta.peak.ai/");
        assert_eq!(
            endpoint(with(&both).stage(Stage::Parvati)),
            "https://service.parvati.peak.ai/"
        );
        let url = [
            TOKEN,
            ("PEAK_ENDPOINT_URL", "https://proxy/peak"),
            ("STAGE", "production"),
        ];
        assert_eq!(endpoint(with(&url)), "https://proxy/peak");
        let own = Url::parse("https://own").unwrap();
        assert_eq!(endpoint(with(&url).endpoint(own)), "https://own/");
    }

    #[test]
    fn an_unknown_stage_is_told_the_known_ones() {
        let error = with(&[TOKEN, ("STAGE", "production")]).build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown stage `production`; the stages are prod, latest, dev, test, beta, parvati"
        );
    }

    #[test]
    fn a_token_is_needed_but_on_this_machine() {
        for variables in [&[][..], &[("PEAK_AUTH_TOKEN", ""), ("API_KEY", "")]] {
            let error = with(variables).build().unwrap_err();
            assert!(matches!(error, SessionError::MissingToken));
            assert!(error.to_string().contains("PEAK_AUTH_TOKEN"));
        }
        assert!(with(&[("API_KEY", "k")]).build().is_ok());
        assert!(with(&[]).token("k".to_owned().into()).build().is_ok());
        assert!(with(&[TOKEN]).without_token().build().is_err());
        let local = Url::parse("http://127.0.0.1:5000").unwrap();
        assert!(with(&[]).endpoint(local).build().is_ok());
        let other = Url::parse("http://10.0.0.1:5000").unwrap();
        assert!(with(&[]).endpoint(other).build().is_err());
    }

    #[test]
    fn a_token_never_crosses_a_network_in_the_clear() {
        let build = |url: &str| with(&[TOKEN]).endpoint(Url::parse(url).unwrap()).build();
        let error = build("http://10.0.0.1:5000").unwrap_err();
        assert!(matches!(error, SessionError::TokenInTheClear));
        assert!(build("http://127.0.0.1:5000").is_ok());
        assert!(build("https://10.0.0.1:5000").is_ok());
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_not_shown() {
        let error = with(&[("API_KEY", "s3cret\n")]).build().unwrap_err();
        assert!(matches!(error, SessionError::InvalidToken { .. }));
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    /// Whether a request of a session with these options would go through the environment's proxy, which is one that
    /// cannot be used.
    async fn uses_the_proxy_of_the_environment(options: ClientBuilder) -> bool {
        let variables = [TOKEN, ("https_proxy", "socks5://127.0.0.1:1")];
        let session = with(&variables)
            .endpoint(Url::parse("https://platform.invalid").unwrap())
            .client_options(options.retry(peak_http::RetryPolicy::never()))
            .build()
            .unwrap();
        let error = session.call(&Describe).await.unwrap_err();
        format!("{error:?}").contains("https_proxy")
    }

    #[tokio::test]
    async fn the_environment_names_the_proxies_unless_the_caller_does() {
        assert!(uses_the_proxy_of_the_environment(Client::builder()).await);
        let none = Client::builder().proxies(Proxies::none());
        assert!(!uses_the_proxy_of_the_environment(none).await);
    }

    /// A session with a platform that always answers so.
    fn session(status: u16, body: impl Into<Bytes>) -> (Session, MockService) {
        let answer = Answer::status(status.try_into().unwrap()).body(body);
        let mock = MockService::answering(move |_| answer.clone());
        let session = with(&[])
            .endpoint(Url::parse("http://platform.test").unwrap())
            .client(mock.client())
            .build();
        (session.unwrap(), mock)
    }

    struct Describe;

    impl Operation for Describe {
        const NAME: &'static str = "describe_thing";
        type Answer = Value;

        fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
            endpoint
                .get(&["things", "1"])?
                .query("token", "s3cret")
                .build()
        }
    }

    #[tokio::test]
    async fn an_operation_is_sent_and_its_answer_decoded() {
        let (session, mock) = session(200, r#"{"a": 1}"#);
        assert_eq!(session.call(&Describe).await.unwrap(), json!({ "a": 1 }));
        let seen = mock.requests();
        assert_eq!(seen[0].uri, "http://platform.test/things/1?token=s3cret");
        assert_eq!(seen[0].header("accept"), Some("application/json"));
        assert_eq!(seen[0].operation, Some("describe_thing"));
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_with_its_name() {
        let (session, _) = session(422, r#"{"detail": "no such thing"}"#);
        let error = session.call(&Describe).await.unwrap_err();
        assert!(matches!(error, Error::UnprocessableEntity(_)), "{error:?}");
        let status = error.status_error().unwrap();
        assert_eq!(status.message(), "no such thing");
        assert_eq!(status.method(), Method::GET);
        assert_eq!(status.url(), "http://platform.test/things/1?token=REDACTED");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_refusal_with_an_endless_body_is_cut() {
        let (session, _) = session(403, vec![b'x'; 1024 * 1024]);
        let error = session.call(&Describe).await.unwrap_err();
        assert!(error.is_auth());
        assert!(error.to_string().len() < 3000);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_the_json_it_should_be_is_an_error() {
        for body in ["<html>sign in</html>", ""] {
            let (session, _) = session(200, body);
            let error = session.call(&Describe).await.unwrap_err();
            assert!(matches!(error, Error::Http { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_lost_is_asked_for_again() {
        let whole = Answer::json(&json!({ "a": 1 }));
        let mock = MockService::playing([whole.clone().cut_off_after(4), whole]);
        let session = with(&[])
            .endpoint(Url::parse("http://platform.test").unwrap())
            .client(mock.client())
            .build()
            .unwrap();
        assert_eq!(session.call(&Describe).await.unwrap(), json!({ "a": 1 }));
        assert_eq!(mock.requests().len(), 2);
    }

    #[tokio::test]
    async fn an_array_is_no_answer_with_fields() {
        let (session, _) = session(200, "[]");
        let request = Describe.request(session.endpoint()).unwrap();
        let list: Result<peak_models::ListArtifactsResponse, _> = session.execute(request).await;
        let error = list.unwrap_err();
        assert!(
            matches!(&error, Error::Http { source, .. } if source.kind() == ErrorKind::Decode),
            "{error:?}"
        );
        // Whoever wants what the platform said as it is gets it.
        assert_eq!(session.call(&Describe).await.unwrap(), json!([]));
    }

    #[tokio::test]
    async fn an_answer_without_content_is_done_but_no_description() {
        let (session, _) = session(204, "");
        let request = || Describe.request(session.endpoint()).unwrap();
        let done: Result<crate::Done, _> = session.execute(request()).await;
        assert_eq!(done.unwrap(), crate::Done);
        let described: Result<Vec<String>, _> = session.execute(request()).await;
        assert!(matches!(described, Err(Error::Http { .. })));
    }
}
