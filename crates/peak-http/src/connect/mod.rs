//! Opens connections: to the server or its proxy, through the proxy's tunnel, and with TLS; all of it within one time
//! limit.

mod greeting;
mod stream;
mod tunnel;

use std::io;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::{Service, ServiceExt as _};
use url::Url;

use crate::BoxFuture;
use crate::error::{BoxError, Error, ErrorKind, is_about_tls};
use crate::proxy::{Proxies, Proxy};
use crate::tls::LazyTls;

use self::stream::{Connection, Link};

/// Gives a connection for a URL.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    tls: Arc<LazyTls>,
    proxies: Arc<Proxies>,
    timeout: Duration,
    #[cfg(unix)]
    socket: Option<Arc<Path>>,
}

impl Connector {
    pub(crate) fn new(tls: LazyTls, proxies: Arc<Proxies>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Self {
            tcp,
            tls: Arc::new(tls),
            proxies,
            timeout,
            #[cfg(unix)]
            socket: None,
        }
    }

    /// Every connection that goes through no proxy leads to this socket then, whatever the URL says.
    #[cfg(unix)]
    pub(crate) fn over_socket(mut self, path: Arc<Path>) -> Self {
        self.socket = Some(path);
        self
    }

    async fn connect(self, uri: Uri) -> Result<Connection, BoxError> {
        if uri.scheme() == Some(&Scheme::HTTPS) {
            let link = self.link(&uri).await?;
            let configs = self.tls.configs().await?;
            let stream = handshake(configs.towards(&uri), &uri, link).await?;
            return Ok(Connection::Tls(Box::new(stream)));
        }
        Ok(match self.proxy(&uri)? {
            None => Connection::Plain(self.direct(uri).await?),
            Some(proxy) => Connection::ToProxy(self.link_to(&proxy).await?),
        })
    }

    fn proxy(&self, uri: &Uri) -> Result<Option<Proxy>, BoxError> {
        if self.proxies.is_none() {
            return Ok(None);
        }
        let url = Url::parse(&uri.to_string())?;
        Ok(self.proxies.for_url(&url)?.cloned())
    }

    /// The way to the server of an https URL, on which nothing has been said yet.
    async fn link(&self, uri: &Uri) -> Result<Link, BoxError> {
        match self.proxy(uri)? {
            None => self.direct(uri.clone()).await,
            Some(proxy) => {
                let link = self.link_to(&proxy).await?;
                Ok(tunnel::open(link, &proxy, uri).await?)
            }
        }
    }

    /// The way to a server that no proxy stands before.
    async fn direct(&self, uri: Uri) -> Result<Link, BoxError> {
        #[cfg(unix)]
        if let Some(path) = &self.socket {
            let stream = UnixStream::connect(path).await.map_err(|source| {
                let message = format!("no connection to the socket {}", path.display());
                Error::new(ErrorKind::Connect, message).with_source(source)
            })?;
            return Ok(Link::Unix(stream));
        }
        Ok(Link::Tcp(self.tcp(uri).await?))
    }

    async fn tcp(&self, uri: Uri) -> Result<TcpStream, BoxError> {
        let stream = self.tcp.clone().oneshot(uri).await?;
        Ok(stream.into_inner())
    }

    async fn link_to(&self, proxy: &Proxy) -> Result<Link, Error> {
        let stream = self.tcp(proxy.uri().clone()).await.map_err(|source| {
            Error::new(
                ErrorKind::Connect,
                format!("no connection to the proxy {proxy}"),
            )
            .with_source(source)
        })?;
        if proxy.uri().scheme() != Some(&Scheme::HTTPS) {
            return Ok(Link::Tcp(stream));
        }
        let configs = self.tls.configs().await?;
        let stream = handshake(&configs.proxy, proxy.uri(), stream)
            .await
            .map_err(|source| {
                // One that broke may well come about the next time.
                let kind = if is_about_tls(&*source) {
                    ErrorKind::Tls
                } else {
                    ErrorKind::Connect
                };
                let message =
                    format!("the TLS connection to the proxy {proxy} could not be set up");
                Error::new(kind, message).with_source(source)
            })?;
        Ok(Link::Tls(Box::new(stream)))
    }
}

async fn handshake<S>(
    config: &Arc<ClientConfig>,
    uri: &Uri,
    stream: S,
) -> Result<TlsStream<S>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = server_name(uri)?;
    let connector = TlsConnector::from(Arc::clone(config));
    Ok(connector.connect(name, stream).await?)
}

/// Whom the certificate of the server has to be for.
fn server_name(uri: &Uri) -> Result<ServerName<'static>, Error> {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|source| {
        Error::new(
            ErrorKind::Tls,
            "the host is neither a name nor an address that a certificate can be for",
        )
        .with_source(source)
    })
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = self.timeout;
        let connect = self.clone().connect(uri);
        Box::pin(async move {
            match tokio::time::timeout(limit, connect).await {
                Ok(result) => result.map(TokioIo::new),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {} seconds", limit.as_secs_f64()),
                )
                .into()),
            }
        })
    }
}
