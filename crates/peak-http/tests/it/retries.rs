//! The retry loop over mocks, with a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use peak_http::test_util::{Answer, MockService};
use peak_http::{
    Attempt, AttemptOutcome, Body, BoxError, Client, Error, ErrorKind, Idempotency,
    RequestBuilderExt as _, RequestExt as _, Response, RetryPolicy,
};
use tokio::time::Instant;

fn status(code: u16) -> Answer {
    Answer::status(StatusCode::from_u16(code).unwrap())
}

/// A status with a `Retry-After`.
fn told(code: u16, text: &str) -> Answer {
    status(code).header("retry-after", text)
}

fn fails(kind: ErrorKind) -> Answer {
    Answer::error(Error::new(kind, "as scripted"))
}

fn client(mock: &MockService, policy: RetryPolicy) -> Client {
    Client::builder()
        .retry(policy)
        .build_with_service(mock.clone())
        .unwrap()
}

async fn send(mock: &MockService, method: Method, body: &'static str) -> Result<Response, Error> {
    let request = Request::builder()
        .method(method)
        .uri("http://mock/")
        .with_body(body)
        .unwrap();
    mock.client().send(request).await
}

/// How often it was asked.
fn sent(mock: &MockService) -> usize {
    mock.requests().len()
}

fn bodies(mock: &MockService) -> Vec<Bytes> {
    let requests = mock.requests();
    requests.into_iter().map(|request| request.body).collect()
}

