//! Each digest once in a run: what is there, and what is on its way.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::lock::{Mutex as AsyncMutex, OwnedMutexGuard};
use peak_oci::Digest;

/// What a run has put into one destination, and what it is putting there.
///
/// Its memory is a digest for each blob and manifest of the run, whatever the number of images that want it.
#[derive(Default)]
pub(crate) struct Flights {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    done: HashSet<Digest>,
    under_way: HashMap<Digest, Arc<AsyncMutex<()>>>,
}

/// Whoever holds it moves the digest; others wait. Dropped without [`done`](Self::done), the next one tries.
pub(crate) struct Flight<'a> {
    flights: &'a Flights,
    digest: &'a Digest,
    place: Arc<AsyncMutex<()>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// The right to move the digest, or `None` where that has been done. Waits for whoever is doing it.
    pub(crate) async fn begin<'a>(&'a self, digest: &'a Digest) -> Option<Flight<'a>> {
        let place = {
            let mut inner = self.lock();
            if inner.done.contains(digest) {
                return None;
            }
            Arc::clone(inner.under_way.entry(digest.clone()).or_default())
        };
        let mut flight = Flight {
            flights: self,
            digest,
            place: Arc::clone(&place),
            guard: None,
        };
        flight.guard = Some(place.lock_owned().await);
        let is_done = self.lock().done.contains(digest);
        (!is_done).then_some(flight)
    }

    /// Takes note of a digest; whether it was not known.
    pub(crate) fn note(&self, digest: &Digest) -> bool {
        self.lock().done.insert(digest.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight<'_> {
    /// The digest is at the destination.
    pub(crate) fn done(self) {
        self.flights.note(self.digest);
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut inner = self.flights.lock();
        // The table's own and this one: nobody waits.
        if Arc::strong_count(&self.place) <= 2 {
            inner.under_way.remove(self.digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use futures_util::{FutureExt as _, pin_mut};

    use super::*;

    #[tokio::test]
    async fn a_digest_wanted_many_times_at_once_is_moved_once() {
        let flights = Flights::default();
        let digest = Digest::sha256_of(b"x");
        let moved = AtomicUsize::new(0);
        let one = || async {
            if let Some(flight) = flights.begin(&digest).await {
                tokio::task::yield_now().await;
                moved.fetch_add(1, Ordering::SeqCst);
                flight.done();
            }
        };
        join_all((0..50).map(|_| one())).await;
        assert_eq!(moved.load(Ordering::SeqCst), 1);
        assert!(flights.lock().under_way.is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_lets_the_next_one_try() {
        let flights = Flights::default();
        let digest = Digest::sha256_of(b"x");
        let first = flights.begin(&digest).await.unwrap();
        let second = flights.begin(&digest);
        pin_mut!(second);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await.unwrap().done();
        assert!(flights.begin(&digest).await.is_none());
        assert!(flights.lock().under_way.is_empty());
    }

    #[tokio::test]
    async fn who_waits_no_longer_is_not_waited_for() {
        let flights = Flights::default();
        let digest = Digest::sha256_of(b"x");
        let first = flights.begin(&digest).await.unwrap();
        {
            let waiting = flights.begin(&digest);
            pin_mut!(waiting);
            assert!(waiting.now_or_never().is_none());
        }
        drop(first);
        assert!(flights.lock().under_way.is_empty());
        assert!(flights.begin(&digest).await.is_some());
    }
}
