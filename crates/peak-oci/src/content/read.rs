//! Reading whole blobs.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};

use super::{BlobRead, BlobStream, ContentError, ContentErrorKind, Source};
use crate::descriptor::Descriptor;
use crate::verify::Verifier;

/// The next piece of a stream.
pub(super) async fn next(stream: &mut BlobStream) -> Option<Result<Bytes, ContentError>> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

/// Reads a small blob, such as a config, into memory and verifies it. Embedded `data` is used where there is some.
///
/// # Errors
/// [`ContentErrorKind::Invalid`] when the descriptor's size is over `limit` bytes (nothing is then read),
/// [`ContentErrorKind::Integrity`] when the bytes are not those of the descriptor, and what the source says.
pub async fn read_verified(
    source: &dyn Source,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Bytes, ContentError> {
    if descriptor.size > limit {
        return Err(ContentError::new(
            ContentErrorKind::Invalid,
            format!(
                "{} has {} bytes; at most {limit} are read into memory",
                descriptor.digest, descriptor.size
            ),
        ));
    }
    if let Some(data) = descriptor.embedded()? {
        return Ok(data.clone());
    }
    let mut bytes = BytesMut::new();
    stream_verified(source, descriptor, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })
    .await?;
    Ok(bytes.freeze())
}

/// Reads a blob from its beginning, hands out its bytes piece by piece, and verifies the whole. No piece goes beyond the
/// size of the descriptor.
///
/// **What was handed out is the blob only when this has ended well**: nobody should see it before.
///
/// # Errors
/// [`ContentErrorKind::Integrity`] when the bytes are not those of the descriptor, what the source says, and what `take`
/// says, which ends the reading.
pub async fn stream_verified(
    source: &dyn Source,
    descriptor: &Descriptor,
    mut take: impl FnMut(&[u8]) -> Result<(), ContentError> + Send,
) -> Result<(), ContentError> {
    let BlobRead {
        offset,
        size,
        mut stream,
    } = source.blob(descriptor, 0).await?;
    if offset != 0 {
        return Err(ContentError::new(
            ContentErrorKind::Invalid,
            format!(
                "the source opened {} at byte {offset} instead of its beginning",
                descriptor.digest
            ),
        ));
    }
    if let Some(size) = size.filter(|size| *size != descriptor.size) {
        return Err(ContentError::new(
            ContentErrorKind::Integrity,
            format!(
                "{} has {size} bytes at the source but {} in its descriptor",
                descriptor.digest, descriptor.size
            ),
        ));
    }
    let mut verifier = Verifier::for_descriptor(descriptor);
    while let Some(piece) = next(&mut stream).await {
        let piece = piece?;
        verifier.update(&piece)?;
        take(&piece)?;
    }
    verifier.finish()?;
    Ok(())
}
