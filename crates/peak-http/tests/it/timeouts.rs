//! Deadline, attempt timeout and idle timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Request;
use http_body_util::BodyExt as _;
use peak_http::{
    Body, BoxError, Client, ClientBuilder, Error, ErrorKind, RequestBuilderExt as _,
    RequestExt as _, Response, RetryPolicy,
};
use tokio::time::{Instant, sleep};
use tower::service_fn;

use crate::server::{Server, Step, quick};

const SECOND: Duration = Duration::from_secs(1);

/// Takes the whole body, then `wait`s before it answers.
fn slow(builder: ClientBuilder, wait: Duration) -> (Client, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = service_fn(move |request: Request<Body>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let _ = request.into_body().collect().await?;
            sleep(wait).await;
            Ok::<_, Error>(http::Response::new(Body::empty()))
        }
    });
    (builder.build_with_service(service).unwrap(), calls)
}

/// A body of ten chunks, `pause` before each.
fn dripping(pause: Duration) -> Body {
    Body::replayable(Some(10), move |_| {
        Box::pin(stream::iter(0..10).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, BoxError>(Bytes::from("x"))
        }))
    })
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_ends_and_is_repeated_where_harmless() {
    let builder = Client::builder()
        .attempt_timeout(5 * SECOND)
        .retry(RetryPolicy::new().waits(Duration::ZERO, Duration::ZERO));
    for (method, expected) in [("GET", 4), ("POST", 1)] {
        let (client, calls) = slow(builder.clone(), 6 * SECOND);
        let request = Request::builder()
            .method(method)
            .uri("http://mock/")
            .without_body()
            .unwrap();
        let started = Instant::now();
        let error = client.send(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_timeout() && error.is_transient() && error.may_have_been_sent());
        assert_eq!(calls.load(Ordering::SeqCst), expected);
        assert_eq!(started.elapsed().as_secs(), 5 * expected as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_moves_is_not_cut_off() {
    let builder = Client::builder()
        .attempt_timeout(5 * SECOND)
        .retry(RetryPolicy::never());
    // Forty seconds of upload, then four until the answer.
    let (client, _) = slow(builder.clone(), 4 * SECOND);
    let request = Request::put("http://mock/")
        .with_body(dripping(4 * SECOND))
        .unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    // One that stands still is.
    let (client, _) = slow(builder, 4 * SECOND);
    let request = Request::put("http://mock/")
        .with_body(dripping(6 * SECOND))
        .unwrap();
    let started = Instant::now();
    let error = client.send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_everything_and_a_request_can_have_its_own() {
    let builder = Client::builder()
        .attempt_timeout(7 * SECOND)
        .deadline(20 * SECOND);
    let (client, _) = slow(builder, 60 * SECOND);
    for (own, seconds) in [(None, 20), (Some(3), 3)] {
        let mut request = Request::get("http://mock/").without_body().unwrap();
        if let Some(own) = own {
            request = request.deadline(own * SECOND);
        }
        let started = Instant::now();
        let error = client.send(request).await.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(started.elapsed().as_secs(), seconds);
    }
    let request = Request::get("http://mock/")
        .attempt_timeout(Duration::MAX)
        .deadline(Duration::MAX)
        .without_body()
        .unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_response_body_may_be_slow_but_not_silent() {
    let builder = Client::builder().idle_timeout(5 * SECOND).deadline(SECOND);
    for (pause, whole) in [(4, true), (6, false)] {
        let service = service_fn(move |_: Request<Body>| async move {
            Ok::<_, Error>(http::Response::new(dripping(pause * SECOND)))
        });
        let client = builder.clone().build_with_service(service).unwrap();
        let request = Request::get("http://mock/").without_body().unwrap();
        let response = client.send(request).await.unwrap();
        match response.bytes(100).await {
            Ok(bytes) => assert!(whole && bytes.len() == 10),
            Err(error) => {
                assert!(!whole);
                assert_eq!(error.kind(), ErrorKind::Idle);
                assert!(error.is_timeout() && error.is_transient());
            }
        }
    }
}

/// A body of a thousand chunks, one every four seconds.
async fn trickle(idle: Duration) -> Response {
    let service = service_fn(move |_: Request<Body>| async move {
        let chunks = stream::iter(0..1000).then(|_| async {
            sleep(4 * SECOND).await;
            Ok::<_, BoxError>(Bytes::from("x"))
        });
        Ok::<_, Error>(http::Response::new(Body::stream(chunks)))
    });
    let client = Client::builder().build_with_service(service).unwrap();
    let request = Request::get("http://mock/").idle_timeout(idle);
    client.send(request.without_body().unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_trickle_does_not_hold_whoever_wants_a_small_body_whole() {
    let response = trickle(5 * SECOND).await;
    let started = Instant::now();
    let error = response.bytes(2000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Idle);
    assert_eq!(started.elapsed().as_secs(), 50);

    let started = Instant::now();
    let beginning = trickle(5 * SECOND).await.beginning(2000).await;
    assert_eq!((beginning.len(), started.elapsed().as_secs()), (12, 50));
    let started = Instant::now();
    let beginning = trickle(5 * SECOND).await.beginning(2).await;
    assert_eq!((beginning.len(), started.elapsed().as_secs()), (2, 8));

    // A stream may take as long as it moves, and without a limit so may all.
    let mut body = trickle(5 * SECOND).await.into_body();
    let mut count = 0;
    while let Some(chunk) = body.next().await {
        count += chunk.unwrap().len();
    }
    assert_eq!(count, 1000);
    let unlimited = trickle(Duration::MAX).await.bytes(2000).await;
    assert_eq!(unlimited.unwrap().len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn time_the_reader_takes_is_not_the_servers_silence() {
    let service = service_fn(move |_: Request<Body>| async move {
        Ok::<_, Error>(http::Response::new(dripping(4 * SECOND)))
    });
    let client = Client::builder()
        .idle_timeout(5 * SECOND)
        .build_with_service(service)
        .unwrap();
    let request = Request::get("http://mock/").without_body().unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    let mut count = 0;
    while let Some(chunk) = body.next().await {
        count += chunk.unwrap().len();
        sleep(60 * SECOND).await;
    }
    assert_eq!(count, 10);
}

#[tokio::test]
async fn a_stalled_connection_is_noticed_before_and_after_the_headers() {
    let moment = Duration::from_millis(50);
    let client = quick()
        .retry(RetryPolicy::never())
        .attempt_timeout(moment)
        .build()
        .unwrap();
    let server = Server::play([Step::Stall(String::new())]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let error = client.send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);

    let server = Server::play([Step::Stall(
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".into(),
    )])
    .await;
    let request = Request::get(server.url("/"))
        .idle_timeout(moment)
        .attempt_timeout(60 * SECOND)
        .without_body()
        .unwrap();
    let error = client
        .send(request)
        .await
        .unwrap()
        .bytes(100)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Idle);
    assert_eq!(error.url(), Some(&*server.url("/")));
}
