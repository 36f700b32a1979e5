//! The retry decision for every class of outcome and every kind of request, as one table.
//!
//! Each cell is what really happened: a request that got this outcome once, and would be answered if it were sent
//! again. The facts are in "Retries" of the platform's description: 408, 429, 500, 502, 503, 504 and connection failures
//! are repeated; a POST only where the server cannot have acted on it, unless the caller asks for more.

use std::fmt::Write as _;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use peak_http::test_util::{Answer, MockService};
use peak_http::{
    Body, BoxError, BoxFuture, Client, ClientBuilder, Error, ErrorKind, Idempotency,
    RequestBuilderExt as _, RequestExt as _,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::http2::{Fate, play};
use crate::secure::{Secure, Speaks, trusting};
use crate::server::{Server, Step, quick};

/// The kinds of requests: the columns of the table.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A PUT.
    Idempotent,
    /// A POST.
    NotIdempotent,
    /// A POST of which the caller says that it may be repeated.
    CallerAllows,
    /// A PUT of which the caller says that it may not.
    CallerForbids,
    /// A PUT whose body is a stream.
    BodyOnce,
}

const KINDS: [Kind; 5] = [
    Kind::Idempotent,
    Kind::NotIdempotent,
    Kind::CallerAllows,
    Kind::CallerForbids,
    Kind::BodyOnce,
];

impl Kind {
    fn request(self, url: &str) -> Request<Body> {
        let (method, body) = match self {
            Self::Idempotent | Self::CallerForbids => (Method::PUT, Body::from("x")),
            Self::NotIdempotent | Self::CallerAllows => (Method::POST, Body::from("x")),
            Self::BodyOnce => {
                let once = stream::iter([Ok::<_, BoxError>(Bytes::from("x"))]);
                (Method::PUT, Body::stream(once))
            }
        };
        let request = Request::builder()
            .method(method)
            .uri(url)
            .with_body(body)
            .unwrap();
        match self {
            Self::CallerAllows => request.idempotency(Idempotency::Idempotent),
            Self::CallerForbids => request.idempotency(Idempotency::NotIdempotent),
            _ => request,
        }
    }
}

