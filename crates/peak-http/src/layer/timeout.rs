//! The time limits of one attempt: silence until the response headers, and silence in the response body.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::time::Instant;

use super::{HttpResult, HttpService, layer_service};
use crate::body::{Body, Progress};
use crate::error::{Error, ErrorKind};
use crate::request::{AttemptTimeout, IdleTimeout};

#[derive(Clone)]
pub(crate) struct Timeouts<S> {
    inner: S,
    attempt: Duration,
    idle: Duration,
}

impl<S: HttpService> Timeouts<S> {
    pub(crate) fn new(inner: S, attempt: Duration, idle: Duration) -> Self {
        Self {
            inner,
            attempt,
            idle,
        }
    }

    async fn run(mut self, mut request: Request<Body>) -> HttpResult {
        let options = request.extensions();
        let attempt = options
            .get::<AttemptTimeout>()
            .map_or(self.attempt, |asked| asked.0);
        let idle = options
            .get::<IdleTimeout>()
            .map_or(self.idle, |asked| asked.0);
        let progress = Arc::new(Progress::start());
        request.body_mut().observe(Arc::clone(&progress));
        let mut call = self.inner.call(request);
        loop {
            let Some(expires) = progress.last().checked_add(attempt) else {
                // Longer than the clock can tell: no limit.
                return finish(call.await, idle);
            };
            match tokio::time::timeout_at(expires, call.as_mut()).await {
                Ok(result) => return finish(result, idle),
                Err(_) if still_moving(&progress, attempt) => {}
                Err(_) => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format!("no answer within {} seconds", attempt.as_secs_f64()),
                    ));
                }
            }
        }
    }
}

layer_service!(Timeouts);

fn still_moving(progress: &Progress, limit: Duration) -> bool {
    progress
        .last()
        .checked_add(limit)
        .is_none_or(|expires| expires > Instant::now())
}

fn finish(result: HttpResult, idle: Duration) -> HttpResult {
    result.map(|mut response| {
        response.body_mut().set_idle_timeout(Some(idle));
        response
    })
}
