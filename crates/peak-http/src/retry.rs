//! When a request is sent again: pure rules, without waiting or sending. The loop is in `layer/retry.rs`.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::error::Error;
use crate::request::Idempotency;

/// What one attempt came to, as far as repeating it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server cannot have seen anything, and it may go better next time.
    NothingSent,
    /// The server may have acted on the request: the connection broke, time ran out, or it answered 408, 500, 502
    /// or 504.
    MaybeActedUpon,
    /// The server answered 429 or 503: not now, later.
    Later,
    /// Sending it again cannot help: it worked, or it failed for good.
    Final,
}

impl Outcome {
    /// What an answer with this status comes to.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::Later,
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT => Self::MaybeActedUpon,
            _ => Self::Final,
        }
    }

    /// What a failure comes to.
    pub(crate) fn of_error(error: &Error) -> Self {
        match (error.is_transient(), error.may_have_been_sent()) {
            (false, _) => Self::Final,
            (true, false) => Self::NothingSent,
            (true, true) => Self::MaybeActedUpon,
        }
    }
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Send it again.
    Repeat,
    /// Hand over what there is.
    Stop,
}

/// Whether a request may be sent again after `outcome`. Counts, waits and time budgets come on top.
pub(crate) fn decide(outcome: Outcome, idempotency: Idempotency, replayable: bool) -> Decision {
    let allowed = match outcome {
        Outcome::NothingSent | Outcome::Later => true,
        Outcome::MaybeActedUpon => idempotency == Idempotency::Idempotent,
        Outcome::Final => false,
    };
    if allowed && replayable {
        Decision::Repeat
    } else {
        Decision::Stop
    }
}

/// How often and how long requests are repeated.
///
/// Repeated are connection failures and the statuses 408, 429, 500, 502, 503 and 504. A response body that breaks is one
/// only where it is part of the attempt ([`WholeBody`](crate::WholeBody)); else bytes of it may have been used. A request that is not idempotent
/// (POST, unless its [`Idempotency`] says otherwise) is repeated only where the server cannot have acted on it: no
/// connection, 429, 503, or an HTTP/2 stream that it refused unseen. A body is repeated only if it can be produced again.
/// A 401 is not counted here. `tests/it/retry_table.rs` has a table of all of it.
///
/// Waits double from `first_wait` up to `longest_wait`; each is a random part of that (full jitter). Where the server
/// names a time (`Retry-After`), that is waited instead, up to `longest_told_wait`.
///
/// Beside that, each client keeps a budget per server: when very many requests to it fail, retries stop until some
/// go through again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    retries: u32,
    told_retries: u32,
    first_wait: Duration,
    longest_wait: Duration,
    longest_told_wait: Duration,
    time_budget: Duration,
    transient_statuses: Vec<StatusCode>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 3,
            told_retries: 0,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(10),
            longest_told_wait: Duration::from_secs(60),
            time_budget: Duration::from_secs(5 * 60),
            transient_statuses: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// The default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is sent again.
    pub fn never() -> Self {
        Self::default().retries(0)
    }

    /// Sets how many times a request is sent again at most. Default: 3.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Sets how many times more a request is sent again after answers that name a time to come (`Retry-After`). A server
    /// that many requests come to at once refuses most of them again each time, though there is nothing wrong with it.
    /// Default: 0.
    #[must_use]
    pub fn told_retries(mut self, retries: u32) -> Self {
        self.told_retries = retries;
        self
    }

    /// Sets the upper limits of the first and of every computed wait. Default: 250 ms and 10 s.
    #[must_use]
    pub fn waits(mut self, first: Duration, longest: Duration) -> Self {
        self.first_wait = first;
        self.longest_wait = longest;
        self
    }

    /// Sets the upper limit of a wait the server asks for. Default: 60 s.
    #[must_use]
    pub fn longest_told_wait(mut self, longest: Duration) -> Self {
        self.longest_told_wait = longest;
        self
    }

    /// Sets for how long after the first attempt new ones may start. Default: 5 min.
    #[must_use]
    pub fn time_budget(mut self, budget: Duration) -> Self {
        self.time_budget = budget;
        self
    }

    /// Sets further statuses that are repeated as 502 is, such as the 520 of a proxy that no standard knows.
    /// Default: none.
    #[must_use]
    pub fn transient_statuses(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.transient_statuses = statuses.into_iter().collect();
        self
    }

    /// What an answer with this status comes to.
    pub(crate) fn outcome_of(&self, status: StatusCode) -> Outcome {
        match Outcome::of_status(status) {
            Outcome::Final if self.transient_statuses.contains(&status) => Outcome::MaybeActedUpon,
            outcome => outcome,
        }
    }

    /// Whether a request may be sent again after so many times, of which the server named the time of `told`, and whether
    /// it counts as another of those. `is_told`: it names one now.
    pub(crate) fn allows(&self, retries: u32, told: u32, is_told: bool) -> Option<bool> {
        if is_told && told < self.told_retries {
            return Some(true);
        }
        (retries.saturating_sub(told) < self.retries).then_some(false)
    }

    /// For how long after the first attempt new ones may start.
    pub(crate) fn budget(&self) -> Duration {
        self.time_budget
    }

    /// The wait before retry number `retry` (from 0). `told` is what the server asked for, `random` in `0.0..1.0`.
    pub(crate) fn wait(&self, retry: u32, told: Option<Duration>, random: f64) -> Duration {
        if let Some(told) = told {
            return told.min(self.longest_told_wait);
        }
        let doubled = 2_u32
            .checked_pow(retry)
            .and_then(|factor| self.first_wait.checked_mul(factor))
            .unwrap_or(self.longest_wait);
        doubled
            .min(self.longest_wait)
            .mul_f64(random.clamp(0.0, 1.0))
    }
}

