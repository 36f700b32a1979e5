//! Checking passwords without being stalled by it: few at a time, each right one once, and ever
//! slower for who guesses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::auth::key::{Key, Tag};
use crate::auth::users::UserTable;

/// How many passwords are hashed at the same time.
const AT_ONCE: usize = 2;
/// How many requests may wait for that; further ones are told to come again.
const WAITING: usize = 256;
/// How long a password that was right is not hashed again.
const KNOWN_FOR: Duration = Duration::from_secs(5 * 60);
/// The most passwords that are known to be right.
const MAX_KNOWN: usize = 4096;
/// How many wrong passwords a user may give at once; then one a second.
const FREE_FAILURES: f64 = 20.0;
/// The most users whose failures are counted.
const MAX_COUNTED: usize = 4096;

/// What came of a user and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right(Arc<str>),
    Wrong,
    /// Too many wrong ones, or too much to do: ask again in a second.
    Later,
}

/// Passwords that were right, as keyed hashes.
#[derive(Debug)]
pub(crate) struct KnownGood {
    key: Key,
    until: Mutex<HashMap<Tag, Instant>>,
}

impl Default for KnownGood {
    fn default() -> Self {
        Self {
            key: Key::random(),
            until: Mutex::default(),
        }
    }
}

impl KnownGood {
    fn tag(&self, name: &str, password: &[u8]) -> Tag {
        self.key.tag(&[name.as_bytes(), password])
    }

    fn has(&self, tag: &Tag) -> bool {
        let now = Instant::now();
        lock(&self.until).get(tag).is_some_and(|until| now < *until)
    }

    /// Whether this was right before, however long ago.
    fn had(&self, tag: &Tag) -> bool {
        lock(&self.until).contains_key(tag)
    }

    fn add(&self, tag: Tag) {
        let now = Instant::now();
        let mut known = lock(&self.until);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, until| now < *until);
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(tag, now + KNOWN_FOR);
    }
}

#[derive(Debug)]
pub(crate) struct Verifier {
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    failures: Failures,
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            hashing: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
            failures: Failures::default(),
        }
    }
}

impl Verifier {
    pub(crate) async fn verify(
        &self,
        table: Arc<UserTable>,
        name: &str,
        password: &[u8],
    ) -> Verdict {
        let tag = table.known_good.tag(name, password);
        if let Some(known) = known(&table, name, &tag) {
            return known;
        }
        // Who was right before guesses nothing: nobody is kept out by what others try in their name.
        let is_braked = || !table.known_good.had(&tag) && self.failures.are_too_many(name);
        // Asked before and after the wait: what is refused anyway takes nobody's place.
        if is_braked() {
            return Verdict::Later;
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return Verdict::Later;
        };
        // The semaphore is never closed.
        let Ok(turn) = Arc::clone(&self.hashing).acquire_owned().await else {
            return Verdict::Later;
        };
        // What waited for its turn may have been answered by the one before.
        if let Some(known) = known(&table, name, &tag) {
            return known;
        }
        if is_braked() {
            return Verdict::Later;
        }
        let (checked, user, secret) = (Arc::clone(&table), name.to_owned(), password.to_vec());
        // The turn goes along: the work goes on where the request is given up, and counts.
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            checked.is_right(&user, &secret)
        });
        match (work.await, table.find(name)) {
            (Ok(true), Some(user)) => {
                table.known_good.add(tag);
                Verdict::Right(user)
            }
            (Ok(_), _) => {
                self.failures.add(name);
                Verdict::Wrong
            }
            (Err(error), _) => {
                tracing::error!(%error, "a password could not be checked");
                Verdict::Later
            }
        }
    }
}

fn known(table: &UserTable, name: &str, tag: &Tag) -> Option<Verdict> {
    table
        .known_good
        .has(tag)
        .then(|| table.find(name).map(Verdict::Right))?
}

/// How often each user was given a wrong password, less one for each second since.
#[derive(Debug)]
struct Failures {
    key: Key,
    /// By a hash, so that a name takes no more room than another.
    counts: Mutex<HashMap<Tag, (f64, Instant)>>,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            key: Key::random(),
            counts: Mutex::default(),
        }
    }
}

impl Failures {
    fn are_too_many(&self, name: &str) -> bool {
        let tag = self.key.tag(&[name.as_bytes()]);
        let now = Instant::now();
        lock(&self.counts)
            .get(&tag)
            .is_some_and(|count| left(*count, now) >= FREE_FAILURES)
    }

