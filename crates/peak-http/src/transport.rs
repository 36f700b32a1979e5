//! The innermost service: pooled connections, or whatever service a caller plugs in.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::{Service, ServiceExt as _};

use crate::BoxFuture;
use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::layer::HttpFuture;
use crate::response::ResponseBody;
use crate::tls::LazyTls;

/// How long an unused connection is kept: shorter than the time after which common servers and balancers close it.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Pooled HTTP/1.1 connections.
#[derive(Clone)]
pub(crate) struct Connections {
    client: hyper_util::client::legacy::Client<Connector, Body>,
}

impl Connections {
    pub(crate) fn new(tls: LazyTls, connect_timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let connector = Connector {
            tcp,
            tls: Arc::new(tls),
            timeout: connect_timeout,
        };
        // The pool moves a request to a new connection when the kept one turns out closed before a byte was written;
        // that is part of keeping connections and is left on. Every other repetition is the retry layer's.
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .build(connector);
        Self { client }
    }
}

impl Service<Request<Body>> for Connections {
    type Response = http::Response<ResponseBody>;
    type Error = Error;
    type Future = HttpFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> HttpFuture {
        let response = self.client.request(request);
        Box::pin(async move {
            match response.await {
                Ok(response) => Ok(response.map(ResponseBody::from_connection)),
                Err(source) => Err(Error::from_transport(source.into())),
            }
        })
    }
}

/// Connects over TCP, and TLS where the scheme is https, within one time limit.
#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    tls: Arc<LazyTls>,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tcp = self.tcp.clone();
        let tls = Arc::clone(&self.tls);
        let limit = self.timeout;
        let connect = async move {
            if uri.scheme() == Some(&Scheme::HTTPS) {
                let config = tls.config().await?;
                HttpsConnector::from((tcp, config)).oneshot(uri).await
            } else {
                Ok(MaybeHttpsStream::Http(tcp.oneshot(uri).await?))
            }
        };
        Box::pin(async move {
            match tokio::time::timeout(limit, connect).await {
                Ok(result) => result,
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {} seconds", limit.as_secs_f64()),
                )
                .into()),
            }
        })
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
