//! How many requests a server gets at once and how many a second: fewer when it says that it is too many, slowly more
//! again.
//!
//! A 429 or 503 halves the number of requests at once, for all requests that were under way at that moment one time; as
//! many good answers as there are places give one place back. This is how TCP finds what a network takes, and it lets
//! several clients of one server share it. Requests that carry a blob up are not counted: their bodies may themselves
//! have to wait for a request to the same server, and the engine bounds them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use peak_http::{Attempt, AttemptOutcome, Origin};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Most servers whose pace is remembered.
const MOST: usize = 64;

/// What the caller allows each server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Requests at once.
    pub(crate) at_once: usize,
    /// The time between two requests.
    pub(crate) interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: 16,
            interval: Duration::ZERO,
        }
    }
}

/// How many requests a server gets at once. No I/O and no clock.
#[derive(Debug)]
struct Window {
    most: usize,
    now: usize,
    /// Good answers since the number last changed.
    good: usize,
    /// When it was last lowered: complaints about what was sent before are not counted again.
    lowered: Option<Instant>,
}

impl Window {
    fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            now: most,
            good: 0,
            lowered: None,
        }
    }

    /// A request that was sent at this time was too many.
    fn complained(&mut self, sent: Instant, now: Instant) {
        if self.lowered.is_some_and(|lowered| sent <= lowered) {
            return;
        }
        self.now = (self.now / 2).max(1);
        self.good = 0;
        self.lowered = Some(now);
    }

    /// A request was answered without a complaint.
    fn answered(&mut self) {
        if self.now >= self.most {
            return;
        }
        self.good += 1;
        if self.good >= self.now {
            self.now += 1;
            self.good = 0;
        }
    }
}

/// When the next request may be sent. No I/O and no clock.
#[derive(Debug, Default)]
struct Turns {
    next: Option<Instant>,
}

impl Turns {
    /// Takes the next turn: how long to wait for it.
    fn take(&mut self, interval: Duration, now: Instant) -> Duration {
        let turn = self.next.map_or(now, |next| next.max(now));
        self.next = turn.checked_add(interval);
        turn.saturating_duration_since(now)
    }
}

/// One server.
#[derive(Debug)]
struct Server {
    window: Window,
    turns: Turns,
    places: Arc<Semaphore>,
    /// Places that are to go when they become free.
    owed: usize,
}

impl Server {
    /// Makes as many places as the window has, at once or as they become free.
    fn settle(&mut self, before: usize) {
        let after = self.window.now;
        if after < before {
            let gone = before - after;
            let free = self.places.forget_permits(gone);
            self.owed += gone - free;
        } else {
            let more = after - before;
            let paid = more.min(self.owed);
            self.owed -= paid;
            self.places.add_permits(more - paid);
        }
    }
}

/// The pace of all servers of a client.
#[derive(Default)]
pub(crate) struct Paces {
    limits: Limits,
    servers: Mutex<HashMap<Origin, Server>>,
}

/// A place of a request that is under way.
pub(crate) struct Turn<'a> {
    paces: &'a Paces,
    server: Origin,
    place: Option<OwnedSemaphorePermit>,
}

