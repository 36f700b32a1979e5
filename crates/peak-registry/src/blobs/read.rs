//! Opening blobs: in one piece, or in several ranges at once.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use peak_oci::{BlobRead, ContentError, Descriptor};

use super::part::{Broken, Opened, Part};
use super::ranges;
use super::side_by_side::{self, SideBySide};
use crate::{RegistryError, Repository};

/// Opens `descriptor`'s blob at `offset`, as a stream that goes on by itself when it is cut off.
pub(crate) async fn open(
    repository: Repository,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<BlobRead, RegistryError> {
    let size = descriptor.size;
    if offset > size {
        return Err(repository.unusable("a blob cannot be read from behind its end"));
    }
    if offset > 0 && offset == size {
        // All of it is there already, and no range can say "nothing".
        return Ok(read(offset, size, stream::empty()));
    }
    if let Some(embedded) = embedded(descriptor, offset) {
        return Ok(read(offset, size, stream::iter([Ok(embedded)])));
    }
    let lanes = repository.connection().lanes();
    let options = lanes.ranges;
    let lanes = lanes.of(repository.registry());
    let lane = ranges::take(&lanes);
    let range = if options.are_for(size - offset) {
        side_by_side::first(descriptor, offset)
    } else {
        offset..size
    };
    let Opened { part, knows_ranges } =
        Part::open(repository.clone(), descriptor.clone(), range).await?;
    let start = part.start();
    Ok(if knows_ranges && part.end() < size {
        let parts = SideBySide::new(repository, descriptor.clone(), part, options, lanes, lane);
        read(start, size, parts)
    } else {
        // The lane is taken for as long as something comes through it.
        let frames = part.frames().map(move |frame| {
            let _ = &lane;
            frame.map_err(Broken::into_error)
        });
        read(start, size, frames)
    })
}

fn read(
    offset: u64,
    size: u64,
    frames: impl Stream<Item = Result<Bytes, RegistryError>> + Send + 'static,
) -> BlobRead {
    let frames = frames.map(|frame| frame.map_err(ContentError::from));
    BlobRead::new(offset, Some(size), Box::pin(frames))
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
