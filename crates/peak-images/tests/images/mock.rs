//! A platform that answers as a test says, and remembers what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use peak_http::{Body, Client};
use peak_images::Images;
use peak_platform::Session;
use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) async fn of(request: Request<Body>) -> Self {
        let (head, body) = request.into_parts();
        let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: query.into_owned().collect(),
            content_type: head
                .headers
                .get(http::header::CONTENT_TYPE)
                .map(|value| value.to_str().unwrap().to_owned()),
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) fn line(&self) -> String {
        let query: Vec<_> = self
            .query
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!("{} {}?{}", self.method, self.path, query.join("&"))
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        pairs.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// The parts of a multipart body: their headers and contents, sorted by name but files last.
    pub(crate) fn parts(&self) -> Vec<(String, String)> {
        let boundary = self
            .content_type
            .as_ref()
            .unwrap()
            .split_once("boundary=")
            .unwrap()
            .1;
        let text = String::from_utf8(self.body.to_vec()).unwrap();
        let text = text.strip_suffix(&format!("--{boundary}--\r\n")).unwrap();
        let mut parts: Vec<_> = text
            .split(&format!("--{boundary}\r\n"))
            .skip(1)
            .map(|part| {
                let (head, content) = part.split_once("\r\n\r\n").unwrap();
                let head = head.replace("Content-Disposition: form-data; ", "");
                (
                    head.replace("\r\n", "; "),
                    content.strip_suffix("\r\n").unwrap().to_owned(),
                )
            })
            .collect();
        parts.sort_by_key(|(head, _)| (head.contains("filename"), head.clone()));
        parts
    }
}

/// What a test's platform was asked, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.take().iter().map(Asked::line).collect()
    }
}

/// A client of a platform that answers so.
pub(crate) fn platform<F>(answer: F) -> (Images, Log)
where
    F: Fn(&Asked) -> (u16, Value) + Send + Sync + 'static,
{
    let log = Log::default();
    let (answer, kept) = (Arc::new(answer), log.clone());
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, kept) = (Arc::clone(&answer), kept.clone());
        async move {
            let asked = Asked::of(request).await;
            let (status, body) = answer(&asked);
            kept.0.lock().unwrap().push(asked);
            let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let session = Session::builder()
        .endpoint("http://platform.test/".parse().unwrap())
        .client(Client::from_service(service))
        .build();
    (Images::new(session.unwrap()), log)
}
