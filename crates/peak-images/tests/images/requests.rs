//! What each operation sends.

use http_body_util::BodyExt;
use peak_http::Idempotency;
use peak_images::models::{
    AutodeployResource, BuildStatus, EntityType, Id, ImageStatus, ImageType, Scope, Timestamp,
};
use peak_images::operations::{
    BuildLogsPage, BuildLogsUrl, BuildsPage, CreateVersionOf, DeleteImage, DeleteVersion,
    DeleteVersions, DescribeImage, DescribeVersion, ImagesPage, UpdateVersionOf, VersionsPage,
};
use peak_images::{
    Artifact, Build, CreateImage, CreateVersion, Dockerfile, Github, ListImageBuilds,
    ListImageVersions, ListImages, UpdateVersion, Upload,
};
use peak_platform::{Endpoint, Error, Operation};

use crate::mock::Asked;

async fn asked(operation: &impl Operation) -> Asked {
    let endpoint = Endpoint::parse("https://service.peak.ai").unwrap();
    let request = operation.request(&endpoint).unwrap();
    assert_eq!(request.uri().host(), Some("service.peak.ai"));
    Asked::of(request).await
}

async fn line(operation: &impl Operation) -> String {
    asked(operation).await.line()
}

fn parts(parts: &[(String, String)]) -> Vec<(&str, &str)> {
    parts
        .iter()
        .map(|(head, content)| (head.as_str(), content.as_str()))
        .collect()
}

#[tokio::test]
async fn reading_operations() {
    let (image, version, build) = (Id::from(17), Id::from("101"), Id::from("mock:21/98"));
    assert_eq!(
        line(&DescribeImage { image: &image }).await,
        "GET /image-management/api/v2/images/17?"
    );
    let describe = DescribeVersion {
        image: &image,
        version: &version,
    };
    assert_eq!(
        line(&describe).await,
        "GET /image-management/api/v2/images/17/versions/101?"
    );
    let mut logs = BuildLogsPage {
        image: &image,
        build: &build,
        next_token: None,
    };
    assert_eq!(
        line(&logs).await,
        "GET /image-management/api/v2/images/17/builds/mock:21%2F98/logs?"
    );
    let url = BuildLogsUrl {
        image: &image,
        build: &build,
    };
    assert_eq!(
        line(&url).await,
        "GET /image-management/api/v2/images/17/builds/mock:21%2F98/logs/download?"
    );
    logs.next_token = Some("f/1 2");
    assert_eq!(asked(&logs).await.parameter("nextToken"), Some("f/1 2"));
}

#[tokio::test]
async fn deleting_operations() {
    let (image, version) = (Id::from(17), Id::from("10/1"));
    assert_eq!(
        line(&DeleteImage { image: &image }).await,
        "DELETE /image-management/api/v2/images/17?"
    );
    let delete = DeleteVersion {
        image: &image,
        version: &version,
    };
    assert_eq!(
        line(&delete).await,
        "DELETE /image-management/api/v2/images/17/versions/10%2F1?"
    );
    let mut delete = DeleteVersions {
        image: &image,
        versions: &[Id::from(1), Id::from("2")],
    };
    assert_eq!(
        line(&delete).await,
        "DELETE /image-management/api/v2/images/17/versions?versionIds=1&versionIds=2"
    );
    assert!(asked(&delete).await.body.is_empty());
    delete.versions = &[];
    let endpoint = Endpoint::parse("https://service.peak.ai").unwrap();
    assert!(matches!(
        delete.request(&endpoint),
        Err(Error::InvalidRequest { .. })
    ));
}

