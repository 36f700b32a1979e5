//! Responses, and their bodies as bounded values or as streams.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt as _;
use http::{Extensions, HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep};
use url::Url;

use crate::error::{BoxError, Error, ErrorKind};
use crate::layer::log::answer_body;
use crate::redact;

/// How many times the longest silence a body may take that is wanted whole: a server that drips is not waited for
/// without end.
const WHOLE_BODY_PATIENCE: u32 = 10;

/// The URL a response came from, where it is not the one that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct FinalUrl(pub(crate) Arc<Url>);

/// A response whose headers are here and whose body may still be on its way. Any status is a response.
pub struct Response {
    head: http::response::Parts,
    body: ResponseBody,
    url: Arc<Url>,
}

impl Response {
    pub(crate) fn new(response: http::Response<ResponseBody>, requested: &Arc<Url>) -> Self {
        let (head, mut body) = response.into_parts();
        let url = match head.extensions.get::<FinalUrl>() {
            Some(last) => Arc::clone(&last.0),
            None => Arc::clone(requested),
        };
        body.url = Some(Arc::clone(&url));
        Self { head, body, url }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// What the transport or an in-process service attached.
    pub fn extensions(&self) -> &Extensions {
        &self.head.extensions
    }

    /// The URL this response came from, after redirects. It may hold secrets: show it through [`redact::url`].
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How many bytes the body has, if the server said so.
    pub fn content_length(&self) -> Option<u64> {
        http_body::Body::size_hint(&self.body).exact()
    }

    /// The body as a stream of bytes.
    ///
    /// Fails with [`ErrorKind::Transport`] if it ends before the promised length, and with [`ErrorKind::Idle`] if
    /// nothing comes for the idle timeout.
    pub fn into_body(self) -> ResponseBody {
        self.body
    }

    /// Status, headers and body apart.
    pub fn into_parts(self) -> (http::response::Parts, ResponseBody) {
        (self.head, self.body)
    }

    /// The whole body, which may have at most `limit` bytes (else [`ErrorKind::TooLarge`]) and must be here within ten
    /// times the idle timeout (else [`ErrorKind::Idle`]).
    pub async fn bytes(self, limit: u64) -> Result<Bytes, Error> {
        self.body.bytes(limit).await
    }

    /// The first `limit` bytes of the body, or as many of them as can be had within ten times the idle timeout; for
    /// the body of an answer that is an error anyway, which it only explains.
    pub async fn beginning(self, limit: usize) -> Bytes {
        let read = self.body.beginning(limit).await;
        answer_body(&self.head.headers, &read);
        read
    }

    /// The whole body as UTF-8 text of at most `limit` bytes.
    pub async fn text(self, limit: u64) -> Result<String, Error> {
        let url = Arc::clone(&self.url);
        let bytes = self.bytes(limit).await?;
        String::from_utf8(bytes.into()).map_err(|source| {
            Error::new(ErrorKind::Decode, "the response is not UTF-8 text")
                .with_url(&url)
                .with_source(source.utf8_error())
        })
    }

    /// The whole body as JSON of at most `limit` bytes. The JSON parser bounds the nesting.
    pub async fn json<T: DeserializeOwned>(self, limit: u64) -> Result<T, Error> {
        let url = Arc::clone(&self.url);
        let bytes = self.bytes(limit).await?;
        serde_json::from_slice(&bytes).map_err(|source| {
            Error::new(ErrorKind::Decode, "the response is not the expected JSON")
                .with_url(&url)
                .with_source(source)
        })
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Response")
            .field("status", &self.head.status)
            .field("url", &redact::url(&self.url))
            .field("headers", &redact::headers(&self.head.headers))
            .finish_non_exhaustive()
    }
}

/// The body of a response: a stream of bytes with a limit on silence.
pub struct ResponseBody {
    inner: Inner,
    idle_timeout: Option<Duration>,
    silence: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    url: Option<Arc<Url>>,
}

enum Inner {
    /// Not boxed, since all the bytes of an image come this way.
    Connection(hyper::body::Incoming),
    Service(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>),
    /// Was read before it was handed over.
    Whole(Bytes),
    Ended,
}

impl ResponseBody {
    pub(crate) fn from_connection(body: hyper::body::Incoming) -> Self {
        Self::from_inner(Inner::Connection(body))
    }

    pub(crate) fn from_service<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt as _;
        Self::from_inner(Inner::Service(Box::pin(body.map_err(Into::into))))
    }

    pub(crate) fn from_bytes(bytes: Bytes) -> Self {
        Self::from_inner(Inner::Whole(bytes))
    }

    fn from_inner(inner: Inner) -> Self {
        Self {
            inner,
            idle_timeout: None,
            silence: None,
            waiting: false,
            url: None,
        }
    }

