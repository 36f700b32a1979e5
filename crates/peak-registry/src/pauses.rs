//! The pauses that registries ask for, shared by all requests of a client: who was told to wait tells the others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use peak_http::{Attempt, AttemptOutcome, Origin};
use tokio::time::Instant;

/// Most servers whose pauses are remembered.
const MOST: usize = 64;

/// The largest part of a pause that is added at random, so that not everybody comes back in the same moment.
const JITTER: f64 = 0.1;

/// Until when which server wants to be left alone.
#[derive(Default)]
pub(crate) struct Pauses {
    until: Mutex<HashMap<Origin, Instant>>,
}

impl Pauses {
    /// Looks at what became of an attempt. Only 429 is about the client as a whole; its wait is bounded by the retry
    /// policy.
    pub(crate) fn notice(&self, attempt: &Attempt) {
        let told = attempt.outcome == AttemptOutcome::Answered(StatusCode::TOO_MANY_REQUESTS);
        if let (true, Some(server), Some(wait)) = (told, &attempt.server, attempt.retry_in) {
            self.pause(server, wait);
        }
    }

    fn pause(&self, server: &Origin, wait: Duration) {
        let now = Instant::now();
        let Some(end) = now.checked_add(wait) else {
            return;
        };
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, end| *end > now);
        if until.len() < MOST || until.contains_key(server) {
            let known = until.entry(server.clone()).or_insert(end);
            *known = end.max(*known);
        }
    }

    /// Waits until the server may be asked.
    pub(crate) async fn wait(&self, server: Option<&Origin>) {
        let Some(left) = server.and_then(|server| self.left(server)) else {
            return;
        };
        let jitter = left.mul_f64(JITTER * rand::random::<f64>());
        tokio::time::sleep(left.saturating_add(jitter)).await;
    }

    fn left(&self, server: &Origin) -> Option<Duration> {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.get(server)?.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn origin(url: &str) -> Origin {
        Origin::of(&Url::parse(url).unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_for_its_server_and_ends() {
        let (ours, other) = (origin("https://r.example"), origin("https://other.example"));
        let pauses = Pauses::default();
        pauses.pause(&ours, Duration::from_secs(10));
        // A shorter one does not shorten it.
        pauses.pause(&ours, Duration::from_secs(1));
        let begun = Instant::now();
        pauses.wait(Some(&other)).await;
        pauses.wait(None).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pauses.wait(Some(&ours)).await;
        // The clock of this test moves only where somebody sleeps.
        assert!(begun.elapsed() >= Duration::from_secs(10));
        assert!(begun.elapsed() <= Duration::from_secs(12));
        assert_eq!(pauses.left(&ours), None);
    }

    #[tokio::test(start_paused = true)]
    async fn many_servers_do_not_fill_the_memory() {
        let pauses = Pauses::default();
        for number in 0..1000 {
            pauses.pause(&origin(&format!("https://r{number}.example")), SECOND);
        }
        assert_eq!(pauses.until.lock().unwrap().len(), MOST);
        tokio::time::advance(SECOND).await;
        pauses.pause(&origin("https://r.example"), SECOND);
        assert_eq!(pauses.until.lock().unwrap().len(), 1);
    }
}
