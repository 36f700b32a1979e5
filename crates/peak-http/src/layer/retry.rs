//! The one loop that sends requests again. The rules are in `retry.rs`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Request;
use http::request::Parts;
use tokio::time::Instant;
use tracing::{debug, info};

use super::deadline::ExpiresAt;
use super::log::{self, AttemptNumber};
use super::redirect::SawOther;
use super::span::SpanOfOperation;
use super::{HttpResult, HttpService, layer_service};
use crate::attempt::{Observed, Observer};
use crate::body::Body;
use crate::origin::Origin;
use crate::redact;
use crate::request::{self, Idempotency, WholeBody};
use crate::response::{FinalUrl, ResponseBody};
use crate::retry::{Decision, Outcome, RetryPolicy, decide, retry_after};
use crate::retry_budget::RetryBudget;

#[derive(Clone)]
pub(crate) struct Retry<S> {
    inner: S,
    policy: Arc<RetryPolicy>,
    budget: Arc<RetryBudget>,
    observer: Option<Arc<Observer>>,
}

impl<S: HttpService> Retry<S> {
    pub(crate) fn new(inner: S, policy: RetryPolicy, observer: Option<Arc<Observer>>) -> Self {
        Self {
            inner,
            policy: Arc::new(policy),
            budget: Arc::default(),
            observer,
        }
    }

    async fn run(mut self, request: Request<Body>) -> HttpResult {
        let url = request::target(request.extensions())?;
        let (parts, mut body) = request.into_parts();
        let rules = Rules::of(&parts, Origin::of(&url));
        let whole = parts.extensions.get().map(|WholeBody(limit)| *limit);
        let (mut retry, mut told) = (0, 0);
        loop {
            let spare = body.try_clone();
            let observed = self.observer.as_ref().map(|observer| {
                let about = (&parts.method, &*url, &parts.extensions);
                // Boxed, so that it costs nothing where nobody looks.
                Box::new(Observed::begin(Arc::clone(observer), about, retry + 1))
            });
            let mut attempt = Request::from_parts(parts.clone(), body);
            if retry > 0 {
                attempt.extensions_mut().insert(AttemptNumber(retry + 1));
            }
            let result = self.inner.call(attempt).await;
            let result = match (result, whole) {
                // Boxed, since most requests do without it.
                (Ok(response), Some(limit)) => Box::pin(with_whole_body(response, limit)).await,
                (result, _) => result,
            };

            let again = self.again(&rules, (retry, told), spare.is_some(), &result);
            let again = spare.zip(again);
            if let Some(observed) = observed {
                observed.end(&result, again.as_ref().map(|(_, again)| again.wait));
            }
            let Some((spare, again)) = again else {
                return result;
            };
            retry += 1;
            told += u32::from(again.is_told);
            if let Some(SpanOfOperation(span)) = parts.extensions.get() {
                span.record("http.request.resend_count", retry);
            }
            info!(
                "{} {} {}, again in {:.1?}",
                parts.method,
                redact::url(&url),
                log::outcome(&result),
                again.wait
            );
            drop(result);
            tokio::time::sleep_until(again.at).await;
            body = spare;
        }
    }

    /// Whether and when to send the request again, after so many times of which the server named the time of some.
    fn again(
        &self,
        rules: &Rules,
        (retry, told_before): (u32, u32),
        replayable: bool,
        result: &HttpResult,
    ) -> Option<Again> {
        let (outcome, told) = judge(&self.policy, result);
        if outcome == Outcome::Final && result.is_ok() {
            if let Some(origin) = &rules.origin {
                self.budget.earn(origin);
            }
            return None;
        }
        let is_later = told.is_some_and(|wait| !wait.is_zero());
        let is_told = self.policy.allows(retry, told_before, is_later)?;
        if decide(outcome, rules.idempotency, replayable) == Decision::Stop {
            return None;
        }
        let wait = self.policy.wait(retry, told, rand::random());
        let at = Instant::now().checked_add(wait)?;
        // What there is says more than a deadline that passed while waiting.
        let in_vain = rules.expires.is_some_and(|expires| at >= expires);
        if in_vain || at.duration_since(rules.started) > self.policy.budget() {
            return None;
        }
        // A server that says when to come back is not stormed by doing so.
        let free = told.is_some();
        if !free
            && !rules
                .origin
                .as_ref()
                .is_none_or(|origin| self.budget.spend(origin))
        {
            debug!("the request is not sent again, since too many to this server failed");
            return None;
        }
        Some(Again { wait, at, is_told })
    }
}

/// What bounds the repetitions of one request.
struct Rules {
    idempotency: Idempotency,
    origin: Option<Origin>,
    started: Instant,
    expires: Option<Instant>,
}

impl Rules {
    fn of(parts: &Parts, origin: Option<Origin>) -> Self {
        Self {
            idempotency: parts
                .extensions
                .get::<Idempotency>()
                .copied()
                .unwrap_or_else(|| Idempotency::of_method(&parts.method)),
            origin,
            started: Instant::now(),
            expires: parts.extensions.get::<ExpiresAt>().map(|expires| expires.0),
        }
    }
}

/// That a request is sent again, and when.
struct Again {
    wait: Duration,
    at: Instant,
    /// The server named the time, and it counts among those.
    is_told: bool,
}

layer_service!(Retry);

/// The same answer with its body here, if it is a success; one that explains a failure is worth having in part.
async fn with_whole_body(response: http::Response<ResponseBody>, limit: u64) -> HttpResult {
    if !response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let result = body.bytes(limit).await;
    match result {
        Ok(bytes) => {
            log::answer_body(&head.headers, &bytes);
            let body = ResponseBody::from_bytes(bytes);
            Ok(http::Response::from_parts(head, body))
        }
        Err(error) => Err(match head.extensions.get::<FinalUrl>() {
            Some(FinalUrl(url)) => error.or_url(url),
            None => error,
        }),
    }
}

fn judge(policy: &RetryPolicy, result: &HttpResult) -> (Outcome, Option<Duration>) {
    match result {
        Ok(response) => {
            let mut outcome = policy.outcome_of(response.status());
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
