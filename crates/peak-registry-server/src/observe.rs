//! What is kept in mind about every request: its number, how much went either way, how it ended.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body::{Body as HttpBody, Frame, SizeHint};
use peak_serve::Connection;
use uuid::Uuid;

use crate::access_log;
use crate::metrics::Metrics;
use crate::routes::{KnownUser, RouterOptions, kind_of, router_and_uploads};
use crate::store::Store;

/// The number of a request, on requests and on answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest number of a request that is taken from a client, bytes.
const MAX_REQUEST_ID: usize = 64;

/// What is logged for a request whose client did not wait for the answer; nobody is sent it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Watches the requests to a router: an access log, metrics, both or neither.
///
/// Every answer to a watched request has an `X-Request-Id`: that of the request if it is short and
/// plain, else a new one.
///
/// # Access log
///
/// One `tracing` event at level INFO with the target [`Observer::ACCESS_LOG_TARGET`] for each request,
/// when the last byte of the answer was handed over or the connection ended. Its fields:
///
/// | field | what |
/// |---|---|
/// | `method`, `path` | as they came; of the query only `query`: the parameters of the distribution specification |
/// | `status` | the answer's; 499 if the client was gone before there was one |
/// | `complete` | whether all of the answer was handed over |
/// | `bytes_in`, `bytes_out` | of the bodies, as far as they moved |
/// | `duration_ms` | from the request's header to that end |
/// | `remote` | the address of the client, if the router is served by `peak-serve` |
/// | `user` | who asked, if that is known |
/// | `request_id` | the `X-Request-Id` |
///
/// # Metrics
///
/// At `/metrics`, in the `OpenMetrics` text format; no authentication, so leave them off where who can
/// reach the address should not know them. No label has a name or a digest from a request.
#[derive(Clone, Default)]
pub struct Observer {
    access_log: bool,
    metrics: Option<Arc<Metrics>>,
    kinds: Vec<(&'static str, &'static str)>,
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Observer")
            .field("access_log", &self.access_log)
            .field("metrics", &self.metrics.is_some())
            .finish_non_exhaustive()
    }
}

impl Observer {
    /// The target of the events of the access log.
    pub const ACCESS_LOG_TARGET: &'static str = access_log::TARGET;

    /// Nothing is logged or counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Logs each request. Default: off.
    #[must_use]
    pub fn access_log(mut self, on: bool) -> Self {
        self.access_log = on;
        self
    }

    /// Counts requests, and says the counts at `/metrics`. Default: off.
    #[must_use]
    pub fn metrics(mut self, on: bool) -> Self {
        self.metrics = on.then(Arc::default);
        self
    }

    /// Requests whose path begins with `prefix` are counted as `kind`; those below `/v2/` have kinds of
    /// their own, and what nobody knows is `other`.
    #[must_use]
    pub fn kind(mut self, prefix: &'static str, kind: &'static str) -> Self {
        self.kinds.push((prefix, kind));
        self
    }

    /// As [`router_with`](crate::router_with), and the metrics say how many of its uploads are open.
    pub fn registry(&self, store: Store, options: &RouterOptions) -> axum::Router {
        let (router, open_uploads) = router_and_uploads(store, options);
        if let Some(metrics) = &self.metrics {
            metrics.watch_uploads(Box::new(open_uploads));
        }
        router
    }

    /// What answers at `/metrics`, if they are on; to be merged into the router before what guards it.
    pub fn endpoint(&self) -> axum::Router {
        let router = axum::Router::new();
        match &self.metrics {
            Some(metrics) => {
                let answer = get(crate::metrics::show).with_state(Arc::clone(metrics));
                router.route("/metrics", answer)
            }
            None => router,
        }
    }

    /// The router, with every request to it watched; the router as it is if nothing is logged or counted.
    pub fn watch(self, router: axum::Router) -> axum::Router {
        if !self.access_log && self.metrics.is_none() {
            return router;
        }
        router.layer(from_fn_with_state(Arc::new(self), watch))
    }

