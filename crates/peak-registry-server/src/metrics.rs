//! What Prometheus is told.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peak_serve::Connection;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::observe::Ended;

/// Seconds: from what is answered out of a cache to a large blob over a slow line.
const DURATIONS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0,
];

/// What a request is counted as. None of the values comes from a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: &'static str,
}

type OpenUploads = Box<dyn Fn() -> usize + Send + Sync>;

/// The counters of a server.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    received: Family<RouteLabels, Counter>,
    sent: Family<RouteLabels, Counter>,
    running: Gauge,
    connections: Gauge,
    uploads: Gauge,
    open_uploads: OnceLock<OpenUploads>,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::default();
        let durations =
            Family::<RouteLabels, Histogram>::new_with_constructor(|| Histogram::new(DURATIONS));
        let (received, sent) = (Family::default(), Family::default());
        let (running, connections, uploads) =
            (Gauge::default(), Gauge::default(), Gauge::default());
        let mut registry = Registry::with_prefix("peak");
        registry.register(
            "http_requests",
            "Requests that have ended, by the class of their status; aborted if the client was gone before the answer",
            requests.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "From a request's header to the end of its answer",
            durations.clone(),
        );
        registry.register(
            "http_received_bytes",
            "Bytes of the bodies of requests",
            received.clone(),
        );
        registry.register(
            "http_sent_bytes",
            "Bytes of the bodies of answers",
            sent.clone(),
        );
        registry.register(
            "http_requests_running",
            "Requests whose answer has not ended",
            running.clone(),
        );
        registry.register(
            "http_connections_open",
            "Connections, idle ones included",
            connections.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            requests,
            durations,
            received,
            sent,
            running,
            connections,
            uploads,
            open_uploads: OnceLock::new(),
        }
    }
}

impl Metrics {
    pub(crate) fn begun(&self) {
        self.running.inc();
    }

    pub(crate) fn finished(&self, ended: &Ended<'_>) {
        self.running.dec();
        let labels = RouteLabels {
            method: method(ended.method),
            route: ended.kind,
        };
        self.requests
            .get_or_create(&RequestLabels {
                method: labels.method,
                route: labels.route,
                status: class(ended.status),
            })
            .inc();
        self.durations
            .get_or_create(&labels)
            .observe(ended.duration.as_secs_f64());
        self.received.get_or_create(&labels).inc_by(ended.bytes_in);
        self.sent.get_or_create(&labels).inc_by(ended.bytes_out);
    }

    /// Whom to ask how many uploads are open; the first one stays.
    pub(crate) fn watch_uploads(&self, count: OpenUploads) {
        if self.open_uploads.set(count).is_ok() {
            self.registry().register(
                "registry_uploads_open",
                "Uploads of blobs that were begun and not ended",
                self.uploads.clone(),
            );
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // What is registered is only ever added to.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers with everything that was counted.
pub(crate) async fn show(State(metrics): State<Arc<Metrics>>, request: Request) -> Response {
    if let Some(connection) = request.extensions().get::<Connection>() {
        metrics
            .connections
            .set(as_gauge(connection.open_connections()));
    }
    if let Some(count) = metrics.open_uploads.get() {
        metrics.uploads.set(as_gauge(count()));
    }
    let mut text = String::new();
    match encode(&mut text, &metrics.registry()) {
        Ok(()) => (
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written down");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Clients may make methods up, so only those that are served are told apart.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn class(status: u16) -> &'static str {
    match status {
        499 => "aborted",
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=498 => "4xx",
        _ => "5xx",
    }
}
