//! The client and how it is put together.

use std::fmt;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use tower::Service;
use url::Url;

use crate::attempt::{Attempt, Observer};
use crate::auth::Authenticator;
use crate::body::Body;
use crate::connect::Connector;
use crate::error::{BoxError, Error, ErrorKind};
use crate::layer::auth::Auth;
use crate::layer::custom::{CustomLayers, InnerService, RequestLayer};
use crate::layer::deadline::TotalDeadline;
use crate::layer::headers::Headers;
use crate::layer::log::Log;
use crate::layer::redirect::Redirect;
use crate::layer::retry::Retry;
use crate::layer::span::OperationSpan;
use crate::layer::timeout::Timeouts;
use crate::layer::{HttpFuture, HttpService};
use crate::proxy::Proxies;
use crate::request;
use crate::response::Response;
use crate::retry::RetryPolicy;
use crate::tls::{LazyTls, TlsOptions};
use crate::transport::{Connections, Plugged};
use crate::version::HttpVersions;

const USER_AGENT: &str = concat!("peak-sdk-rust/", env!("CARGO_PKG_VERSION"));

type Stack = dyn Fn(Request<Body>) -> HttpFuture + Send + Sync;

/// An HTTP client: the stack of layers of the front page over a pool of connections. Cheap to clone; clones share the
/// pool.
#[derive(Clone)]
pub struct Client {
    stack: Arc<Stack>,
    /// What opens connections; `None` over a service in their place.
    connector: Option<Arc<Connector>>,
}

impl Client {
    /// A client to be configured.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client with the default layers over `service` in the place of the connections (the innermost seam): an
    /// in-process server, a mock, or extra layers over another service. It sees every attempt as it would go over the
    /// wire. Its errors are taken as [`ErrorKind::Other`], unless they are (or hold) an [`Error`] or one of hyper's.
    ///
    /// To change the layers too, use [`ClientBuilder::build_with_service`]; to add one, [`ClientBuilder::layer`].
    pub fn from_service<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let settings = ClientBuilder::default();
        let user_agent = HeaderValue::from_static(USER_AGENT);
        settings.assemble(user_agent, Plugged(service), None)
    }

    /// Sends a request and waits for the response headers; with [`WholeBody`](crate::WholeBody) for the body too.
    ///
    /// Any status is a response. Errors are what [`ErrorKind`] lists. Dropping the future gives the request up.
    pub async fn send(&self, request: Request<Body>) -> Result<Response, Error> {
        let (request, url) = request::prepare(request)?;
        match (self.stack)(request).await {
            Ok(response) => Ok(Response::new(response, &url)),
            Err(error) => Err(error.or_url(&url)),
        }
    }

    /// Whether the server of an https URL answers the greeting of TLS in TLS, be it with a refusal. `false` where it
    /// answers with something else, or hangs up.
    ///
    /// The greeting is all that is sent, once, the way a request would go, on a connection that is closed then. Whom to
    /// trust is no question yet: a request to a server that speaks TLS can still fail with [`ErrorKind::Tls`].
    ///
    /// Errors: [`ErrorKind::Timeout`] after `limit`, which is for the connection and the answer together;
    /// [`ErrorKind::Connect`]; [`ErrorKind::Proxy`]; [`ErrorKind::InvalidRequest`] for other URLs;
    /// [`ErrorKind::Configuration`] if this client opens no connections.
    pub async fn speaks_tls(&self, url: &Url, limit: Duration) -> Result<bool, Error> {
        let greeted = async {
            request::check_url(url)
                .and_then(|()| match url.scheme() {
                    "https" => Ok(()),
                    _ => Err("TLS is not for http URLs"),
                })
                .map_err(|message| Error::new(ErrorKind::InvalidRequest, message))?;
            let connector = self.connector.as_ref().ok_or_else(|| {
                Error::new(
                    ErrorKind::Configuration,
                    "a client over a service opens no connections",
                )
            })?;
            connector.speaks_tls(&request::to_uri(url)?, limit).await
        };
        greeted.await.map_err(|error: Error| error.or_url(url))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

/// The settings of a [`Client`].
#[derive(Clone)]
pub struct ClientBuilder {
    user_agent: String,
    connect_timeout: Duration,
    attempt_timeout: Duration,
    deadline: Option<Duration>,
    idle_timeout: Duration,
    retry: RetryPolicy,
    authenticator: Option<Arc<dyn Authenticator>>,
    redirects: usize,
    tls: TlsOptions,
    versions: HttpVersions,
    proxies: Option<Proxies>,
    observer: Option<Arc<Observer>>,
    layers: CustomLayers,
    #[cfg(unix)]
    socket: Option<Arc<Path>>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            user_agent: USER_AGENT.to_owned(),
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(60),
            deadline: None,
            idle_timeout: Duration::from_secs(60),
            retry: RetryPolicy::default(),
            authenticator: None,
            redirects: 10,
            tls: TlsOptions::default(),
            versions: HttpVersions::default(),
            proxies: None,
            observer: None,
            layers: CustomLayers::default(),
            #[cfg(unix)]
            socket: None,
        }
    }
}

