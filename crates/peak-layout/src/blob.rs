//! The bytes of one blob, on their way in and out.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{self, Either};
use futures_util::stream;
use peak_oci::{BlobRead, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, VerifyError};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use crate::tar::Extent;
use crate::{LayoutError, blocking, positioned};

/// Bytes per frame when a blob is read. Large enough that the hop to the blocking pool costs nothing beside hashing.
const FRAME: usize = 256 * 1024;

/// Bytes that are taken in before they are hashed and written together.
///
/// Enough that the hop to the blocking pool costs next to nothing beside hashing.
const BATCH: usize = 256 * 1024;
/// Frames of a batch at most, for a source that drips: each costs more than its bytes.
const BATCH_FRAMES: usize = 1024;

/// Batches that wait while one fills and another is worked on: whoever works goes on with the next at once, and does not
/// stand still until the task that fills them has had its turn. Where processors are shared with others that takes long.
const QUEUED: usize = 3;
/// Places for these, of all writers together: a single one needs them most.
static PLACES: Semaphore = Semaphore::const_new(QUEUED);

/// Where the bytes of a blob go. Dropped without [`Receiver::publish`], it leaves nothing visible. All of it blocks.
pub(crate) trait Receiver: fmt::Debug + Send {
    /// Hashes the next bytes and writes them. After an error the receiver is dropped.
    fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError>;

    /// Verifies the whole and makes it visible.
    fn publish(self: Box<Self>) -> Result<(), LayoutError>;
}

/// Hands a blob to its receiver in batches.
///
/// Hashing and writing happen in the blocking pool: they take far longer than a task should hold its thread, and so
/// the blobs of one transfer use several processors although they are driven by one task. What a writer has handed over
/// is written when the writer is dropped, too, by a thread that nobody waits for: the next run need not fetch it again.
#[derive(Debug)]
pub(crate) struct Writer {
    digest: Digest,
    size: u64,
    accepted: u64,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    receiver: State,
}

/// Where the receiver is.
#[derive(Debug)]
enum State {
    Here(Box<dyn Receiver>),
    AtWork(Work),
    /// Something failed and was reported.
    Broken,
}

