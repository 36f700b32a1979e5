//! How many requests a server gets at once and how many a second: fewer when it says that it is too many, slowly more
//! again.
//!
//! A 429 or 503 halves the number of requests at once, for all requests that were under way at that moment one time; as
//! many good answers as there are places give one place back. This is how TCP finds what a network takes, and it lets
//! several clients of one server share it. Requests that carry a blob up are not counted: their bodies may themselves
//! have to wait for a request to the same server.
//!
//! Uploads are counted as a whole instead, from the beginning of a session to its end, since some registries lose sessions
//! of uploads that go on beside each other. Whoever loses one halves the number of those that go on at that moment, and
//! waits for its turn before it begins anew.

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
    /// Uploads at once.
    pub(crate) uploads: usize,
    /// The time between two requests.
    pub(crate) interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: 16,
            // Who sends more blobs at once than this has other troubles.
            uploads: 64,
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

    /// Something that began at this time, with so many under way, was too many.
    fn complained(&mut self, begun: Instant, now: Instant, under_way: usize) {
        if self.lowered.is_some_and(|lowered| begun <= lowered) {
            return;
        }
        self.now = (self.now.min(under_way) / 2).max(1);
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

/// How many of something a server gets at once, and who has a place.
#[derive(Debug)]
struct Places {
    window: Window,
    free: Arc<Semaphore>,
    /// Places that are to go when they become free.
    owed: usize,
}

impl Places {
    fn new(most: usize) -> Self {
        let window = Window::new(most);
        Self {
            free: Arc::new(Semaphore::new(window.now)),
            window,
            owed: 0,
        }
    }

    /// How many are taken.
    fn taken(&self) -> usize {
        (self.window.now + self.owed).saturating_sub(self.free.available_permits())
    }

    /// Changes the number of places, at once or as they become free.
    fn change(&mut self, change: impl FnOnce(&mut Window)) {
        let before = self.window.now;
        change(&mut self.window);
        let after = self.window.now;
        if after < before {
            let gone = before - after;
            let free = self.free.forget_permits(gone);
            self.owed += gone - free;
        } else {
            let more = after - before;
            let paid = more.min(self.owed);
            self.owed -= paid;
            self.free.add_permits(more - paid);
        }
    }

    fn give_back(&mut self, place: OwnedSemaphorePermit) {
        if self.owed > 0 {
            self.owed -= 1;
            place.forget();
        }
    }
}

/// One server.
#[derive(Debug)]
struct Server {
    requests: Places,
    uploads: Places,
    turns: Turns,
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

/// The place of an upload among those that a server gets at once, from the beginning of its session.
pub(crate) struct UploadTurn<'a> {
    paces: &'a Paces,
    server: Origin,
    begun: Instant,
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
        let places = self.with(server, |server| Arc::clone(&server.requests.free))?;
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

    /// Waits until an upload may begin. Where an upload waits for a request to the same server, that is no upload: nobody
    /// waits for themselves.
    pub(crate) async fn upload(&self, server: Option<&Origin>) -> Option<UploadTurn<'_>> {
        let server = server?;
        let places = self.with(server, |server| Arc::clone(&server.uploads.free))?;
        let place = places.acquire_owned().await.ok()?;
        Some(UploadTurn {
            paces: self,
            server: server.clone(),
            begun: Instant::now(),
            place: Some(place),
        })
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
            let before = server.requests.window.now;
            if matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ) {
                server
                    .requests
                    .change(|window| window.complained(sent, now, usize::MAX));
                if server.requests.window.now < before {
                    tracing::debug!(
                        %status,
                        requests = server.requests.window.now,
                        "the registry gets fewer requests at once"
                    );
                }
            } else if status.is_success() {
                server.requests.change(Window::answered);
            }
        });
    }

    /// Looks at a server. Of too many servers nothing is kept, and they have no pace.
    fn with<T>(&self, origin: &Origin, look: impl FnOnce(&mut Server) -> T) -> Option<T> {
        let mut servers = self.lock();
        if !servers.contains_key(origin) {
            if servers.len() >= MOST {
                return None;
            }
            let server = Server {
                requests: Places::new(self.limits.at_once),
                uploads: Places::new(self.limits.uploads),
                turns: Turns::default(),
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
        self.paces
            .with(&self.server, |server| server.requests.give_back(place));
    }
}

impl UploadTurn<'_> {
    /// The blob is there.
    pub(crate) fn done(self) {
        self.paces.with(&self.server, |server| {
            server.uploads.change(Window::answered);
        });
    }

    /// The server has lost the session. Alone it would have lost it, too; beside others there were too many.
    pub(crate) fn lost(self) {
        self.paces.with(&self.server, |server| {
            let taken = server.uploads.taken();
            if taken < 2 {
                return;
            }
            server
                .uploads
                .change(|window| window.complained(self.begun, Instant::now(), taken));
            tracing::debug!(
                uploads = server.uploads.window.now,
                "the registry gets fewer uploads at once"
            );
        });
    }
}

