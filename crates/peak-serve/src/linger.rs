//! Reading the rest of a body that nobody wants, so that the answer arrives.
//!
//! A server that answers and closes while the client still sends makes the operating system reset the
//! connection, and the client then often loses the answer: a refusal would look like a broken network.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use tokio::sync::oneshot;

/// At most so much of a body is read to be thrown away, bytes,
const LIMIT: usize = 64 * 1024 * 1024;
/// and for at most so long.
const TIME: Duration = Duration::from_secs(5);

/// Runs the request, then reads what it left of its body.
pub(crate) async fn read_the_rest(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let waits = request.headers().contains_key(EXPECT);
    let (give_back, mut returned) = oneshot::channel();
    let request = request.map(|body| {
        Body::from_stream(Lent {
            stream: Some(body.into_data_stream()),
            give_back: Some(give_back),
            waits,
        })
    });
    let response = next.run(request).await;
    if let Ok(rest) = returned.try_recv() {
        // Whatever ends it, the answer is sent.
        let _ = tokio::time::timeout(TIME, discard(rest)).await;
    }
    response
}

async fn discard(mut rest: BodyDataStream) {
    let mut read = 0_usize;
    while let Some(Ok(bytes)) = rest.next().await {
        read = read.saturating_add(bytes.len());
        if read > LIMIT {
            break;
        }
    }
}

/// A body that comes back when it is dropped before its end.
struct Lent {
    stream: Option<BodyDataStream>,
    give_back: Option<oneshot::Sender<BodyDataStream>>,
    /// Whether the client asked if it may send, and was not told that it may, as reading tells it: so it
    /// has not begun to, and the answer does arrive.
    waits: bool,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waits = false;
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(None);
        };
        let next = Pin::new(stream).poll_next(context);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.stream = None;
        }
        next
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (false, Some(stream), Some(give_back)) =
            (self.waits, self.stream.take(), self.give_back.take())
        {
            // Nobody waits for it any more where the request was dropped as a whole.
            let _ = give_back.send(stream);
        }
    }
}
