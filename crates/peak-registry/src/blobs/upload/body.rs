//! The bytes of an upload: read where the upload is driven, hashed and sent where the connection is.
//!
//! A connection wants bytes that live as long as it does, and the source of a blob is only lent. So the body that a
//! connection gets is the end of a short queue, which is filled from the source as long as the request is waited for.
//! Where the request has to be sent again, the body asks for the bytes again, from any offset.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use peak_http::{Body, BodyStream, BoxError};
use peak_oci::{
    BlobEvent, BlobListener, BlobRead, BlobStream, BoxFuture, ContentError, ContentErrorKind,
    Descriptor, Verifier, VerifyError,
};
use tokio::sync::mpsc;

/// Pieces that wait for the connection: one is taken while the next is read.
const QUEUE: usize = 2;

/// Opens the blob at an offset, as often as it is needed.
pub(super) type Open<'a> =
    dyn Fn(u64) -> BoxFuture<'a, Result<BlobRead, ContentError>> + Send + Sync + 'a;

/// Checks the bytes that are sent: each when it goes out first, in order. Shared with the connection.
#[derive(Clone)]
pub(super) struct Check(Arc<Mutex<Checked>>);

struct Checked {
    size: u64,
    verifier: Verifier,
    wrong: Option<VerifyError>,
}

impl Check {
    pub(super) fn new(descriptor: &Descriptor) -> Self {
        Self(Arc::new(Mutex::new(Checked {
            size: descriptor.size,
            verifier: Verifier::for_descriptor(descriptor),
            wrong: None,
        })))
    }

    /// How many bytes are checked.
    pub(super) fn position(&self) -> u64 {
        self.lock().verifier.received()
    }

    /// What is wrong with the bytes, if that is known.
    pub(super) fn wrong(&self) -> Option<VerifyError> {
        self.lock().wrong.clone()
    }

