//! Keeps tokens by registry, service, scopes and identity. Each is fetched by one request at a time, for all who wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::header::HeaderValue;
use peak_http::Origin;

use super::scope::Scope;
use super::token::{Token, TokenError};

/// How many tokens are kept before those that have run out are thrown away.
const MANY: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) registry: Origin,
    pub(super) service: Option<String>,
    /// The scopes of the request, in their one order.
    pub(super) scope: String,
    /// `None` for nobody.
    pub(super) identity: Option<u64>,
}

/// All tokens of a client.
#[derive(Debug, Default)]
pub(super) struct Grants(Mutex<HashMap<Key, Arc<Grant>>>);

impl Grants {
    pub(super) fn get(&self, key: Key) -> Arc<Grant> {
        let mut grants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if grants.len() >= MANY && !grants.contains_key(&key) {
            grants.retain(|_, grant| grant.is_of_use());
        }
        if grants.len() >= MANY && !grants.contains_key(&key) {
            // All of them live. Whoever needs one of them again fetches it again.
            grants.retain(|_, grant| Arc::strong_count(grant) > 1);
        }
        Arc::clone(grants.entry(key).or_default())
    }
}

/// The place of one token. Whoever fetches it holds the lock; dropping the fetch at any point lets the next one go on.
#[derive(Debug, Default)]
pub(super) struct Grant {
    state: tokio::sync::Mutex<State>,
    /// Fetches that have ended.
    rounds: AtomicU64,
    /// How often the present token has been handed out.
    uses: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// What the registry wanted beside the request's own scopes.
    wanted: Option<Scope>,
    /// How the last fetch failed, if it did.
    failure: Option<TokenError>,
}

impl Grant {
    /// A token that is good for a while, from `fetch` where there is none. Where that fails, one that is still valid
    /// is handed out nevertheless.
    pub(super) async fn token<F, R>(
        &self,
        scope: &Scope,
        fetch: F,
    ) -> Result<HeaderValue, TokenError>
    where
        F: FnOnce(Scope) -> R,
        R: Future<Output = Result<Token, TokenError>>,
    {
        let seen = self.rounds.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(token) = state.token.as_ref().filter(|token| now < token.renew) {
            self.uses.fetch_add(1, Ordering::Relaxed);
            return Ok(token.header.clone());
        }
        let scope = state.wanted.clone().unwrap_or_else(|| scope.clone());
        match self.fetch(&mut state, seen, fetch(scope)).await {
            Ok(header) => Ok(header),
            Err(error) => {
                let valid = state
                    .token
                    .as_ref()
                    .filter(|token| Instant::now() < token.expires);
                match valid {
                    Some(token) => {
                        tracing::debug!(%error, "a token could not be renewed; the old one is still valid");
                        Ok(token.header.clone())
                    }
                    None => Err(error),
                }
            }
        }
    }

    /// Another token in the place of `refused` (none for a request that had none), for what the request needs and
    /// what the registry says beside. `false` where that would be the same again: `only_for_more` says that the one
    /// refused was new, so that only one for more than it was for can help.
    pub(super) async fn renew<F, R>(
        &self,
        refused: Option<&HeaderValue>,
        scope: &Scope,
        challenge: &Scope,
        only_for_more: bool,
        fetch: F,
    ) -> Result<bool, TokenError>
    where
        F: FnOnce(Scope) -> R,
        R: Future<Output = Result<Token, TokenError>>,
    {
        let seen = self.rounds.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        let another = state
            .token
            .as_ref()
            .is_some_and(|token| Some(&token.header) != refused && Instant::now() < token.renew);
        if another {
            // Somebody else has renewed it while this request was under way.
            return Ok(true);
        }
        let before = state.wanted.clone().unwrap_or_else(|| scope.clone());
        let wanted = before.answering(challenge);
        if only_for_more && before.covers(&wanted) {
            return Ok(false);
        }
        state.token = None;
        state.wanted = Some(wanted.clone());
        self.fetch(&mut state, seen, fetch(wanted)).await?;
        // It is handed out when the request is sent again.
        self.uses.store(0, Ordering::Relaxed);
        Ok(true)
    }

