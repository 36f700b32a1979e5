//! A platform that answers as a test says, and remembers what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use peak_artifacts::Artifacts;
use peak_http::{Body, Client};
use peak_platform::Session;
use serde_json::Value;

/// What a test's platform was asked, in order: method, path and query.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A client of a platform that answers so.
pub(crate) fn platform<F>(answer: F) -> (Artifacts, Log)
where
    F: Fn(&str) -> (u16, Value) + Send + Sync + 'static,
{
    let log = Log::default();
    let (answer, kept) = (Arc::new(answer), log.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, kept) = (Arc::clone(&answer), kept.clone());
        async move {
            let (head, body) = request.into_parts();
            body.collect().await.unwrap();
            let path = head.uri.path_and_query().unwrap().as_str();
            let path = path.strip_prefix("/artifacts/api/v1/artifacts").unwrap();
            let line = format!("{} {path}", head.method);
            let (status, body) = answer(&line);
            kept.0.lock().unwrap().push(line);
            let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let session = Session::builder()
        .endpoint("http://platform.test/".parse().unwrap())
        .client(Client::from_service(service))
        .build();
    (Artifacts::new(session.unwrap()), log)
}
