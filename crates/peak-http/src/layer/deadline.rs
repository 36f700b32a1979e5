//! The total time to the response headers.

use std::time::Duration;

use http::Request;
use tokio::time::Instant;

use super::{HttpResult, HttpService, layer_service};
use crate::body::Body;
use crate::error::{Error, ErrorKind};
use crate::request::Deadline;

/// When the operation is given up; the retry layer does not begin waits that end later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpiresAt(pub(crate) Instant);

#[derive(Clone)]
pub(crate) struct TotalDeadline<S> {
    inner: S,
    deadline: Option<Duration>,
}

impl<S: HttpService> TotalDeadline<S> {
    pub(crate) fn new(inner: S, deadline: Option<Duration>) -> Self {
        Self { inner, deadline }
    }

    fn limit(&self, request: &Request<Body>) -> Option<Duration> {
        let asked = request.extensions().get::<Deadline>().map(|asked| asked.0);
        asked.or(self.deadline)
    }

    fn is_idle(&self, request: &Request<Body>) -> bool {
        self.limit(request).is_none()
    }

    async fn run(mut self, mut request: Request<Body>) -> HttpResult {
        let limit = self.limit(&request);
        let Some((limit, instant)) =
            limit.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?)))
        else {
            return self.inner.call(request).await;
        };
        request.extensions_mut().insert(ExpiresAt(instant));
        match tokio::time::timeout_at(instant, self.inner.call(request)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!(
                    "no answer within the deadline of {} seconds",
                    limit.as_secs_f64()
                ),
            )),
        }
    }
}

layer_service!(TotalDeadline, passed_by_if is_idle);
