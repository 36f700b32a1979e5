//! Answers that are wanted whole, so that one that is lost in its body is a failed attempt.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use peak_http::test_util::{Answer, MockService};
use peak_http::{
    AttemptOutcome, Body, Error, ErrorKind, Idempotency, RequestBuilderExt as _, RequestExt as _,
    Response, RetryPolicy,
};
use tokio::time::Instant;

use crate::server::{Server, Step, quick};

const LIMIT: u64 = 10;

fn request(method: Method, url: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(url)
        .with_body("")
        .unwrap()
        .whole_body(LIMIT)
}

async fn send(server: &Server, method: Method) -> Result<Response, Error> {
    let client = quick()
        .idle_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    client.send(request(method, &server.url("/"))).await
}

/// Answers that are lost in their body, in each way there is.
fn lost() -> Vec<(Step, ErrorKind)> {
    let head = "HTTP/1.1 200 OK\r\n";
    let (length, chunked) = ("Content-Length: 8\r\n", "Transfer-Encoding: chunked\r\n");
    vec![
        (
            Step::Answer(format!("{head}{length}\r\n")),
            ErrorKind::Transport,
        ),
        (
            Step::Answer(format!("{head}{length}\r\nhalf")),
            ErrorKind::Transport,
        ),
        (
            Step::Answer(format!("{head}{chunked}\r\n4\r\nhalf\r\n")),
            ErrorKind::Transport,
        ),
        (
            Step::Stall(format!("{head}{length}\r\nhalf")),
            ErrorKind::Idle,
        ),
    ]
}

#[tokio::test]
async fn an_answer_that_is_lost_in_its_body_is_asked_for_again() {
    for (step, _) in lost() {
        let case = format!("{step:?}");
        let server = Server::play([step.clone(), step, Step::ok("complete")]).await;
        let response = send(&server, Method::GET).await.unwrap();
        assert_eq!(response.content_length(), Some(8), "{case}");
        assert_eq!(response.text(LIMIT).await.unwrap(), "complete", "{case}");
        assert_eq!(server.recorded().len(), 3, "{case}");
    }
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_not_asked_for_again() {
    for (step, kind) in lost() {
        let server = Server::play([step, Step::ok("complete")]).await;
        let error = send(&server, Method::POST).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.may_have_been_sent() && error.is_transient());
        assert_eq!(error.url(), Some(&*server.url("/")));
        assert_eq!(server.recorded().len(), 1);
    }
    let (step, _) = lost().remove(0);
    let server = Server::play([step, Step::ok("complete")]).await;
    let request = request(Method::POST, &server.url("/")).idempotency(Idempotency::Idempotent);
    let response = quick().build().unwrap().send(request).await.unwrap();
    assert_eq!(response.text(LIMIT).await.unwrap(), "complete");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_asked_for_again() {
    for step in [
        Step::ok("eleven byte"),
        Step::Answer(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\neleven byte\r\n0\r\n\r\n"
                .into(),
        ),
        // The promise is enough.
        Step::Stall("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n".into()),
    ] {
        let server = Server::play([step, Step::ok("complete")]).await;
        let error = send(&server, Method::GET).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(server.recorded().len(), 1);
    }
    let server = Server::play([Step::ok("just tenth")]).await;
    assert!(send(&server, Method::GET).await.is_ok());
}

#[tokio::test]
async fn the_body_of_a_refusal_may_be_lost() {
    let refused = "HTTP/1.1 404 Not Found\r\nContent-Length: 80\r\n\r\nthe reason";
    let server = Server::play([Step::Answer(refused.into()), Step::ok("complete")]).await;
    let response = send(&server, Method::GET).await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.beginning(80).await, "the reason");
}

#[tokio::test]
async fn a_body_that_is_not_wanted_whole_is_handed_over_as_it_comes() {
    let (step, _) = lost().remove(1);
    let server = Server::play([step, Step::ok("complete")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let response = quick().build().unwrap().send(request).await.unwrap();
    let error = response.bytes(LIMIT).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert_eq!(server.recorded().len(), 1);
}

#[tokio::test]
async fn observers_are_told_of_the_attempt_as_a_whole() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let client = quick()
        .on_attempt(move |attempt| {
            let again = attempt.retry_in.is_some();
            told.lock().unwrap().push((attempt.outcome, again));
        })
        .build_with_service(MockService::playing([
            Answer::ok().body("complete").cut_off_after(3),
            Answer::ok().body("complete"),
        ]))
        .unwrap();
    let response = client.send(request(Method::GET, "http://mock/")).await;
    assert_eq!(response.unwrap().text(LIMIT).await.unwrap(), "complete");
    assert_eq!(
        *seen.lock().unwrap(),
        [
            (AttemptOutcome::Failed(ErrorKind::Transport), true),
            (AttemptOutcome::Answered(http::StatusCode::OK), false),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_over_the_body_too() {
    let second = Duration::from_secs(1);
    let service = tower::service_fn(move |_: Request<Body>| async move {
        let body = Body::stream(futures_util::stream::once(async move {
            tokio::time::sleep(40 * second).await;
            Ok::<_, Error>(bytes::Bytes::from("late"))
        }));
        Ok::<_, Error>(http::Response::new(body))
    });
    let client = quick()
        .retry(RetryPolicy::never())
        .build_with_service(service)
        .unwrap();
    let started = Instant::now();
    let request = request(Method::GET, "http://mock/");
    let error = client.send(request.deadline(30 * second)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(started.elapsed(), 30 * second);
}
