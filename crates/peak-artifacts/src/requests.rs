//! The parameters of each operation, and the requests they turn into. All of it pure.

use http::Request;
use peak_http::{Body, Idempotency, RequestExt as _};
use peak_models::{
    CreateArtifactBody, CreateArtifactResponse, CreateArtifactVersionBody,
    CreateArtifactVersionResponse, Id, ListArtifactsResponse, UpdateArtifactBody,
};
use peak_platform::{Artifact, Done, Download, Endpoint, Error, Form, Operation};
use serde::Serialize;

/// Where the service is below the endpoint.
const SERVICE: [&str; 4] = ["artifacts", "api", "v1", "artifacts"];

/// A path below the service's.
fn path<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    SERVICE.iter().chain(rest).copied().collect()
}

/// Which artifacts to list: all of them.
#[derive(Debug, Clone, Default)]
pub struct ListArtifacts {
    page_size: Option<u64>,
}

impl ListArtifacts {
    /// All artifacts.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many artifacts a page holds at most; the platform decides unless given.
    #[must_use]
    pub fn page_size(mut self, size: u64) -> Self {
        self.page_size = Some(size);
        self
    }
}

/// `list_artifacts`: one page of the list.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactsPage<'a> {
    /// Which artifacts.
    pub list: &'a ListArtifacts,
    /// The number of the page, counted from 1; the first unless given.
    pub number: Option<u64>,
}

impl Operation for ArtifactsPage<'_> {
    const NAME: &'static str = "list_artifacts";
    type Answer = ListArtifactsResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .get(&path(&[]))?
            .collection()
            .query_each("pageSize", self.list.page_size)
            .query_each("pageNumber", self.number)
            .build()
    }
}

/// `create_artifact`: a new artifact, with its first version.
#[derive(Debug, Clone)]
pub struct CreateArtifact {
    body: CreateArtifactBody,
    artifact: Artifact,
}

impl CreateArtifact {
    /// An artifact of this name, with this archive as its first version.
    pub fn new(name: impl Into<String>, artifact: Artifact) -> Self {
        Self {
            body: CreateArtifactBody::new(name),
            artifact,
        }
    }

    /// What the artifact is about.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.body = self.body.description(text);
        self
    }

    /// What the artifact was made by.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.body = self.body.source(source);
        self
    }

    /// Whether the platform scans the archive.
    #[must_use]
    pub fn scan(mut self, yes: bool) -> Self {
        self.body = self.body.scan(yes);
        self
    }

    /// Whether the platform validates the archive.
    #[must_use]
    pub fn validate(mut self, yes: bool) -> Self {
        self.body = self.body.validate(yes);
        self
    }
}

impl Operation for CreateArtifact {
    const NAME: &'static str = "create_artifact";
    type Answer = CreateArtifactResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let create = CreateArtifactFrom {
            body: &self.body,
            artifact: &self.artifact,
        };
        create.request(endpoint)
    }
}

/// `create_artifact` with a body that is written out, such as one that a person wrote: an object
/// with the properties that the platform names.
#[derive(Clone, Copy)]
pub struct CreateArtifactFrom<'a, B: ?Sized> {
    /// The body.
    pub body: &'a B,
    /// The archive.
    pub artifact: &'a Artifact,
}

impl<B: Serialize + ?Sized> Operation for CreateArtifactFrom<'_, B> {
    const NAME: &'static str = "create_artifact";
    type Answer = CreateArtifactResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        // The file comes last, so that the service knows what it is for when it arrives.
        let form = Form::of(self.body)?.artifact(self.artifact);
        endpoint.post(&path(&[]))?.collection().form(form).build()
    }
}

/// `describe_artifact`: an artifact, with a page of its versions.
#[derive(Debug, Clone, Copy)]
pub struct DescribeArtifact<'a> {
    id: &'a Id,
    page_number: Option<u64>,
    page_size: Option<u64>,
}

impl<'a> DescribeArtifact<'a> {
    /// The artifact with its first versions.
    pub fn new(id: &'a Id) -> Self {
        Self {
            id,
            page_number: None,
            page_size: None,
        }
    }

    /// Which page of versions, counted from 1.
    #[must_use]
    pub fn page_number(mut self, number: u64) -> Self {
        self.page_number = Some(number);
        self
    }

    /// How many versions a page holds at most.
    #[must_use]
    pub fn page_size(mut self, size: u64) -> Self {
        self.page_size = Some(size);
        self
    }
}

impl Operation for DescribeArtifact<'_> {
    const NAME: &'static str = "describe_artifact";
    type Answer = peak_models::Artifact;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .get(&path(&[self.id.as_str()]))?
            .query_each("pageNumber", self.page_number)
            .query_each("pageSize", self.page_size)
            .build()
    }
}

/// A new version of an artifact.
#[derive(Debug, Clone)]
pub struct CreateArtifactVersion {
    body: CreateArtifactVersionBody,
    artifact: Artifact,
}

