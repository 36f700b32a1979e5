//! A service for tests in the place of the network (feature `test-util`): it answers as it is told and remembers what it
//! was asked. With a paused clock (`tokio::time::pause`) no test waits.
//!
//! ```
//! use std::time::Duration;
//!
//! use http::{Method, Request, StatusCode};
//! use peak_http::RequestBuilderExt as _;
//! use peak_http::test_util::{Answer, MockService};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mock = MockService::playing([
//!     Answer::broken_connection(),
//!     Answer::status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", "0"),
//!     Answer::json(&["an image"]).expecting(Method::GET, "/images/?pageSize=1"),
//! ]);
//! let request = Request::get("http://platform.test/images/?pageSize=1").without_body()?;
//! let response = mock.client().send(request).await?;
//! assert_eq!(response.text(100).await?, r#"["an image"]"#);
//! assert_eq!(mock.requests().len(), 3);
//! mock.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! It stands under the layers of a client ([`MockService::client`], [`ClientBuilder::build_with_service`]), so that it
//! sees every attempt, redirects and renewed credentials included; and it is a [`tower::Service`], so that layers of
//! one's own can be put over it and tested by themselves.
//!
//! [`ClientBuilder::build_with_service`]: crate::ClientBuilder::build_with_service

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tower::Service;

use crate::BoxFuture;
use crate::body::Body;
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::redact;
use crate::request::Operation;

/// A request as the mock got it.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method.
    pub method: Method,
    /// The target, with scheme and host.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body; empty where the answer was [`Answer::no_connection`], which takes none.
    pub body: Bytes,
    /// The name of the operation, if the request has [one](Operation).
    pub operation: Option<&'static str>,
}

impl RecordedRequest {
    /// The path and the query.
    pub fn path_and_query(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("", |target| target.as_str())
    }

    /// The first value of a header, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Without the values of headers that may be secrets.
impl fmt::Debug for RecordedRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RecordedRequest")
            .field("method", &self.method)
            .field("path_and_query", &self.path_and_query())
            .field("headers", &redact::headers(&self.headers))
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// What the mock does with a request.
#[derive(Debug, Clone)]
pub struct Answer {
    response: Result<Head, Error>,
    takes_body: bool,
    delay: Duration,
    expects: Option<(Method, String)>,
}

#[derive(Debug, Clone)]
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// After how many bytes the body ends with an error.
    cut_off: Option<usize>,
}

impl Answer {
    /// 200 without a body.
    pub fn ok() -> Self {
        Self::status(StatusCode::OK)
    }

    /// This status without a body.
    pub fn status(status: StatusCode) -> Self {
        Self::of(Ok(Head {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cut_off: None,
        }))
    }

    /// 200 with `value` as JSON. A value that cannot be written as JSON fails the request.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::ok().with_json(value)
    }

    /// The connection does not come about: [`ErrorKind::Connect`], nothing was sent.
    pub fn no_connection() -> Self {
        let mut answer = Self::error(Error::new(
            ErrorKind::Connect,
            "the mock takes no connection",
        ));
        answer.takes_body = false;
        answer
    }

    /// The connection breaks when the request was sent: [`ErrorKind::Transport`], it may have been acted upon.
    pub fn broken_connection() -> Self {
        Self::error(Error::new(
            ErrorKind::Transport,
            "the mock broke the connection",
        ))
    }

    /// The request fails with this error when its body was taken.
    pub fn error(error: Error) -> Self {
        Self::of(Err(error))
    }

    fn of(response: Result<Head, Error>) -> Self {
        Self {
            response,
            takes_body: true,
            delay: Duration::ZERO,
            expects: None,
        }
    }

    /// The same with a header more. One that is not valid fails the request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let header = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        self.change(|head| match header {
            Some((name, value)) => {
                head.headers.append(name, value);
                Ok(())
            }
            None => Err(misused("a header of an answer is not valid")),
        });
        self
    }

    /// The same with this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.change(|head| {
            head.body = body;
            Ok(())
        });
        self
    }

    /// The same with `value` as JSON. A value that cannot be written as JSON fails the request.
    #[must_use]
    pub fn with_json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        let text = serde_json::to_vec(value);
        self.change(|head| {
            head.body = text
                .map_err(|_| misused("an answer cannot be written as JSON"))?
                .into();
            let json = HeaderValue::from_static("application/json");
            head.headers.entry(CONTENT_TYPE).or_insert(json);
            Ok(())
        });
        self
    }

    /// The same after a wait, which begins when the request's body was taken.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same, but the connection breaks after so many bytes of the body, though all of them were promised.
    #[must_use]
    pub fn cut_off_after(mut self, bytes: usize) -> Self {
        self.change(|head| {
            head.cut_off = Some(bytes);
            Ok(())
        });
        self
    }

    /// The same, but only for a request with this method, path and query. Any other one fails, and
    /// [`MockService::finish`] says so.
    #[must_use]
    pub fn expecting(mut self, method: Method, path_and_query: &str) -> Self {
        self.expects = Some((method, path_and_query.to_owned()));
        self
    }

    fn change(&mut self, change: impl FnOnce(&mut Head) -> Result<(), Error>) {
        if let Ok(head) = &mut self.response
            && let Err(error) = change(head)
        {
            self.response = Err(error);
        }
    }
}