#[tokio::test]
async fn lists_send_what_was_asked_for_and_nothing_else() {
    let all = ListImages::new();
    let page = ImagesPage {
        list: &all,
        number: None,
    };
    assert_eq!(line(&page).await, "GET /image-management/api/v2/images/?");
    let some = ListImages::new()
        .page_size(25)
        .name("hello")
        .status(ImageStatus::Ready)
        .status(ImageStatus::InUse)
        .scope(Scope::Custom)
        .last_build_status(BuildStatus::Failed)
        .tag("a b");
    let page = ImagesPage {
        list: &some,
        number: Some(3),
    };
    assert_eq!(
        line(&page).await,
        "GET /image-management/api/v2/images/?pageSize=25&pageNumber=3&searchTerm=hello\
         &status=ready&status=in-use&scope=custom&lastBuildStatus=failed&tags=a b"
    );
    let versions = ListImageVersions::new()
        .page_size(1)
        .version("1.0")
        .status(ImageStatus::NotReady)
        .last_build_status(BuildStatus::Unknown("queued".to_owned()))
        .tag("t");
    let page = VersionsPage {
        image: &Id::from(17),
        list: &versions,
        number: Some(2),
    };
    assert_eq!(
        line(&page).await,
        "GET /image-management/api/v2/images/17/versions?pageSize=1&pageNumber=2&searchTerm=1.0\
         &status=not-ready&lastBuildStatus=queued&tags=t"
    );
}

#[tokio::test]
async fn the_list_of_builds_says_that_it_wants_all_unless_told_how_many() {
    let image = Id::from(17);
    let all = ListImageBuilds::new();
    let mut page = BuildsPage {
        image: &image,
        list: &all,
        number: None,
    };
    assert_eq!(
        line(&page).await,
        "GET /image-management/api/v2/images/17/builds?count=-1"
    );
    let some = ListImageBuilds::new()
        .date_from("2026-11-01T00:00:00+01:00".parse().unwrap())
        .date_to("2026-11-21T08:30:00.5Z".parse().unwrap())
        .page_size(25)
        .count(5)
        .version(101)
        .version("102")
        .build_status(BuildStatus::Building)
        .build_status(BuildStatus::Failed);
    page.list = &some;
    page.number = Some(2);
    assert_eq!(
        line(&page).await,
        "GET /image-management/api/v2/images/17/builds?dateFrom=2026-10-31T23:00:00.000Z\
         &dateTo=2026-11-21T08:30:00.500Z&pageSize=25&pageNumber=2&count=5\
         &versions=101&versions=102&buildStatus=building&buildStatus=failed"
    );
    let odd = ListImageBuilds::new().date_from(Timestamp::from_text("yesterday"));
    page.list = &odd;
    let endpoint = Endpoint::parse("https://service.peak.ai").unwrap();
    assert!(matches!(
        page.request(&endpoint),
        Err(Error::InvalidRequest { .. })
    ));
}

#[tokio::test]
async fn creating_an_image_from_an_upload() {
    let place = tempfile::tempdir().unwrap();
    let zip = place.path().join("any name.zip");
    std::fs::write(&zip, "zip bytes").unwrap();
    let upload = Upload::new(Artifact::file(&zip).unwrap())
        .dockerfile_path("web/Dockerfile")
        .context("web");
    let build = Build::new(upload)
        .use_cache(false)
        .argument("GREETING", "hello")
        .secret("pypi");
    let image = CreateImage::new("hello-web", ImageType::Webapp, build)
        .version("1.2.0")
        .description("\"quoted\"\nlines")
        .autodeploy(AutodeployResource::new(29, EntityType::Webapp));
    let asked = asked(&image).await;
    assert_eq!(asked.line(), "POST /image-management/api/v2/images/?");
    assert_eq!(
        parts(&asked.parts()),
        [
            (
                "name=\"autodeployResources\"",
                r#"[{"entityId":29,"entityType":"webapp"}]"#
            ),
            (
                "name=\"buildDetails\"",
                r#"{"buildArguments":[{"name":"GREETING","value":"hello"}],"context":"web","dockerfilePath":"web/Dockerfile","secrets":["pypi"],"source":"upload","useCache":false}"#
            ),
            ("name=\"description\"", "\"quoted\"\nlines"),
            ("name=\"name\"", "hello-web"),
            ("name=\"type\"", "webapp"),
            ("name=\"version\"", "1.2.0"),
            (
                "name=\"artifact\"; filename=\"artifact.zip\"; Content-Type: application/zip",
                "zip bytes"
            ),
        ]
    );
}

