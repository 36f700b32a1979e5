//! The innermost service: pooled connections, or whatever service a caller plugs in.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::uri::Scheme;
use http::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::{Service, ServiceExt as _};
use url::Url;

use crate::body::Body;
use crate::connect::Connector;
use crate::error::{BoxError, Error, ErrorKind};
use crate::layer::{HttpFuture, HttpResult};
use crate::proxy::Proxies;
use crate::response::ResponseBody;
use crate::version;

/// How long an unused connection is kept: shorter than the time after which common servers and balancers close it.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

type Pool = hyper_util::client::legacy::Client<Connector, Body>;

/// Pooled connections. Each layer clones all that is below it for each request, so this is one pointer.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    pool: Pool,
    proxies: Arc<Proxies>,
}

impl Connections {
    pub(crate) fn new(connector: Connector, proxies: Arc<Proxies>) -> Self {
        // The pool moves a request to a new connection when the kept one turns out closed before a byte was written;
        // that is part of keeping connections and is left on. Every other repetition is the retry layer's.
        let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION);
        version::set_up(&mut builder);
        Self(Arc::new(Shared {
            pool: builder.build(connector),
            proxies,
        }))
    }
}

impl Service<Request<Body>> for Connections {
    type Response = http::Response<ResponseBody>;
    type Error = Error;
    type Future = HttpFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> HttpFuture {
        // Which version it becomes is between us and the server.
        *request.version_mut() = Version::HTTP_11;
        // To https URLs proxies give tunnels, which is the connector's business.
        if self.0.proxies.has_http() && request.uri().scheme() == Some(&Scheme::HTTP) {
            Box::pin(send_plain(Arc::clone(&self.0), request))
        } else {
            Box::pin(send(self.0.pool.request(request)))
        }
    }
}

async fn send(response: hyper_util::client::legacy::ResponseFuture) -> HttpResult {
    match response.await {
        Ok(response) => Ok(response.map(ResponseBody::from_connection)),
        Err(source) => Err(Error::from_transport(source.into())),
    }
}

/// Sends a request for a plain http URL, which a proxy may be asked in the place of the server.
async fn send_plain(shared: Arc<Shared>, mut request: Request<Body>) -> HttpResult {
    let url = Url::parse(&request.uri().to_string()).map_err(|source| {
        Error::new(ErrorKind::InvalidRequest, "the URL is not valid").with_source(source)
    })?;
    let proxy = shared.proxies.for_url(&url)?;
    if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization()) {
        let headers = request.headers_mut();
        headers.insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    let response = send(shared.pool.request(request)).await?;
    match proxy {
        Some(proxy) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Err(proxy.wants_credentials())
        }
        _ => Ok(response),
    }
}

/// Makes the service a caller plugs in one of ours.
#[derive(Clone)]
pub(crate) struct Plugged<S>(pub(crate) S);

impl<S, B> Service<Request<Body>> for Plugged<S>
where
    S: Service<Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<ResponseBody>;
    type Error = Error;
    type Future = HttpFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> HttpFuture {
        let service = self.0.clone();
        Box::pin(async move {
            match service.oneshot(request).await {
                Ok(response) => Ok(response.map(ResponseBody::from_service)),
                Err(source) => Err(Error::from_transport(source.into())),
            }
        })
    }
}
