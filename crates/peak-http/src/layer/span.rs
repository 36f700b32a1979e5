//! One span per operation, with the names of OpenTelemetry's conventions for HTTP clients.

use http::{Method, Request, Version};
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

    async fn run(mut self, mut request: Request<Body>) -> HttpResult {
        let span = open(&request);
        if span.is_disabled() {
            return self.inner.call(request).await;
        }
        request
            .extensions_mut()
            .insert(SpanOfOperation(span.clone()));
        let result = self.inner.call(request).instrument(span.clone()).await;
        match &result {
            Ok(response) => {
                let status = response.status();
                span.record("network.protocol.version", version(response.version()));
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
        http.request.method = known(request.method()).unwrap_or("_OTHER"),
        http.request.method_original = Empty,
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        network.protocol.version = Empty,
        server.address = Empty,
        server.port = Empty,
        url.full = Empty,
        error.r#type = Empty,
    );
    if !span.is_disabled() {
        let name = match request.extensions().get::<Operation>() {
            Some(Operation(name)) => name,
            None => known(request.method()).unwrap_or("HTTP"),
        };
        if known(request.method()).is_none() {
            span.record("http.request.method_original", request.method().as_str());
        }
        span.record("otel.name", name);
        if let Ok(url) = request::target(request.extensions()) {
            span.record("url.full", redact::url(&url));
            span.record("server.address", url.host_str());
            span.record("server.port", url.port_or_known_default());
        }
    }
    span
}

/// The methods that the conventions know; the name of any other is nothing to count by.
fn known(method: &Method) -> Option<&str> {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS
        | Method::TRACE
        | Method::CONNECT => Some(method.as_str()),
        _ => None,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
