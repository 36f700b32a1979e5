//! Several things at once, in one future.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

/// Does all of these, at most so many at once; gives their results in order. The first failure ends all.
///
/// They come as a list and not as an iterator that makes them: the compiler cannot see that a closure over borrowed
/// items gives futures that may be sent to other threads.
pub(crate) async fn several<T, E, F>(work: Vec<F>, at_once: usize) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    stream::iter(work)
        .buffered(at_once.max(1))
        .try_collect()
        .await
}