    fn kind_of(&self, path: &str) -> &'static str {
        match path {
            "/metrics" => return "metrics",
            "/healthz" => return "health",
            _ => {}
        }
        self.kinds
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .map_or_else(|| kind_of(path), |(_, kind)| kind)
    }

    /// Takes note of a request that has ended.
    fn finished(&self, ended: &Ended<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.finished(ended);
        }
        if self.access_log {
            access_log::write(ended);
        }
    }
}

/// A request that has ended, for whoever takes note of it.
pub(crate) struct Ended<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) kind: &'static str,
    pub(crate) request_id: &'a str,
    pub(crate) remote: Option<String>,
    pub(crate) user: Option<&'a str>,
    pub(crate) status: u16,
    pub(crate) complete: bool,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration: Duration,
}

async fn watch(
    State(observer): State<Arc<Observer>>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = taken_id(&request).unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        request.headers_mut().insert(REQUEST_ID, id);
    }
    let mut exchange = Exchange {
        kind: observer.kind_of(request.uri().path()),
        observer,
        method: request.method().clone(),
        uri: request.uri().clone(),
        request_id,
        connection: request.extensions().get::<Connection>().cloned(),
        user: None,
        begun: Instant::now(),
        received: Arc::default(),
        sent: 0,
        status: CLIENT_CLOSED_REQUEST,
        complete: false,
    };
    if let Some(metrics) = &exchange.observer.metrics {
        metrics.begun();
    }
    let received = Arc::clone(&exchange.received);
    let request = request.map(|inner| Body::new(CountedBody { inner, received }));
    // Dropped with this future if the client goes away: then that is how the request ended.
    let mut response = next.run(request).await;
    exchange.status = response.status().as_u16();
    exchange.user = response.extensions_mut().remove::<KnownUser>();
    if let Ok(id) = HeaderValue::from_str(&exchange.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let bodiless = exchange.method == Method::HEAD;
    response.map(|inner| {
        exchange.complete = bodiless || inner.is_end_stream();
        Body::new(SentBody { inner, exchange })
    })
}

/// The number that the request came with, if it is one that can stand in a log as it is.
fn taken_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ((1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}

/// A request on its way; it is taken note of when this is dropped.
struct Exchange {
    observer: Arc<Observer>,
    method: Method,
    uri: Uri,
    kind: &'static str,
    request_id: String,
    connection: Option<Connection>,
    user: Option<KnownUser>,
    begun: Instant,
    received: Arc<AtomicU64>,
    sent: u64,
    status: u16,
    complete: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.observer.finished(&Ended {
            method: &self.method,
            uri: &self.uri,
            kind: self.kind,
            request_id: &self.request_id,
            remote: self
                .connection
                .as_ref()
                .map(|connection| connection.peer().to_string()),
            user: self.user.as_ref().map(|user| user.0.as_str()),
            status: self.status,
            complete: self.complete,
            bytes_in: self.received.load(Ordering::Relaxed),
            bytes_out: self.sent,
            duration: self.begun.elapsed(),
        });
    }
}

/// The body of a request, counted.
struct CountedBody {
    inner: Body,
    received: Arc<AtomicU64>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        self.received
            .fetch_add(data_length(&frame), Ordering::Relaxed);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer, counted; the exchange ends with it.
struct SentBody {
    inner: Body,
    exchange: Exchange,
}

impl HttpBody for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        self.exchange.sent += data_length(&frame);
        if matches!(frame, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.exchange.complete = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn data_length<E>(frame: &Poll<Option<Result<Frame<Bytes>, E>>>) -> u64 {
    match frame {
        Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
        _ => 0,
    }
}

/// Whether the server can do its work, for those who start and stop it: 200 or 503.
pub(crate) async fn health(store: Store, connection: Option<Connection>) -> Response {
    if connection.is_some_and(|connection| connection.is_stopping()) {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    match tokio::task::spawn_blocking(move || store.probe()).await {
        Ok(Ok(())) => "ok\n".into_response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "the registry's store cannot be read");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the store cannot be read\n",
            )
                .into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the registry's store could not be looked at");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
