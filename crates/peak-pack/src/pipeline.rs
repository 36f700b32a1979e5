//! Work done by several threads whose results are taken in the order of the work.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many results per thread may be in the making or wait for their turn. More than one, so that the
/// others need not wait for the thread whose piece is the hardest.
const AHEAD_PER_THREAD: usize = 3;

/// Turns each item of `work` into a result, on `threads` threads of which the calling one is one, and
/// gives the results to `deliver` on the calling thread, in the order of the items.
///
/// A bounded number of results exists at a time. The first error in the order of the items ends it,
/// whichever came first in time; no thread is left when this returns.
pub(crate) fn in_order<Item, Worker, Done, Error>(
    threads: NonZeroUsize,
    work: impl Iterator<Item = Item> + Send,
    new_worker: impl Fn() -> Worker + Sync,
    perform: impl Fn(&mut Worker, Item) -> Result<Done, Error> + Sync,
    mut deliver: impl FnMut(Done) -> Result<(), Error>,
) -> Result<(), Error>
where
    Done: Send,
    Error: Send,
{
    let queue = Queue {
        state: Mutex::new(State {
            work: work.fuse(),
            taken: 0,
            delivered: 0,
            finished: VecDeque::new(),
            stopped: false,
            panicked: false,
        }),
        changed: Condvar::new(),
        ahead: threads.get().saturating_mul(AHEAD_PER_THREAD),
    };
    let run = |worker: &mut Worker, Taken { position, item }| {
        let result = perform(worker, item);
        queue.finish(position, result);
    };
    thread::scope(|scope| {
        // However this ends, nobody may wait for what will not come.
        let _stop = Stop(&queue);
        for _ in 1..threads.get() {
            let started = thread::Builder::new()
                .name("peak-pack".to_owned())
                .spawn_scoped(scope, || {
                    let _stop = Stop(&queue);
                    let mut worker = new_worker();
                    while let Some(taken) = queue.wait_for_work() {
                        run(&mut worker, taken);
                    }
                });
            // Fewer threads do the same work.
            if started.is_err() {
                break;
            }
        }
        let mut worker = new_worker();
        loop {
            match queue.wait_for_turn() {
                Turn::Deliver(result) => deliver(result?)?,
                Turn::Work(taken) => run(&mut worker, taken),
                Turn::End => return Ok(()),
            }
        }
    })
}

struct Queue<Work, Done, Error> {
    state: Mutex<State<Work, Done, Error>>,
    changed: Condvar,
    /// Most items that are taken and not delivered.
    ahead: usize,
}

struct State<Work, Done, Error> {
    work: std::iter::Fuse<Work>,
    taken: usize,
    delivered: usize,
    /// The results from `delivered` on, as far as they are there.
    finished: VecDeque<Option<Result<Done, Error>>>,
    /// No more work is handed out.
    stopped: bool,
    /// A result is missing for ever.
    panicked: bool,
}

struct Taken<Item> {
    position: usize,
    item: Item,
}

/// What the calling thread does next.
enum Turn<Item, Done, Error> {
    Deliver(Result<Done, Error>),
    Work(Taken<Item>),
    /// All is delivered, or a thread panicked, which the scope passes on.
    End,
}

enum Take<Item> {
    Work(Taken<Item>),
    /// Enough is under way.
    Later,
    Never,
}

impl<Work: Iterator, Done, Error> State<Work, Done, Error> {
    fn take(&mut self, ahead: usize) -> Take<Work::Item> {
        if self.stopped {
            return Take::Never;
        }
        if self.taken - self.delivered >= ahead {
            return Take::Later;
        }
        let Some(item) = self.work.next() else {
            return Take::Never;
        };
        let position = self.taken;
        self.taken += 1;
        Take::Work(Taken { position, item })
    }
}