    fn add(&self, name: &str) {
        let tag = self.key.tag(&[name.as_bytes()]);
        let now = Instant::now();
        let mut counts = lock(&self.counts);
        if counts.len() >= MAX_COUNTED {
            counts.retain(|_, count| left(*count, now) > 0.0);
        }
        if counts.len() >= MAX_COUNTED {
            counts.clear();
        }
        let count = counts.entry(tag).or_insert((0.0, now));
        *count = (left(*count, now) + 1.0, now);
    }
}

fn left((count, at): (f64, Instant), now: Instant) -> f64 {
    (count - now.saturating_duration_since(at).as_secs_f64()).max(0.0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one call on the map, so a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "alice:$2y$04$abcdefghijklmnopqrstuujZkTwHUiJ9XdZPwKfcfDo7dMp5DjlTu\nbob:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

    fn table() -> Arc<UserTable> {
        Arc::new(UserTable::parse(USERS).unwrap())
    }

    fn right(name: &str) -> Verdict {
        Verdict::Right(name.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_is_hashed_once_in_five_minutes() {
        let verifier = Verifier::default();
        let table = table();
        assert_eq!(
            verifier.verify(Arc::clone(&table), "bob", b"secret").await,
            right("bob")
        );
        // With no turn to be had, only what is known can be answered.
        let turns = verifier.hashing.acquire_many(2).await.unwrap();
        assert_eq!(
            verifier.verify(Arc::clone(&table), "bob", b"secret").await,
            right("bob")
        );
        for (name, password) in [("bob", b"secreT"), ("alice", b"secret")] {
            let other = verifier.verify(Arc::clone(&table), name, password);
            assert!(
                tokio::time::timeout(Duration::from_secs(1), other)
                    .await
                    .is_err()
            );
        }
        tokio::time::advance(KNOWN_FOR).await;
        let late = verifier.verify(Arc::clone(&table), "bob", b"secret");
        assert!(
            tokio::time::timeout(Duration::from_secs(1), late)
                .await
                .is_err()
        );
        drop(turns);
        assert_eq!(verifier.verify(table, "bob", b"secret").await, right("bob"));
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_is_braked_for_the_name_that_is_guessed_at_and_not_for_what_is_known() {
        let verifier = Verifier::default();
        let table = table();
        let ask = async |name: &str, password: &[u8]| {
            verifier.verify(Arc::clone(&table), name, password).await
        };
        assert_eq!(ask("bob", b"secret").await, right("bob"));
        for name in ["bob", "nobody"] {
            for _ in 0..20 {
                assert_eq!(ask(name, b"wrong").await, Verdict::Wrong);
            }
            assert_eq!(ask(name, b"wrong").await, Verdict::Later);
        }
        assert_eq!(ask("bob", b"secret").await, right("bob"));
        assert_eq!(ask("alice", b"wrong").await, Verdict::Wrong);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(ask("bob", b"wrong").await, Verdict::Wrong);
        assert_eq!(ask("bob", b"wrong").await, Verdict::Later);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_who_was_right_before_is_kept_out_by_those_who_guess() {
        let verifier = Verifier::default();
        let table = table();
        let ask =
            async |password: &[u8]| verifier.verify(Arc::clone(&table), "bob", password).await;
        assert_eq!(ask(b"secret").await, right("bob"));
        tokio::time::advance(KNOWN_FOR).await;
        while ask(b"wrong").await != Verdict::Later {}
        assert_eq!(ask(b"secret").await, right("bob"));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait() {
        let verifier = Arc::new(Verifier::default());
        let _turns = verifier.hashing.acquire_many(2).await.unwrap();
        let _places = verifier.waiting.acquire_many(256).await.unwrap();
        assert_eq!(
            verifier.verify(table(), "bob", b"secret").await,
            Verdict::Later
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let known = KnownGood::default();
        let failures = Failures::default();
        for number in 0..3 * MAX_KNOWN {
            known.add(known.tag(&number.to_string(), b"x"));
            failures.add(&number.to_string());
        }
        assert!(lock(&known.until).len() <= MAX_KNOWN);
        assert!(lock(&failures.counts).len() <= MAX_COUNTED);
        let last = (3 * MAX_KNOWN - 1).to_string();
        assert!(known.has(&known.tag(&last, b"x")));
    }
}
