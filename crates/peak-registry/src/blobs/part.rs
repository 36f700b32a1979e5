//! A part of a blob, over as many requests as it takes. The one loop that goes on where a blob was cut off.

use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};
use peak_http::ResponseBody;
use peak_http::resume::{ContentRange, Patience};
use peak_oci::Descriptor;

use crate::connection::reasons;
use crate::{RegistryError, Repository};

/// The bytes of a part, in order.
pub(super) type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, RegistryError>> + Send>>;

/// What the registry gave for the first request of a part.
pub(super) struct Opened {
    pub(super) part: Part,
    /// The registry sent exactly the range that it was asked for, so it can be asked for several at once.
    pub(super) knows_ranges: bool,
}

/// A part of a blob on its way.
pub(super) struct Part {
    repository: Repository,
    descriptor: Descriptor,
    /// The offset of the next byte to be given on.
    position: u64,
    /// The offset behind the last one.
    end: u64,
    /// How much of the present body has been given on before, by an earlier one.
    skip: u64,
    body: ResponseBody,
    patience: Patience,
}

/// A body, and where in the blob it starts.
struct Answer {
    start: u64,
    is_partial: bool,
    body: ResponseBody,
}

impl Part {
    /// Asks for a part. Where the registry sends the whole blob instead, the part is all of it.
    pub(super) async fn open(
        repository: Repository,
        descriptor: Descriptor,
        range: Range<u64>,
    ) -> Result<Opened, RegistryError> {
        let whole = range.start == 0 && range.end >= descriptor.size;
        let answer = request(&repository, &descriptor, range.clone()).await?;
        let knows_ranges = !whole && answer.is_partial;
        let part = Self {
            repository,
            position: answer.start,
            end: if knows_ranges {
                range.end
            } else {
                descriptor.size
            },
            descriptor,
            skip: 0,
            body: answer.body,
            patience: Patience::new(),
        };
        Ok(Opened { part, knows_ranges })
    }

    /// A part that is asked for when its first byte is wanted; only for a registry that is known to know ranges.
    pub(super) fn later(
        repository: Repository,
        descriptor: Descriptor,
        range: Range<u64>,
    ) -> Frames {
        let start = range.start;
        let opening = Self::open(repository.clone(), descriptor, range);
        let frames = stream::once(opening).map(move |opened| {
            let opened = opened?;
            if opened.knows_ranges && opened.part.position == start {
                Ok(opened.part.frames())
            } else {
                Err(repository.unusable("it sent a range of a blob before, and now it does not"))
            }
        });
        Box::pin(frames.flat_map(|opened| match opened {
            Ok(frames) => frames,
            Err(error) => Box::pin(stream::iter([Err(error)])),
        }))
    }

    /// Where the part starts.
    pub(super) fn start(&self) -> u64 {
        self.position
    }

    /// Where it ends: the offset behind its last byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Its bytes, in order.
    pub(super) fn frames(self) -> Frames {
        Box::pin(stream::try_unfold(self, |mut part| async move {
            let frame = part.next().await?;
            Ok(frame.map(|frame| (frame, part)))
        }))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            // A registry may send more than it was asked for.
            if self.position >= self.end && self.end < self.descriptor.size {
                return Ok(None);
            }
            let interruption = match self.body.next().await {
                Some(Ok(mut frame)) => {
                    if self.skip > 0 {
                        let known = clamp(self.skip).min(frame.len());
                        let _ = frame.split_to(known);
                        self.skip -= known as u64;
                    }
                    if self.end < self.descriptor.size {
                        frame.truncate(clamp(self.end - self.position));
                    }
                    if frame.is_empty() {
                        continue;
                    }
                    self.position += frame.len() as u64;
                    return Ok(Some(frame));
                }
                // All of it is here, however the connection ends: there is nothing left to ask for.
                None | Some(Err(_)) if self.position >= self.end => return Ok(None),
                // Ended before its time, though in good form: some proxies do so.
                None => None,
                Some(Err(error)) => Some(self.repository.transport(error)),
            };
            self.resume(interruption).await?;
        }
    }

    /// Asks again, from where it stopped.
    async fn resume(
        &mut self,
        mut interruption: Option<RegistryError>,
    ) -> Result<(), RegistryError> {
        loop {
            let Some(wait) = self.patience.interrupted(self.position) else {
                return Err(RegistryError::Interrupted {
                    repository: self.repository.to_string(),
                    digest: self.descriptor.digest.clone(),
                    received: self.position,
                    source: interruption.map(Box::new),
                });
            };
            tracing::debug!(
                digest = %self.descriptor.digest, position = self.position, ?wait,
                "a blob was cut off; asking for the rest"
            );
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let rest = self.position..self.end;
            match request(&self.repository, &self.descriptor, rest).await {
                Ok(answer) => {
                    // A registry without ranges begins anew: what is known already is stepped over.
                    self.skip = self.position - answer.start;
                    self.body = answer.body;
                    return Ok(());
                }
                Err(error) if error.is_transient() => interruption = Some(error),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Asks once for a part of the blob. The answer starts there, or at 0.
async fn request(
    repository: &Repository,
    descriptor: &Descriptor,
    range: Range<u64>,
) -> Result<Answer, RegistryError> {
    let url = repository.url("blobs", &descriptor.digest).await?;
    let mut headers = HeaderMap::new();
    let to_the_end = range.end >= descriptor.size;
    let ranged = range.start > 0 || !to_the_end;
    if ranged {
        let last = if to_the_end {
            String::new()
        } else {
            range.end.saturating_sub(1).to_string()
        };
        let range = HeaderValue::from_str(&format!("bytes={}-{last}", range.start))
            .map_err(|_| repository.unusable("the range cannot stand in a header"))?;
        headers.insert(RANGE, range);
    }
    let response = repository
        .send("get_blob", Method::GET, &url, headers)
        .await?;
    let is_partial = response.status() == StatusCode::PARTIAL_CONTENT;
    let (start, total) = match response.status() {
        StatusCode::OK => (0, content_length(response.headers())),
        StatusCode::PARTIAL_CONTENT if ranged => {
            let given = ContentRange::of(response.headers())
                .ok_or_else(|| repository.unusable("a partial answer without a usable range"))?;
            if given.start() != range.start {
                return Err(repository.unusable("a partial answer that starts elsewhere"));
            }
            (range.start, given.total())
        }
        StatusCode::PARTIAL_CONTENT => {
            return Err(repository.unusable("a partial answer where the whole was asked for"));
        }
        status => {
            let reasons = reasons(response).await;
            return Err(if status == StatusCode::NOT_FOUND {
                RegistryError::BlobNotFound {
                    repository: repository.to_string(),
                    digest: descriptor.digest.clone(),
                    reasons,
                }
            } else {
                repository.refusal(status, reasons)
            });
        }
    };
    if let Some(actual) = total.filter(|total| *total != descriptor.size) {
        return Err(RegistryError::BlobSize {
            repository: repository.to_string(),
            digest: descriptor.digest.clone(),
            expected: descriptor.size,
            actual,
        });
    }
    Ok(Answer {
        start,
        is_partial,
        body: response.into_body(),
    })
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn clamp(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
