//! Downloads of blobs that go on where they were cut off. The one loop that does so.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};
use peak_http::ResponseBody;
use peak_http::resume::{ContentRange, Patience};
use peak_oci::{BlobRead, ContentError, Descriptor};

use crate::connection::reasons;
use crate::{RegistryError, Repository};

/// Opens `descriptor`'s blob at `offset`, as a stream that goes on by itself when it is cut off.
pub(crate) async fn open(
    repository: Repository,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<BlobRead, RegistryError> {
    if offset > descriptor.size {
        return Err(repository.unusable("a blob cannot be read from behind its end"));
    }
    if offset > 0 && offset == descriptor.size {
        // All of it is there already, and no range can say "nothing".
        return Ok(BlobRead::new(
            offset,
            Some(descriptor.size),
            Box::pin(stream::empty()),
        ));
    }
    if let Some(embedded) = embedded(descriptor, offset) {
        let whole = stream::iter([Ok(embedded)]);
        return Ok(BlobRead::new(
            offset,
            Some(descriptor.size),
            Box::pin(whole),
        ));
    }
    let part = request(&repository, descriptor, offset).await?;
    let start = part.start;
    let download = Download {
        repository,
        descriptor: descriptor.clone(),
        position: start,
        skip: 0,
        body: part.body,
        patience: Patience::new(),
    };
    let frames = stream::try_unfold(download, |mut download| async move {
        let frame = download.next().await.map_err(ContentError::from)?;
        Ok(frame.map(|frame| (frame, download)))
    });
    Ok(BlobRead::new(
        start,
        Some(descriptor.size),
        Box::pin(frames),
    ))
}

/// The content from `offset` on, where the descriptor has it in itself. What is embedded and wrong is as if absent.
fn embedded(descriptor: &Descriptor, offset: u64) -> Option<Bytes> {
    match descriptor.embedded() {
        Ok(data) => {
            let data = data?;
            let start = usize::try_from(offset).ok()?;
            (start <= data.len()).then(|| data.slice(start..))
        }
        Err(error) => {
            tracing::warn!(digest = %descriptor.digest, %error, "a descriptor has other content in it than it says");
            None
        }
    }
}

/// A body, and where in the blob it starts.
struct Part {
    start: u64,
    body: ResponseBody,
}

/// Asks once for the blob from `offset`. The answer starts there, or at 0.
async fn request(
    repository: &Repository,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<Part, RegistryError> {
    let url = repository.url("blobs", &descriptor.digest).await?;
    let mut headers = HeaderMap::new();
    if offset > 0 {
        let range = HeaderValue::from_str(&format!("bytes={offset}-"))
            .map_err(|_| repository.unusable("the range cannot stand in a header"))?;
        headers.insert(RANGE, range);
    }
    let response = repository
        .send("get_blob", Method::GET, &url, headers)
        .await?;
    let (start, total) = match response.status() {
        StatusCode::OK => (0, content_length(response.headers())),
        StatusCode::PARTIAL_CONTENT if offset > 0 => {
            let range = ContentRange::of(response.headers())
                .ok_or_else(|| repository.unusable("a partial answer without a usable range"))?;
            if range.start() != offset {
                return Err(repository.unusable("a partial answer that starts elsewhere"));
            }
            (offset, range.total())
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
    Ok(Part {
        start,
        body: response.into_body(),
    })
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// One blob on its way, over as many requests as it takes.
struct Download {
    repository: Repository,
    descriptor: Descriptor,
    /// How much of the blob has been given on.
    position: u64,
    /// How much of the present body has been given on before, by an earlier one.
    skip: u64,
    body: ResponseBody,
    patience: Patience,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let interruption = match self.body.next().await {
                Some(Ok(mut frame)) => {
                    if self.skip > 0 {
                        let known = usize::try_from(self.skip)
                            .unwrap_or(usize::MAX)
                            .min(frame.len());
                        let _ = frame.split_to(known);
                        self.skip -= known as u64;
                    }
                    if frame.is_empty() {
                        continue;
                    }
                    self.position += frame.len() as u64;
                    return Ok(Some(frame));
                }
                // All of it is here, however the connection ends: there is nothing left to ask for.
                None | Some(Err(_)) if self.position >= self.descriptor.size => return Ok(None),
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
            match request(&self.repository, &self.descriptor, self.position).await {
                Ok(part) => {
                    // A registry without ranges begins anew: what is known already is stepped over.
                    self.skip = self.position - part.start;
                    self.body = part.body;
                    return Ok(());
                }
                Err(error) if error.is_transient() => interruption = Some(error),
                Err(error) => return Err(error),
            }
        }
    }
}