/// A batch in its place.
type Queued = (Vec<Bytes>, SemaphorePermit<'static>);

/// A receiver in the blocking pool, and the batches that it still gets there.
#[derive(Debug)]
struct Work {
    /// Has no more batches than there are places.
    batches: mpsc::UnboundedSender<Queued>,
    outcome: JoinHandle<Result<Box<dyn Receiver>, LayoutError>>,
}

impl Work {
    fn begin(mut receiver: Box<dyn Receiver>, first: Vec<Bytes>) -> Self {
        let (batches, mut queued) = mpsc::unbounded_channel::<Queued>();
        let outcome = tokio::task::spawn_blocking(move || {
            receiver.append(&first)?;
            drop(first);
            while let Some((batch, place)) = next(&mut queued) {
                drop(place);
                receiver.append(&batch)?;
            }
            Ok(receiver)
        });
        Self { batches, outcome }
    }

    /// Queues the batch, and says whether it is; not where the work has come to its end, or does before there is a place.
    async fn add(&self, batch: &mut Vec<Bytes>) -> bool {
        let place = pin!(PLACES.acquire());
        let end = pin!(self.batches.closed());
        let Either::Left((Ok(place), _)) = future::select(place, end).await else {
            return false;
        };
        let queued = self.batches.send((std::mem::take(batch), place));
        queued
            .map_err(|SendError((refused, _))| *batch = refused)
            .is_ok()
    }
}

/// The next batch of a queue that is closed once there is none.
fn next<T>(queued: &mut mpsc::UnboundedReceiver<T>) -> Option<T> {
    queued.try_recv().ok().or_else(|| {
        queued.close();
        // One that was on its way meanwhile still comes.
        queued.blocking_recv()
    })
}

impl Writer {
    /// A writer for a blob of which the receiver has the first `offset` bytes.
    pub(crate) fn new(receiver: Box<dyn Receiver>, descriptor: &Descriptor, offset: u64) -> Self {
        Self {
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            accepted: offset,
            waiting: Vec::new(),
            waiting_bytes: 0,
            receiver: State::Here(receiver),
        }
    }

    async fn accept(&mut self, bytes: Bytes) -> Result<(), LayoutError> {
        if let State::Broken = self.receiver {
            return Err(self.broken());
        }
        let accepted = self.accepted.saturating_add(bytes.len() as u64);
        if accepted > self.size {
            // Known before anything is hashed, so that an endless body is not taken in. Nobody is at work on the blob
            // any more when this is told.
            drop(self.receiver().await?);
            return Err(LayoutError::Integrity {
                digest: self.digest.clone(),
                source: VerifyError::TooLong {
                    digest: self.digest.clone(),
                    expected: self.size,
                },
            });
        }
        self.accepted = accepted;
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_bytes >= BATCH || self.waiting.len() >= BATCH_FRAMES {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// Has the batch worked on. Dropped while it waits, nothing is lost: the batch and the receiver stay where they are.
    async fn hand_over(&mut self) -> Result<(), LayoutError> {
        let is_queued = match &self.receiver {
            State::AtWork(work) => work.add(&mut self.waiting).await,
            State::Here(_) | State::Broken => false,
        };
        if !is_queued {
            let receiver = self.receiver().await?;
            let first = std::mem::take(&mut self.waiting);
            self.receiver = State::AtWork(Work::begin(receiver, first));
        }
        self.waiting_bytes = 0;
        Ok(())
    }

    /// The receiver, once the batches before are written. The writer is broken until it gets it back.
    async fn receiver(&mut self) -> Result<Box<dyn Receiver>, LayoutError> {
        if let State::AtWork(work) = &mut self.receiver {
            let outcome = (&mut work.outcome).await;
            let outcome = outcome.unwrap_or(Err(LayoutError::Shutdown));
            self.receiver = State::Broken;
            return outcome;
        }
        match std::mem::replace(&mut self.receiver, State::Broken) {
            State::Here(receiver) => Ok(receiver),
            State::AtWork(_) | State::Broken => Err(self.broken()),
        }
    }

    async fn finish(mut self) -> Result<(), LayoutError> {
        let mut receiver = self.receiver().await?;
        let frames = self.waiting;
        blocking(move || {
            receiver.append(&frames)?;
            receiver.publish()
        })
        .await
    }

    fn broken(&self) -> LayoutError {
        LayoutError::Broken {
            digest: self.digest.clone(),
        }
    }
}

impl BlobWriter for Writer {
    fn offset(&self) -> u64 {
        self.accepted
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ContentError>> {
        Box::pin(async move { Ok(self.accept(bytes).await?) })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), ContentError>> {
        Box::pin(async move { Ok(self.finish().await?) })
    }
}

/// Reads a blob that is in a part of an open file, from `offset` of the blob on.
pub(crate) fn read(
    file: Arc<File>,
    path: &Path,
    digest: &Digest,
    extent: Extent,
    offset: u64,
) -> Result<BlobRead, LayoutError> {
    let size = extent.size;
    if offset > size {
        return Err(LayoutError::Offset {
            digest: digest.clone(),
            offset,
            size,
        });
    }
    let path = path.to_path_buf();
    let rest = Extent {
        offset: extent.offset + offset,
        size: size - offset,
    };
    let frames = stream::try_unfold((file, path, rest), |(file, path, rest)| async move {
        if rest.size == 0 {
            return Ok::<_, ContentError>(None);
        }
        let (file, path, frame) = blocking(move || {
            let count = usize::try_from(rest.size).map_or(FRAME, |size| size.min(FRAME));
            let frame = positioned::frame(&file, count, rest.offset)
                .map_err(LayoutError::reading(&path))?;
            Ok((file, path, frame))
        })
        .await?;
        if frame.is_empty() {
            // Shorter than it was: whoever verifies the blob says so.
            return Ok(None);
        }
        let count = frame.len() as u64;
        let rest = Extent {
            offset: rest.offset + count,
            size: rest.size - count,
        };
        Ok(Some((Bytes::from(frame), (file, path, rest))))
    });
    Ok(BlobRead::new(offset, Some(size), Box::pin(frames)))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc as std_mpsc;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use peak_oci::MediaType;

    use super::*;

    /// Takes a batch each time it is let, and fails where it is told so; what nobody holds back any more it takes all.
    #[derive(Debug)]
    struct HeldBack {
        may_succeed: std_mpsc::Receiver<bool>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Receiver for HeldBack {
        fn append(&mut self, frames: &[Bytes]) -> Result<(), LayoutError> {
            if !self.may_succeed.recv().unwrap_or(true) {
                return Err(LayoutError::Shutdown);
            }
            let mut taken = self.taken.lock().unwrap();
            for frame in frames {
                taken.extend(frame);
            }
            Ok(())
        }

        fn publish(self: Box<Self>) -> Result<(), LayoutError> {
            Ok(())
        }
    }

    type Taken = Arc<Mutex<Vec<u8>>>;

    fn writer(batches: u8) -> (Box<Writer>, std_mpsc::Sender<bool>, Taken) {
        let (leave, may_succeed) = std_mpsc::channel();
        let taken = Taken::default();
        let receiver = Box::new(HeldBack {
            may_succeed,
            taken: Arc::clone(&taken),
        });
        let size = u64::from(batches) * BATCH as u64;
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256_of(b""), size);
        let writer = Writer::new(receiver, &descriptor, 0);
        (Box::new(writer), leave, taken)
    }

    fn batch(number: u8) -> Bytes {
        vec![number; BATCH].into()
    }

    #[tokio::test]
    async fn writes_that_nobody_waits_for_lose_and_move_no_byte() {
        let (mut writer, leave, taken) = writer(20);
        let mut given_up = 0;
        for number in 0..20 {
            if writer.write(batch(number)).now_or_never().is_none() {
                given_up += 1;
            }
            assert_eq!(writer.offset(), (u64::from(number) + 1) * BATCH as u64);
            if number == 10 {
                // Some places become free.
                leave.send(true).unwrap();
                leave.send(true).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(given_up > 0);
        drop(leave);
        writer.commit().await.unwrap();
        let expected: Vec<u8> = (0..20).flat_map(batch).collect();
        assert!(*taken.lock().unwrap() == expected);
    }

    #[tokio::test]
    async fn a_batch_that_fails_in_the_queue_breaks_the_writer() {
        for failing in 0..6 {
            let (mut writer, leave, taken) = writer(20);
            for number in 0..20 {
                leave.send(number != failing).unwrap();
            }
            let mut outcome = Ok(());
            let mut written = 0;
            while outcome.is_ok() && written < 20 {
                outcome = writer.write(batch(written)).await;
                written += 1;
            }
            let error = match outcome {
                Ok(()) => writer.commit().await.unwrap_err(),
                Err(error) => {
                    let after = writer.write(batch(0)).await.unwrap_err();
                    assert!(format!("{after:?}").contains("Broken"), "{after:?}");
                    assert!(writer.commit().await.is_err());
                    error
                }
            };
            assert!(format!("{error:?}").contains("Shutdown"), "{error:?}");
            let expected: Vec<u8> = (0..failing).flat_map(batch).collect();
            assert!(*taken.lock().unwrap() == expected);
            // The receiver is gone, whatever was queued behind.
            assert_eq!(Arc::strong_count(&taken), 1);
        }
    }

    #[tokio::test]
    async fn a_writer_that_is_dropped_takes_its_receiver_along() {
        let (mut writer, leave, taken) = writer(20);
        for number in 0..3 {
            let _ = writer.write(batch(number)).now_or_never();
        }
        drop(writer);
        drop(leave);
        while Arc::strong_count(&taken) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // What it had been given is written, as far as there were places.
        let taken = taken.lock().unwrap();
        let expected: Vec<u8> = (0..3).flat_map(batch).collect();
        assert!(taken.len() >= BATCH && expected.starts_with(&taken));
    }

    #[tokio::test]
    async fn a_writer_gets_on_where_others_have_all_the_places() {
        let (mut writer, leave, taken) = writer(20);
        drop(leave);
        let _places = PLACES
            .acquire_many(u32::try_from(QUEUED).unwrap())
            .await
            .unwrap();
        let written = async {
            for number in 0..20 {
                writer.write(batch(number)).await.unwrap();
            }
            writer.commit().await.unwrap();
        };
        let limit = Duration::from_secs(30);
        tokio::time::timeout(limit, written).await.unwrap();
        let expected: Vec<u8> = (0..20).flat_map(batch).collect();
        assert!(*taken.lock().unwrap() == expected);
    }

    #[tokio::test]
    async fn bytes_too_many_are_told_when_nobody_is_at_work_any_more() {
        let (mut writer, leave, taken) = writer(2);
        drop(leave);
        writer.write(batch(0)).await.unwrap();
        writer.write(batch(1)).await.unwrap();
        let error = writer.write(batch(2)).await.unwrap_err();
        assert_eq!(error.kind(), peak_oci::ContentErrorKind::Integrity);
        assert_eq!(Arc::strong_count(&taken), 1);
    }
}