impl ClientBuilder {
    /// The `User-Agent` of requests that name none. Default: `peak-sdk-rust/<version>`.
    #[must_use]
    pub fn user_agent(mut self, user_agent: &str) -> Self {
        user_agent.clone_into(&mut self.user_agent);
        self
    }

    /// Time for name resolution, TCP, a proxy's tunnel and TLS together. Default: 10 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Time to the response headers of one attempt, counted from when the connection last took bytes of the request
    /// body, so that a long upload is not cut off while it moves. Default: 60 s.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Time to the response headers over all attempts and waits, uploads included; with
    /// [`WholeBody`](crate::WholeBody) to the end of the body. Default: none; the time budget of
    /// the [`RetryPolicy`] bounds the retries.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Longest silence in a response body. Default: 60 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// When requests are sent again.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Who puts credentials on requests. Default: nobody.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Who is told of each attempt when it is over, for metrics. It is called in the middle of the operation, so it should
    /// only count and leave. Replaces one that was set before. Default: nobody.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// # fn main() -> Result<(), peak_http::Error> {
    /// let retries = Arc::new(AtomicU64::new(0));
    /// let counter = Arc::clone(&retries);
    /// let client = peak_http::Client::builder()
    ///     .on_attempt(move |attempt| {
    ///         counter.fetch_add(attempt.retry_in.is_some().into(), Ordering::Relaxed);
    ///     })
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_attempt(mut self, observer: impl Fn(&Attempt) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Adds a layer of your own: a header for each request, a limit, a record of what went by. Of several the first one
    /// added is the outermost, as with `tower::ServiceBuilder`.
    ///
    /// It stands behind retries, authentication and redirects. So it sees each attempt and each redirect by itself, with
    /// its credentials, and the address in its URI may be another one than that of the request: look at it before adding a
    /// secret. Whatever it leaves of the body, `Content-Length` is set behind it. Its errors are taken as those of a
    /// service are ([`Client::from_service`]).
    ///
    /// ```
    /// use http::{HeaderValue, Request};
    /// use peak_http::{Body, Client};
    /// use tower::util::MapRequestLayer;
    ///
    /// # fn main() -> Result<(), peak_http::Error> {
    /// let client = Client::builder()
    ///     .layer(MapRequestLayer::new(|mut request: Request<Body>| {
    ///         let team = HeaderValue::from_static("payments");
    ///         request.headers_mut().insert("x-team", team);
    ///         request
    ///     }))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn layer(mut self, layer: impl RequestLayer) -> Self {
        self.layers.push(layer);
        self
    }

    /// How many redirects are followed in a row; one more is an error. With 0 none is, and a redirect comes back as a
    /// response. Default: 10.
    #[must_use]
    pub fn redirects(mut self, most: usize) -> Self {
        self.redirects = most;
        self
    }