    pub(crate) fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.idle_timeout = timeout;
    }

    /// All (remaining) bytes, which may be at most `limit` (else [`ErrorKind::TooLarge`]) and must be here within ten
    /// times the idle timeout (else [`ErrorKind::Idle`]).
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes, Error> {
        let Some(patience) = self.patience() else {
            return self.read_whole(limit).await;
        };
        match tokio::time::timeout(patience, self.read_whole(limit)).await {
            Ok(result) => result,
            Err(_) => Err(self.error(Error::new(
                ErrorKind::Idle,
                format!(
                    "the response is still not complete after {} seconds",
                    patience.as_secs()
                ),
            ))),
        }
    }

    pub(crate) async fn beginning(mut self, limit: usize) -> Bytes {
        let patience = self.patience().unwrap_or(Duration::MAX);
        let mut read = BytesMut::new();
        let reading = async {
            while read.len() < limit {
                let Some(Ok(bytes)) = self.next().await else {
                    return;
                };
                let room = limit - read.len();
                read.extend_from_slice(bytes.get(..room).unwrap_or(&bytes));
            }
        };
        // What has come until then is what there is.
        let _ = tokio::time::timeout(patience, reading).await;
        read.freeze()
    }

    /// How long a body that is wanted whole may take.
    fn patience(&self) -> Option<Duration> {
        self.idle_timeout?.checked_mul(WHOLE_BODY_PATIENCE)
    }

    async fn read_whole(&mut self, limit: u64) -> Result<Bytes, Error> {
        // A promise over the limit is refused at once, and no promise is trusted with memory.
        if http_body::Body::size_hint(self).lower() > limit {
            return Err(self.too_large(limit));
        }
        let Some(first) = self.next().await else {
            return Ok(Bytes::new());
        };
        let first = first?;
        let mut total = length(&first);
        if total > limit {
            return Err(self.too_large(limit));
        }
        let Some(second) = self.next().await else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            let chunk = chunk?;
            total = total.saturating_add(length(&chunk));
            if total > limit {
                return Err(self.too_large(limit));
            }
            all.extend_from_slice(&chunk);
            next = self.next().await;
        }
        Ok(all.freeze())
    }

    fn too_large(&self, limit: u64) -> Error {
        self.error(Error::new(
            ErrorKind::TooLarge,
            format!("the response is larger than the {limit} bytes that are allowed"),
        ))
    }

    fn error(&self, error: Error) -> Error {
        match &self.url {
            Some(url) => error.or_url(url),
            None => error,
        }
    }

    fn poll_inner(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.inner {
            Inner::Connection(body) => http_body::Body::poll_frame(Pin::new(body), context)
                .map(|next| next.map(|result| result.map_err(Into::into))),
            Inner::Service(body) => body.as_mut().poll_frame(context),
            Inner::Whole(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.inner = Inner::Ended;
                Poll::Ready(Some(Ok(frame)))
            }
            Inner::Ended => Poll::Ready(None),
        }
    }

    /// Whether the silence has lasted too long; registers for the moment it will have.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let expires = self
            .idle_timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let Some(expires) = expires else {
            return Poll::Pending;
        };
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(expires)));
        if !self.waiting {
            self.waiting = true;
            silence.as_mut().reset(expires);
        }
        silence.as_mut().poll(context)
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.poll_inner(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(source))) => {
                self.inner = Inner::Ended;
                let error = Error::from_transport(source).with_may_have_been_sent(true);
                Poll::Ready(Some(Err(self.error(error))))
            }
            Poll::Ready(None) => {
                self.inner = Inner::Ended;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.poll_silence(context).is_pending() {
                    return Poll::Pending;
                }
                self.inner = Inner::Ended;
                let error = Error::new(
                    ErrorKind::Idle,
                    format!(
                        "the server sent nothing more for {} seconds in the middle of a response",
                        self.idle_timeout.unwrap_or_default().as_secs()
                    ),
                );
                Poll::Ready(Some(Err(self.error(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Connection(body) => http_body::Body::is_end_stream(body),
            Inner::Service(body) => body.is_end_stream(),
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Connection(body) => http_body::Body::size_hint(body),
            Inner::Service(body) => body.size_hint(),
            Inner::Whole(bytes) => SizeHint::with_exact(length(bytes)),
            Inner::Ended => SizeHint::with_exact(0),
        }
    }
}

/// The bytes; trailers are passed over.
impl Stream for ResponseBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            let next = std::task::ready!(http_body::Body::poll_frame(self.as_mut(), context));
            match next {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ResponseBody")
            .field("size", &http_body::Body::size_hint(self).exact())
            .finish_non_exhaustive()
    }
}
