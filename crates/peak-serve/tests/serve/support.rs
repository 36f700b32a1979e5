//! A server whose handlers say what became of them, and a peer that sends bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use peak_serve::{Connection, Limits, Listener, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Longer than anything here takes; only a hang reaches it.
pub(crate) const HANG: Duration = Duration::from_secs(60);

/// A limit that these tests reach.
pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// What handlers did.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) begun: AtomicUsize,
    /// Bodies that ended with an error.
    pub(crate) broken: AtomicUsize,
    /// Handlers and answers that were dropped.
    pub(crate) dropped: AtomicUsize,
    /// Lets the handler of `/held` go on.
    pub(crate) release: Notify,
}

impl Seen {
    pub(crate) async fn until(&self, counter: &AtomicUsize, count: usize) {
        let reached = async {
            while counter.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within(reached).await;
    }
}

/// Says when it is dropped.
struct Mark(Arc<Seen>);

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn router(seen: &Arc<Seen>) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/held", get(held))
        .route("/body", post(body))
        .route("/unread", post(|| async { StatusCode::FORBIDDEN }))
        .route("/begun", post(begun))
        .route("/endless", get(endless))
        .route("/cut", get(cut))
        .route("/about", get(about))
        .with_state(Arc::clone(seen))
}

/// Answers when it is released.
async fn held(State(seen): State<Arc<Seen>>) -> &'static str {
    let _mark = Mark(Arc::clone(&seen));
    seen.begun.fetch_add(1, Ordering::SeqCst);
    seen.release.notified().await;
    "released"
}

/// The length of the body.
async fn body(State(seen): State<Arc<Seen>>, body: Body) -> Result<String, StatusCode> {
    seen.begun.fetch_add(1, Ordering::SeqCst);
    let mut length = 0;
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let Ok(bytes) = frame else {
            seen.broken.fetch_add(1, Ordering::SeqCst);
            return Err(StatusCode::REQUEST_TIMEOUT);
        };
        length += bytes.len();
    }
    Ok(length.to_string())
}

/// Refuses the body after its first piece.
async fn begun(body: Body) -> StatusCode {
    let first = body.into_data_stream().next().await;
    assert!(first.is_some_and(|piece| piece.is_ok()));
    StatusCode::PAYLOAD_TOO_LARGE
}

async fn endless(State(seen): State<Arc<Seen>>) -> Body {
    seen.begun.fetch_add(1, Ordering::SeqCst);
    let mark = Mark(seen);
    let piece = Bytes::from(vec![0; 64 * 1024]);
    Body::from_stream(stream::repeat_with(move || {
        let _ = &mark;
        Ok::<_, std::io::Error>(piece.clone())
    }))
}

async fn cut(Extension(connection): Extension<Connection>) -> &'static str {
    connection.cut();
    "this does not leave"
}

async fn about(Extension(connection): Extension<Connection>) -> String {
    format!(
        "{} {} {} {}",
        connection.scheme(),
        connection.id(),
        connection.peer().ip(),
        connection.open_connections()
    )
}

pub(crate) async fn serve(limits: &Limits) -> (Server, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    (Server::start(listener, router(&seen), limits), seen)
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future)
        .await
        .unwrap_or_else(|_| panic!("nothing happened for {HANG:?}"))
}

pub(crate) async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

/// Sends a request that asks for the connection to be closed, and reads all of the answer.
pub(crate) async fn ask(server: &Server, head: &str, body: &[u8]) -> String {
    let mut client = connect(server).await;
    let request = format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    client.write_all(length.as_bytes()).await.unwrap();
    client.write_all(body).await.unwrap();
    rest(&mut client).await
}

pub(crate) async fn get_path(client: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
}

/// All that still comes until the server closes or resets the connection.
pub(crate) async fn rest(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within(client.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until a text has come.
pub(crate) async fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    within(async {
        while !text.ends_with(end) {
            let mut byte = [0];
            assert_eq!(client.read(&mut byte).await.unwrap(), 1, "{text}");
            text.push(char::from(byte[0]));
        }
    })
    .await;
    text
}