impl Drop for UploadTurn<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.paces
                .with(&self.server, |server| server.uploads.give_back(place));
        }
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
            server.requests.change(|window| {
                if complains {
                    window.complained(now, now, usize::MAX);
                } else {
                    window.answered();
                }
            });
        });
    }

    fn free(paces: &Paces, server: &Origin) -> usize {
        paces
            .with(server, |server| server.requests.free.available_permits())
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_complaint_halves_and_good_answers_bring_back_one_by_one() {
        let start = Instant::now();
        let mut window = Window::new(16);
        window.complained(start, start + SECOND, usize::MAX);
        assert_eq!(window.now, 8);
        // The others that were under way then say nothing new.
        for _ in 0..15 {
            window.complained(start + SECOND, start + 2 * SECOND, usize::MAX);
        }
        assert_eq!(window.now, 8);
        window.complained(start + 2 * SECOND, start + 3 * SECOND, usize::MAX);
        assert_eq!(window.now, 4);
        for (answers, expected) in [(3, 4), (1, 5), (4, 5), (1, 6), (1000, 16)] {
            for _ in 0..answers {
                window.answered();
            }
            assert_eq!(window.now, expected);
        }
        for second in 4..20 {
            window.complained(start + second * SECOND, start + second * SECOND, usize::MAX);
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
            ..Limits::default()
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

    #[tokio::test(start_paused = true)]
    async fn who_loses_a_session_beside_others_waits_until_there_are_half_as_many() {
        let server = origin("https://r.example");
        let paces = paces(16);
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(paces.upload(Some(&server)).await.unwrap());
        }
        tokio::time::sleep(SECOND).await;
        // Two lose theirs at the same time; that is one complaint.
        turns.pop().unwrap().lost();
        turns.pop().unwrap().lost();
        assert!(paces.upload(Some(&server)).now_or_never().is_none());
        turns.pop().unwrap().done();
        let again = paces.upload(Some(&server)).now_or_never().unwrap();
        assert!(paces.upload(Some(&server)).now_or_never().is_none());
        // Good ones bring back more.
        again.unwrap().done();
        turns.pop().unwrap().done();
        for _ in 0..3 {
            turns.push(paces.upload(Some(&server)).now_or_never().unwrap().unwrap());
        }
        // Other servers and requests have nothing to do with it.
        let other = origin("https://other.example");
        assert!(paces.upload(Some(&other)).now_or_never().is_some());
        assert_eq!(free(&paces, &server), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn who_loses_a_session_alone_is_not_one_too_many() {
        let server = origin("https://r.example");
        let paces = paces(16);
        for _ in 0..3 {
            paces.upload(Some(&server)).await.unwrap().lost();
        }
        let taken: Vec<_> = (0..64)
            .map(|_| paces.upload(Some(&server)).now_or_never().unwrap())
            .collect();
        assert!(paces.upload(Some(&server)).now_or_never().is_none());
        drop(taken);
    }
}