impl Paces {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            servers: Mutex::default(),
        }
    }

    /// Waits until a request may be sent; `counts` says whether it takes up a place until its answer begins.
    pub(crate) async fn turn(&self, server: Option<&Origin>, counts: bool) -> Option<Turn<'_>> {
        let server = server?;
        let places = self.with(server, |server| Arc::clone(&server.places))?;
        let place = if counts {
            places.acquire_owned().await.ok()
        } else {
            None
        };
        let turn = Turn {
            paces: self,
            server: server.clone(),
            place,
        };
        let interval = self.limits.interval;
        if !interval.is_zero()
            && let Some(wait) =
                self.with(server, |server| server.turns.take(interval, Instant::now()))
        {
            tokio::time::sleep(wait).await;
        }
        Some(turn)
    }

    /// Looks at what became of an attempt.
    pub(crate) fn notice(&self, attempt: &Attempt) {
        let (Some(origin), AttemptOutcome::Answered(status)) = (&attempt.server, attempt.outcome)
        else {
            return;
        };
        let now = Instant::now();
        let sent = now.checked_sub(attempt.elapsed).unwrap_or(now);
        self.with(origin, |server| {
            let before = server.window.now;
            if matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ) {
                server.window.complained(sent, now);
                if server.window.now < before {
                    tracing::debug!(
                        %status,
                        requests = server.window.now,
                        "the registry gets fewer requests at once"
                    );
                }
            } else if status.is_success() {
                server.window.answered();
            }
            server.settle(before);
        });
    }

    /// Looks at a server. Of too many servers nothing is kept, and they have no pace.
    fn with<T>(&self, origin: &Origin, look: impl FnOnce(&mut Server) -> T) -> Option<T> {
        let mut servers = self.lock();
        if !servers.contains_key(origin) {
            if servers.len() >= MOST {
                return None;
            }
            let window = Window::new(self.limits.at_once);
            let server = Server {
                places: Arc::new(Semaphore::new(window.now)),
                window,
                turns: Turns::default(),
                owed: 0,
            };
            servers.insert(origin.clone(), server);
        }
        servers.get_mut(origin).map(look)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        self.paces.with(&self.server, |server| {
            if server.owed > 0 {
                server.owed -= 1;
                place.forget();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use url::Url;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn origin(url: &str) -> Origin {
        Origin::of(&Url::parse(url).unwrap()).unwrap()
    }

    fn paces(at_once: usize) -> Paces {
        Paces::new(Limits {
            at_once,
            ..Limits::default()
        })
    }

    /// What an answer does to the pace, without an HTTP client to make it.
    fn answer(paces: &Paces, server: &Origin, complains: bool) {
        let now = Instant::now();
        paces.with(server, |server| {
            let before = server.window.now;
            if complains {
                server.window.complained(now, now);
            } else {
                server.window.answered();
            }
            server.settle(before);
        });
    }

    fn free(paces: &Paces, server: &Origin) -> usize {
        paces
            .with(server, |server| server.places.available_permits())
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_complaint_halves_and_good_answers_bring_back_one_by_one() {
        let start = Instant::now();
        let mut window = Window::new(16);
        window.complained(start, start + SECOND);
        assert_eq!(window.now, 8);
        // The others that were under way then say nothing new.
        for _ in 0..15 {
            window.complained(start + SECOND, start + 2 * SECOND);
        }
        assert_eq!(window.now, 8);
        window.complained(start + 2 * SECOND, start + 3 * SECOND);
        assert_eq!(window.now, 4);
        for (answers, expected) in [(3, 4), (1, 5), (4, 5), (1, 6), (1000, 16)] {
            for _ in 0..answers {
                window.answered();
            }
            assert_eq!(window.now, expected);
        }
        for second in 4..20 {
            window.complained(start + second * SECOND, start + second * SECOND);
        }
        assert_eq!(window.now, 1);
        window.answered();
        assert_eq!(window.now, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn places_in_use_go_when_they_become_free() {
        let server = origin("https://r.example");
        let paces = paces(4);
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(paces.turn(Some(&server), true).await);
        }
        let fifth = paces.turn(Some(&server), true);
        assert!(fifth.now_or_never().is_none());
        answer(&paces, &server, true);
        // Two places are owed.
        turns.truncate(2);
        assert_eq!(free(&paces, &server), 0);
        turns.truncate(1);
        assert_eq!(free(&paces, &server), 1);
        turns.clear();
        assert_eq!(free(&paces, &server), 2);
        answer(&paces, &server, false);
        answer(&paces, &server, false);
        assert_eq!(free(&paces, &server), 3);
        // A wait that was given up takes no place with it.
        {
            let _all: Vec<_> = [
                paces.turn(Some(&server), true).await,
                paces.turn(Some(&server), true).await,
                paces.turn(Some(&server), true).await,
            ]
            .into();
            assert!(paces.turn(Some(&server), true).now_or_never().is_none());
            // What is not counted need not wait.
            assert!(paces.turn(Some(&server), false).now_or_never().is_some());
        }
        assert_eq!(free(&paces, &server), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_owed_and_given_back_is_neither() {
        let server = origin("https://r.example");
        let paces = paces(2);
        let first = paces.turn(Some(&server), true).await;
        let second = paces.turn(Some(&server), true).await;
        answer(&paces, &server, true);
        answer(&paces, &server, false);
        drop((first, second));
        assert_eq!(free(&paces, &server), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_their_distance() {
        let server = origin("https://r.example");
        let other = origin("https://other.example");
        let paces = Paces::new(Limits {
            at_once: 10,
            interval: Duration::from_millis(200),
        });
        let begun = Instant::now();
        for _ in 0..6 {
            drop(paces.turn(Some(&server), true).await);
        }
        assert_eq!(begun.elapsed(), SECOND);
        drop(paces.turn(Some(&other), true).await);
        assert_eq!(begun.elapsed(), SECOND);
        // What was not used is not saved up.
        tokio::time::sleep(10 * SECOND).await;
        drop(paces.turn(Some(&server), true).await);
        drop(paces.turn(Some(&server), true).await);
        assert_eq!(begun.elapsed(), 11 * SECOND + Duration::from_millis(200));
    }

    #[tokio::test(start_paused = true)]
    async fn many_servers_do_not_fill_the_memory() {
        let paces = paces(1);
        for number in 0..1000 {
            let server = origin(&format!("https://r{number}.example"));
            let _ = paces.turn(Some(&server), true).await;
        }
        assert_eq!(paces.lock().len(), MOST);
        assert!(paces.turn(None, true).await.is_none());
    }
}