impl CreateArtifactVersion {
    /// A version with this archive.
    pub fn new(artifact: Artifact) -> Self {
        Self {
            body: CreateArtifactVersionBody::new(),
            artifact,
        }
    }

    /// Whether the platform scans the archive.
    #[must_use]
    pub fn scan(mut self, yes: bool) -> Self {
        self.body = self.body.scan(yes);
        self
    }

    /// Whether the platform validates the archive.
    #[must_use]
    pub fn validate(mut self, yes: bool) -> Self {
        self.body = self.body.validate(yes);
        self
    }
}

/// `create_artifact_version`
#[derive(Debug, Clone, Copy)]
pub struct CreateArtifactVersionOf<'a> {
    /// The artifact.
    pub id: &'a Id,
    /// Its new version.
    pub version: &'a CreateArtifactVersion,
}

impl Operation for CreateArtifactVersionOf<'_> {
    const NAME: &'static str = "create_artifact_version";
    type Answer = CreateArtifactVersionResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let create = CreateArtifactVersionFrom {
            id: self.id,
            body: &self.version.body,
            artifact: &self.version.artifact,
        };
        create.request(endpoint)
    }
}

/// `create_artifact_version` with a body that is written out; see [`CreateArtifactFrom`].
#[derive(Clone, Copy)]
pub struct CreateArtifactVersionFrom<'a, B: ?Sized> {
    /// The artifact.
    pub id: &'a Id,
    /// The body.
    pub body: &'a B,
    /// The archive.
    pub artifact: &'a Artifact,
}

impl<B: Serialize + ?Sized> Operation for CreateArtifactVersionFrom<'_, B> {
    const NAME: &'static str = "create_artifact_version";
    type Answer = CreateArtifactVersionResponse;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let form = Form::of(self.body)?.artifact(self.artifact);
        let request = endpoint
            .put(&path(&[self.id.as_str()]))?
            .form(form)
            .build()?;
        // Whatever the method promises, each such request makes one more version.
        Ok(request.option(Idempotency::NotIdempotent))
    }
}

/// What to change about an artifact. What is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct UpdateArtifact {
    body: UpdateArtifactBody,
}

impl UpdateArtifact {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The artifact's new name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.body = self.body.name(name);
        self
    }

    /// What the artifact is about.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.body = self.body.description(text);
        self
    }
}

/// `update_artifact`
#[derive(Debug, Clone, Copy)]
pub struct UpdateArtifactOf<'a> {
    /// The artifact.
    pub id: &'a Id,
    /// What to change.
    pub update: &'a UpdateArtifact,
}

impl Operation for UpdateArtifactOf<'_> {
    const NAME: &'static str = "update_artifact";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let update = UpdateArtifactFrom {
            id: self.id,
            body: &self.update.body,
        };
        update.request(endpoint)
    }
}

/// `update_artifact` with a body that is written out; see [`CreateArtifactFrom`].
#[derive(Clone, Copy)]
pub struct UpdateArtifactFrom<'a, B: ?Sized> {
    /// The artifact.
    pub id: &'a Id,
    /// The body.
    pub body: &'a B,
}

impl<B: Serialize + ?Sized> Operation for UpdateArtifactFrom<'_, B> {
    const NAME: &'static str = "update_artifact";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint
            .patch(&path(&[self.id.as_str()]))?
            .json(self.body)?
            .build()
    }
}

/// `download_artifact`: the archive of a version.
#[derive(Debug, Clone, Copy)]
pub struct DownloadArtifact<'a> {
    /// The artifact.
    pub id: &'a Id,
    /// The number of its version, counted from 1; the latest unless given.
    pub version: Option<u64>,
}

impl Download for DownloadArtifact<'_> {
    const NAME: &'static str = "download_artifact";

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let version = self.version.map(|version| version.to_string());
        let mut rest = vec![self.id.as_str()];
        rest.extend(version.as_deref());
        rest.push("download");
        endpoint.get(&path(&rest))?.build()
    }
}

/// `delete_artifact`: the artifact with all of its versions.
#[derive(Debug, Clone, Copy)]
pub struct DeleteArtifact<'a> {
    /// The artifact.
    pub id: &'a Id,
}

impl Operation for DeleteArtifact<'_> {
    const NAME: &'static str = "delete_artifact";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        endpoint.delete(&path(&[self.id.as_str()]))?.build()
    }
}

/// `delete_artifact_version`
#[derive(Debug, Clone, Copy)]
pub struct DeleteArtifactVersion<'a> {
    /// The artifact.
    pub id: &'a Id,
    /// The number of its version, counted from 1.
    pub version: u64,
}

impl Operation for DeleteArtifactVersion<'_> {
    const NAME: &'static str = "delete_artifact_version";
    type Answer = Done;

    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error> {
        let version = self.version.to_string();
        endpoint
            .delete(&path(&[self.id.as_str(), &version]))?
            .build()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

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
}
