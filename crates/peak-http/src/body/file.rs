//! A file as a stream of exactly as many bytes as were promised.

use std::io::{self, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::error::{Error, ErrorKind};

/// Bytes read at a time: large enough to keep system calls few, small enough for many uploads at once.
const CHUNK: usize = 64 * 1024;

enum Reader {
    Unopened {
        path: Arc<Path>,
        length: u64,
        offset: u64,
    },
    Open {
        file: File,
        path: Arc<Path>,
        remaining: u64,
    },
}

/// The bytes of the regular file at `path` from `offset` on. The file must be `length` bytes long, when it is opened
/// and still when the last byte is read.
pub(crate) fn read(
    path: Arc<Path>,
    length: u64,
    offset: u64,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let start = Reader::Unopened {
        path,
        length,
        offset,
    };
    stream::try_unfold(start, |reader| async move {
        let (mut file, path, remaining) = match reader {
            Reader::Unopened {
                path,
                length,
                offset,
            } => {
                let file = open(&path, length, offset).await?;
                (file, path, length.saturating_sub(offset))
            }
            Reader::Open {
                file,
                path,
                remaining,
            } => (file, path, remaining),
        };
        if remaining == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(remaining).unwrap_or(CHUNK).min(CHUNK);
        let mut buffer = BytesMut::with_capacity(wanted);
        let mut limited = (&mut file).take(u64::try_from(wanted).unwrap_or(u64::MAX));
        let count = limited
            .read_buf(&mut buffer)
            .await
            .map_err(|source| failed(&path, source))?;
        if count == 0 {
            return Err(changed(&path));
        }
        let remaining = remaining.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        if remaining == 0 {
            // Looked at before the last bytes go out: afterwards the request would be complete.
            let mut beyond = [0_u8; 1];
            let more = file
                .read(&mut beyond)
                .await
                .map_err(|source| failed(&path, source))?;
            if more > 0 {
                return Err(changed(&path));
            }
        }
        let next = Reader::Open {
            file,
            path,
            remaining,
        };
        Ok(Some((buffer.freeze(), next)))
    })
}

async fn open(path: &Path, length: u64, offset: u64) -> Result<File, Error> {
    let mut file = File::open(path)
        .await
        .map_err(|source| failed(path, source))?;
    let metadata = file
        .metadata()
        .await
        .map_err(|source| failed(path, source))?;
    if !metadata.is_file() {
        return Err(Error::new(
            ErrorKind::Body,
            format!("{} is not a regular file", path.display()),
        ));
    }
    if metadata.len() != length {
        return Err(changed(path));
    }
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))
            .await
            .map_err(|source| failed(path, source))?;
    }
    Ok(file)
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::new(
        ErrorKind::Body,
        format!("the file {} could not be read", path.display()),
    )
    .with_source(source)
}

fn changed(path: &Path) -> Error {
    Error::new(
        ErrorKind::Body,
        format!(
            "the file {} changed its size; nothing was completed, try again",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    async fn all(path: &Path, length: u64, offset: u64) -> Result<Vec<u8>, Error> {
        let mut stream = Box::pin(read(path.into(), length, offset));
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn large_files_come_whole_and_from_any_offset() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        let content: Vec<u8> = (0..CHUNK * 3 + 17)
            .map(|index| u8::try_from(index % 251).unwrap())
            .collect();
        std::fs::write(&path, &content).unwrap();
        for offset in [0, 1, CHUNK, content.len() - 1, content.len()] {
            let read = all(&path, content.len() as u64, offset as u64)
                .await
                .unwrap();
            assert!(read == content[offset..], "from {offset}");
        }
    }

    #[tokio::test]
    async fn a_file_of_another_size_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "hello").unwrap();
        for length in [0, 4, 6] {
            let result = all(&path, length, 0).await;
            assert_eq!(result.is_err(), length != 5, "{length}");
        }
        assert!(all(directory.path(), 5, 0).await.is_err());
        assert!(all(&directory.path().join("none"), 5, 0).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_changes_while_it_is_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for (new_length, chunks_before) in [(CHUNK as u64, 1), (CHUNK as u64 * 3, 1)] {
            let path = directory.path().join("file");
            std::fs::write(&path, vec![1_u8; CHUNK * 2]).unwrap();
            let mut stream = Box::pin(read(path.as_path().into(), CHUNK as u64 * 2, 0));
            for _ in 0..chunks_before {
                stream.next().await.unwrap().unwrap();
            }
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(new_length).unwrap();
            let mut outcome = Ok(());
            while let Some(chunk) = stream.next().await {
                outcome = chunk.map(|_| ());
            }
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Body);
        }
    }
}
