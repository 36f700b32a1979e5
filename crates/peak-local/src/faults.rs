//! Misbehaviour by script, for tests of clients (feature `faults`).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let state_dir = directory.path().join("peak");
//! use peak_local::{Platform, faults::{Fault, Faults}};
//!
//! let faults = Faults::new();
//! let platform = Platform::builder().state_dir(state_dir).faults(faults.clone()).start().await?;
//! // The next two uploads are turned away, and after them one that was done has no answer.
//! faults.add(Fault::status(429).on("POST", "/artifacts/").times(2));
//! faults.add(Fault::disconnect_after().on("POST", "/artifacts/"));
//! # platform.shutdown().await;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use peak_serve::Connection;
use tokio::sync::watch;

/// Between the last bytes of a body that is cut and the end of its connection, so that they arrive.
const BEFORE_THE_CUT: Duration = Duration::from_millis(5);

/// One kind of misbehaviour: what happens, to which requests, how often.
///
/// Unless told otherwise it happens once, to the next request, whatever that is.
#[derive(Debug, Clone)]
pub struct Fault {
    action: Action,
    method: Option<String>,
    path: Option<String>,
    skip: u64,
    times: u64,
}

#[derive(Debug, Clone)]
enum Action {
    Answer {
        status: StatusCode,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    },
    DisconnectBefore,
    DisconnectAfter,
    CutBody(usize),
    Slow(Duration),
}

impl Fault {
    fn new(action: Action) -> Self {
        Self {
            action,
            method: None,
            path: None,
            skip: 0,
            times: 1,
        }
    }

    /// The request is answered with this status and not acted upon. A number that is no status becomes 500.
    pub fn status(status: u16) -> Self {
        Self::answer(
            status,
            "application/json",
            "{\"detail\": \"a scripted fault\"}",
        )
    }

    /// The request is answered so and not acted upon. A number that is no status becomes 500.
    pub fn answer(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(Action::Answer {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))],
            body: body.into(),
        })
    }

    /// The connection is closed instead of an answer, and the request is not acted upon.
    pub fn disconnect_before() -> Self {
        Self::new(Action::DisconnectBefore)
    }

    /// The request is acted upon, and then the connection is closed instead of an answer.
    pub fn disconnect_after() -> Self {
        Self::new(Action::DisconnectAfter)
    }

    /// The request is acted upon, and its answer ends with the connection after so many bytes of its body.
    pub fn cut_body(bytes: usize) -> Self {
        Self::new(Action::CutBody(bytes))
    }

    /// The request is acted upon only after this time.
    pub fn slow(time: Duration) -> Self {
        Self::new(Action::Slow(time))
    }

    /// Adds a header to the answer that a script gives; means nothing to faults that give none.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if let Action::Answer { headers, .. } = &mut self.action {
            headers.push((name, value));
        }
        self
    }

    /// Only requests with this method whose path has this part.
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_owned());
        self.path = Some(path.to_owned());
        self
    }

    /// Lets the first `count` requests that it is meant for go by.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Happens to `count` requests.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// Happens to all requests.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    fn is_for(&self, request: &RequestLine<'_>) -> bool {
        self.method
            .as_deref()
            .is_none_or(|method| method == request.method)
            && self
                .path
                .as_deref()
                .is_none_or(|path| request.path.contains(path))
    }
}

/// What a [chooser](Faults::choose_with) sees of a request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestLine<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, without the parameters behind it.
    pub path: &'a str,
}

type Chooser = Box<dyn FnMut(RequestLine<'_>) -> Option<Fault> + Send>;

/// The script of a platform: what goes wrong. Clones are the same script, and it can be changed at any time.
#[derive(Clone)]
pub struct Faults(Arc<Script>);

struct Script {
    faults: Mutex<Vec<Fault>>,
    chooser: Mutex<Option<Chooser>>,
    deletions_held: watch::Sender<bool>,
    builds_held: watch::Sender<bool>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(lock(&self.0.faults).iter())
            .finish()
    }
}

impl Faults {
    /// A script in which nothing goes wrong.
    pub fn new() -> Self {
        Self(Arc::new(Script {
            faults: Mutex::default(),
            chooser: Mutex::default(),
            deletions_held: watch::Sender::new(false),
            builds_held: watch::Sender::new(false),
        }))
    }

    /// Adds a fault. Of several that are meant for a request the one happens that was added first.
    pub fn add(&self, fault: Fault) {
        lock(&self.0.faults).push(fault);
    }