fn misused(message: &'static str) -> Error {
    Error::new(ErrorKind::Other, message)
}

/// Answers requests in the place of a server. Clones share their script and what they remember.
#[derive(Clone)]
pub struct MockService {
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    requests: Mutex<Vec<RecordedRequest>>,
    complaints: Mutex<Vec<String>>,
}

enum Script {
    InOrder(Mutex<VecDeque<Answer>>),
    By(Box<dyn Fn(&RecordedRequest) -> Answer + Send + Sync>),
}

impl MockService {
    /// Gives these answers in this order, one for each request. More requests than that fail.
    pub fn playing(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = answers.into_iter().collect();
        Self::of(Script::InOrder(Mutex::new(answers)))
    }

    /// Gives to each request the answer that `answer` has for it.
    pub fn answering(answer: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static) -> Self {
        Self::of(Script::By(Box::new(answer)))
    }

    fn of(script: Script) -> Self {
        Self {
            shared: Arc::new(Shared {
                script,
                requests: Mutex::default(),
                complaints: Mutex::default(),
            }),
        }
    }

    /// A client with the default layers over it.
    pub fn client(&self) -> Client {
        Client::from_service(self.clone())
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.shared.requests).clone()
    }

    /// The requests since this was last called, oldest first.
    pub fn take_requests(&self) -> Vec<RecordedRequest> {
        std::mem::take(&mut *lock(&self.shared.requests))
    }

    /// Whether everything went as it was told: there was an answer for each request, every request was the expected
    /// one, and no answer is left.
    ///
    /// Errors: [`ErrorKind::Other`], which says what did not.
    pub fn finish(&self) -> Result<(), Error> {
        let mut complaints = lock(&self.shared.complaints).clone();
        if let Script::InOrder(answers) = &self.shared.script {
            let left = lock(answers).len();
            if left > 0 {
                complaints.push(format!("{left} answers were not asked for"));
            }
        }
        if complaints.is_empty() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Other, complaints.join("; ")))
        }
    }

    fn complain(&self, complaint: String) -> Error {
        lock(&self.shared.complaints).push(complaint.clone());
        Error::new(ErrorKind::Other, complaint)
    }

    /// The answer for a request whose body is still to be taken, if that is already known.
    fn next(&self) -> Option<Answer> {
        match &self.shared.script {
            Script::InOrder(answers) => lock(answers).pop_front(),
            Script::By(_) => None,
        }
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<MockBody>, Error> {
        let (head, body) = request.into_parts();
        let scripted = self.next();
        let body = match &scripted {
            Some(answer) if !answer.takes_body => Bytes::new(),
            _ => body.collect().await?.to_bytes(),
        };
        let request = RecordedRequest {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body,
            operation: head.extensions.get().map(|Operation(name)| *name),
        };
        let line = format!("{} {}", request.method, request.path_and_query());
        let answer = match (scripted, &self.shared.script) {
            (Some(answer), _) => Some(answer),
            (None, Script::By(answer)) => Some(answer(&request)),
            (None, Script::InOrder(_)) => None,
        };
        lock(&self.shared.requests).push(request);
        let Some(answer) = answer else {
            return Err(self.complain(format!("the mock has no answer left for {line}")));
        };
        if let Some((method, path_and_query)) = &answer.expects {
            let expected = format!("{method} {path_and_query}");
            if line != expected {
                return Err(self.complain(format!("the mock expected {expected} and got {line}")));
            }
        }
        if !answer.delay.is_zero() {
            tokio::time::sleep(answer.delay).await;
        }
        answer.response.map(Head::into_response)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MockService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MockService")
            .field("requests", &self.shared.requests)
            .finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for MockService {
    type Response = Response<MockBody>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

impl Head {
    fn into_response(self) -> Response<MockBody> {
        let mut response = Response::new(MockBody {
            left: self.cut_off.map_or_else(
                || self.body.clone(),
                |bytes| self.body.slice(..bytes.min(self.body.len())),
            ),
            is_cut_off: self.cut_off.is_some(),
        });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let length = HeaderValue::from(self.body.len());
        response
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert(length);
        response
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct MockBody {
    left: Bytes,
    is_cut_off: bool,
}

impl http_body::Body for MockBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.left.is_empty() {
            let bytes = std::mem::take(&mut self.left);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if std::mem::take(&mut self.is_cut_off) {
            let error = Error::new(ErrorKind::Transport, "the mock cut the answer off");
            let cause = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Poll::Ready(Some(Err(error.with_source(cause))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && !self.is_cut_off
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_cut_off {
            SizeHint::default()
        } else {
            SizeHint::with_exact(self.left.len() as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::request::{RequestBuilderExt as _, RequestExt as _};

    fn put() -> Request<Body> {
        Request::put("http://h/a?b=c")
            .header("x-mine", "1")
            .operation("put_thing")
            .with_body("content")
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_come_in_order_and_requests_are_remembered() {
        let mock = MockService::playing([
            Answer::no_connection(),
            Answer::broken_connection(),
            Answer::json(&1)
                .header("x-other", "2")
                .after(Duration::from_secs(5))
                .expecting(Method::PUT, "/a?b=c"),
        ]);
        let started = Instant::now();
        let response = mock.client().send(put()).await.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(5));
        assert_eq!(response.headers()["x-other"], "2");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.text(10).await.unwrap(), "1");
        let requests = mock.take_requests();
        let bodies: Vec<_> = requests.iter().map(|request| &request.body[..]).collect();
        assert_eq!(bodies, [&b""[..], b"content", b"content"]);
        let last = requests.last().unwrap();
        assert_eq!(last.operation, Some("put_thing"));
        assert_eq!(last.header("x-mine"), Some("1"));
        assert_eq!(
            (&last.method, last.path_and_query()),
            (&Method::PUT, "/a?b=c")
        );
        assert!(mock.requests().is_empty());
        mock.finish().unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_promises_more_than_it_has() {
        let answer = Answer::ok().body("content").cut_off_after(3);
        let mock = MockService::playing([answer]);
        let response = mock.client().send(put()).await.unwrap();
        assert_eq!(response.headers()["content-length"], "7");
        let error = response.bytes(100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport);
    }

    #[tokio::test]
    async fn what_goes_otherwise_than_told_is_an_error_and_is_not_forgotten() {
        let mock = MockService::playing([Answer::ok().expecting(Method::GET, "/a"), Answer::ok()]);
        let error = mock.client().send(put()).await.unwrap_err();
        assert!(error.to_string().contains("expected GET /a"), "{error}");
        let unfinished = mock.finish().unwrap_err().to_string();
        assert!(
            unfinished.contains("got PUT /a?b=c; 1 answers"),
            "{unfinished}"
        );
        mock.client().send(put()).await.unwrap();
        assert!(mock.client().send(put()).await.is_err());
        assert!(
            mock.finish()
                .unwrap_err()
                .to_string()
                .contains("no answer left")
        );
        let invalid = MockService::playing([Answer::ok().header("a b", "c")]);
        assert!(invalid.client().send(put()).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_can_depend_on_the_request() {
        let mock = MockService::answering(|request| Answer::ok().body(request.body.clone()));
        let response = mock.client().send(put()).await.unwrap();
        assert_eq!(response.text(10).await.unwrap(), "content");
        mock.finish().unwrap();
    }
}
