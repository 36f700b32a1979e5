//! What holds for any archive: the bodies of fuzz targets (docs/fuzzing.md). No part of the interface.

use std::io::Write as _;
use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::stream;
use peak_oci::{BlobStream, ContentError, ContentErrorKind, Source, ValidationReport, validate};
use tokio::runtime::Runtime;

use crate::tar::{StreamEntry, TarStream};
use crate::{DockerArchive, DockerArchiveStream};

static RUNTIME: LazyLock<Option<Runtime>> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().ok());

/// An archive as `docker save` writes it: read as a stream, what is in it does not depend on how it is cut, and is what
/// the same archive has as a file.
pub fn docker_archive(data: &[u8]) {
    let Some(runtime) = &*RUNTIME else {
        return;
    };
    let bytes = Bytes::copy_from_slice(data);
    let sizes = [data.len().max(1), 511, 4096];
    let [whole, small, large] = sizes.map(|size| runtime.block_on(entries(&bytes, size)));
    assert_eq!(whole, small, "cut in small pieces");
    assert_eq!(whole, large, "cut in large pieces");
    let total: u64 = whole.entries.iter().map(|(_, size)| *size).sum();
    assert!(total <= data.len() as u64, "no more comes than there is");
    let [whole, small, large] =
        sizes.map(|size| runtime.block_on(content(&stream_of(&bytes, size))));
    assert_eq!(whole, small, "cut in small pieces");
    assert_eq!(whole, large, "cut in large pieces");
    let Ok(mut file) = tempfile::NamedTempFile::new() else {
        return;
    };
    if file.write_all(data).is_err() {
        return;
    }
    let from_file = match DockerArchive::open(file.path(), None) {
        Ok(archive) => runtime.block_on(content(&archive)),
        Err(error) => Err(ContentError::from(error).kind()),
    };
    if let (Ok(file), Ok(stream)) = (&from_file, &whole) {
        assert_eq!(file, stream, "as a file");
    }
    assert_eq!(from_file.is_ok(), whole.is_ok(), "{from_file:?}, {whole:?}");
}

#[derive(Debug, PartialEq)]
struct Entries {
    entries: Vec<(StreamEntry, u64)>,
    /// What ended the reading, if it was an error.
    error: Option<String>,
}

/// Each entry, and how much of its content came.
async fn entries(bytes: &Bytes, size: usize) -> Entries {
    let mut tar = TarStream::new(pieces(bytes, size));
    let mut entries = Vec::new();
    let error = loop {
        let entry = match tar.next().await {
            Ok(Some(entry)) => entry,
            Ok(None) => break None,
            Err(error) => break Some(format!("{error:?}")),
        };
        let mut came = 0;
        let error = loop {
            match tar.piece().await {
                Ok(Some(piece)) => came += piece.len() as u64,
                Ok(None) => break None,
                Err(error) => break Some(format!("{error:?}")),
            }
        };
        if let (StreamEntry::File { size, .. }, None) = (&entry, &error) {
            assert_eq!(came, *size);
        }
        entries.push((entry, came));
        if error.is_some() {
            break error;
        }
    };
    Entries { entries, error }
}

fn stream_of(bytes: &Bytes, size: usize) -> DockerArchiveStream {
    let bytes = bytes.clone();
    DockerArchiveStream::new("archive.tar", None, move || {
        let bytes = bytes.clone();
        Box::pin(async move { Ok(pieces(&bytes, size)) })
    })
}

fn pieces(bytes: &Bytes, size: usize) -> BlobStream {
    let pieces: Vec<_> = bytes
        .chunks(size)
        .map(|piece| Ok(bytes.slice_ref(piece)))
        .collect();
    Box::pin(stream::iter(pieces))
}

async fn content(source: &dyn Source) -> Result<ValidationReport, ContentErrorKind> {
    validate(source, None).await.map_err(|error| error.kind())
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("docker_archive", super::docker_archive);
    }
}
