//! The parameters of each operation, and the requests they turn into. All of it pure.

use http::Request;
use peak_http::Body;
use peak_models::{CreateArtifactBody, CreateArtifactResponse, Id};
use peak_platform::{Artifact, Endpoint, Error, Form, Operation};

/// Where the service is below the endpoint.
const SERVICE: [&str; 4] = ["artifacts", "api", "v1", "artifacts"];

/// A path below the service's.
fn path<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    SERVICE.iter().chain(rest).copied().collect()
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
        // The file comes last, so that the service knows what it is for when it arrives.
        let form = Form::of(&self.body)?.artifact(&self.artifact);
        endpoint.post(&path(&[""]))?.form(form).build()
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::parse("https://service.peak.ai").unwrap()
    }

    #[test]
    fn describing_asks_for_a_page_only_if_told() {
        let id = Id::from("a/b");
        let plain = DescribeArtifact::new(&id).request(&endpoint()).unwrap();
        assert_eq!(plain.method(), "GET");
        assert_eq!(
            plain.uri(),
            "https://service.peak.ai/artifacts/api/v1/artifacts/a%2Fb"
        );
        let page = DescribeArtifact::new(&id).page_number(2).page_size(5);
        assert_eq!(
            page.request(&endpoint()).unwrap().uri().query(),
            Some("pageNumber=2&pageSize=5")
        );
    }

    #[tokio::test]
    async fn creating_sends_what_was_given_and_the_archive() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "zip").unwrap();
        let artifact = Artifact::file(file.path()).unwrap();
        let create = CreateArtifact::new("hello", artifact)
            .description("text")
            .source("peak")
            .scan(true)
            .validate(false);
        let request = create.request(&endpoint()).unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().path(), "/artifacts/api/v1/artifacts/");
        let content_type = request.headers()[http::header::CONTENT_TYPE]
            .to_str()
            .unwrap();
        let boundary = content_type.split_once("boundary=").unwrap().1.to_owned();
        let length = request.body().len().unwrap();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len() as u64, length);
        let body = String::from_utf8(body.to_vec()).unwrap();
        let mut parts: Vec<_> = body
            .split(&format!("--{boundary}"))
            .filter_map(|part| part.strip_prefix("\r\nContent-Disposition: form-data; "))
            .map(|part| part.trim_end().replace("\r\n", "|"))
            .collect();
        assert!(parts.last().unwrap().starts_with("name=\"artifact\""));
        parts.sort();
        assert_eq!(
            parts,
            [
                "name=\"artifact\"; filename=\"artifact.zip\"|Content-Type: application/zip||zip",
                "name=\"description\"||text",
                "name=\"name\"||hello",
                "name=\"scan\"||true",
                "name=\"source\"||peak",
                "name=\"validate\"||false",
            ]
        );
    }
}
