//! Who asks, and where: stage, endpoint and token, from the caller or the environment.
//!
//! This is the only module that reads the environment.

use std::fmt;
use std::sync::Arc;

use peak_http::{Client, ClientBuilder, Proxies, StaticToken};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::request::Endpoint;
use crate::session::Session;
use crate::stage::Stage;

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
    pub(crate) fn new() -> Self {
        Self {
            stage: None,
            endpoint: None,
            token: Token::FromEnvironment,
            client: Transport::Options(Box::new(Client::builder())),
            environment: Box::new(process_environment),
        }
    }

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

    use http::Request;
    use peak_http::Body;

    use super::*;
    use crate::{Done, Error, Operation};

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

    struct Ask;

    impl Operation for Ask {
        const NAME: &'static str = "ask";
        type Answer = Done;

        fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
            endpoint.get(&["things"])?.build()
        }
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
        let error = session.call(&Ask).await.unwrap_err();
        format!("{error:?}").contains("https_proxy")
    }

    #[tokio::test]
    async fn the_environment_names_the_proxies_unless_the_caller_does() {
        assert!(uses_the_proxy_of_the_environment(Client::builder()).await);
        let none = Client::builder().proxies(Proxies::none());
        assert!(!uses_the_proxy_of_the_environment(none).await);
    }
}