impl<Work: Iterator, Done, Error> Queue<Work, Done, Error> {
    fn lock(&self) -> MutexGuard<'_, State<Work, Done, Error>> {
        // Nothing is done under the lock that leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State<Work, Done, Error>>,
    ) -> MutexGuard<'a, State<Work, Done, Error>> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread that only works does next; `None` when there is no more.
    fn wait_for_work(&self) -> Option<Taken<Work::Item>> {
        let mut state = self.lock();
        loop {
            match state.take(self.ahead) {
                Take::Work(taken) => return Some(taken),
                Take::Later => state = self.wait(state),
                Take::Never => return None,
            }
        }
    }

    /// What the calling thread does next: a result whose turn has come goes before work.
    fn wait_for_turn(&self) -> Turn<Work::Item, Done, Error> {
        let mut state = self.lock();
        loop {
            if let Some(Some(_)) = state.finished.front()
                && let Some(Some(result)) = state.finished.pop_front()
            {
                state.delivered += 1;
                drop(state);
                self.changed.notify_all();
                return Turn::Deliver(result);
            }
            match state.take(self.ahead) {
                Take::Work(taken) => return Turn::Work(taken),
                Take::Never if state.delivered == state.taken || state.panicked => {
                    return Turn::End;
                }
                Take::Later | Take::Never => state = self.wait(state),
            }
        }
    }

    fn finish(&self, position: usize, result: Result<Done, Error>) {
        let mut state = self.lock();
        // What comes after an error is never delivered.
        state.stopped |= result.is_err();
        let place = position - state.delivered;
        if state.finished.len() <= place {
            state.finished.resize_with(place + 1, || None);
        }
        if let Some(slot) = state.finished.get_mut(place) {
            *slot = Some(result);
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// Tells the other threads when one is gone: that no more work is handed out, and whether to go on
/// waiting. A thread that ends in order does so when there is no more work.
struct Stop<'a, Work: Iterator, Done, Error>(&'a Queue<Work, Done, Error>);

impl<Work: Iterator, Done, Error> Drop for Stop<'_, Work, Done, Error> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopped = true;
        state.panicked |= thread::panicking();
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[test]
    fn no_more_results_than_allowed_exist_at_a_time() {
        let taken = AtomicUsize::new(0);
        let delivered = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        in_order(
            threads(3),
            (0..500).inspect(|_| {
                let under_way =
                    taken.fetch_add(1, Ordering::SeqCst) + 1 - delivered.load(Ordering::SeqCst);
                most.fetch_max(under_way, Ordering::SeqCst);
            }),
            || (),
            |(), item| Ok::<u32, ()>(item),
            |item| {
                if item % 50 == 0 {
                    // The others run ahead as far as they may.
                    thread::sleep(Duration::from_millis(2));
                }
                delivered.fetch_add(1, Ordering::SeqCst);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(delivered.into_inner(), 500);
        // One more than `ahead`: what is being delivered counts as delivered to the queue.
        assert!(most.into_inner() <= 3 * AHEAD_PER_THREAD + 1);
    }

    #[test]
    fn a_panic_of_a_thread_is_passed_on_and_not_waited_for() {
        let caught = std::panic::catch_unwind(|| {
            in_order(
                threads(4),
                0..100,
                || (),
                |(), item| {
                    assert!(item != 30, "as meant");
                    Ok::<u32, ()>(item)
                },
                |_| Ok(()),
            )
        });
        assert!(caught.is_err());
    }

    proptest! {
        #[test]
        fn results_come_in_order_and_end_before_the_first_error(
            count in 0_usize..200,
            thread_count in 1_usize..6,
            mut failing in proptest::collection::vec(0_usize..400, 0..3),
        ) {
            let mut seen = Vec::new();
            let result = in_order(
                threads(thread_count),
                0..count,
                || 0_usize,
                |done, item| {
                    *done += 1;
                    if failing.contains(&item) { Err(item) } else { Ok(item) }
                },
                |item| {
                    seen.push(item);
                    Ok(())
                },
            );
            failing.sort_unstable();
            let first = failing.first().copied().filter(|item| *item < count);
            prop_assert_eq!(result.err(), first);
            prop_assert_eq!(seen, (0..first.unwrap_or(count)).collect::<Vec<_>>());
        }

        #[test]
        fn an_error_of_delivery_ends_it(count in 1_usize..100, thread_count in 1_usize..5) {
            let mut seen = 0;
            let result = in_order(
                threads(thread_count),
                0..,
                || (),
                |(), item: usize| Ok(item),
                |item| {
                    seen += 1;
                    if item == count { Err(item) } else { Ok(()) }
                },
            );
            prop_assert_eq!(result, Err(count));
            prop_assert_eq!(seen, count + 1);
        }
    }
}
