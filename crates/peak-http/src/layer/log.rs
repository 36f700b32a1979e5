//! Each exchange with a server as events, for whoever looks on: `info` is one line of it, `debug` the headers, `trace`
//! bodies of JSON. Secrets are removed. Nothing is made up where nobody looks.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Version};
use tokio::time::Instant;
use tracing::{Level, debug, enabled, info, trace};
use url::Url;

use super::{HttpResult, HttpService, layer_service};
use crate::body::Body;
use crate::redact;

/// Which attempt a request is, where it is not the first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptNumber(pub(crate) u32);

/// The innermost layer: it sees what goes over the wire, redirects and renewed credentials too.
#[derive(Clone)]
pub(crate) struct Log<S> {
    inner: S,
}

impl<S: HttpService> Log<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }

    #[expect(
        clippy::unused_self,
        reason = "whether a layer is idle is asked of the layer"
    )]
    fn is_idle(&self, _: &Request<Body>) -> bool {
        !enabled!(Level::INFO)
    }

    async fn run(mut self, request: Request<Body>) -> HttpResult {
        let exchange = Exchange::begin(&request);
        let result = self.inner.call(request).await;
        exchange.end(&result);
        result
    }
}

layer_service!(Log, passed_by_if is_idle);

/// A request that waits for its answer.
struct Exchange {
    /// Method and URL
    what: String,
    attempt: u32,
    outcome: String,
    started: Instant,
}

impl Exchange {
    fn begin(request: &Request<Body>) -> Self {
        let url = Url::parse(&request.uri().to_string());
        // What is no URL fails further in.
        let url = url.map_or_else(|_| String::new(), |url| redact::url(&url));
        let what = format!("{} {url}", request.method());
        debug!("> {what}{}", lines('>', request.headers()));
        if enabled!(Level::TRACE)
            && is_json(request.headers())
            && let Some(bytes) = request.body().as_bytes()
            && let Some(json) = redact::json(bytes)
        {
            trace!("> {json}");
        }
        let number = request.extensions().get();
        Self {
            what,
            attempt: number.map_or(1, |AttemptNumber(number)| *number),
            outcome: "given up".to_owned(),
            started: Instant::now(),
        }
    }

    fn end(mut self, result: &HttpResult) {
        self.outcome = outcome(result);
        drop(self);
        if let Ok(response) = result {
            debug!(
                "< {} {}{}",
                version(response.version()),
                response.status(),
                lines('<', response.headers())
            );
        }
    }
}

/// The line is there also for what nobody waits for any longer.
impl Drop for Exchange {
    fn drop(&mut self) {
        let (what, outcome, elapsed) = (&self.what, &self.outcome, self.started.elapsed());
        let attempt = self.attempt;
        info!("{what} {outcome} in {elapsed:.1?}, attempt {attempt}");
    }
}

/// What a request came to, in short.
pub(super) fn outcome(result: &HttpResult) -> String {
    match result {
        Ok(response) => response.status().as_u16().to_string(),
        Err(error) => format!("failed ({})", error.kind().as_str()),
    }
}

/// The body of an answer, where it was read whole or explains a failure.
pub(crate) fn answer_body(headers: &HeaderMap, body: &Bytes) {
    if enabled!(Level::TRACE)
        && is_json(headers)
        && let Some(json) = redact::json(body)
    {
        trace!("< {json}");
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    kind.is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"))
}

fn lines(mark: char, headers: &HeaderMap) -> String {
    let mut lines = String::new();
    for (name, value) in redact::shown_headers(headers) {
        // Writing to a text does not fail.
        let _ = write!(lines, "\n{mark} {name}: {value}");
    }
    lines
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
