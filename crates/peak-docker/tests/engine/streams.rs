//! Operations that stream: archives in and out, and progress with its errors and its ends.

use std::error::Error as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use peak_docker::{BuildRequest, EngineCredentials, EngineError, EngineEvent, LoadedImage};
use peak_oci::Reference;

use crate::fake::{Act, FakeEngine, answer, answer_with, begin, chunk, stream as answer_in};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn reference() -> Reference {
    "registry.example:5000/team/app:v1".parse().unwrap()
}

fn no_events(event: EngineEvent) {
    let said = event.status.or(event.stream);
    panic!("{said:?}");
}

fn pieces(
    texts: &[&'static str],
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + use<> {
    let texts = texts.to_vec();
    stream::iter(texts.into_iter().map(|text| Ok(Bytes::from(text))))
}

#[tokio::test]
async fn a_push_tells_all_events_in_order_and_the_digest() {
    let last =
        format!(r#"{{"progressDetail":{{}},"aux":{{"Tag":"v1","Digest":"{DIGEST}","Size":528}}}}"#);
    let fake = FakeEngine::start(move |_| {
        answer_in(&[
            "{\"status\":\"The push refers to repository\"}\r\n{\"status\":\"Prep",
            "aring\",\"id\":\"b6d3\"}\r\n",
            "{\"status\":\"Pushed\",\"progressDetail\":{},\"id\":\"b6d3\"}\r\n",
            &last,
        ])
    });
    let mut events = Vec::new();
    let credentials = EngineCredentials::new("robot", "hunter2".into());
    let engine = fake.engine();
    let pushed = engine
        .push(&reference(), Some(&credentials), |event| events.push(event))
        .await
        .unwrap();
    assert_eq!(pushed.digest.unwrap().as_str(), DIGEST);
    assert_eq!(pushed.size, Some(528));
    let shown: Vec<_> = events
        .iter()
        .map(|event| (event.id.as_deref(), event.status.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            (None, Some("The push refers to repository")),
            (Some("b6d3"), Some("Preparing")),
            (Some("b6d3"), Some("Pushed")),
            (None, None),
        ]
    );
    let recorded = &fake.recorded()[0];
    assert_eq!(
        recorded.line(),
        "POST /v1.41/images/registry.example:5000/team/app/push?tag=v1"
    );
    // {"username":"robot","password":"hunter2","serveraddress":"registry.example:5000"}
    assert_eq!(
        recorded.header("x-registry-auth"),
        Some(
            "eyJ1c2VybmFtZSI6InJvYm90IiwicGFzc3dvcmQiOiJodW50ZXIyIiwic2VydmVyYWRkcmVzcyI6InJlZ2lzdHJ5LmV4YW1wbGU6NTAwMCJ9"
        )
    );
}

#[tokio::test]
async fn a_pull_asks_for_one_image_and_tells_its_digest() {
    let said = format!(
        "{{\"status\":\"Pulling from team/app\",\"id\":\"v1\"}}\r\n{{\"status\":\"Digest: {DIGEST}\"}}\r\n{{\"status\":\"Status: Image is up to date for x\"}}\r\n"
    );
    let fake = FakeEngine::start(move |_| answer_in(&[&said]));
    let engine = fake.engine();
    let mut count = 0;
    let pulled = engine
        .pull(&reference(), None, |_| count += 1)
        .await
        .unwrap();
    assert_eq!(count, 3);
    assert_eq!(pulled.digest.unwrap().as_str(), DIGEST);
    assert!(pulled.was_up_to_date);
    let by_digest = reference().with_digest(DIGEST.parse().unwrap());
    engine.pull(&by_digest, None, drop).await.unwrap();
    let lines: Vec<_> = fake.recorded();
    assert_eq!(
        lines[0].line(),
        "POST /v1.41/images/create?fromImage=registry.example%3A5000%2Fteam%2Fapp&tag=v1"
    );
    assert_eq!(lines[0].header("x-registry-auth"), Some("e30="));
    assert!(
        lines[1]
            .line()
            .ends_with(&format!("&tag={}", DIGEST.replace(':', "%3A")))
    );
    // Docker would pull every tag there is.
    let all = "registry.example/app".parse().unwrap();
    let error = engine.pull(&all, None, no_events).await.unwrap_err();
    assert!(
        matches!(error, EngineError::InvalidName { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_error_in_the_stream_ends_the_operation_with_its_message() {
    let denied = r#"{"errorDetail":{"message":"denied: requested access to the resource is denied"},"error":"denied: requested access to the resource is denied"}"#;
    // The connection is left open behind it: nobody waits for its end.
    let fake = FakeEngine::start(move |_| {
        vec![
            Act::TakeWholeBody,
            begin(),
            chunk("{\"status\":\"a\"}\r\n"),
            chunk(denied),
            chunk("{\"status\":\"never seen\"}"),
            Act::WaitForHangUp,
        ]
    });
    let engine = fake.engine();
    let mut events = Vec::new();
    let error = engine
        .push(&reference(), None, |event| events.push(event.status))
        .await
        .unwrap_err();
    assert!(error.is_denied(), "{error:?}");
    assert_eq!(
        error.to_string(),
        "push of registry.example:5000/team/app:v1: access is denied: denied: requested access to the resource is denied"
    );
    assert_eq!(events, [Some("a".to_owned())]);
    fake.hung_up().await;
}

#[tokio::test]
async fn a_stream_that_is_cut_off_is_no_success() {
    // The connection breaks between two messages, and within one; and the answer ends well, but not the message.
    let broken = |text: &str| vec![Act::TakeWholeBody, begin(), chunk(text)];
    for acts in [
        broken("{\"status\":\"a\"}\r\n"),
        broken("{\"status\":\"a\"}{\"stat"),
        answer_in(&["{\"status\":\"a\"}{\"status"]),
    ] {
        let fake = FakeEngine::start(move |_| acts.clone());
        let engine = fake.engine();
        let mut events = 0;
        let error = engine
            .push(&reference(), None, |_| events += 1)
            .await
            .unwrap_err();
        assert!(error.is_interrupted(), "{error:?}");
        assert!(error.to_string().contains("still running"), "{error}");
        assert!(error.source().is_some());
        assert_eq!(events, 1);
    }
    // Before any answer.
    let fake = FakeEngine::start(|_| vec![Act::TakeWholeBody]);
    let error = fake
        .engine()
        .pull(&reference(), None, no_events)
        .await
        .unwrap_err();
    assert!(error.is_interrupted(), "{error:?}");
    // What is no progress at all.
    let fake = FakeEngine::start(|_| answer_in(&["<html>"]));
    let engine = fake.engine();
    let error = engine.push(&reference(), None, no_events).await;
    let error = error.unwrap_err();
    assert!(matches!(error, EngineError::Unexpected { .. }), "{error:?}");
}

#[tokio::test]
async fn dropping_an_operation_ends_its_connection() {
    // While nothing was answered, in the middle of the progress, and in the middle of an archive.
    let fake = FakeEngine::start(|_| vec![Act::TakeWholeBody, Act::WaitForHangUp]);
    let engine = fake.engine();
    let image = reference();
    tokio::select! {
        result = engine.push(&image, None, no_events) => panic!("{result:?}"),
        () = until(|| fake.recorded().len() == 1) => {}
    }
    fake.hung_up().await;

    let fake = FakeEngine::start(|_| {
        let event = chunk("{\"status\":\"a\"}");
        vec![Act::TakeWholeBody, begin(), event, Act::WaitForHangUp]
    });
    let engine = fake.engine();
    let seen = Mutex::new(0);
    let count = |_| *seen.lock().unwrap() += 1;
    tokio::select! {
        result = engine.pull(&image, None, count) => panic!("{result:?}"),
        () = until(|| *seen.lock().unwrap() == 1) => {}
    }
    fake.hung_up().await;
    let mut saved = engine.save(&["a:v1"]).await.unwrap();
    assert_eq!(saved.next().await.unwrap().unwrap(), "{\"status\":\"a\"}");
    drop(saved);
    fake.hung_up().await;
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_archive_is_saved_as_it_comes_and_its_breaking_is_an_error() {
    let fake = FakeEngine::start(|request| {
        let mut acts = vec![Act::TakeWholeBody, begin(), chunk("first"), chunk("second")];
        if request.line().contains("whole") {
            acts.push(crate::fake::end());
        }
        acts
    });
    let engine = fake.engine();
    let saved = engine.save(&["whole:v1", "sha256:abc"]).await.unwrap();
    let bytes: Vec<Bytes> = saved.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), b"firstsecond");
    assert_eq!(
        fake.recorded()[0].line(),
        "GET /v1.41/images/get?names=whole%3Av1&names=sha256%3Aabc"
    );
    // What the Engine says where the archive should go on.
    let failing = FakeEngine::start(|_| {
        let error =
            "{\"errorDetail\":{\"message\":\"no space left\"},\"error\":\"no space left\"}\r\n";
        answer_in(&["first", error])
    });
    let saved = failing.engine().save(&["failing:v1"]).await.unwrap();
    let error = saved.try_collect::<Vec<Bytes>>().await.unwrap_err();
    assert!(matches!(error, EngineError::Failed { .. }), "{error:?}");
    assert!(error.to_string().contains("no space left"), "{error}");

    let mut broken = engine.save(&["broken:v1"]).await.unwrap();
    let mut read = Vec::new();
    let error = loop {
        match broken.next().await.unwrap() {
            Ok(bytes) => read.extend(bytes),
            Err(error) => break error,
        }
    };
    assert!(error.is_interrupted(), "{error:?}");
    assert_eq!(read, b"firstsecond");
    assert!(broken.next().await.is_none());
}

#[tokio::test]
async fn an_archive_is_loaded_as_it_is_and_what_came_of_it_is_told() {
    let fake = FakeEngine::start(|_| {
        answer_in(&[
            "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":1,\"total\":2},\"id\":\"b6d3\"}\r\n",
            "{\"stream\":\"Loaded image: h:1/a:v1\\n\"}\r\n{\"stream\":\"Loaded image ID: sha256:abc\\n\"}\r\n",
        ])
    });
    let engine = fake.engine();
    let mut events = 0;
    let loaded = engine
        .load(pieces(&["one", "", "two"]), |_| events += 1)
        .await
        .unwrap();
    assert_eq!(
        loaded,
        [
            LoadedImage::Name("h:1/a:v1".into()),
            LoadedImage::Id("sha256:abc".into())
        ]
    );
    assert_eq!(events, 3);
    let recorded = &fake.recorded()[0];
    assert_eq!(recorded.line(), "POST /v1.41/images/load?quiet=0");
    assert_eq!(recorded.header("content-type"), Some("application/x-tar"));
    assert_eq!(recorded.body, b"onetwo");
    assert!(recorded.is_whole);
}

#[tokio::test]
async fn an_archive_that_fails_on_the_way_is_never_whole_for_the_engine() {
    let seen = Arc::new(tokio::sync::Notify::new());
    let see = Arc::clone(&seen);
    let fake = FakeEngine::start(move |_| {
        see.notify_one();
        vec![Act::TakeWholeBody, Act::WaitForHangUp]
    });
    let engine = fake.engine();
    let broken = pieces(&["one"]).chain(stream::once(async move {
        seen.notified().await;
        Err(std::io::Error::other("the disk is gone"))
    }));
    let error = engine.load(broken, no_events).await.unwrap_err();
    assert!(matches!(error, EngineError::Input { .. }), "{error:?}");
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    assert_eq!(cause.to_string(), "the disk is gone");
    fake.hung_up().await;
    let recorded = &fake.recorded()[0];
    assert_eq!(recorded.body, b"one");
    assert!(!recorded.is_whole);
}

#[tokio::test]
async fn an_engine_that_refuses_an_archive_before_its_end_is_heard() {
    let fake = FakeEngine::start(|_| {
        let mut acts = answer(500, r#"{"message":"no space left on device"}"#);
        acts[0] = Act::TakeBody(3);
        acts.push(Act::WaitForHangUp);
        acts
    });
    let engine = fake.engine();
    // It would go on for ever.
    let endless =
        stream::iter([Ok::<_, std::io::Error>(Bytes::from("one"))]).chain(stream::pending());
    let error = engine.load(endless, no_events).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed { .. }), "{error:?}");
    assert!(error.to_string().contains("no space left"), "{error}");
    fake.hung_up().await;
}

#[tokio::test]
async fn dropping_a_load_leaves_the_engine_half_an_archive() {
    let fake = FakeEngine::start(|_| vec![Act::TakeWholeBody, Act::WaitForHangUp]);
    let engine = fake.engine();
    let sent = Arc::new(Mutex::new(false));
    let noted = Arc::clone(&sent);
    let endless = pieces(&["one"]).chain(stream::poll_fn(move |_| {
        *noted.lock().unwrap() = true;
        std::task::Poll::Pending
    }));
    tokio::select! {
        result = engine.load(endless, no_events) => panic!("{result:?}"),
        () = until(|| *sent.lock().unwrap()) => {}
    }
    fake.hung_up().await;
    assert!(!fake.recorded()[0].is_whole);
}

#[tokio::test]
async fn a_build_streams_its_log_and_gives_the_image() {
    let fake = FakeEngine::start(|request| {
        let mut said = vec![
            "{\"stream\":\"Step 1/1 : FROM scratch\"}\r\n{\"stream\":\"\\n\"}\r\n",
            "{\"stream\":\"Successfully built 0123456789ab\\n\"}\r\n",
        ];
        if !request.line().contains("old") {
            said.insert(1, "{\"aux\":{\"ID\":\"sha256:abc\"}}\r\n");
        }
        if request.line().contains("failing") {
            said = vec![
                "{\"errorDetail\":{\"code\":1,\"message\":\"The command '/bin/false' returned a non-zero code: 1\"},\"error\":\"x\"}",
            ];
        }
        answer_in(&said)
    });
    let engine = fake.engine();
    let request = BuildRequest::new().target("one");
    let mut log = String::new();
    let id = engine
        .build(&request, pieces(&["tar"]), |event| {
            log.push_str(event.stream.as_deref().unwrap_or_default());
        })
        .await
        .unwrap();
    assert_eq!(id, "sha256:abc");
    assert_eq!(
        log,
        "Step 1/1 : FROM scratch\nSuccessfully built 0123456789ab\n"
    );
    assert_eq!(fake.recorded()[0].body, b"tar");
    let request = BuildRequest::new().target("old");
    let built = engine.build(&request, pieces(&["tar"]), drop).await;
    assert_eq!(built.unwrap(), "0123456789ab");
    let request = BuildRequest::new().target("failing");
    let error = engine.build(&request, pieces(&["tar"]), no_events).await;
    let error = error.unwrap_err();
    assert!(matches!(error, EngineError::Failed { .. }), "{error:?}");
    assert!(
        error.to_string().contains("returned a non-zero code: 1"),
        "{error}"
    );
}

#[tokio::test]
async fn an_old_engine_does_not_build_something_else_than_what_was_meant() {
    let fake = FakeEngine::with_ping(
        || answer_with(200, &["Api-Version: 1.28"], "OK"),
        |_| answer_in(&["{\"aux\":{\"ID\":\"sha256:abc\"}}"]),
    );
    let engine = fake.engine();
    let request = BuildRequest::new().network("none");
    engine
        .build(&request, pieces(&["tar"]), drop)
        .await
        .unwrap();
    let request = request.target("stage");
    let error = engine.build(&request, pieces(&["tar"]), drop).await;
    let error = error.unwrap_err();
    assert!(matches!(error, EngineError::TooOld { .. }), "{error:?}");
    assert!(error.to_string().contains("at least 1.29"), "{error}");
    assert_eq!(fake.recorded().len(), 1);
}
