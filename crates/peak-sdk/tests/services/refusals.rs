//! Every operation against every kind of refusal and every kind of answer that is none: the error has its name and
//! says what happened, shows no secret, and nothing is taken for a success.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderName, HeaderValue, Method};
use peak_local::faults::Fault;
use peak_sdk::artifacts::operations::DescribeArtifact;
use peak_sdk::artifacts::{
    Artifacts, CreateArtifact, CreateArtifactVersion, ListArtifacts, UpdateArtifact,
};
use peak_sdk::http::{Client, ErrorKind, RetryPolicy};
use peak_sdk::images::{
    Artifact, CreateImage, CreateVersion, Dockerfile, Error as ImagesError, FollowOptions, Github,
    Images, ListImageBuilds, ListImageVersions, ListImages, UpdateVersion, Upload,
};
use peak_sdk::models::{Id, ImageType};
use peak_sdk::platform::{Error, Session};

use crate::support::{Bench, RETRIES, TOKEN, session};

const ARTIFACT: &str = "c7575459-e265-4944-a539-1fbb3336799e";
const ARTIFACTS: &str = "/artifacts/api/v1/artifacts/";
const IMAGES: &str = "/image-management/api/v2/images/";

/// What is known of an operation: the first request that it makes.
struct Operation {
    name: &'static str,
    method: Method,
    service: &'static str,
    /// The rest of the path and the query.
    rest: &'static str,
    /// Whether it may be sent again after the platform may have acted on it.
    repeated: bool,
    /// Whether the answer is a file, of which any bytes are as good as others.
    file: bool,
}

const fn read(name: &'static str, service: &'static str, rest: &'static str) -> Operation {
    Operation {
        name,
        method: Method::GET,
        service,
        rest,
        repeated: true,
        file: false,
    }
}

const fn change(
    name: &'static str,
    method: Method,
    service: &'static str,
    rest: &'static str,
    repeated: bool,
) -> Operation {
    Operation {
        name,
        method,
        service,
        rest,
        repeated,
        file: false,
    }
}

/// Every operation of both clients.
fn operations() -> Vec<Operation> {
    vec![
        read("list_artifacts", ARTIFACTS, "?pageNumber=1"),
        read("list_artifacts_page", ARTIFACTS, ""),
        change("create_artifact", Method::POST, ARTIFACTS, "", false),
        read("describe_artifact", ARTIFACTS, ARTIFACT),
        change(
            "create_artifact_version",
            Method::PUT,
            ARTIFACTS,
            ARTIFACT,
            false,
        ),
        change("update_artifact", Method::PATCH, ARTIFACTS, ARTIFACT, true),
        change("delete_artifact", Method::DELETE, ARTIFACTS, ARTIFACT, true),
        change(
            "delete_artifact_version",
            Method::DELETE,
            ARTIFACTS,
            "c7575459-e265-4944-a539-1fbb3336799e/3",
            true,
        ),
        Operation {
            file: true,
            ..read(
                "download_artifact",
                ARTIFACTS,
                "c7575459-e265-4944-a539-1fbb3336799e/3/download",
            )
        },
        read("list_images", IMAGES, "?pageNumber=1"),
        read("list_images_page", IMAGES, ""),
        read("list_image_versions", IMAGES, "17/versions?pageNumber=1"),
        read("list_image_versions_page", IMAGES, "17/versions"),
        change("create_image of upload", Method::POST, IMAGES, "", false),
        change("create_image of github", Method::POST, IMAGES, "", false),
        change(
            "create_image of dockerfile",
            Method::POST,
            IMAGES,
            "",
            false,
        ),
        change("create_version", Method::POST, IMAGES, "17/versions", false),
        change(
            "update_version",
            Method::PATCH,
            IMAGES,
            "17/versions/101",
            true,
        ),
        change(
            "update_version with a build",
            Method::PATCH,
            IMAGES,
            "17/versions/101",
            false,
        ),
        read(
            "create_or_update_image_version",
            IMAGES,
            "?pageSize=100&pageNumber=1&searchTerm=web",
        ),
        read("describe_image", IMAGES, "17"),
        read("describe_version", IMAGES, "17/versions/101"),
        change("delete_image", Method::DELETE, IMAGES, "17", true),
        change(
            "delete_version",
            Method::DELETE,
            IMAGES,
            "17/versions/101",
            true,
        ),
        change(
            "delete_versions",
            Method::DELETE,
            IMAGES,
            "17/versions?versionIds=101&versionIds=102",
            true,
        ),
        read(
            "list_image_builds",
            IMAGES,
            "17/builds?pageNumber=1&count=-1",
        ),
        read("list_image_builds_page", IMAGES, "17/builds?count=-1"),
        read(
            "get_build_logs_page",
            IMAGES,
            "17/builds/21/logs?nextToken=REDACTED",
        ),
        read("follow_build_logs", IMAGES, "17/builds/21/logs"),
        read("wait_for_build", IMAGES, "17/builds/21/logs"),
        read("save_build_logs", IMAGES, "17/builds/21/logs/download"),
    ]
}

