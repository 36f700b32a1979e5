//! The bodies of requests and answers, watched.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::watch::Watch;

/// The body of a request, which fails when nothing comes for too long while somebody reads it.
pub(crate) struct TimedBody {
    inner: Incoming,
    idle: Duration,
    /// Made when there is first something to wait for: most bodies come with their header.
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl TimedBody {
    pub(crate) fn new(inner: Incoming, idle: Duration) -> Self {
        Self {
            inner,
            idle,
            sleep: None,
            waiting: false,
        }
    }

    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        if !self.waiting {
            self.waiting = true;
            let now = Instant::now();
            sleep.as_mut().reset(now.checked_add(idle).unwrap_or(now));
        }
        sleep.as_mut().poll(context)
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            self.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.poll_timeout(context));
        let message = format!("no byte came for {} s", self.idle.as_secs());
        Poll::Ready(Some(Err(
            io::Error::new(io::ErrorKind::TimedOut, message).into()
        )))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer, which says when it has ended, be it by being dropped.
pub(crate) struct EndingBody {
    inner: Body,
    watch: Arc<Watch>,
}

impl EndingBody {
    pub(crate) fn new(inner: Body, watch: Arc<Watch>) -> Self {
        Self { inner, watch }
    }
}

impl Drop for EndingBody {
    fn drop(&mut self) {
        self.watch.request_ends();
    }
}

impl HttpBody for EndingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
