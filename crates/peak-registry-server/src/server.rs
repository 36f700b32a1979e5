//! A registry that listens: the router, the connections and what watches them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::path::Path;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use peak_serve::origin::{Foreign, foreign};
use peak_serve::{Connection, Limits, Listener, ServeError, Server};
use tokio::net::ToSocketAddrs;

use crate::auth::Auth;
use crate::observe::{self, Observer};
use crate::routes::{RouterOptions, foreign_failure};
use crate::store::Store;

/// A registry on an address of its own.
///
/// [`shutdown`](Self::shutdown) lets running requests end; dropping it cuts them. Unless it was told
/// otherwise it is on loopback, in memory, and open to everybody on this machine:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = peak_registry_server::RegistryServer::in_memory().await?;
/// println!("docker push {}/my/image:1", registry.host());
/// # Ok(())
/// # }
/// ```
///
/// Outside of `/v2/` it answers at `/healthz` (200 `ok`, or 503 if the store cannot be read; no
/// authentication) and, [if wanted](RegistryServerBuilder::metrics), at `/metrics`. While it shuts down it
/// takes no connections, and whoever got in before is told 503.
///
/// # In a test
///
/// Pushing and pulling, here with a plain HTTP client in the place of the code under test:
///
/// ```
/// use axum::body::Body;
/// use http_body_util::BodyExt;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use peak_oci::Digest;
/// use peak_registry_server::RegistryServer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = RegistryServer::in_memory().await?;
/// let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
///
/// let digest = Digest::sha256_of(b"hello");
/// let url = format!("{}/v2/demo/blobs/uploads/?digest={digest}", registry.url());
/// let pushed = client.request(axum::http::Request::post(url).body("hello".into())?).await?;
/// assert_eq!(pushed.status(), 201);
///
/// let url = format!("{}/v2/demo/blobs/{digest}", registry.url());
/// let pulled = client.get(url.parse()?).await?;
/// assert_eq!(pulled.into_body().collect().await?.to_bytes(), "hello");
///
/// // What came can be looked at without HTTP, too.
/// assert!(registry.store().repository(&"demo".parse()?).has_blob(&digest)?);
/// # Ok(())
/// # }
/// ```
///
/// # On a site
///
/// ```no_run
/// use peak_registry_server::auth::{Auth, Rules, Users};
/// use peak_registry_server::{RegistryServer, Store, Tls};
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let users = Users::from_file("users.htpasswd")?; // htpasswd -B -c users.htpasswd alice
/// let registry = RegistryServer::builder()
///     .storage(Store::open("registry-data".as_ref())?)
///     .auth(Auth::bearer(users, Rules::default()))
///     .tls(Tls::from_files("registry.pem", "registry.key")?)
///     .metrics(true)
///     .access_log(true)
///     .allow_remote(true)
///     .bind("0.0.0.0:5000")
///     .await?;
/// // … until somebody asks it to end …
/// registry.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct RegistryServer {
    server: Server,
    store: Store,
    #[cfg(feature = "tls")]
    tls: Option<peak_serve::Tls>,
}

/// Why a registry does not listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The text is no address, or its name is not known.
    #[error("there is no such address to listen on; give one such as 127.0.0.1:5000")]
    NoAddress {
        /// What the operating system said, if it was asked.
        #[source]
        source: Option<io::Error>,
    },

    /// Listening there would open the registry to other machines.
    #[error(
        "{address} is not a loopback address; listen on 127.0.0.1 or [::1], or allow others with `allow_remote`"
    )]
    NotLoopback {
        /// The address that was asked for.
        address: SocketAddr,
    },

    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ServeError),
}

impl RegistryServer {
    /// Begins to describe a registry: in memory, with the default limits.
    pub fn builder() -> RegistryServerBuilder {
        RegistryServerBuilder::default()
    }

    /// A registry in memory on a free loopback port: what a test needs.
    pub async fn in_memory() -> Result<Self, ServerError> {
        Self::builder().bind("127.0.0.1:0").await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What stands before the repository in references: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address().to_string()
    }

    /// `http://127.0.0.1:PORT`, or `https`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address())
    }

    /// What it serves.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The certificate that clients have to trust, PEM, where the registry
    /// [made its own](peak_serve::Tls::self_signed).
    #[cfg(feature = "tls")]
    pub fn ca_certificate(&self) -> Option<&str> {
        self.tls.as_ref()?.ca_certificate_pem()
    }

    /// The file with the [same](Self::ca_certificate), where it is in one.
    #[cfg(feature = "tls")]
    pub fn ca_certificate_file(&self) -> Option<&Path> {
        self.tls.as_ref()?.ca_certificate()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.server.open_connections()
    }

    /// Accepts no more connections, waits for the running requests as long as
    /// [the limits](Limits::drain) say, and cuts the rest.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }

    fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return "https";
        }
        "http"
    }
}