    /// Takes in a piece that begins at `offset`. The last piece is refused if the whole is not what it should be, so
    /// that nothing wrong is ever sent whole.
    fn take(&self, offset: u64, piece: &[u8]) -> Result<(), VerifyError> {
        let mut checked = self.lock();
        let known = checked.verifier.received().saturating_sub(offset);
        let known = usize::try_from(known)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        let new = piece.get(known..).unwrap_or_default();
        let mut result = match &checked.wrong {
            Some(wrong) => Err(wrong.clone()),
            None => checked.verifier.update(new),
        };
        if result.is_ok() && checked.verifier.received() == checked.size {
            result = checked.verifier.clone().finish();
        }
        if let Err(wrong) = &result {
            checked.wrong = Some(wrong.clone());
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Checked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wish of a body for its bytes.
struct Wanted {
    offset: u64,
    queue: mpsc::Sender<Bytes>,
}

/// Where a body's bytes are asked for.
pub(super) struct Wishes(mpsc::UnboundedReceiver<Wanted>);

/// The body of a request that sends `length` bytes of a blob from `offset` on, and where it asks for them.
pub(super) fn body(check: &Check, offset: u64, length: u64) -> (Body, Wishes) {
    // One wish for each time that the request is sent, which is not often.
    let (wishes, wanted) = mpsc::unbounded_channel();
    let check = check.clone();
    let body = Body::replayable(Some(length), move |further| -> BodyStream {
        let (queue, pieces) = mpsc::channel(QUEUE);
        let start = offset.saturating_add(further);
        // Where nobody fills it any more, the queue is empty and the body ends too early, which is an error there.
        let _ = wishes.send(Wanted {
            offset: start,
            queue,
        });
        let outgoing = Outgoing {
            position: start,
            end: offset.saturating_add(length),
            pieces,
            check: check.clone(),
        };
        Box::pin(stream::try_unfold(outgoing, Outgoing::next))
    });
    (body, Wishes(wanted))
}

/// The connection's end of the queue.
struct Outgoing {
    position: u64,
    end: u64,
    pieces: mpsc::Receiver<Bytes>,
    check: Check,
}

impl Outgoing {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BoxError> {
        if self.position >= self.end {
            // An empty blob has to be the right one, too.
            self.check.take(self.position, &[])?;
            return Ok(None);
        }
        let Some(piece) = self.pieces.recv().await else {
            return Ok(None);
        };
        self.check.take(self.position, &piece)?;
        self.position = self.position.saturating_add(piece.len() as u64);
        Ok(Some((piece, self)))
    }
}

/// The source of a blob while it is uploaded: one stream for as long as it is read in order.
pub(super) struct Reader<'a, 's> {
    open: &'a Open<'s>,
    size: u64,
    check: Check,
    listener: Option<&'a BlobListener<'a>>,
    /// How far the bytes were handed over, at the furthest.
    told: u64,
    stream: Option<BlobStream>,
    /// The offset of the first byte in `rest`, or else in the stream.
    position: u64,
    rest: Bytes,
}

impl<'a, 's> Reader<'a, 's> {
    pub(super) fn new(
        open: &'a Open<'s>,
        size: u64,
        check: Check,
        listener: Option<&'a BlobListener<'a>>,
    ) -> Self {
        Self {
            open,
            size,
            check,
            listener,
            told: 0,
            stream: None,
            position: 0,
            rest: Bytes::new(),
        }
    }

    /// So many bytes were there from earlier.
    pub(super) fn begin(&mut self, offset: u64) {
        self.told = offset;
    }

    /// Checks everything before `offset` that has not been sent by us, since the registry has it from an earlier run.
    pub(super) async fn catch_up(&mut self, offset: u64) -> Result<(), ContentError> {
        let mut position = self.check.position();
        if position < offset {
            self.seek(position).await?;
        }
        while position < offset {
            let piece = self.next(offset - position).await?;
            // What is wrong is known by `Check::wrong`.
            if self.check.take(position, &piece).is_err() {
                return Ok(());
            }
            position = position.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Gives a request of up to `end` the bytes that it wants, as often as it wants them. Ends with an error of the
    /// source only.
    pub(super) async fn serve(&mut self, wishes: &mut Wishes, end: u64) -> ContentError {
        let mut wanted = None;
        loop {
            tokio::select! {
                biased;
                // The last wish counts: whoever had the one before may be a connection that nobody looks at any more.
                // Without wishes to come there is nothing to do but to wait for the answer.
                Some(newer) = wishes.0.recv() => wanted = Some(newer),
                result = self.fill(wanted.as_ref(), end) => match result {
                    Ok(()) => wanted = None,
                    Err(error) => return error,
                },
            }
        }
    }

    /// Fills a queue. Dropped in the middle, it may lose what it has read for that queue, and nothing else.
    async fn fill(&mut self, wanted: Option<&Wanted>, end: u64) -> Result<(), ContentError> {
        let Some(wanted) = wanted else {
            return std::future::pending().await;
        };
        self.seek(wanted.offset).await?;
        while self.position < end {
            let piece = tokio::select! {
                piece = self.next(end - self.position) => piece?,
                () = wanted.queue.closed() => return Ok(()),
            };
            if wanted.queue.send(piece).await.is_err() {
                // That attempt is over.
                return Ok(());
            }
            let further = self.position.saturating_sub(self.told);
            if further > 0 {
                self.told = self.position;
                if let Some(listener) = self.listener {
                    listener(BlobEvent::Bytes { count: further });
                }
            }
        }
        Ok(())
    }

    /// Goes to an offset; opens the source anew unless it is there.
    async fn seek(&mut self, offset: u64) -> Result<(), ContentError> {
        if self.stream.is_some() && self.position == offset {
            return Ok(());
        }
        self.stream = None;
        self.rest = Bytes::new();
        if offset >= self.size {
            self.position = offset;
            return Ok(());
        }
        let read = (self.open)(offset).await?;
        if read.offset > offset {
            return Err(ContentError::new(
                ContentErrorKind::Invalid,
                format!(
                    "the source opened a blob at byte {} instead of byte {offset}",
                    read.offset
                ),
            ));
        }
        self.position = read.offset;
        self.stream = Some(read.stream);
        while self.position < offset {
            self.next(offset - self.position).await?;
        }
        Ok(())
    }

    /// The next bytes, at least one and at most `most`. Dropped while it waits, it loses none.
    async fn next(&mut self, most: u64) -> Result<Bytes, ContentError> {
        while self.rest.is_empty() {
            let next = match &mut self.stream {
                Some(stream) => stream.next().await,
                None => None,
            };
            match next {
                Some(Ok(piece)) => self.rest = piece,
                Some(Err(error)) => {
                    self.stream = None;
                    return Err(error);
                }
                None => {
                    self.stream = None;
                    return Err(ContentError::new(
                        ContentErrorKind::Integrity,
                        format!(
                            "the blob ended after {} of {} bytes",
                            self.position, self.size
                        ),
                    ));
                }
            }
        }
        let length = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .min(self.rest.len());
        let piece = self.rest.split_to(length);
        self.position = self.position.saturating_add(piece.len() as u64);
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use peak_oci::MediaType;

    use super::*;

    fn content() -> Vec<u8> {
        (0..=250).cycle().take(1000).collect()
    }

    fn open(offset: u64) -> BoxFuture<'static, Result<BlobRead, ContentError>> {
        let rest = content().split_off(usize::try_from(offset).unwrap());
        let pieces = rest.into_iter().map(|byte| Ok(Bytes::from(vec![byte])));
        let pieces: BlobStream = Box::pin(stream::iter(pieces));
        Box::pin(async move { Ok(BlobRead::new(offset, None, pieces)) })
    }

    #[tokio::test]
    async fn the_last_that_asks_gets_the_bytes_though_an_earlier_one_takes_none() {
        let descriptor = Descriptor::of(MediaType::OCI_LAYER, &content());
        let check = Check::new(&descriptor);
        let mut reader = Reader::new(&open, 1000, check, None);
        let (wishes, wanted) = mpsc::unbounded_channel();
        let mut wanted = Wishes(wanted);
        let wish = |offset| {
            let (queue, pieces) = mpsc::channel(QUEUE);
            wishes.send(Wanted { offset, queue }).unwrap();
            pieces
        };
        let receive = async {
            let mut stuck = wish(0);
            // It has begun, and then nobody takes what there is.
            assert_eq!(stuck.recv().await.unwrap(), content()[..1]);
            for offset in [0, 500, 999] {
                let mut pieces = wish(offset);
                let mut all = Vec::new();
                while let Some(piece) = pieces.recv().await {
                    all.extend_from_slice(&piece);
                }
                let start = usize::try_from(offset).unwrap();
                assert_eq!(all, content()[start..900.max(start)], "{offset}");
            }
            drop(stuck);
        };
        tokio::select! {
            error = reader.serve(&mut wanted, 900) => panic!("{error}"),
            () = receive => {}
        }
    }
}