#[tokio::test]
async fn creating_an_image_from_github_or_a_dockerfile_sends_no_archive() {
    let github = Github::new("https://github.com/example/hello", "main")
        .token("s3cret")
        .dockerfile_path("web/Dockerfile")
        .context("web");
    for (build, details) in [
        (
            Build::new(github).use_cache(true),
            r#"{"branch":"main","context":"web","dockerfilePath":"web/Dockerfile","repository":"https://github.com/example/hello","source":"github","token":"s3cret","useCache":true}"#,
        ),
        (
            Build::new(Dockerfile::new("FROM nginx")),
            r#"{"dockerfile":"FROM nginx","source":"dockerfile"}"#,
        ),
    ] {
        let asked = asked(&CreateImage::new("web", ImageType::WorkspaceR, build)).await;
        assert_eq!(asked.line(), "POST /image-management/api/v2/images/?");
        assert_eq!(
            parts(&asked.parts()),
            [
                ("name=\"buildDetails\"", details),
                ("name=\"name\"", "web"),
                ("name=\"type\"", "workspace-r"),
            ]
        );
    }
}

#[tokio::test]
async fn creating_a_version_sends_neither_name_nor_type() {
    let version = CreateVersion::new(Dockerfile::new("FROM scratch\n")).version("2");
    let operation = CreateVersionOf {
        image: &Id::from(17),
        version: &version,
    };
    let asked = asked(&operation).await;
    assert_eq!(
        asked.line(),
        "POST /image-management/api/v2/images/17/versions?"
    );
    assert_eq!(
        parts(&asked.parts()),
        [
            (
                "name=\"buildDetails\"",
                r#"{"dockerfile":"FROM scratch\n","source":"dockerfile"}"#
            ),
            ("name=\"version\"", "2"),
        ]
    );
}

#[tokio::test]
async fn updating_a_version_sends_only_what_changes() {
    let operation = |update| async move {
        asked(&UpdateVersionOf {
            image: &Id::from(17),
            version: &Id::from(101),
            update: &update,
        })
        .await
    };
    let update = operation(UpdateVersion::new().description("new")).await;
    assert_eq!(
        update.line(),
        "PATCH /image-management/api/v2/images/17/versions/101?"
    );
    assert_eq!(parts(&update.parts()), [("name=\"description\"", "new")]);

    let github = Github::new("https://github.com/example/hello", "main").token("s3cret");
    let update = UpdateVersion::new().build(github);
    assert!(!format!("{update:?}").contains("s3cret"));
    let update = operation(update).await;
    assert_eq!(
        parts(&update.parts()),
        [(
            "name=\"buildDetails\"",
            r#"{"branch":"main","repository":"https://github.com/example/hello","source":"github","token":"s3cret"}"#
        )]
    );
}

#[test]
fn only_an_update_that_builds_is_not_to_be_repeated() {
    let endpoint = Endpoint::parse("https://service.peak.ai").unwrap();
    let (image, version) = (Id::from(17), Id::from(101));
    let only_text = UpdateVersion::new().description("new");
    let build = UpdateVersion::new().build(Dockerfile::new("FROM scratch"));
    for (update, sent_once) in [(only_text, false), (build, true)] {
        let operation = UpdateVersionOf {
            image: &image,
            version: &version,
            update: &update,
        };
        let request = operation.request(&endpoint).unwrap();
        let idempotency = request.extensions().get();
        assert_eq!(
            idempotency == Some(&Idempotency::NotIdempotent),
            sent_once,
            "{idempotency:?}"
        );
    }
}

#[tokio::test]
async fn the_same_value_makes_the_same_request_again() {
    let image = CreateImage::new("a", ImageType::Api, Dockerfile::new("FROM scratch"));
    let (first, second) = (asked(&image).await, asked(&image).await);
    assert_eq!(first.parts(), second.parts());
    let endpoint = Endpoint::parse("https://service.peak.ai").unwrap();
    let body = image.request(&endpoint).unwrap().into_body();
    let length = body.len().unwrap();
    assert_eq!(
        body.collect().await.unwrap().to_bytes().len() as u64,
        length
    );
}