    async fn fetch<R>(
        &self,
        state: &mut State,
        seen: u64,
        fetch: R,
    ) -> Result<HeaderValue, TokenError>
    where
        R: Future<Output = Result<Token, TokenError>>,
    {
        // Whoever was waiting for a fetch that failed has its answer, and does not ask the same again.
        if self.rounds.load(Ordering::SeqCst) != seen
            && let Some(failure) = &state.failure
        {
            return Err(failure.clone());
        }
        let result = fetch.await;
        self.rounds.fetch_add(1, Ordering::SeqCst);
        match result {
            Ok(token) => {
                let header = token.header.clone();
                state.token = Some(token);
                state.failure = None;
                self.uses.store(1, Ordering::Relaxed);
                Ok(header)
            }
            Err(error) => {
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Whether the present token has served requests before the last one.
    pub(super) fn has_served(&self) -> bool {
        self.uses.load(Ordering::Relaxed) > 1
    }

    /// Whether somebody is fetching, or there is a token that can still be used.
    fn is_of_use(&self) -> bool {
        self.state.try_lock().map_or(true, |state| {
            let token = state.token.as_ref();
            token.is_some_and(|token| Instant::now() < token.expires)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    fn token(text: &'static str, renew: u64, expires: u64) -> Token {
        let now = Instant::now();
        Token {
            header: HeaderValue::from_static(text),
            said_life: None,
            renew: now + Duration::from_secs(renew),
            expires: now + Duration::from_secs(expires),
        }
    }

    fn failure() -> TokenError {
        TokenError::Realm {
            registry: "r".to_owned(),
        }
    }

    fn scope() -> Scope {
        Scope::parse("repository:a:pull")
    }

    #[tokio::test]
    async fn one_fetch_serves_all_who_wait_for_it() {
        let (grant, count) = (Grant::default(), AtomicUsize::new(0));
        let fetch = |_| async {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(token("t", 60, 60))
        };
        let scope = scope();
        for header in join_all((0..5).map(|_| grant.token(&scope, fetch))).await {
            assert_eq!(header.unwrap(), "t");
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(grant.has_served());
    }

    #[tokio::test]
    async fn a_failure_too_is_for_all_who_waited_and_for_nobody_after() {
        let (grant, count) = (Grant::default(), AtomicUsize::new(0));
        let fetch = |_| async {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err(failure())
        };
        let scope = scope();
        for header in join_all((0..5).map(|_| grant.token(&scope, fetch))).await {
            assert!(header.is_err());
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let later = grant.token(&scope, |_| async { Ok(token("t", 60, 60)) });
        assert_eq!(later.await.unwrap(), "t");
    }

    #[tokio::test]
    async fn a_fetch_and_a_waiter_that_are_dropped_hold_nobody_up() {
        let (grant, scope) = (Grant::default(), scope());
        let mut fetching = Box::pin(grant.token(&scope, |_| std::future::pending()));
        let mut waiting = Box::pin(grant.token(&scope, |_| std::future::pending()));
        assert!((&mut fetching).now_or_never().is_none());
        assert!((&mut waiting).now_or_never().is_none());
        drop(fetching);
        drop(waiting);
        let next = grant.token(&scope, |_| async { Ok(token("t", 60, 60)) });
        assert_eq!(next.await.unwrap(), "t");
    }

    #[tokio::test]
    async fn a_token_is_renewed_early_and_kept_where_that_fails() {
        let (grant, scope) = (Grant::default(), scope());
        let first = grant.token(&scope, |_| async { Ok(token("old", 0, 60)) });
        assert_eq!(first.await.unwrap(), "old");
        let failing = grant.token(&scope, |_| async { Err(failure()) });
        assert_eq!(failing.await.unwrap(), "old");
        let renewed = grant.token(&scope, |_| async { Ok(token("new", 0, 0)) });
        assert_eq!(renewed.await.unwrap(), "new");
        // Nothing valid is left: then the failure is the answer.
        let failing = grant.token(&scope, |_| async { Err(failure()) });
        assert!(failing.await.is_err());
    }

    #[tokio::test]
    async fn a_refused_token_is_renewed_for_what_the_registry_wants_and_that_is_remembered() {
        let (grant, scope) = (Grant::default(), scope());
        let old = grant.token(&scope, |_| async { Ok(token("old", 0, 60)) });
        let old = old.await.unwrap();
        let more = Scope::parse("repository:b:pull");
        let renewed = grant.renew(Some(&old), &scope, &more, true, |scope| async move {
            assert_eq!(scope.to_string(), "repository:b:pull repository:a:pull");
            Ok(token("new", 0, 60))
        });
        assert!(renewed.await.unwrap());
        let next = grant.token(&scope, |scope| async move {
            assert_eq!(scope.to_string(), "repository:b:pull repository:a:pull");
            Ok(token("newer", 60, 60))
        });
        assert_eq!(next.await.unwrap(), "newer");
        // Somebody who was refused with an older one takes the present one.
        let late = grant.renew(Some(&old), &scope, &more, false, |_| async {
            Err(failure())
        });
        assert!(late.await.unwrap());
        // A new one that is refused for nothing more than it is for is not asked for again.
        let newer = HeaderValue::from_static("newer");
        let same = grant.renew(Some(&newer), &scope, &more, true, |_| async {
            Err(failure())
        });
        assert!(!same.await.unwrap());
    }

    #[tokio::test]
    async fn the_number_of_tokens_is_bounded() {
        let grants = Grants::default();
        let key = |number: usize| Key {
            registry: Origin::of(&url::Url::parse("https://r").unwrap()).unwrap(),
            service: None,
            scope: number.to_string(),
            identity: None,
        };
        for number in 0..3 * MANY {
            let grant = grants.get(key(number));
            let scope = scope();
            let fetched = grant.token(&scope, |_| async { Ok(token("t", 60, 60)) });
            fetched.await.unwrap();
        }
        assert!(grants.0.lock().unwrap().len() <= MANY);
    }
}
