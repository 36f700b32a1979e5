//! One span per operation, with the names of OpenTelemetry's conventions for HTTP clients.

use http::Request;
use tower::ServiceExt as _;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use super::{HttpResult, HttpService, layer_service};
use crate::body::Body;
use crate::redact;
use crate::request::{self, Operation};

/// The span of the operation a request belongs to, for what inner layers have to record on it.
#[derive(Debug, Clone)]
pub(crate) struct SpanOfOperation(pub(crate) Span);

/// The outermost layer.
#[derive(Clone)]
pub(crate) struct OperationSpan<S> {
    inner: S,
}

impl<S: HttpService> OperationSpan<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }

    async fn run(self, mut request: Request<Body>) -> HttpResult {
        let span = open(&request);
        request
            .extensions_mut()
            .insert(SpanOfOperation(span.clone()));
        let result = self.inner.oneshot(request).instrument(span.clone()).await;
        match &result {
            Ok(response) => {
                let status = response.status();
                span.record("http.response.status_code", status.as_u16());
                if status.is_client_error() || status.is_server_error() {
                    span.record("error.type", status.as_str());
                }
            }
            Err(error) => {
                span.record("error.type", error.kind().as_str());
            }
        }
        result
    }
}

layer_service!(OperationSpan);

fn open(request: &Request<Body>) -> Span {
    let span = info_span!(
        "http_request",
        otel.kind = "client",
        otel.name = Empty,
        http.request.method = request.method().as_str(),
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        server.address = Empty,
        server.port = Empty,
        url.full = Empty,
        error.r#type = Empty,
    );
    if !span.is_disabled() {
        let name = match request.extensions().get::<Operation>() {
            Some(Operation(name)) => name,
            None => request.method().as_str(),
        };
        span.record("otel.name", name);
        if let Ok(url) = request::target(request.extensions()) {
            span.record("url.full", redact::url(&url));
            span.record("server.address", url.host_str());
            span.record("server.port", url.port_or_known_default());
        }
    }
    span
}
