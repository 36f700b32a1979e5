//! The one loop that sends requests again. The rules are in `retry.rs`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Request;
use tokio::time::Instant;
use tower::ServiceExt as _;
use tracing::debug;

use super::deadline::ExpiresAt;
use super::redirect::SawOther;
use super::span::SpanOfOperation;
use super::{HttpResult, HttpService, layer_service};
use crate::body::Body;
use crate::origin::Origin;
use crate::request::{self, Idempotency};
use crate::retry::{Decision, Outcome, RetryPolicy, decide, retry_after};
use crate::retry_budget::RetryBudget;

#[derive(Clone)]
pub(crate) struct Retry<S> {
    inner: S,
    policy: Arc<RetryPolicy>,
    budget: Arc<RetryBudget>,
}

impl<S: HttpService> Retry<S> {
    pub(crate) fn new(inner: S, policy: RetryPolicy) -> Self {
        Self {
            inner,
            policy: Arc::new(policy),
            budget: Arc::default(),
        }
    }

    async fn run(self, request: Request<Body>) -> HttpResult {
        let origin = Origin::of(&*request::target(request.extensions())?);
        let (parts, mut body) = request.into_parts();
        let idempotency = parts
            .extensions
            .get::<Idempotency>()
            .copied()
            .unwrap_or_else(|| Idempotency::of_method(&parts.method));
        let started = Instant::now();
        let expires = parts.extensions.get::<ExpiresAt>().map(|expires| expires.0);
        let mut retry = 0;
        loop {
            let spare = body.try_clone();
            let attempt = Request::from_parts(parts.clone(), body);
            let result = self.inner.clone().oneshot(attempt).await;

            let (outcome, told) = judge(&result);
            if outcome == Outcome::Final && result.is_ok() {
                if let Some(origin) = &origin {
                    self.budget.earn(origin);
                }
                return result;
            }
            let Some(spare) = spare.filter(|_| retry < self.policy.most_retries()) else {
                return result;
            };
            if decide(outcome, idempotency, true) == Decision::Stop {
                return result;
            }
            let wait = self.policy.wait(retry, told, rand::random());
            let Some(next) = Instant::now().checked_add(wait) else {
                return result;
            };
            // What there is says more than a deadline that passed while waiting.
            let in_vain = expires.is_some_and(|expires| next >= expires);
            if in_vain || next.duration_since(started) > self.policy.budget() {
                return result;
            }
            // A server that says when to come back is not stormed by doing so.
            let free = told.is_some();
            if !free
                && !origin
                    .as_ref()
                    .is_none_or(|origin| self.budget.spend(origin))
            {
                debug!("the request is not sent again, since too many to this server failed");
                return result;
            }
            drop(result);
            retry += 1;
            if let Some(SpanOfOperation(span)) = parts.extensions.get() {
                span.record("http.request.resend_count", retry);
            }
            debug!(
                retry,
                ?outcome,
                ?wait,
                "the request is sent again after a wait"
            );
            tokio::time::sleep_until(next).await;
            body = spare;
        }
    }
}

layer_service!(Retry);

fn judge(result: &HttpResult) -> (Outcome, Option<Duration>) {
    match result {
        Ok(response) => {
            let mut outcome = Outcome::of_status(response.status());
            if outcome == Outcome::Later && response.extensions().get::<SawOther>().is_some() {
                outcome = Outcome::MaybeActedUpon;
            }
            let told = match outcome {
                Outcome::Final => None,
                _ => retry_after(response.headers(), SystemTime::now()),
            };
            (outcome, told)
        }
        Err(error) => (Outcome::of_error(error), None),
    }
}