/// Whatever an operation gave, or its error.
type Outcome = Result<String, Error>;

fn told<T: std::fmt::Debug>(result: Result<T, ImagesError>) -> Outcome {
    match result {
        Ok(value) => Ok(format!("{value:?}")),
        Err(ImagesError::Platform(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn shown<T: std::fmt::Debug>(result: Result<T, Error>) -> Outcome {
    result.map(|value| format!("{value:?}"))
}

/// Clients of their own for each operation: one client repeats only so much in all while nothing goes well.
struct Clients<'a> {
    artifacts: Artifacts,
    images: Images,
    bench: &'a Bench,
}

async fn of_artifacts(clients: &Clients<'_>, name: &str, zip: &Artifact) -> Option<Outcome> {
    let (artifacts, id) = (&clients.artifacts, Id::from(ARTIFACT));
    let list = ListArtifacts::new();
    let version = CreateArtifactVersion::new(zip.clone());
    let update = UpdateArtifact::new().name("other");
    let create = CreateArtifact::new("hello", zip.clone());
    let target = clients.bench.path("downloaded.zip");
    Some(match name {
        "list_artifacts" => shown(artifacts.list_artifacts(list).try_collect::<Vec<_>>().await),
        "list_artifacts_page" => shown(artifacts.list_artifacts_page(&list, None).await),
        "create_artifact" => shown(artifacts.create_artifact(&create).await),
        "describe_artifact" => shown(
            artifacts
                .describe_artifact(&DescribeArtifact::new(&id))
                .await,
        ),
        "create_artifact_version" => shown(artifacts.create_artifact_version(&id, &version).await),
        "update_artifact" => shown(artifacts.update_artifact(&id, &update).await),
        "delete_artifact" => shown(artifacts.delete_artifact(&id).await),
        "delete_artifact_version" => shown(artifacts.delete_artifact_version(&id, 3).await),
        "download_artifact" => {
            let outcome = shown(artifacts.download_artifact(&id, Some(3), &target).await);
            assert!(outcome.is_ok() || !target.exists(), "a file was left");
            outcome
        }
        _ => return None,
    })
}

async fn of_lists(clients: &Clients<'_>, name: &str) -> Option<Outcome> {
    let (images, image) = (&clients.images, Id::from(17));
    let (all, versions, builds) = (
        ListImages::new(),
        ListImageVersions::new(),
        ListImageBuilds::new(),
    );
    Some(match name {
        "list_images" => told(images.list_images(all).try_collect::<Vec<_>>().await),
        "list_images_page" => told(images.list_images_page(&all, None).await),
        "list_image_versions" => told(
            images
                .list_image_versions(&image, versions)
                .try_collect::<Vec<_>>()
                .await,
        ),
        "list_image_versions_page" => told(
            images
                .list_image_versions_page(&image, &versions, None)
                .await,
        ),
        "list_image_builds" => told(
            images
                .list_image_builds(&image, builds)
                .try_collect::<Vec<_>>()
                .await,
        ),
        "list_image_builds_page" => {
            told(images.list_image_builds_page(&image, &builds, None).await)
        }
        _ => return None,
    })
}

async fn of_images(clients: &Clients<'_>, name: &str, zip: &Artifact) -> Outcome {
    let (images, image, version, build) =
        (&clients.images, Id::from(17), Id::from(101), Id::from(21));
    let dockerfile = || Dockerfile::new("FROM scratch");
    let create = |build: peak_sdk::images::Build| CreateImage::new("web", ImageType::Api, build);
    let with_build = UpdateVersion::new().build(dockerfile());
    let text = UpdateVersion::new().description("new");
    let options = FollowOptions::new;
    match name {
        "create_image of upload" => told(
            images
                .create_image(&create(Upload::new(zip.clone()).into()))
                .await,
        ),
        "create_image of github" => {
            let github = Github::new("https://github.com/example/hello", "main").token(TOKEN);
            told(images.create_image(&create(github.into())).await)
        }
        "create_image of dockerfile" => {
            told(images.create_image(&create(dockerfile().into())).await)
        }
        "create_version" => told(
            images
                .create_version(&image, &CreateVersion::new(dockerfile()))
                .await,
        ),
        "update_version" => told(images.update_version(&image, &version, &text).await),
        "update_version with a build" => {
            told(images.update_version(&image, &version, &with_build).await)
        }
        "create_or_update_image_version" => {
            let wanted = create(dockerfile().into());
            told(images.create_or_update_image_version(&wanted).await)
        }
        "describe_image" => told(images.describe_image(&image).await),
        "describe_version" => told(images.describe_version(&image, &version).await),
        "delete_image" => told(images.delete_image(&image).await),
        "delete_version" => told(images.delete_version(&image, &version).await),
        "delete_versions" => told(
            images
                .delete_versions(&image, &[version, Id::from(102)])
                .await,
        ),
        "get_build_logs_page" => told(
            images
                .get_build_logs_page(&image, &build, Some("s3cret"))
                .await,
        ),
        "follow_build_logs" => {
            let mut events = Box::pin(images.follow_build_logs(&image, &build, options()));
            let first = events.next().await.unwrap();
            assert!(
                events.next().await.is_none(),
                "the stream ends with its error"
            );
            told(first)
        }
        "wait_for_build" => told(images.wait_for_build(&image, &build, options()).await),
        "save_build_logs" => {
            let target = clients.bench.path("build.log");
            let outcome = told(images.save_build_logs(&image, &build, Some(&target)).await);
            assert!(outcome.is_ok() || !target.exists(), "a file was left");
            outcome
        }
        other => panic!("no operation {other}"),
    }
}

async fn run(bench: &Bench, operation: &Operation, zip: &Artifact) -> Outcome {
    let session = session(&bench.platform, TOKEN, RETRIES);
    let clients = Clients {
        artifacts: Artifacts::new(session.clone()),
        images: Images::new(session),
        bench,
    };
    if let Some(outcome) = of_artifacts(&clients, operation.name, zip).await {
        return outcome;
    }
    if let Some(outcome) = of_lists(&clients, operation.name).await {
        return outcome;
    }
    of_images(&clients, operation.name, zip).await
}

/// What the platform says instead of what it should.
struct Scripted<'a> {
    bench: &'a Bench,
    zip: Artifact,
    /// The requests that came.
    came: Arc<AtomicU32>,
}

impl<'a> Scripted<'a> {
    fn new(bench: &'a Bench) -> Self {
        Self {
            bench,
            zip: bench.zip("small.zip", &[("a", b"a")]),
            came: Arc::default(),
        }
    }

    /// Runs an operation of which every request is answered so. Gives the error, and how many requests there were.
    async fn error(&self, operation: &Operation, fault: &Fault) -> (Error, u32) {
        let (came, fault) = (Arc::clone(&self.came), fault.clone());
        came.store(0, Ordering::Relaxed);
        self.bench.faults.choose_with(move |_| {
            came.fetch_add(1, Ordering::Relaxed);
            Some(fault.clone())
        });
        let outcome = run(self.bench, operation, &self.zip).await;
        let Err(error) = outcome else {
            panic!("{} succeeded: {outcome:?}", operation.name);
        };
        let mut shown = format!("{error} {error:?}");
        let mut cause = error.source();
        while let Some(error) = cause {
            shown.push_str(&error.to_string());
            cause = error.source();
        }
        for secret in [TOKEN, "s3cret"] {
            assert!(!shown.contains(secret), "{}: {shown}", operation.name);
        }
        (error, self.came.load(Ordering::Relaxed))
    }

    fn url(&self, operation: &Operation) -> String {
        let url = self.bench.platform.url();
        let base = url.as_str().trim_end_matches('/');
        format!("{base}{}{}", operation.service, operation.rest)
    }
}

fn refusal(status: u16) -> Fault {
    Fault::answer(status, "application/json", r#"{"detail": "because"}"#)
        .header(
            HeaderName::from_static("x-request-id"),
            HeaderValue::from_static("request-7"),
        )
        .header(
            HeaderName::from_static("retry-after"),
            HeaderValue::from_static("0"),
        )
}

/// The name of an error, as its variant is called.
fn variant(error: &Error) -> String {
    let shown = format!("{error:?}");
    shown.split(['(', ' ', '{']).next().unwrap().to_owned()
}

#[tokio::test]
async fn every_status_is_the_named_error_of_every_operation() {
    let bench = Bench::start().await;
    let scripted = Scripted::new(&bench);
    for (status, name) in [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (409, "Conflict"),
        (413, "PayloadTooLarge"),
        (422, "UnprocessableEntity"),
        (429, "TooManyRequests"),
        (500, "InternalServerError"),
        (418, "Status"),
        (503, "Status"),
    ] {
        for operation in operations() {
            let (error, came) = scripted.error(&operation, &refusal(status)).await;
            let case = format!("{status} of {}: {error:?}", operation.name);
            assert_eq!(variant(&error), name, "{case}");
            let said = error.status_error().unwrap();
            assert_eq!(said.status().as_u16(), status, "{case}");
            assert_eq!(said.message(), "because", "{case}");
            assert_eq!(said.method(), operation.method, "{case}");
            assert_eq!(said.url(), scripted.url(&operation), "{case}");
            assert_eq!(said.request_id(), Some("request-7"), "{case}");
            let expected = match status {
                429 | 503 => 1 + RETRIES,
                500 if operation.repeated => 1 + RETRIES,
                _ => 1,
            };
            assert_eq!(came, expected, "{case}");
        }
    }
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_proxys_web_page_is_named_as_such() {
    let bench = Bench::start().await;
    let scripted = Scripted::new(&bench);
    let page = "<!DOCTYPE html><html><head><title>Bad gateway</title></head>…";
    for operation in operations() {
        let fault = Fault::answer(502, "text/html", page);
        let (error, came) = scripted.error(&operation, &fault).await;
        assert_eq!(variant(&error), "Status", "{}", operation.name);
        let said = error.status_error().unwrap();
        assert_eq!(
            said.message(),
            "a web page: Bad gateway",
            "{}",
            operation.name
        );
        assert_eq!(said.url(), scripted.url(&operation));
        let expected = if operation.repeated { 1 + RETRIES } else { 1 };
        assert_eq!(came, expected, "{}", operation.name);
    }
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_success_that_does_not_say_what_it_should_is_an_error() {
    let bench = Bench::start().await;
    let scripted = Scripted::new(&bench);
    for (kind, body) in [
        ("text/html", "<html><title>Sign in</title></html>"),
        (
            "application/json",
            r#"{"id": "c7575459", "artifacts": [{"id"#,
        ),
        ("application/json", ""),
    ] {
        for operation in operations().iter().filter(|operation| !operation.file) {
            let fault = Fault::answer(200, kind, body);
            let (error, came) = scripted.error(operation, &fault).await;
            let case = format!("{body:?} to {}: {error:?}", operation.name);
            let Error::Http {
                method,
                url,
                source,
            } = error
            else {
                panic!("{case}");
            };
            assert_eq!(source.kind(), ErrorKind::Decode, "{case}");
            assert_eq!(
                (&method, &url),
                (&operation.method, &scripted.url(operation)),
                "{case}"
            );
            assert_eq!(came, 1, "{case}");
        }
    }
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn an_array_is_no_answer_that_has_fields() {
    let bench = Bench::start().await;
    let scripted = Scripted::new(&bench);
    let fault = Fault::answer(200, "application/json", "[]");
    // To what only has to be done, any answer says that it was.
    for operation in operations()
        .iter()
        .filter(|operation| !operation.file && operation.method != Method::DELETE)
        .filter(|operation| !matches!(operation.name, "update_artifact"))
    {
        let (error, came) = scripted.error(operation, &fault).await;
        assert!(
            matches!(&error, Error::Http { source, .. } if source.kind() == ErrorKind::Decode),
            "{}: {error:?}",
            operation.name
        );
        assert_eq!(came, 1, "{}", operation.name);
    }
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_file_that_is_a_web_page_or_empty_is_an_error() {
    let bench = Bench::start().await;
    let scripted = Scripted::new(&bench);
    let page = "<html><title>Sign in</title></html>";
    for operation in operations().iter().filter(|operation| operation.file) {
        for (kind, body, expected) in [
            ("text/html", page, "a web page: Sign in"),
            ("application/zip", "", "empty"),
        ] {
            let fault = Fault::answer(200, kind, body);
            let (error, came) = scripted.error(operation, &fault).await;
            let Error::UnexpectedContent { url, what } = &error else {
                panic!("{error:?}");
            };
            assert_eq!((what.as_str(), url), (expected, &scripted.url(operation)));
            assert_eq!(came, 1);
        }
    }
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn an_answer_that_ends_early_is_an_error() {
    let bench = Bench::start().await;
    let scripted = Scripted::new(&bench);
    // Nothing is there, so every answer is a refusal; what it says is lost, its status is not.
    for operation in operations()
        .iter()
        .filter(|operation| operation.method == Method::DELETE)
    {
        let (error, _) = scripted.error(operation, &Fault::cut_body(3)).await;
        assert_eq!(variant(&error), "NotFound", "{}", operation.name);
    }
    for operation in operations()
        .iter()
        .filter(|operation| operation.name.contains("list_images"))
    {
        let (error, came) = scripted.error(operation, &Fault::cut_body(3)).await;
        assert!(
            matches!(&error, Error::Http { source, .. } if source.kind() == ErrorKind::Transport),
            "{error:?}"
        );
        assert_eq!(came, 1 + RETRIES, "{}", operation.name);
    }
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_connection_that_breaks_says_whether_the_platform_may_have_acted() {
    let bench = Bench::start().await;
    let scripted = Scripted::new(&bench);
    for fault in [Fault::disconnect_before(), Fault::disconnect_after()] {
        for operation in operations() {
            let (error, came) = scripted.error(&operation, &fault).await;
            let case = format!("{}: {error:?}", operation.name);
            assert!(error.may_have_been_acted_upon(), "{case}");
            let Error::Http { method, url, .. } = error else {
                panic!("{case}");
            };
            assert_eq!(
                (&method, &url),
                (&operation.method, &scripted.url(&operation)),
                "{case}"
            );
            let expected = if operation.repeated { 1 + RETRIES } else { 1 };
            assert_eq!(came, expected, "{case}");
        }
    }
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_platform_that_does_not_answer_in_time_is_given_up() {
    let bench = Bench::start().await;
    bench
        .faults
        .add(Fault::slow(Duration::from_secs(3600)).always());
    let options = Client::builder()
        .attempt_timeout(Duration::from_millis(20))
        .retry(RetryPolicy::never());
    let session = Session::builder()
        .endpoint(bench.platform.url())
        .token(TOKEN.to_owned().into())
        .client_options(options)
        .build()
        .unwrap();
    let error = Artifacts::new(session)
        .delete_artifact(&Id::from(ARTIFACT))
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!(error.may_have_been_acted_upon());
    // Not shut down in good order: its request would be waited for.
    drop(bench);
}

#[tokio::test]
async fn without_a_platform_nothing_was_sent() {
    let bench = Bench::start().await;
    let scripted = Scripted::new(&bench);
    let Bench {
        artifacts, images, ..
    } = &bench;
    let (artifacts, images) = (artifacts.clone(), images.clone());
    let zip = scripted.zip.clone();
    bench.platform.shutdown().await;
    let create = CreateArtifact::new("hello", zip.clone());
    let image = CreateImage::new("web", ImageType::Api, Upload::new(zip));
    for error in [
        artifacts.create_artifact(&create).await.unwrap_err(),
        told(images.create_image(&image).await).unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::Http { source, .. } if source.is_connect()),
            "{error:?}"
        );
        assert!(!error.may_have_been_acted_upon());
    }
}
