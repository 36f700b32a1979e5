//! What a connection waits for, and until when.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Who has to do something next, as the stream, the service and the body of an answer see it.
///
/// The task of the connection looks at the [deadline](Self::deadline) after each of its steps. Only
/// time for which the peer is to blame counts: a handler may take as long as it likes.
#[derive(Debug)]
pub(crate) struct Watch {
    header_time: Duration,
    keep_alive: Duration,
    idle: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the peer has to have taken some bytes, where it has to.
    writing: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No byte of a further request has come.
    Idle { until: Instant },
    /// A request's header is on its way.
    Header { until: Instant },
    /// A request runs.
    Busy,
}

/// What the peer did not do in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    KeepAlive,
    Header,
    Writing,
}

impl Watch {
    pub(crate) fn new(header_time: Duration, keep_alive: Duration, idle: Duration) -> Self {
        let state = State {
            phase: Phase::Header {
                until: after(header_time),
            },
            writing: None,
        };
        Self {
            header_time,
            keep_alive,
            idle,
            state: Mutex::new(state),
        }
    }

    /// The handshake is done, and the first request may come.
    #[cfg(feature = "tls")]
    pub(crate) fn handshake_done(&self) {
        self.lock().phase = Phase::Header {
            until: after(self.header_time),
        };
    }

    pub(crate) fn request_begins(&self) {
        self.lock().phase = Phase::Busy;
    }

    /// The answer's last byte was handed over.
    pub(crate) fn request_ends(&self) {
        self.lock().phase = Phase::Idle {
            until: after(self.keep_alive),
        };
    }

    pub(crate) fn bytes_came(&self) {
        let mut state = self.lock();
        if let Phase::Idle { .. } = state.phase {
            state.phase = Phase::Header {
                until: after(self.header_time),
            };
        }
    }

    /// The peer took bytes.
    pub(crate) fn bytes_went(&self) {
        let mut state = self.lock();
        state.writing = None;
        // The end of an answer may leave long after the handler is done with it.
        if let Phase::Idle { until } = &mut state.phase {
            *until = after(self.keep_alive);
        }
    }

    /// There are bytes that the peer does not take.
    pub(crate) fn bytes_wait(&self) {
        self.lock().writing.get_or_insert_with(|| after(self.idle));
    }

    /// What has to happen next, and until when.
    pub(crate) fn deadline(&self) -> Option<(Instant, Expired)> {
        let state = self.lock();
        if let Some(until) = state.writing {
            return Some((until, Expired::Writing));
        }
        match state.phase {
            Phase::Idle { until } => Some((until, Expired::KeepAlive)),
            Phase::Header { until } => Some((until, Expired::Header)),
            Phase::Busy => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time after so long; times that no clock can show are as good as for ever.
fn after(time: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    let now = Instant::now();
    now.checked_add(time.min(FOR_EVER)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const KEEP_ALIVE: Duration = Duration::from_secs(60);
    const IDLE: Duration = Duration::from_secs(30);

    fn left(watch: &Watch) -> Option<(Duration, Expired)> {
        let (until, what) = watch.deadline()?;
        Some((until - Instant::now(), what))
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_of_a_header_do_not_move_its_deadline() {
        let watch = Watch::new(HEADER, KEEP_ALIVE, IDLE);
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(1)).await;
            watch.bytes_came();
        }
        assert_eq!(
            left(&watch),
            Some((Duration::from_secs(1), Expired::Header))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_request_has_its_own_time_from_its_first_byte() {
        let watch = Watch::new(HEADER, KEEP_ALIVE, IDLE);
        watch.request_begins();
        assert_eq!(left(&watch), None);
        watch.request_ends();
        assert_eq!(left(&watch), Some((KEEP_ALIVE, Expired::KeepAlive)));
        tokio::time::advance(Duration::from_secs(50)).await;
        watch.bytes_came();
        assert_eq!(left(&watch), Some((HEADER, Expired::Header)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_to_move_and_the_time_after_it_begins_with_its_last_byte() {
        let watch = Watch::new(HEADER, KEEP_ALIVE, IDLE);
        watch.request_begins();
        watch.bytes_wait();
        tokio::time::advance(Duration::from_secs(20)).await;
        watch.bytes_wait();
        assert_eq!(
            left(&watch),
            Some((Duration::from_secs(10), Expired::Writing))
        );
        watch.request_ends();
        watch.bytes_went();
        assert_eq!(left(&watch), Some((KEEP_ALIVE, Expired::KeepAlive)));
    }
}
