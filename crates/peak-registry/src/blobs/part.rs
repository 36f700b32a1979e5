//! A part of a blob, over as many requests as it takes. The one loop that goes on where a blob was cut off.

use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};
use peak_http::ResponseBody;
use peak_http::resume::{ContentRange, Patience};
use peak_oci::Descriptor;

use crate::connection::reasons;
use crate::{RegistryError, Repository};

/// The bytes of a part, in order.
pub(super) type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, Broken>> + Send>>;

/// Why a part does not come.
#[derive(Debug)]
pub(super) enum Broken {
    /// The registry sends something else than the range that it is asked for. The whole may still be had.
    NoRanges(RegistryError),
    Failed(RegistryError),
}

impl Broken {
    pub(super) fn into_error(self) -> RegistryError {
        match self {
            Self::NoRanges(error) | Self::Failed(error) => error,
        }
    }
}

impl From<RegistryError> for Broken {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error)
    }
}

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
    version: Option<Version>,
    body: ResponseBody,
    patience: Patience,
}

/// What a registry calls the bytes that it sends a part of: a strong entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version(HeaderValue);

impl Version {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let tag = headers.get(ETAG)?;
        (!tag.as_bytes().starts_with(b"W/")).then(|| Self(tag.clone()))
    }
}

/// A body, and where in the blob it starts.
struct Answer {
    start: u64,
    is_partial: bool,
    version: Option<Version>,
    body: ResponseBody,
}

impl Answer {
    /// Whether this is the part that was asked for, of the same bytes as the parts before, as far as that can be told.
    fn is_part_of(&self, version: Option<&Version>) -> bool {
        let same = match (version, &self.version) {
            (Some(before), Some(now)) => before == now,
            _ => true,
        };
        self.is_partial && same
    }
}

impl Part {
    /// Asks for a part. Where the registry sends the whole blob instead, the part is all of it.
    pub(super) async fn open(
        repository: Repository,
        descriptor: Descriptor,
        range: Range<u64>,
    ) -> Result<Opened, RegistryError> {
        let whole = range.start == 0 && range.end >= descriptor.size;
        let answer = match request(&repository, &descriptor, range.clone()).await {
            Err(Broken::NoRanges(error)) => whole_instead(&repository, &descriptor, error).await,
            answer => answer,
        };
        let answer = answer.map_err(Broken::into_error)?;
        let knows_ranges = !whole && answer.is_partial;
        let end = if knows_ranges {
            range.end
        } else {
            descriptor.size
        };
        let start = answer.start;
        let part = Self::new(repository, descriptor, start..end, answer);
        Ok(Opened { part, knows_ranges })
    }

    /// A part that is asked for when its first byte is wanted; only for a registry that is known to know ranges.
    ///
    /// It ends with [`Broken::NoRanges`] where the registry sends something else this time.
    pub(super) fn later(
        repository: Repository,
        descriptor: Descriptor,
        range: Range<u64>,
        version: Option<Version>,
    ) -> Frames {
        let opening = async move {
            let answer = request(&repository, &descriptor, range.clone()).await?;
            if !answer.is_part_of(version.as_ref()) {
                return Err(no_ranges(&repository));
            }
            let mut part = Self::new(repository, descriptor, range, answer);
            part.version = version;
            Ok::<_, Broken>(part.frames())
        };
        Box::pin(stream::once(opening).try_flatten())
    }

    /// Everything from `position` on in one piece, asked for when its first byte is wanted, whatever the registry makes of
    /// ranges.
    pub(super) fn rest(repository: Repository, descriptor: Descriptor, position: u64) -> Frames {
        let opening = async move {
            let answer = rest(&repository, &descriptor, position).await?;
            let range = position..descriptor.size;
            Ok::<_, Broken>(Self::new(repository, descriptor, range, answer).frames())
        };
        Box::pin(stream::once(opening).try_flatten())
    }

    /// A part whose first answer begins there, or before it.
    fn new(
        repository: Repository,
        descriptor: Descriptor,
        range: Range<u64>,
        answer: Answer,
    ) -> Self {
        Self {
            repository,
            descriptor,
            position: range.start,
            end: range.end,
            skip: range.start.saturating_sub(answer.start),
            version: answer.version,
            body: answer.body,
            patience: Patience::new(),
        }
    }

