//! Engines that are silent, with a paused clock.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use peak_docker::{BuildRequest, Endpoint, Engine, EngineConfig, EngineCredentials, EngineError};
use peak_http::test_util::{Answer, MockService};
use peak_http::{Body, Client};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

fn config() -> EngineConfig {
    EngineConfig::at(Endpoint::socket("/nowhere"))
}

/// An Engine that answers pings for so long, and nothing else for a day.
fn silent(lives: Duration) -> (MockService, Client) {
    let started = Instant::now();
    let mock = MockService::answering(move |request| {
        if request.path_and_query() != "/_ping" {
            Answer::ok().after(MINUTE * 60 * 24)
        } else if started.elapsed() < lives {
            Answer::ok().header("api-version", "1.41").body("OK")
        } else {
            Answer::ok().after(MINUTE * 60 * 24)
        }
    });
    let client = mock.client();
    (mock, client)
}

fn image() -> peak_oci::Reference {
    "registry.example/app:v1".parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_alive_may_think_for_as_long_as_the_caller_says() {
    let (_, client) = silent(Duration::MAX);
    let engine = |limit| Engine::over(config().longest_silence(limit), client.clone());
    let started = Instant::now();
    let error = engine(Some(MINUTE * 5)).save(&["a:v1"]).await.unwrap_err();
    assert!(matches!(error, EngineError::Silent { .. }), "{error:?}");
    assert!(error.to_string().contains("300 seconds"), "{error}");
    assert!(started.elapsed() < MINUTE * 6);
    // It comes after a day.
    engine(None).save(&["a:v1"]).await.unwrap();
    assert!(started.elapsed() >= MINUTE * 60 * 24);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_given_up_within_a_minute() {
    let (_, client) = silent(MINUTE * 10);
    let engine = Engine::over(config().longest_silence(None), client);
    let started = Instant::now();
    let error = engine.push(&image(), None, drop).await.unwrap_err();
    assert!(error.is_interrupted(), "{error:?}");
    assert!(matches!(error, EngineError::Unresponsive { .. }));
    assert!(started.elapsed() >= MINUTE * 10);
    assert!(started.elapsed() < MINUTE * 11);
}

#[tokio::test(start_paused = true)]
async fn the_default_ends_what_is_silent_for_half_an_hour_but_no_build() {
    let (_, client) = silent(Duration::MAX);
    let engine = Engine::over(config(), client);
    let started = Instant::now();
    let error = engine.pull(&image(), None, drop).await.unwrap_err();
    assert!(matches!(error, EngineError::Silent { .. }), "{error:?}");
    assert!(started.elapsed() >= MINUTE * 30);
    assert!(started.elapsed() < MINUTE * 31);
    let context = stream::iter([Ok::<_, Infallible>(Bytes::from("tar"))]);
    let error = engine
        .build(&BuildRequest::new(), context, drop)
        .await
        .unwrap_err();
    // The answer of the mock is an empty one.
    assert!(matches!(error, EngineError::Unexpected { .. }), "{error:?}");
    assert!(started.elapsed() >= MINUTE * 60 * 24);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_waits_for_us_is_not_silent() {
    let (mock, client) = silent(Duration::MAX);
    let engine = Engine::over(config().longest_silence(Some(MINUTE)), client);
    let started = Instant::now();
    let slow = stream::unfold(0, |sent| async move {
        tokio::time::sleep(MINUTE * 10).await;
        (sent < 3).then(|| (Ok::<_, Infallible>(Bytes::from("slow")), sent + 1))
    });
    let error = engine.load(slow, drop).await.unwrap_err();
    // The minute begins when the archive is whole.
    assert!(matches!(error, EngineError::Silent { .. }), "{error:?}");
    assert!(started.elapsed() >= MINUTE * 41);
    assert!(started.elapsed() < MINUTE * 42);
    drop(mock);
}

#[tokio::test(start_paused = true)]
async fn silence_in_the_middle_of_the_progress_counts_from_the_last_message() {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let body: UnsyncBoxBody<Bytes, Infallible> = if request.uri().path() == "/_ping" {
            Full::new(Bytes::from("OK")).boxed_unsync()
        } else {
            // One message each ten minutes for an hour, then nothing for ever.
            let messages = stream::unfold(0, |sent| async move {
                if sent == 6 {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(MINUTE * 10).await;
                let event = Bytes::from("{\"status\":\"Pushing\"}\r\n");
                Some((Ok::<_, Infallible>(Frame::data(event)), sent + 1))
            });
            StreamBody::new(messages).boxed_unsync()
        };
        Ok::<_, Infallible>(Response::new(body))
    });
    let client = Client::from_service(service);
    let engine = Engine::over(config().longest_silence(Some(MINUTE * 15)), client);
    let started = Instant::now();
    let mut events = 0;
    let error = engine
        .push(&image(), None, |_| events += 1)
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Silent { .. }), "{error:?}");
    assert_eq!(events, 6);
    assert!(started.elapsed() >= MINUTE * 75);
    assert!(started.elapsed() < MINUTE * 76);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_in_the_middle_is_given_up_within_a_minute() {
    let started = Instant::now();
    let service = tower::service_fn(move |request: Request<Body>| async move {
        if request.uri().path() == "/_ping" && started.elapsed() < Duration::from_secs(1) {
            return Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("OK"))));
        }
        // It takes one piece of the archive, and does nothing more.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _first = request.into_body().frame().await;
        std::future::pending().await
    });
    let engine = Engine::over(config(), Client::from_service(service));
    let archive = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from("piece")));
    let error = engine.load(archive, drop).await.unwrap_err();
    assert!(
        matches!(error, EngineError::Unresponsive { .. }),
        "{error:?}"
    );
    assert!(started.elapsed() < MINUTE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn credentials_do_not_go_in_the_clear_to_another_machine() {
    let mock = MockService::answering(|request| match request.path_and_query() {
        "/_ping" => Answer::ok().header("api-version", "1.41"),
        _ => Answer::ok().body("{}"),
    });
    let credentials = EngineCredentials::new("robot", "hunter2".into());
    let context = || stream::iter([Ok::<_, Infallible>(Bytes::from("tar"))]);
    let request = BuildRequest::new().credentials("h", credentials.clone());
    let at = |place: &str| EngineConfig::at(Endpoint::parse(place).unwrap());
    let engine = |config: EngineConfig| Engine::over(config, mock.client());
    let exposed = engine(at("tcp://build.example"));
    for error in [
        exposed.push(&image(), Some(&credentials), drop).await.err(),
        exposed.pull(&image(), Some(&credentials), drop).await.err(),
        exposed.build(&request, context(), drop).await.err(),
    ] {
        let error = error.unwrap();
        assert!(matches!(error, EngineError::UnprotectedCredentials { .. }));
        assert!(!error.to_string().contains("hunter2"));
    }
    let mut requests = mock.take_requests();
    requests.retain(|request| request.path_and_query() != "/_ping");
    assert!(requests.is_empty(), "{requests:?}");
    exposed.push(&image(), None, drop).await.unwrap();
    for config in [
        at("tcp://build.example").send_credentials_unprotected(true),
        at("tcp://127.0.0.1"),
        at("https://build.example"),
        at("unix:///engine.sock"),
    ] {
        engine(config)
            .push(&image(), Some(&credentials), drop)
            .await
            .unwrap();
    }
}
