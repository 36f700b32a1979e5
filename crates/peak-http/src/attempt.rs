//! What an observer of a client is told of each attempt, for metrics.

use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use crate::error::ErrorKind;
use crate::layer::HttpResult;
use crate::origin::Origin;
use crate::redact;
use crate::request::Operation;

/// Told of every attempt when it is over. Called in the middle of the operation, so it should only count and leave.
pub(crate) type Observer = dyn Fn(&Attempt) + Send + Sync;

/// One attempt to have a request answered: what [`ClientBuilder::on_attempt`](crate::ClientBuilder::on_attempt) is told.
///
/// An attempt is what is repeated as a whole: the redirects that it follows and the second sending with a renewed
/// credential are part of it. It holds no headers and no bodies, and of the URL only what [`redact::url`] shows, so that
/// there are no secrets in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The name of the operation, if the request has [one](Operation).
    pub operation: Option<&'static str>,
    /// The method of the request.
    pub method: Method,
    /// The server that was asked, before redirects.
    pub server: Option<Origin>,
    /// The URL that was asked for, before redirects, redacted.
    pub url: String,
    /// The first attempt has number 1.
    pub number: u32,
    /// What became of it.
    pub outcome: AttemptOutcome,
    /// How long it took until the response headers (with [`WholeBody`](crate::WholeBody): all of the body) were there,
    /// or until it failed.
    pub elapsed: Duration,
    /// After which wait the request is sent again; `None` if it is not.
    pub retry_in: Option<Duration>,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// The server answered with this status, whatever it means.
    Answered(StatusCode),
    /// It failed in this way.
    Failed(ErrorKind),
    /// Nobody waits for its answer any longer: the deadline of the operation passed, or the caller gave up.
    Abandoned,
}

/// An attempt that is under way. Its observer is told when it is over, also when it is dropped.
pub(crate) struct Observed {
    observer: Arc<Observer>,
    attempt: Attempt,
    started: Instant,
}

impl Observed {
    pub(crate) fn begin(
        observer: Arc<Observer>,
        (method, url, options): (&Method, &Url, &Extensions),
        number: u32,
    ) -> Self {
        Self {
            observer,
            attempt: Attempt {
                operation: options.get().map(|Operation(name)| *name),
                method: method.clone(),
                server: Origin::of(url),
                url: redact::url(url),
                number,
                outcome: AttemptOutcome::Abandoned,
                elapsed: Duration::ZERO,
                retry_in: None,
            },
            started: Instant::now(),
        }
    }

    /// Notes the end, which the observer is told as soon as this is dropped.
    pub(crate) fn end(mut self, result: &HttpResult, retry_in: Option<Duration>) {
        self.attempt.outcome = match result {
            Ok(response) => AttemptOutcome::Answered(response.status()),
            Err(error) => AttemptOutcome::Failed(error.kind()),
        };
        self.attempt.retry_in = retry_in;
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.attempt.elapsed = self.started.elapsed();
        (self.observer)(&self.attempt);
    }
}