/// Sends a request and says whether it was repeated: told by the attempts, so that redirects and renewed credentials do
/// not count.
async fn is_repeated(
    builder: ClientBuilder,
    mock: Option<MockService>,
    request: Request<Body>,
) -> bool {
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let builder = builder.on_attempt(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let client: Client = match mock {
        Some(mock) => builder.build_with_service(mock).unwrap(),
        None => builder.build().unwrap(),
    };
    // What comes of it in the end is not what is asked here.
    let _ = client.send(request).await;
    attempts.load(Ordering::Relaxed) > 1
}

/// What happens to the first attempt, over a mock.
fn mocked() -> Vec<(&'static str, Answer)> {
    let status = |code: u16| Answer::status(StatusCode::from_u16(code).unwrap());
    let error = |kind| Answer::error(Error::new(kind, "as scripted"));
    let unsent = Error::new(ErrorKind::Transport, "as scripted").with_may_have_been_sent(false);
    let told = |code: u16| status(code).header("retry-after", "0");
    vec![
        ("200", status(200)),
        ("302 to elsewhere", status(302).header("location", "/b")),
        ("303 to a 503", status(303).header("location", "/b")),
        ("304", status(304)),
        ("400", status(400)),
        ("401", status(401)),
        ("403", status(403)),
        ("404", status(404)),
        ("408", status(408)),
        ("409", status(409)),
        ("413", status(413)),
        ("422", status(422)),
        ("425", status(425)),
        ("429", status(429)),
        ("429 with Retry-After", told(429)),
        ("500", status(500)),
        ("500 with Retry-After", told(500)),
        ("501", status(501)),
        ("502", status(502)),
        ("503", status(503)),
        ("503 with Retry-After", told(503)),
        ("504", status(504)),
        ("505", status(505)),
        ("body breaks", Answer::ok().body("xyz").cut_off_after(1)),
        (
            "body that is wanted whole breaks",
            Answer::ok().body("xyz").cut_off_after(1),
        ),
        ("closed before the request", Answer::error(unsent)),
        ("no credential", error(ErrorKind::Authentication)),
        ("body cannot be read", error(ErrorKind::Body)),
        ("proxy refuses", error(ErrorKind::Proxy)),
        ("answer is not HTTP", error(ErrorKind::Decode)),
        ("error of a service", error(ErrorKind::Other)),
    ]
}

/// A script whose further answers are what the outcome goes on with.
fn script(outcome: &str, answer: Answer) -> MockService {
    let then = match outcome {
        "303 to a 503" => Answer::status(StatusCode::SERVICE_UNAVAILABLE),
        _ => Answer::ok(),
    };
    MockService::playing([answer, then, Answer::ok()])
}

/// Renews what was never accepted.
struct Renews;

impl peak_http::Authenticator for Renews {
    fn authorize<'a>(
        &'a self,
        _: &'a mut http::request::Parts,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn challenged<'a>(
        &'a self,
        _: &'a http::request::Parts,
        _: &'a http::response::Parts,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async { Ok(true) })
    }
}

/// What happens to the first attempt, over real connections.
const REAL: [&str; 11] = [
    "401 twice, credential renewed",
    "connection refused",
    "name not found",
    "certificate not trusted",
    "no TLS where it should be",
    "closed after the request",
    "closed in the middle of the head",
    "no answer in time",
    "h2 stream refused",
    "h2 stream cancelled",
    "h2 connection given up",
];

async fn is_really_repeated(outcome: &str, kind: Kind) -> bool {
    let short = || quick().attempt_timeout(Duration::from_millis(50));
    let plain = |first: Step| async move {
        let server = Server::play([first, Step::ok("")]).await;
        is_repeated(short(), None, kind.request(&server.url("/"))).await
    };
    let http2 = |fate: Fate| async move {
        let (url, server) = play(vec![fate, Fate::Answered]).await;
        let repeated = is_repeated(trusting(), None, kind.request(&url)).await;
        server.abort();
        repeated
    };
    match outcome {
        "401 twice, credential renewed" => {
            let denied = || Answer::status(StatusCode::UNAUTHORIZED);
            let mock = MockService::playing([denied(), denied(), Answer::ok()]);
            let builder = quick().authenticator(Arc::new(Renews));
            is_repeated(builder, Some(mock), kind.request("http://mock/")).await
        }
        "connection refused" => {
            let address = StdListener::bind("127.0.0.1:0").unwrap().local_addr();
            let url = format!("http://{}/", address.unwrap());
            is_repeated(quick(), None, kind.request(&url)).await
        }
        "name not found" => {
            let url = "http://does-not-exist.invalid/";
            is_repeated(quick(), None, kind.request(url)).await
        }
        "certificate not trusted" => {
            let server = Secure::start(Speaks::both()).await;
            is_repeated(quick(), None, kind.request(&server.url())).await
        }
        "no TLS where it should be" => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://{}/", listener.local_addr().unwrap());
            let server = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                    // What is left unread would break the connection before the answer is seen.
                    let mut hello = [0; 4096];
                    let _ = stream.read(&mut hello).await;
                }
            });
            let repeated = is_repeated(quick(), None, kind.request(&url)).await;
            server.abort();
            repeated
        }
        "closed after the request" => plain(Step::HangUpAfterRequest).await,
        "closed in the middle of the head" => plain(Step::Answer("HTTP/1.1 200 ".into())).await,
        "no answer in time" => plain(Step::Stall(String::new())).await,
        "h2 stream refused" => http2(Fate::Reset(h2::Reason::REFUSED_STREAM)).await,
        "h2 stream cancelled" => http2(Fate::Reset(h2::Reason::CANCEL)).await,
        "h2 connection given up" => http2(Fate::GoAway).await,
        other => unreachable!("{other}"),
    }
}

#[tokio::test]
async fn what_is_sent_again() {
    let mut table = format!("{:36}", "outcome of the first attempt");
    for kind in KINDS {
        let _ = write!(table, "{:16}", format!("{kind:?}"));
    }
    let mut row = |outcome: &str, cells: Vec<bool>| {
        let _ = write!(table, "\n{outcome:36}");
        for cell in cells {
            let _ = write!(table, "{:16}", if cell { "again" } else { "-" });
        }
    };
    for (outcome, answer) in mocked() {
        let mut cells = Vec::new();
        for kind in KINDS {
            let mock = script(outcome, answer.clone());
            let mut request = kind.request("http://mock/a");
            if outcome.contains("wanted whole") {
                request = request.whole_body(100);
            }
            cells.push(is_repeated(quick(), Some(mock), request).await);
        }
        row(outcome, cells);
    }
    for outcome in REAL {
        let mut cells = Vec::new();
        for kind in KINDS {
            cells.push(is_really_repeated(outcome, kind).await);
        }
        row(outcome, cells);
    }
    let table: Vec<_> = table.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(table.join("\n"));
}