    /// Asks `chooser` about every request for which no fault was added.
    pub fn choose_with(
        &self,
        chooser: impl FnMut(RequestLine<'_>) -> Option<Fault> + Send + 'static,
    ) {
        *lock(&self.0.chooser) = Some(Box::new(chooser));
    }

    /// Takes all faults away, and the chooser.
    pub fn clear(&self) {
        lock(&self.0.faults).clear();
        *lock(&self.0.chooser) = None;
    }

    /// Whether faults are left that were added and have not happened as often as they should.
    pub fn is_empty(&self) -> bool {
        lock(&self.0.faults).is_empty()
    }

    /// What is deleted from now on stays `deleting`.
    pub fn hold_deletions(&self) {
        self.0.deletions_held.send_replace(true);
    }

    /// Carries out what [was held](Self::hold_deletions).
    pub fn release_deletions(&self) {
        self.0.deletions_held.send_replace(false);
    }

    /// What is built from now on stays `building`.
    pub fn hold_builds(&self) {
        self.0.builds_held.send_replace(true);
    }

    /// Runs the builds that [were held](Self::hold_builds).
    pub fn release_builds(&self) {
        self.0.builds_held.send_replace(false);
    }

    /// Waits until deletions may be carried out.
    pub(crate) async fn deletions_go_on(&self) {
        released(&self.0.deletions_held).await;
    }

    /// Waits until builds may run.
    pub(crate) async fn builds_go_on(&self) {
        released(&self.0.builds_held).await;
    }

    /// What happens to a request.
    fn next(&self, request: RequestLine<'_>) -> Option<Action> {
        let mut faults = lock(&self.0.faults);
        let Some(position) = faults.iter().position(|fault| fault.is_for(&request)) else {
            drop(faults);
            let chosen = lock(&self.0.chooser).as_mut()?(request)?;
            return Some(chosen.action);
        };
        let fault = faults.get_mut(position)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times = fault.times.saturating_sub(1);
        let action = fault.action.clone();
        if fault.times == 0 {
            faults.remove(position);
        }
        Some(action)
    }
}

async fn released(held: &watch::Sender<bool>) {
    // The sender is here, so this ends only when it has the value.
    let _ = held.subscribe().wait_for(|held| !held).await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does as the script says.
pub(crate) async fn misbehave(
    State(faults): State<Faults>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let line = RequestLine {
        method: request.method().as_str(),
        path: request.uri().path(),
    };
    match faults.next(line) {
        None => next.run(request).await,
        Some(Action::Answer {
            status,
            headers,
            body,
        }) => {
            let mut response = (status, body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value);
            }
            response
        }
        Some(Action::DisconnectBefore) => {
            connection.cut();
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Some(Action::DisconnectAfter) => {
            let response = next.run(request).await;
            connection.cut();
            response
        }
        Some(Action::CutBody(bytes)) => cut(next.run(request).await, bytes),
        Some(Action::Slow(time)) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
    }
}

/// The answer with the length that it has, and only so many bytes of its body.
fn cut(response: Response, bytes: usize) -> Response {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    let pieces = stream::unfold(
        (body.into_data_stream(), bytes),
        |(mut body, left)| async move {
            if left == 0 {
                tokio::time::sleep(BEFORE_THE_CUT).await;
                return Some((
                    Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
                    (body, 0),
                ));
            }
            let piece = match body.next().await? {
                Ok(piece) => piece.slice(..piece.len().min(left)),
                Err(error) => return Some((Err(io::Error::other(error)), (body, 0))),
            };
            let left = left.saturating_sub(piece.len());
            Some((Ok(piece), (body, left)))
        },
    );
    Response::from_parts(head, Body::from_stream(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(method: &'a str, path: &'a str) -> RequestLine<'a> {
        RequestLine { method, path }
    }

    #[test]
    fn faults_happen_to_what_they_are_meant_for_as_often_as_they_should() {
        let faults = Faults::new();
        faults.add(
            Fault::disconnect_before()
                .on("POST", "/images/")
                .skip(1)
                .times(2),
        );
        let hits: Vec<_> = (0..5)
            .map(|_| faults.next(line("POST", "/api/images/")).is_some())
            .collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.is_empty());
        faults.add(Fault::status(503).on("GET", "/images/").always());
        assert!(faults.next(line("POST", "/images/")).is_none());
        assert!((0..9).all(|_| faults.next(line("GET", "/images/1")).is_some()));
        faults.clear();
        assert!(faults.next(line("GET", "/images/1")).is_none());
    }

    #[test]
    fn a_chooser_is_asked_about_the_rest() {
        let faults = Faults::new();
        faults.choose_with(|line| (line.method == "PUT").then(Fault::disconnect_after));
        faults.add(Fault::slow(Duration::ZERO).on("PUT", "/a"));
        assert!(matches!(
            faults.next(line("PUT", "/a")),
            Some(Action::Slow(_))
        ));
        assert!(matches!(
            faults.next(line("PUT", "/a")),
            Some(Action::DisconnectAfter)
        ));
        assert!(faults.next(line("GET", "/a")).is_none());
    }

    #[tokio::test]
    async fn deletions_wait_while_they_are_held() {
        let faults = Faults::new();
        faults.deletions_go_on().await;
        faults.hold_deletions();
        let released = faults.clone();
        tokio::select! {
            biased;
            () = faults.deletions_go_on() => panic!("went on"),
            () = tokio::task::yield_now() => released.release_deletions(),
        }
        faults.deletions_go_on().await;
    }
}
