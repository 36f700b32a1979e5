//! A platform that answers as a test says, and remembers what it was asked.

use http::StatusCode;
use peak_artifacts::Artifacts;
use peak_http::test_util::{Answer, MockService, RecordedRequest};
use peak_platform::Session;
use serde_json::Value;

/// What a test's platform was asked, in order: method, path and query.
pub(crate) struct Log(MockService);

impl Log {
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take_requests().iter().map(line).collect()
    }
}

fn line(request: &RecordedRequest) -> String {
    let path = request.path_and_query();
    let path = path.strip_prefix("/artifacts/api/v1/artifacts").unwrap();
    format!("{} {path}", request.method)
}

/// A client of a platform that answers so.
pub(crate) fn platform<F>(answer: F) -> (Artifacts, Log)
where
    F: Fn(&str) -> (u16, Value) + Send + Sync + 'static,
{
    let mock = MockService::answering(move |request| {
        let (status, body) = answer(&line(request));
        Answer::status(StatusCode::from_u16(status).unwrap()).with_json(&body)
    });
    let session = Session::builder()
        .endpoint("http://platform.test/".parse().unwrap())
        .client(mock.client())
        .build();
    (Artifacts::new(session.unwrap()), Log(mock))
}