    /// Whom to trust on https connections, and who we are there.
    #[must_use]
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.tls = options;
        self
    }

    /// Which versions of HTTP to offer on https connections.
    #[must_use]
    pub fn http_versions(mut self, versions: HttpVersions) -> Self {
        self.versions = versions;
        self
    }

    /// Which requests go through which proxy. Default: none does, whatever the environment says; give
    /// [`Proxies::from_environment`] to follow it.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// The proxies of a builder that was not told any: for those who finish a builder that their caller began.
    #[must_use]
    pub fn proxies_unless_set(mut self, proxies: impl FnOnce() -> Proxies) -> Self {
        self.proxies.get_or_insert_with(proxies);
        self
    }

    /// Every connection leads to the Unix socket at `path`, whatever host the URL names, which then only stands in `Host`;
    /// `http://localhost/` does. Proxies are passed by.
    ///
    /// A socket that nobody listens on is [`ErrorKind::Connect`], with the path in the message.
    #[cfg(unix)]
    #[must_use]
    pub fn unix_socket(mut self, path: impl AsRef<Path>) -> Self {
        self.socket = Some(path.as_ref().into());
        self
    }

    /// A client over a new pool of connections. Nothing is loaded or opened before the first request.
    ///
    /// Errors: [`ErrorKind::Configuration`] if the user agent cannot stand in a header.
    pub fn build(self) -> Result<Client, Error> {
        let user_agent = self.user_agent_header()?;
        let tls = LazyTls::new(self.tls.clone(), self.versions);
        #[cfg(unix)]
        let direct = self.socket.is_some();
        #[cfg(not(unix))]
        let direct = false;
        let proxies = self.proxies.clone().filter(|_| !direct);
        let proxies = Arc::new(proxies.unwrap_or_default());
        let connector = Connector::new(tls, Arc::clone(&proxies), self.connect_timeout);
        #[cfg(unix)]
        let connector = match self.socket.clone() {
            Some(path) => connector.over_socket(path),
            None => connector,
        };
        let connections = Connections::new(connector.clone(), proxies);
        Ok(self.assemble(user_agent, connections, Some(connector)))
    }

    /// A client over `service` in the place of the connections; see [`Client::from_service`].
    ///
    /// Errors: [`ErrorKind::Configuration`] if the user agent cannot stand in a header.
    pub fn build_with_service<S, B>(self, service: S) -> Result<Client, Error>
    where
        S: Service<Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let user_agent = self.user_agent_header()?;
        Ok(self.assemble(user_agent, Plugged(service), None))
    }

    fn user_agent_header(&self) -> Result<HeaderValue, Error> {
        HeaderValue::from_str(&self.user_agent).map_err(|source| {
            Error::new(
                ErrorKind::Configuration,
                "the user agent has characters that cannot stand in a header",
            )
            .with_source(source)
        })
    }

    /// The stack, innermost first.
    fn assemble(
        self,
        user_agent: HeaderValue,
        transport: impl HttpService,
        connector: Option<Connector>,
    ) -> Client {
        let headers = Headers::new(Log::new(transport), user_agent);
        let inner = self.layers.over(InnerService::new(headers));
        let redirect = Redirect::new(inner, self.redirects);
        let auth = Auth::new(redirect, self.authenticator);
        let timeouts = Timeouts::new(auth, self.attempt_timeout, self.idle_timeout);
        let retry = Retry::new(timeouts, self.retry, self.observer);
        let deadline = TotalDeadline::new(retry, self.deadline);
        let outermost = OperationSpan::new(deadline);
        Client {
            stack: Arc::new(move |request| outermost.clone().call(request)),
            connector: connector.map(Arc::new),
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientBuilder")
            .field("user_agent", &self.user_agent)
            .field("connect_timeout", &self.connect_timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("deadline", &self.deadline)
            .field("idle_timeout", &self.idle_timeout)
            .field("retry", &self.retry)
            .field("redirects", &self.redirects)
            .field("tls", &self.tls)
            .field("versions", &self.versions)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
