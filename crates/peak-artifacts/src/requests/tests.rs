//! What each operation sends.

use http::Request;
use http_body_util::BodyExt;
use peak_http::{Body, Idempotency};
use peak_models::Id;
use peak_platform::{Artifact, Download, Endpoint, Operation};

use super::artifacts::*;
use super::versions::*;

const SERVICE_URL: &str = "https://service.peak.ai/artifacts/api/v1/artifacts";

fn request(operation: &impl Operation) -> Request<Body> {
    let endpoint = Endpoint::parse("https://service.peak.ai").unwrap();
    operation.request(&endpoint).unwrap()
}

/// The method, and the URL without the part that all have.
fn line(operation: &impl Operation) -> String {
    let request = request(operation);
    let url = request.uri().to_string();
    let rest = url.strip_prefix(SERVICE_URL).unwrap();
    format!("{} {rest}", request.method())
}

async fn text(body: Body) -> String {
    let length = body.len().unwrap();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(body.len() as u64, length);
    String::from_utf8(body.to_vec()).unwrap()
}

/// The parts of a multipart body, sorted; the file is the last that was sent.
async fn parts(request: Request<Body>) -> Vec<String> {
    let content_type = request.headers()[http::header::CONTENT_TYPE]
        .to_str()
        .unwrap();
    let boundary = content_type.split_once("boundary=").unwrap().1.to_owned();
    let body = text(request.into_body()).await;
    let mut parts: Vec<_> = body
        .split(&format!("--{boundary}"))
        .filter_map(|part| part.strip_prefix("\r\nContent-Disposition: form-data; "))
        .map(|part| part.trim_end().replace("\r\n", "|"))
        .collect();
    assert!(parts.last().unwrap().starts_with("name=\"artifact\""));
    parts.sort();
    parts
}

fn zip() -> (tempfile::NamedTempFile, Artifact) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "zip").unwrap();
    let artifact = Artifact::file(file.path()).unwrap();
    (file, artifact)
}

const ZIP_PART: &str =
    "name=\"artifact\"; filename=\"artifact.zip\"|Content-Type: application/zip||zip";

#[test]
fn lists_and_descriptions_ask_for_a_page_only_if_told() {
    let id = Id::from("a/b");
    assert_eq!(line(&DescribeArtifact::new(&id)), "GET /a%2Fb");
    let page = DescribeArtifact::new(&id).page_number(2).page_size(5);
    assert_eq!(line(&page), "GET /a%2Fb?pageNumber=2&pageSize=5");
    let (list, number) = (&ListArtifacts::new(), None);
    assert_eq!(line(&ArtifactsPage { list, number }), "GET /");
    let (list, number) = (&ListArtifacts::new().page_size(5), Some(2));
    assert_eq!(
        line(&ArtifactsPage { list, number }),
        "GET /?pageSize=5&pageNumber=2"
    );
}

#[test]
fn deletions_name_what_they_delete() {
    let id = &Id::from("a/b");
    assert_eq!(line(&DeleteArtifact { id }), "DELETE /a%2Fb");
    let version = DeleteArtifactVersion { id, version: 3 };
    assert_eq!(line(&version), "DELETE /a%2Fb/3");
    let id = &Id::from("");
    let endpoint = Endpoint::parse("https://service.peak.ai").unwrap();
    assert!(
        DeleteArtifactVersion { id, version: 3 }
            .request(&endpoint)
            .is_err()
    );
}

#[test]
fn a_download_is_of_the_latest_version_unless_told() {
    let id = &Id::from("a/b");
    let endpoint = Endpoint::parse("https://service.peak.ai").unwrap();
    for (version, expected) in [(None, "/a%2Fb/download"), (Some(3), "/a%2Fb/3/download")] {
        let request = DownloadArtifact { id, version }.request(&endpoint).unwrap();
        assert_eq!(request.method(), "GET");
        assert_eq!(
            request.uri().to_string(),
            format!("{SERVICE_URL}{expected}")
        );
    }
}

#[tokio::test]
async fn updating_sends_only_what_changes() {
    let id = &Id::from("a");
    for (update, expected) in [
        (UpdateArtifact::new().name("n"), r#"{"name":"n"}"#),
        (
            UpdateArtifact::new().description(""),
            r#"{"description":""}"#,
        ),
    ] {
        let operation = UpdateArtifactOf {
            id,
            update: &update,
        };
        assert_eq!(line(&operation), "PATCH /a");
        let request = request(&operation);
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(text(request.into_body()).await, expected);
    }
}

#[tokio::test]
async fn a_new_version_sends_the_archive_and_is_not_made_twice() {
    let (_file, artifact) = zip();
    let id = &Id::from("a");
    let plain = CreateArtifactVersion::new(artifact);
    let operation = CreateArtifactVersionOf {
        id,
        version: &plain,
    };
    assert_eq!(line(&operation), "PUT /a");
    let sent = request(&operation);
    assert_eq!(sent.extensions().get(), Some(&Idempotency::NotIdempotent));
    assert_eq!(parts(sent).await, [ZIP_PART]);
    let version = &plain.scan(true).validate(false);
    let sent = request(&CreateArtifactVersionOf { id, version });
    assert_eq!(
        parts(sent).await,
        [ZIP_PART, "name=\"scan\"||true", "name=\"validate\"||false"]
    );
}

#[tokio::test]
async fn creating_sends_what_was_given_and_the_archive() {
    let (_file, artifact) = zip();
    let create = CreateArtifact::new("hello", artifact)
        .description("text")
        .source("peak")
        .scan(true)
        .validate(false);
    assert_eq!(line(&create), "POST /");
    assert_eq!(
        parts(request(&create)).await,
        [
            ZIP_PART,
            "name=\"description\"||text",
            "name=\"name\"||hello",
            "name=\"scan\"||true",
            "name=\"source\"||peak",
            "name=\"validate\"||false",
        ]
    );
}