#[tokio::test(start_paused = true)]
async fn each_retryable_status_is_retried_with_the_whole_body() {
    for code in [408, 429, 500, 502, 503, 504] {
        let mock = MockService::playing([status(code), status(code), status(code), Answer::ok()]);
        let response = send(&mock, Method::PUT, "content").await.unwrap();
        assert_eq!(response.status(), 200, "{code}");
        assert_eq!(bodies(&mock), ["content"; 4]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_handed_over_when_retries_are_used_up() {
    let mock = MockService::playing([
        status(500),
        status(502),
        status(504),
        status(503),
        Answer::ok(),
    ]);
    let response = send(&mock, Method::GET, "").await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(sent(&mock), 4);
}

#[tokio::test(start_paused = true)]
async fn other_statuses_and_lasting_errors_are_not_retried() {
    for code in [200, 400, 401, 403, 404, 409, 413, 422, 501, 505] {
        let mock = MockService::playing([status(code)]);
        assert_eq!(send(&mock, Method::GET, "").await.unwrap().status(), code);
    }
    for kind in [ErrorKind::Tls, ErrorKind::Body, ErrorKind::Authentication] {
        let mock = MockService::playing([fails(kind)]);
        assert_eq!(send(&mock, Method::GET, "").await.unwrap_err().kind(), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_is_repeated_only_where_it_cannot_have_been_acted_upon() {
    for (first, repeated) in [
        (fails(ErrorKind::Connect), true),
        (status(429), true),
        (status(503), true),
        (fails(ErrorKind::Transport), false),
        (fails(ErrorKind::Timeout), false),
        (status(408), false),
        (status(500), false),
        (status(502), false),
        (status(504), false),
    ] {
        let mock = MockService::playing([first.clone(), Answer::ok()]);
        let outcome = send(&mock, Method::POST, "content").await;
        assert_eq!(sent(&mock), if repeated { 2 } else { 1 }, "{first:?}");
        assert_eq!(
            outcome.is_ok_and(|response| response.status() == 200),
            repeated
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_caller_can_say_otherwise_than_the_method() {
    for (method, idempotency, times) in [
        (Method::POST, Idempotency::Idempotent, 2),
        (Method::PUT, Idempotency::NotIdempotent, 1),
    ] {
        let mock = MockService::playing([status(500), Answer::ok()]);
        let request = Request::builder()
            .method(method)
            .uri("http://mock/")
            .idempotency(idempotency)
            .with_body("x")
            .unwrap();
        mock.client().send(request).await.unwrap();
        assert_eq!(sent(&mock), times, "{idempotency:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_produced_again_is_sent_once() {
    let mock = MockService::playing([status(503), Answer::ok()]);
    let once = stream::iter([Ok::<_, BoxError>(Bytes::from("x"))]);
    let request = Request::put("http://mock/")
        .with_body(Body::stream(once))
        .unwrap();
    let response = mock.client().send(request).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(bodies(&mock), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_asks_for_is_waited_up_to_the_cap() {
    for (text, seconds) in [
        ("0", 0),
        ("7", 7),
        ("100000", 60),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 60),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ] {
        for code in [429, 503, 500] {
            let mock = MockService::playing([told(code, text), Answer::ok()]);
            let started = Instant::now();
            let response = send(&mock, Method::GET, "").await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(started.elapsed().as_secs(), seconds, "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn computed_waits_stay_below_their_doubling_limits() {
    for _ in 0..20 {
        let mock = MockService::playing((0..5).map(|_| status(500)).chain([Answer::ok()]));
        let policy = RetryPolicy::new()
            .retries(5)
            .waits(Duration::from_secs(1), Duration::from_secs(4));
        let request = Request::get("http://mock/").without_body().unwrap();
        let started = Instant::now();
        client(&mock, policy).send(request).await.unwrap();
        assert_eq!(sent(&mock), 6);
        assert!(
            started.elapsed() <= Duration::from_secs(1 + 2 + 4 + 4 + 4) + Duration::from_millis(5)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_behind_the_time_budget_or_the_deadline() {
    let policy = RetryPolicy::new().time_budget(Duration::from_secs(30));
    let mock = MockService::playing([told(503, "20"), told(503, "20"), Answer::ok()]);
    let request = Request::get("http://mock/").without_body().unwrap();
    let started = Instant::now();
    let response = client(&mock, policy).send(request).await.unwrap();
    assert_eq!((response.status().as_u16(), sent(&mock)), (503, 2));
    assert_eq!(started.elapsed().as_secs(), 20);

    let mock = MockService::playing([told(503, "20"), Answer::ok()]);
    let request = Request::get("http://mock/")
        .deadline(Duration::from_secs(10))
        .without_body()
        .unwrap();
    let started = Instant::now();
    let response = mock.client().send(request).await.unwrap();
    assert_eq!((response.status().as_u16(), sent(&mock)), (503, 1));
    assert_eq!(started.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_longer_than_the_clock_can_tell_is_no_wait() {
    let policy = RetryPolicy::new()
        .longest_told_wait(Duration::MAX)
        .time_budget(Duration::MAX);
    let mock = MockService::playing([told(503, "18446744073709551615"), Answer::ok()]);
    let request = Request::get("http://mock/").without_body().unwrap();
    let response = client(&mock, policy).send(request).await.unwrap();
    assert_eq!((response.status().as_u16(), sent(&mock)), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn retries_stop_when_very_many_requests_fail() {
    let mock = MockService::playing((0..2000).map(|_| fails(ErrorKind::Connect)));
    let client = mock.client();
    for _ in 0..200 {
        let request = Request::get("http://mock/").without_body().unwrap();
        assert!(client.send(request).await.is_err());
    }
    // Each once, and a hundred retries in all instead of six hundred.
    assert_eq!(sent(&mock), 300);
}

type Attempts = Arc<Mutex<Vec<Attempt>>>;

/// What an observer is told of a request that gets these answers.
async fn observed(answers: Vec<Answer>, deadline: Duration) -> Vec<Attempt> {
    let attempts = Attempts::default();
    let kept = Arc::clone(&attempts);
    let answers = answers.into_iter();
    let mock = MockService::playing(answers.map(|answer| answer.after(Duration::from_secs(3))));
    let client = Client::builder()
        .on_attempt(move |attempt| kept.lock().unwrap().push(attempt.clone()))
        .build_with_service(mock);
    let request = Request::get("http://mock:81/things?n=1&token=s3cret")
        .header("authorization", "s3cret")
        .operation("list_things")
        .deadline(deadline)
        .without_body()
        .unwrap();
    // What comes of it is not what is asked here.
    let _ = client.unwrap().send(request).await;
    let attempts = attempts.lock().unwrap().clone();
    assert!(!format!("{attempts:?}").contains("s3cret"));
    attempts
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_each_attempt_and_sees_no_secrets() {
    let told = observed(
        vec![told(503, "7"), fails(ErrorKind::Connect), Answer::ok()],
        Duration::from_secs(3600),
    )
    .await;
    assert_eq!(told.len(), 3);
    for (attempt, number) in told.iter().zip(1..) {
        assert_eq!(attempt.operation, Some("list_things"));
        assert_eq!(attempt.method, Method::GET);
        assert_eq!(attempt.url, "http://mock:81/things?n=1&token=REDACTED");
        assert_eq!(attempt.server.as_ref().unwrap().host(), "mock");
        assert_eq!(attempt.number, number);
        assert_eq!(attempt.elapsed.as_secs(), 3);
    }
    let answered = |code: u16| AttemptOutcome::Answered(code.try_into().unwrap());
    assert_eq!(told[0].outcome, answered(503));
    assert_eq!(told[0].retry_in, Some(Duration::from_secs(7)));
    assert_eq!(told[1].outcome, AttemptOutcome::Failed(ErrorKind::Connect));
    assert!(told[1].retry_in.is_some());
    assert_eq!(told[2].outcome, answered(200));
    assert_eq!(told[2].retry_in, None);
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_an_attempt_that_nobody_waits_for_any_longer() {
    let told = observed(vec![Answer::ok()], Duration::from_secs(2)).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].outcome, AttemptOutcome::Abandoned);
    assert_eq!((told[0].elapsed.as_secs(), told[0].retry_in), (2, None));
}