/// What `Retry-After` asks for: seconds, or a date to come (a past one asks for nothing but "now").
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit ask for longer than anyone waits; the cap follows.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_is_repeated() {
        use Decision::{Repeat, Stop};
        use Idempotency::{Idempotent, NotIdempotent};
        use Outcome::{Final, Later, MaybeActedUpon, NothingSent};
        let table = [
            (NothingSent, Idempotent, Repeat),
            (NothingSent, NotIdempotent, Repeat),
            (MaybeActedUpon, Idempotent, Repeat),
            (MaybeActedUpon, NotIdempotent, Stop),
            (Later, Idempotent, Repeat),
            (Later, NotIdempotent, Repeat),
            (Final, Idempotent, Stop),
            (Final, NotIdempotent, Stop),
        ];
        for (outcome, idempotency, expected) in table {
            assert_eq!(
                decide(outcome, idempotency, true),
                expected,
                "{outcome:?} {idempotency:?}"
            );
            assert_eq!(
                decide(outcome, idempotency, false),
                Stop,
                "{outcome:?} {idempotency:?}"
            );
        }
    }

    #[test]
    fn every_status_has_its_outcome() {
        for code in 100..600 {
            let expected = match code {
                429 | 503 => Outcome::Later,
                408 | 500 | 502 | 504 => Outcome::MaybeActedUpon,
                _ => Outcome::Final,
            };
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(Outcome::of_status(status), expected, "{code}");
        }
    }

    #[test]
    fn answers_that_name_a_time_have_a_count_of_their_own() {
        let plain = RetryPolicy::new().retries(2);
        assert_eq!(plain.allows(1, 0, true), Some(false));
        assert_eq!(plain.allows(2, 0, true), None);
        let patient = plain.told_retries(3);
        assert_eq!(patient.allows(0, 0, true), Some(true));
        assert_eq!(patient.allows(4, 2, true), Some(true));
        // The others are as many as before.
        assert_eq!(patient.allows(4, 3, true), Some(false));
        assert_eq!(patient.allows(4, 3, false), Some(false));
        assert_eq!(patient.allows(5, 3, true), None);
        assert_eq!(patient.allows(2, 0, false), None);
    }

    #[test]
    fn further_statuses_are_taken_like_those_of_a_gateway() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        let policy = RetryPolicy::default().transient_statuses([status(499), status(429)]);
        assert_eq!(policy.outcome_of(status(499)), Outcome::MaybeActedUpon);
        assert_eq!(policy.outcome_of(status(429)), Outcome::Later);
        assert_eq!(policy.outcome_of(status(520)), Outcome::Final);
    }

    #[test]
    fn every_kind_of_error_has_its_outcome() {
        for (kind, expected) in [
            (ErrorKind::Connect, Outcome::NothingSent),
            (ErrorKind::Timeout, Outcome::MaybeActedUpon),
            (ErrorKind::Idle, Outcome::MaybeActedUpon),
            (ErrorKind::Transport, Outcome::MaybeActedUpon),
            (ErrorKind::Tls, Outcome::Final),
            (ErrorKind::Redirect, Outcome::Final),
            (ErrorKind::Body, Outcome::Final),
            (ErrorKind::Decode, Outcome::Final),
            (ErrorKind::TooLarge, Outcome::Final),
            (ErrorKind::Authentication, Outcome::Final),
            (ErrorKind::InvalidRequest, Outcome::Final),
            (ErrorKind::Configuration, Outcome::Final),
            (ErrorKind::Other, Outcome::Final),
        ] {
            assert_eq!(
                Outcome::of_error(&Error::new(kind, "x")),
                expected,
                "{kind:?}"
            );
        }
        let unsent = Error::new(ErrorKind::Transport, "x").with_may_have_been_sent(false);
        assert_eq!(Outcome::of_error(&unsent), Outcome::NothingSent);
    }

    #[test]
    fn methods_and_idempotency() {
        for (method, expected) in [
            ("GET", Idempotency::Idempotent),
            ("HEAD", Idempotency::Idempotent),
            ("PUT", Idempotency::Idempotent),
            ("PATCH", Idempotency::Idempotent),
            ("DELETE", Idempotency::Idempotent),
            ("OPTIONS", Idempotency::Idempotent),
            ("POST", Idempotency::NotIdempotent),
            ("CONNECT", Idempotency::NotIdempotent),
            ("CUSTOM", Idempotency::NotIdempotent),
        ] {
            assert_eq!(
                Idempotency::of_method(&method.parse().unwrap()),
                expected,
                "{method}"
            );
        }
    }

    #[test]
    fn both_forms_of_retry_after() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:57 GMT", Some(20)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    proptest! {
        #[test]
        fn waits_never_pass_their_limits(retry in any::<u32>(), told in proptest::option::of(any::<u64>()), random in 0.0..1.0) {
            let policy = RetryPolicy::default();
            let wait = policy.wait(retry, told.map(Duration::from_secs), random);
            let limit = if told.is_some() { policy.longest_told_wait } else { policy.longest_wait };
            prop_assert!(wait <= limit);
        }
    }

    #[test]
    fn waits_double_and_are_jittered_from_the_first() {
        let policy = RetryPolicy::default().waits(Duration::from_secs(1), Duration::from_secs(5));
        let seconds: Vec<u64> = (0..5)
            .map(|retry| policy.wait(retry, None, 1.0).as_secs())
            .collect();
        assert_eq!(seconds, [1, 2, 4, 5, 5]);
        assert_eq!(policy.wait(0, None, 0.0), Duration::ZERO);
        assert_eq!(policy.wait(1, None, 0.5), Duration::from_secs(1));
    }
}
