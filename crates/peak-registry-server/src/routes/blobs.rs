//! Reading and deleting blobs.

use std::io::{self, Seek, SeekFrom};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use peak_oci::{Digest, RepositoryName};

use crate::routes::failure::{Code, Failure};
use crate::routes::range::{self, Requested};
use crate::routes::share::Share;
use crate::routes::{DOCKER_CONTENT_DIGEST, Registry, blocking, conditions, empty, header_value};
use crate::store::{BlobReader, StoreError};

/// How much is read from the disk at a time while there are few bodies, in bytes: the memory that a
/// download takes.
///
/// Measured with `curl` and 1 GiB on loopback: 64 KiB costs half as much processor time again;
/// 1 MiB, or reading the next piece while this one is sent, saves nothing and costs memory.
const PIECE: usize = 256 * 1024;

pub(crate) async fn head(
    registry: &Registry,
    name: RepositoryName,
    digest: Digest,
    request: &HeaderMap,
) -> Result<Response, Failure> {
    let size = size(registry, &name, &digest).await?;
    if let Some(response) = conditions::answer(request, &digest)? {
        return Ok(response);
    }
    Ok((StatusCode::OK, headers(&digest, size)?).into_response())
}

pub(crate) async fn get(
    registry: &Registry,
    name: RepositoryName,
    digest: Digest,
    request: &HeaderMap,
) -> Result<Response, Failure> {
    if let Some(response) = conditions::answer(request, &digest).transpose() {
        // The conditions are about a blob that is there.
        size(registry, &name, &digest).await?;
        return response;
    }
    let repository = registry.store.repository(&name);
    let asked = digest.clone();
    let range = wanted_range(request, &digest).map(str::to_owned);
    let share = registry.bodies.join();
    // One trip to a blocking thread opens the blob and reads its start, which for a small one is
    // all of it.
    let opened = blocking(move || {
        let mut blob = repository.blob(&asked)?;
        let wanted = range.map_or(Requested::Whole, |range| {
            range::requested(&range, blob.size)
        });
        let (start, length) = match wanted {
            Requested::Whole => (0, blob.size),
            Requested::Part { first, last } => (first, last - first + 1),
            Requested::Unsatisfiable => return Ok(Err(blob.size)),
        };
        let mut read = || -> io::Result<Bytes> {
            if start > 0 {
                blob.content.seek(SeekFrom::Start(start))?;
            }
            read_piece(&mut blob.content, length, share.size(PIECE))
        };
        let first = read().map_err(|source| StoreError::Io {
            action: "read a blob of",
            path: repository.name().as_str().into(),
            source,
        })?;
        Ok(Ok(Opened {
            content: blob.content,
            share,
            size: blob.size,
            wanted,
            start,
            length,
            first,
        }))
    })
    .await?;
    match opened {
        Ok(opened) => opened.into_response(&digest),
        Err(size) => {
            let value = header_value(&format!("bytes */{size}"))?;
            Err(Failure::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                Code::SizeInvalid,
                format!("the range lies outside of the {size} bytes of the blob"),
            )
            .with_header(header::CONTENT_RANGE, value))
        }
    }
}

async fn size(registry: &Registry, name: &RepositoryName, digest: &Digest) -> Result<u64, Failure> {
    let repository = registry.store.repository(name);
    let digest = digest.clone();
    blocking(move || repository.blob_size(&digest)).await
}

pub(crate) async fn delete(
    registry: &Registry,
    name: RepositoryName,
    digest: Digest,
) -> Result<Response, Failure> {
    let repository = registry.store.repository(&name);
    blocking(move || repository.delete_blob(&digest)).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// A blob of which a part is about to be sent.
struct Opened {
    content: BlobReader,
    share: Share,
    size: u64,
    wanted: Requested,
    start: u64,
    length: u64,
    first: Bytes,
}

impl Opened {
    fn into_response(self, digest: &Digest) -> Result<Response, Failure> {
        let mut headers = headers(digest, self.length)?;
        let status = match self.wanted {
            Requested::Part { first, last } => {
                let range = format!("bytes {first}-{last}/{}", self.size);
                headers.insert(header::CONTENT_RANGE, header_value(&range)?);
                StatusCode::PARTIAL_CONTENT
            }
            Requested::Whole | Requested::Unsatisfiable => StatusCode::OK,
        };
        tracing::debug!(%digest, start = self.start, length = self.length, "sending a blob");
        let rest = self.length - self.first.len() as u64;
        let body = if rest == 0 {
            Body::from(self.first)
        } else {
            let first = stream::iter([Ok(self.first)]);
            Body::from_stream(first.chain(pieces(self.content, rest, self.share)))
        };
        Ok((status, headers, body).into_response())
    }
}

/// The rest of a blob, read piece by piece as the client takes it.
fn pieces(
    content: BlobReader,
    rest: u64,
    share: Share,
) -> impl stream::Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(
        (content, rest, share),
        |(mut content, rest, share)| async move {
            if rest == 0 {
                return Ok(None);
            }
            let most = share.size(PIECE);
            let (content, piece) = tokio::task::spawn_blocking(move || {
                let piece = read_piece(&mut content, rest, most)?;
                io::Result::Ok((content, piece))
            })
            .await
            .map_err(io::Error::other)??;
            let rest = rest - piece.len() as u64;
            Ok(Some((piece, (content, rest, share))))
        },
    )
}

/// Reads a piece of at most `rest` and `most` bytes. Content that ends before that is an error, which breaks
/// the connection off: the client must not take what it got for the whole.
fn read_piece(content: &mut BlobReader, rest: u64, most: usize) -> io::Result<Bytes> {
    let wanted = usize::try_from(rest).unwrap_or(most).min(most);
    let piece = content.read_bytes(wanted)?;
    if piece.is_empty() && wanted > 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the blob's content ends too early",
        ));
    }
    Ok(piece)
}

/// The range that the client asks for, unless it asks on the condition of another content.
fn wanted_range<'a>(request: &'a HeaderMap, digest: &Digest) -> Option<&'a str> {
    let range = request.get(header::RANGE)?.to_str().ok()?;
    match request.get(header::IF_RANGE) {
        Some(condition) if condition.as_bytes() != conditions::entity_tag(digest).as_bytes() => {
            None
        }
        _ => Some(range),
    }
}

fn headers(digest: &Digest, length: u64) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, header_value(&conditions::entity_tag(digest))?);
    headers.insert(DOCKER_CONTENT_DIGEST, header_value(digest.as_str())?);
    Ok(headers)
}