    /// What the registry calls the bytes that this is a part of.
    pub(super) fn version(&self) -> Option<&Version> {
        self.version.as_ref()
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

    /// Whether the blob goes on behind it.
    fn is_bounded(&self) -> bool {
        self.end < self.descriptor.size
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            // A registry may send more than it was asked for.
            if self.position >= self.end && self.is_bounded() {
                return Ok(None);
            }
            let interruption = match self.body.next().await {
                Some(Ok(mut frame)) => {
                    if self.skip > 0 {
                        let known = clamp(self.skip).min(frame.len());
                        let _ = frame.split_to(known);
                        self.skip -= known as u64;
                    }
                    if self.is_bounded() {
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
    async fn resume(&mut self, mut interruption: Option<RegistryError>) -> Result<(), Broken> {
        loop {
            let Some(wait) = self.patience.interrupted(self.position) else {
                return Err(Broken::Failed(RegistryError::Interrupted {
                    repository: self.repository.to_string(),
                    digest: self.descriptor.digest.clone(),
                    received: self.position,
                    source: interruption.map(Box::new),
                }));
            };
            tracing::debug!(
                digest = %self.descriptor.digest, position = self.position, ?wait,
                "a blob was cut off; asking for the rest"
            );
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let answer = if self.is_bounded() {
                let left = self.position..self.end;
                request(&self.repository, &self.descriptor, left).await
            } else {
                rest(&self.repository, &self.descriptor, self.position).await
            };
            match answer {
                // All of the blob for a few bytes from its middle is no use: whoever asked for parts knows better.
                Ok(answer) if self.is_bounded() && !answer.is_part_of(self.version.as_ref()) => {
                    return Err(no_ranges(&self.repository));
                }
                Ok(answer) => {
                    // A registry without ranges begins anew: what is known already is stepped over.
                    self.skip = self.position - answer.start;
                    self.body = answer.body;
                    return Ok(());
                }
                Err(Broken::Failed(error)) if error.is_transient() => interruption = Some(error),
                Err(broken) => return Err(broken),
            }
        }
    }
}

fn no_ranges(repository: &Repository) -> Broken {
    Broken::NoRanges(
        repository.unusable("it sent a range of a blob before, and now it sends something else"),
    )
}

/// Asks for everything from `position` on; for the whole where the registry does not send that. The answer starts there,
/// or at 0.
async fn rest(
    repository: &Repository,
    descriptor: &Descriptor,
    position: u64,
) -> Result<Answer, Broken> {
    match request(repository, descriptor, position..descriptor.size).await {
        Err(Broken::NoRanges(error)) => whole_instead(repository, descriptor, error).await,
        answer => answer,
    }
}

/// Asks for the whole after a range was answered with something else.
async fn whole_instead(
    repository: &Repository,
    descriptor: &Descriptor,
    error: RegistryError,
) -> Result<Answer, Broken> {
    tracing::debug!(
        digest = %descriptor.digest, %error,
        "a range was answered with something else; asking for the whole"
    );
    match request(repository, descriptor, 0..descriptor.size).await {
        // Whatever is asked for, it makes no sense; what it said first says best why.
        Err(Broken::Failed(RegistryError::InvalidResponse { .. })) => Err(Broken::Failed(error)),
        answer => answer,
    }
}

/// Asks once for a part of the blob. The answer starts there, or at 0.
async fn request(
    repository: &Repository,
    descriptor: &Descriptor,
    range: Range<u64>,
) -> Result<Answer, Broken> {
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
    let other_size = |total: Option<u64>| {
        let actual = total.filter(|total| *total != descriptor.size)?;
        Some(RegistryError::BlobSize {
            repository: repository.to_string(),
            digest: descriptor.digest.clone(),
            expected: descriptor.size,
            actual,
        })
    };
    let response = repository
        .send("get_blob", Method::GET, &url, headers)
        .await?;
    let is_partial = response.status() == StatusCode::PARTIAL_CONTENT;
    let (start, total) = match response.status() {
        StatusCode::OK => (0, content_length(response.headers())),
        StatusCode::PARTIAL_CONTENT if ranged => {
            let other = |what| Broken::NoRanges(repository.unusable(what));
            let given = ContentRange::of(response.headers())
                .ok_or_else(|| other("a partial answer without a usable range"))?;
            if given.start() != range.start {
                return Err(other("a partial answer that starts elsewhere"));
            }
            if let Some(error) = other_size(given.total()) {
                return Err(Broken::NoRanges(error));
            }
            (range.start, None)
        }
        StatusCode::PARTIAL_CONTENT => {
            return Err(repository
                .unusable("a partial answer where the whole was asked for")
                .into());
        }
        StatusCode::RANGE_NOT_SATISFIABLE if ranged => {
            return Err(Broken::NoRanges(
                repository.unusable("it does not have the range that it was asked for"),
            ));
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
            }
            .into());
        }
    };
    if let Some(error) = other_size(total) {
        return Err(Broken::Failed(error));
    }
    Ok(Answer {
        start,
        is_partial,
        version: Version::of(response.headers()),
        body: response.into_body(),
    })
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn clamp(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