impl fmt::Debug for RegistryServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RegistryServer")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

/// What a [`RegistryServer`] is started with.
#[derive(Debug, Default)]
pub struct RegistryServerBuilder {
    store: Option<Store>,
    options: RouterOptions,
    auth: Option<Auth>,
    limits: Limits,
    #[cfg(feature = "tls")]
    tls: Option<peak_serve::Tls>,
    metrics: bool,
    access_log: bool,
    allow_remote: bool,
}

impl RegistryServerBuilder {
    /// Where everything is kept. Default: a new [store in memory](Store::in_memory).
    #[must_use]
    pub fn storage(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// The limits of the registry itself, and who may do what. Default: [`RouterOptions::new`].
    #[must_use]
    pub fn options(mut self, options: RouterOptions) -> Self {
        self.options = options;
        self
    }

    /// Who may do what, whatever the [options](Self::options) say of it. Default: what they say.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// The limits of connections. Default: [`Limits::new`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Speaks TLS. Default: plain HTTP.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: peak_serve::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Counts requests, and says the counts at `/metrics`; see [`Observer`]. Default: off.
    #[must_use]
    pub fn metrics(mut self, on: bool) -> Self {
        self.metrics = on;
        self
    }

    /// Logs each request as a `tracing` event; see [`Observer`]. Default: off.
    #[must_use]
    pub fn access_log(mut self, on: bool) -> Self {
        self.access_log = on;
        self
    }

    /// Allows to listen on other addresses than those of loopback, and answers whatever name the
    /// registry is called by. Give it [TLS](Self::tls) and [users](Self::auth) then: otherwise
    /// everybody who reaches the address may read, write and delete. Default: off, and requests whose
    /// `Host` or `Origin` is not this machine are refused, so that no web page reaches the registry.
    #[must_use]
    pub fn allow_remote(mut self, on: bool) -> Self {
        self.allow_remote = on;
        self
    }

    /// Starts the registry on the current tokio runtime. Of several addresses the first is taken; port
    /// 0 takes a free one.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<RegistryServer, ServerError> {
        let address = tokio::net::lookup_host(address)
            .await
            .map_err(|source| ServerError::NoAddress {
                source: Some(source),
            })?
            .next()
            .ok_or(ServerError::NoAddress { source: None })?;
        if !self.allow_remote && !address.ip().is_loopback() {
            return Err(ServerError::NotLoopback { address });
        }
        let store = self.store.unwrap_or_else(Store::in_memory);
        let observer = Observer::new()
            .access_log(self.access_log)
            .metrics(self.metrics);
        let options = match self.auth {
            Some(auth) => self.options.auth(auth),
            None => self.options,
        };
        let mut router = observer
            .registry(store.clone(), &options)
            .merge(health(store.clone()))
            .merge(observer.endpoint());
        if !self.allow_remote {
            router = router.layer(from_fn(require_local));
        }
        let router = observer.watch(router);
        let listener = Listener::bind(address).await?;
        #[cfg(feature = "tls")]
        let listener = match self.tls.clone() {
            Some(tls) => listener.with_tls(tls),
            None => listener,
        };
        Ok(RegistryServer {
            server: Server::start(listener, router, &self.limits),
            store,
            #[cfg(feature = "tls")]
            tls: self.tls,
        })
    }
}

/// Says at `/healthz` whether `store` can be read, to whoever asks: 200 `ok`, or 503; also 503 while the
/// server shuts down.
pub fn health(store: Store) -> axum::Router {
    let answer = move |connection: Option<Extension<Connection>>| {
        observe::health(
            store.clone(),
            connection.map(|Extension(connection)| connection),
        )
    };
    axum::Router::new().route("/healthz", get(answer))
}

/// Lets requests through that name this machine.
async fn require_local(request: Request, next: Next) -> Response {
    match foreign(request.headers()) {
        None => next.run(request).await,
        Some(Foreign::Host) => foreign_failure(
            StatusCode::MISDIRECTED_REQUEST,
            "this registry answers only for 127.0.0.1, [::1] and localhost",
        )
        .into_response(),
        Some(Foreign::Origin) => foreign_failure(
            StatusCode::FORBIDDEN,
            "this registry takes no requests from pages of other sites",
        )
        .into_response(),
    }
}
