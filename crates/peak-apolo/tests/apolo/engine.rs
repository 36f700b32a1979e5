//! Push and pull through an Engine that answers as a test tells it to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt as _;
use peak_apolo::{
    ApoloError, Clusters, Config, ImageProgress, Images, ImagesBuilder, LocalImage, RemoteImage,
};
use peak_docker::{Endpoint, Engine, EngineConfig};
use serde_json::Value;

use crate::support::{Listener, Served, token};

/// What the Engine does when it is asked to push or pull.
#[derive(Clone, Copy)]
enum Answer {
    /// This status and this body.
    Is(StatusCode, &'static str),
    /// Nothing more after this.
    Hangs(&'static str),
    /// Nothing, and to nothing else after that.
    Stops,
}

struct FakeEngine {
    server: Served,
    requests: Arc<Mutex<Vec<String>>>,
    credentials: Arc<Mutex<Option<Value>>>,
}

impl FakeEngine {
    /// An Engine that has these images.
    async fn start(images: &[&str], answer: Answer) -> Self {
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let credentials: Arc<Mutex<Option<Value>>> = Arc::default();
        let has: Arc<Mutex<BTreeSet<String>>> = Arc::new(Mutex::new(
            images.iter().map(|name| (*name).to_owned()).collect(),
        ));
        let (seen, shown) = (Arc::clone(&requests), Arc::clone(&credentials));
        let router = Router::new().fallback(move |request: Request| {
            let asked = seen
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.contains("/push"));
            let response = answered(&request, &seen, &shown, &has, answer);
            async move {
                if matches!(answer, Answer::Stops)
                    && (asked || request.uri().path().ends_with("/push"))
                {
                    std::future::pending::<()>().await;
                }
                response
            }
        });
        Self {
            server: Served::start(router).await,
            requests,
            credentials,
        }
    }

    fn builder(&self) -> ImagesBuilder {
        let endpoint = Endpoint::parse(&format!("tcp://{}", self.server.host)).unwrap();
        builder().engine(Engine::new(EngineConfig::at(endpoint)))
    }

    /// What changed something, in order.
    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn shown_credentials(&self) -> Value {
        self.credentials.lock().unwrap().clone().unwrap()
    }
}

fn answered(
    request: &Request,
    seen: &Mutex<Vec<String>>,
    shown: &Mutex<Option<Value>>,
    has: &Mutex<BTreeSet<String>>,
    answer: Answer,
) -> Response {
    let uri = request.uri().to_string();
    let uri = uri.strip_prefix("/v1.41").unwrap_or(&uri).to_owned();
    if uri.ends_with("/_ping") {
        return [("Api-Version", "1.41")].into_response();
    }
    if let Some(header) = request.headers().get("x-registry-auth") {
        let json = URL_SAFE.decode(header.as_bytes()).unwrap();
        *shown.lock().unwrap() = Some(serde_json::from_slice(&json).unwrap());
    }
    let line = format!("{} {uri}", request.method());
    let missing = || (StatusCode::NOT_FOUND, r#"{"message":"no such image"}"#).into_response();
    let name = uri.strip_prefix("/images/").unwrap_or_default();
    if let Some(name) = name.strip_suffix("/json") {
        return if has.lock().unwrap().contains(&unescaped(name)) {
            INSPECTED.into_response()
        } else {
            missing()
        };
    }
    seen.lock().unwrap().push(unescaped(&line));
    if let Some((name, _)) = name.split_once("/tag?") {
        return if has.lock().unwrap().contains(&unescaped(name)) {
            StatusCode::CREATED.into_response()
        } else {
            missing()
        };
    }
    if request.method() == "DELETE" {
        return "[]".into_response();
    }
    if uri.starts_with("/images/create") {
        has.lock()
            .unwrap()
            .insert("reg.example/acme/proj/app:v1".to_owned());
    }
    match answer {
        Answer::Is(status, body) => (status, body).into_response(),
        Answer::Stops => StatusCode::OK.into_response(),
        Answer::Hangs(body) => {
            let beginning = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
            Body::from_stream(beginning.chain(futures_util::stream::pending())).into_response()
        }
    }
}

const INSPECTED: &str = r#"{"Id":"sha256:00","RepoTags":[],"RepoDigests":[],"Created":"","Size":1,"Os":"linux","Architecture":"amd64","RootFS":{"Type":"layers","Layers":[]},"Config":{}}"#;

fn unescaped(text: &str) -> String {
    text.replace("%3A", ":").replace("%2F", "/")
}

fn builder() -> ImagesBuilder {
    let clusters = Clusters::builder("main")
        .cluster("main", "https://reg.example")
        .default_org("acme")
        .default_project("proj")
        .build()
        .unwrap();
    Images::builder(Config::new(clusters).credentials("me", token().into()))
}

fn local() -> LocalImage {
    "app:v1".parse().unwrap()
}

fn remote(images: &Images) -> RemoteImage {
    images.clusters().parse_remote("image:app:v1").unwrap()
}

const PUSHED: &str = r#"{"status":"The push refers to repository [reg.example/acme/proj/app]"}
{"status":"Preparing","progressDetail":{},"id":"0123456789ab"}
{"status":"Waiting","progressDetail":{},"id":"ba9876543210"}
{"status":"Layer already exists","progressDetail":{},"id":"ba9876543210"}
{"status":"Pushing","progressDetail":{"current":512,"total":1024},"progress":"[=>  ]  512B/1.024kB","id":"0123456789ab"}
{"status":"Pushed","progressDetail":{},"id":"0123456789ab"}
{"status":"v1: digest: sha256:0000000000000000000000000000000000000000000000000000000000000000 size: 527"}
{"progressDetail":{},"aux":{"Tag":"v1","Digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","Size":527}}
"#;

const PULLED: &str = r#"{"status":"Pulling from acme/proj/app","id":"v1"}
{"status":"Pulling fs layer","progressDetail":{},"id":"0123456789ab"}
{"status":"Downloading","progressDetail":{"current":5,"total":9},"progress":"[=>  ]  5B/9B","id":"0123456789ab"}
{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}
{"status":"Digest: sha256:0000000000000000000000000000000000000000000000000000000000000000"}
{"status":"Status: Downloaded newer image for reg.example/acme/proj/app:v1"}
"#;

#[tokio::test]
async fn a_push_tags_the_image_and_tells_each_step_in_order() {
    let engine = FakeEngine::start(&["app:v1"], Answer::Is(StatusCode::OK, PUSHED)).await;
    let images = engine.builder().build().unwrap();
    let listener = Arc::new(Listener::default());
    let progress: Arc<dyn ImageProgress> = Arc::clone(&listener) as _;
    let pushed = images.push(&local(), None, Some(progress)).await.unwrap();
    assert_eq!(pushed.to_string(), "image://main/acme/proj/app:v1");
    assert_eq!(
        listener.told(),
        [
            "push app:v1 to image://main/acme/proj/app:v1",
            "0123456789ab: Preparing",
            "ba9876543210: Waiting",
            "ba9876543210: Layer already exists",
            "0123456789ab: Pushing [=>  ]  512B/1.024kB",
            "0123456789ab: Pushed",
        ]
    );
    assert_eq!(
        engine.requests(),
        [
            "POST /images/app:v1/tag?repo=reg.example/acme/proj/app&tag=v1",
            "POST /images/reg.example/acme/proj/app/push?tag=v1",
        ]
    );
    let credentials = engine.shown_credentials();
    assert_eq!(credentials["username"], "token");
    assert_eq!(credentials["password"], token());
    assert_eq!(credentials["serveraddress"], "reg.example");
}

#[tokio::test]
async fn a_pull_leaves_the_local_name_and_no_other() {
    let engine = FakeEngine::start(&[], Answer::Is(StatusCode::OK, PULLED)).await;
    let images = engine.builder().build().unwrap();
    let listener = Arc::new(Listener::default());
    let progress: Arc<dyn ImageProgress> = Arc::clone(&listener) as _;
    let pulled = images
        .pull(&remote(&images), None, Some(progress))
        .await
        .unwrap();
    assert_eq!(pulled, local());
    assert_eq!(
        listener.told(),
        [
            "pull image://main/acme/proj/app:v1 to app:v1",
            "0123456789ab: Pulling fs layer",
            "0123456789ab: Downloading [=>  ]  5B/9B",
            "0123456789ab: Pull complete",
        ]
    );
    let requests = engine.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(
        requests[0].starts_with("POST /images/create?fromImage=reg.example/acme/proj/app&tag=v1")
    );
    assert!(
        requests[1].starts_with("POST /images/reg.example/acme/proj/app:v1/tag?repo="),
        "{requests:?}"
    );
    assert!(requests[1].contains("app&tag=v1"), "{requests:?}");
    assert!(
        requests[2].starts_with("DELETE /images/reg.example/acme/proj/app:v1"),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_name_that_the_engine_had_before_stays() {
    let had = ["reg.example/acme/proj/app:v1"];
    let engine = FakeEngine::start(&had, Answer::Is(StatusCode::OK, PULLED)).await;
    let images = engine.builder().build().unwrap();
    images.pull(&remote(&images), None, None).await.unwrap();
    let removed = |requests: &[String]| requests.iter().any(|line| line.starts_with("DELETE"));
    assert!(!removed(&engine.requests()));

    // Nor is the name removed that was asked for.
    let engine = FakeEngine::start(&[], Answer::Is(StatusCode::OK, PULLED)).await;
    let images = engine.builder().build().unwrap();
    let same: LocalImage = "reg.example/acme/proj/app:v1".parse().unwrap();
    images
        .pull(&remote(&images), Some(&same), None)
        .await
        .unwrap();
    images.remove_temporary_tags().await;
    assert!(!removed(&engine.requests()));
}

#[tokio::test]
async fn each_refusal_has_its_own_error() {
    type Case = (&'static str, Answer, fn(&ApoloError) -> bool);
    let cases: [Case; 5] = [
        (
            "not in the registry",
            Answer::Is(StatusCode::NOT_FOUND, r#"{"message":"manifest unknown"}"#),
            |error| matches!(error, ApoloError::NotFoundInRegistry { .. }),
        ),
        (
            "denied by status",
            Answer::Is(StatusCode::FORBIDDEN, r#"{"message":"denied"}"#),
            |error| matches!(error, ApoloError::AccessDenied { .. }),
        ),
        (
            "denied in the stream",
            Answer::Is(
                StatusCode::OK,
                r#"{"errorDetail":{"message":"denied: no"},"error":"denied: no"}"#,
            ),
            |error| matches!(error, ApoloError::AccessDenied { .. }),
        ),
        (
            "not let in",
            Answer::Is(
                StatusCode::OK,
                r#"{"errorDetail":{"message":"unauthorized: authentication required"},"error":"unauthorized: authentication required"}"#,
            ),
            |error| matches!(error, ApoloError::Unauthorized { .. }),
        ),
        (
            "any other error in the stream",
            Answer::Is(
                StatusCode::OK,
                r#"{"status":"Preparing","id":"0123456789ab"}{"errorDetail":{"message":"disk full"},"error":"disk full"}"#,
            ),
            |error| {
                matches!(error, ApoloError::Engine(_)) && error.to_string().contains("disk full")
            },
        ),
    ];
    for (name, answer, fits) in cases {
        let engine = FakeEngine::start(&["app:v1"], answer).await;
        let images = engine.builder().build().unwrap();
        let error = images.push(&local(), None, None).await.unwrap_err();
        assert!(fits(&error), "push, {name}: {error}");
        // The name that was made for the push does not stay.
        let last = engine.requests().pop().unwrap();
        assert!(last.starts_with("DELETE"), "{name}: {last}");
        let error = images.pull(&remote(&images), None, None).await.unwrap_err();
        assert!(fits(&error), "pull, {name}: {error}");
        // What the Engine may have made of it does not stay.
        let last = engine.requests().pop().unwrap();
        assert!(last.starts_with("DELETE"), "{name}: {last}");
    }
    let engine = FakeEngine::start(&[], Answer::Is(StatusCode::OK, PUSHED)).await;
    let images = engine.builder().build().unwrap();
    let error = images.push(&local(), None, None).await.unwrap_err();
    assert!(
        matches!(error, ApoloError::NotFoundLocally { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("app:v1 was not found"),
        "{error}"
    );
}

#[tokio::test]
async fn a_push_that_takes_too_long_is_given_up() {
    let beginning = r#"{"status":"Preparing","progressDetail":{},"id":"0123456789ab"}"#;
    let engine = FakeEngine::start(&["app:v1"], Answer::Hangs(beginning)).await;
    let images = engine
        .builder()
        .push_limit(Duration::from_millis(300))
        .build()
        .unwrap();
    let error = images.push(&local(), None, None).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[tokio::test]
async fn an_engine_that_has_stopped_is_not_waited_for_once_more_to_clean_up() {
    let engine = FakeEngine::start(&["app:v1"], Answer::Stops).await;
    let limit = Duration::from_millis(300);
    let images = engine.builder().push_limit(limit).build().unwrap();
    let local = local();
    let pushed = images.push(&local, None, None);
    let pushed = tokio::time::timeout(Duration::from_secs(20), pushed).await;
    assert!(pushed.expect("it ends").unwrap_err().is_timeout());
}

#[tokio::test]
async fn what_a_dropped_pull_leaves_can_be_removed() {
    let beginning = r#"{"status":"Pulling from acme/proj/app","id":"v1"}{"status":"Waiting","id":"0123456789ab"}"#;
    let engine = FakeEngine::start(&[], Answer::Hangs(beginning)).await;
    let images = engine.builder().build().unwrap();
    let listener = Arc::new(Listener::default());
    let progress: Arc<dyn ImageProgress> = Arc::clone(&listener) as _;
    let name = remote(&images);
    tokio::select! {
        _ = images.pull(&name, None, Some(progress)) => panic!("the Engine does not end it"),
        () = async {
            while listener.told().len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    assert_eq!(engine.requests().len(), 1);
    images.remove_temporary_tags().await;
    let requests = engine.requests();
    assert!(
        requests[1].starts_with("DELETE /images/reg.example/acme/proj/app:v1"),
        "{requests:?}"
    );
    // Once is enough.
    images.remove_temporary_tags().await;
    assert_eq!(engine.requests().len(), 2);
}

#[tokio::test]
async fn only_images_of_the_platform_go_through_the_engine_and_only_with_one() {
    let engine = FakeEngine::start(&["app:v1"], Answer::Is(StatusCode::OK, PUSHED)).await;
    let images = engine.builder().build().unwrap();
    let external = images
        .clusters()
        .parse_remote("quay.io/team/app:v1")
        .unwrap();
    let error = images
        .push(&local(), Some(&external), None)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ApoloError::NotPlatformImage { .. }),
        "{error}"
    );
    let error = images.pull(&external, None, None).await.unwrap_err();
    assert!(
        matches!(error, ApoloError::NotPlatformImage { .. }),
        "{error}"
    );
    assert_eq!(engine.requests(), [] as [&str; 0]);

    let without = builder().build().unwrap();
    let error = without.push(&local(), None, None).await.unwrap_err();
    assert!(matches!(error, ApoloError::NoEngine), "{error}");
}
