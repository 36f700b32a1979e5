//! How long to wait for an Engine that works: as long as it is alive and the caller's limit allows.
//!
//! An Engine may be silent for minutes when all is well (it writes a large image to its disk before it hands over the
//! first byte), and for ever when it hangs. No limit on silence tells the two apart. So an Engine that is silent is asked
//! by the way, on another connection, whether it is alive.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::future::{Either, select};
use peak_http::BoxError;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::connection::Connection;
use crate::error::EngineError;

/// After how much silence the Engine is asked whether it is alive, each time.
const ASK_AFTER: Duration = Duration::from_secs(30);

/// Waits for one operation, and ends with it.
#[derive(Debug)]
pub(crate) struct Patience {
    connection: Arc<Connection>,
    what: String,
    longest: Option<Duration>,
    activity: Arc<Activity>,
    /// Ends what is sent when it is dropped.
    sending: Option<oneshot::Sender<Infallible>>,
}

impl Patience {
    pub(crate) fn new(connection: Arc<Connection>, what: &str, longest: Option<Duration>) -> Self {
        Self {
            connection,
            what: what.to_owned(),
            longest,
            activity: Arc::new(Activity::begin()),
            sending: None,
        }
    }

    /// The same for an operation that may be silent for as long as it likes.
    pub(crate) fn without_limit(mut self) -> Self {
        self.longest = None;
        self
    }

    /// What is sent, so that it counts as something happening.
    ///
    /// It fails when the operation ends before it does: a connection whose answer is there would go on to wait for it, and
    /// an Engine must not take what it has for the whole.
    pub(crate) fn observe<S, E>(
        &mut self,
        stream: S,
    ) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + use<S, E>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let (sending, ended) = oneshot::channel();
        self.sending = Some(sending);
        Observed {
            stream: Box::pin(stream),
            activity: Arc::clone(&self.activity),
            ended,
        }
    }

    /// Waits for `future`.
    pub(crate) async fn wait<F: Future>(&self, future: F) -> Result<F::Output, EngineError> {
        let mut future = pin!(future);
        self.activity.happened();
        let mut alive: Option<Instant> = None;
        // For how long nobody knows whether the Engine is alive.
        let unknown = |silence: Duration, alive: Option<Instant>| {
            alive.map_or(silence, |alive| alive.elapsed().min(silence))
        };
        loop {
            let silence = self.activity.silence();
            let rest = ASK_AFTER.saturating_sub(unknown(silence, alive));
            let rest = self
                .longest
                .map_or(rest, |longest| longest.saturating_sub(silence).min(rest));
            match select(future.as_mut(), pin!(sleep(rest))).await {
                Either::Left((output, _)) => return Ok(output),
                Either::Right(_) => {}
            }
            let silence = self.activity.silence();
            if self.longest.is_some_and(|longest| silence >= longest) {
                let what = self.what.clone();
                return Err(EngineError::Silent { what, silence });
            }
            if unknown(silence, alive) < ASK_AFTER {
                continue;
            }
            match select(future.as_mut(), pin!(self.connection.ping())).await {
                Either::Left((output, _)) => return Ok(output),
                Either::Right((Ok(_), _)) => alive = Some(Instant::now()),
                // It has taken something meanwhile.
                Either::Right((Err(_), _)) if self.activity.silence() < ASK_AFTER => {}
                Either::Right((Err(source), _)) => {
                    return Err(EngineError::Unresponsive {
                        what: self.what.clone(),
                        source: Some(source),
                    });
                }
            }
        }
    }
}

/// When something last happened.
#[derive(Debug)]
struct Activity(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    last: Instant,
    /// The Engine wants more of what is sent, and we have none. Then the silence is not the Engine's.
    waits_for_us: bool,
}

impl Activity {
    fn begin() -> Self {
        Self(Mutex::new(State {
            last: Instant::now(),
            waits_for_us: false,
        }))
    }

    fn happened(&self) {
        self.set(false);
    }

    fn set(&self, waits_for_us: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            last: Instant::now(),
            waits_for_us,
        };
    }

    fn silence(&self) -> Duration {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waits_for_us {
            Duration::ZERO
        } else {
            state.last.elapsed()
        }
    }
}

/// A stream that notes when it is asked and when it answers.
struct Observed<S> {
    stream: Pin<Box<S>>,
    activity: Arc<Activity>,
    ended: oneshot::Receiver<Infallible>,
}

impl<S, E> Stream for Observed<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<BoxError>,
{
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if Pin::new(&mut self.ended).poll(context).is_ready() {
            return Poll::Ready(Some(Err("the operation is over".into())));
        }
        let next = self.stream.as_mut().poll_next(context);
        self.activity.set(next.is_pending());
        next.map(|item| item.map(|result| result.map_err(Into::into)))
    }
}
