//! An archive that streams by and cannot be read again.

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use peak_oci::{BlobStream, ContentError};

use super::walk::{ExtensionKind, Step, Walk, not_tar};
use super::{BLOCK, BLOCK_SIZE};
use crate::archive_error::ArchiveError;

/// How much is read behind the end of an archive, so that whoever sends it can come to its end, in bytes.
const MAX_TRAILER: usize = 1024 * 1024;

/// Why an archive cannot be read on.
#[derive(Debug)]
pub(crate) enum TarStreamError {
    /// What came is no archive of images.
    Archive(ArchiveError),
    /// Whatever it comes from failed.
    Input(ContentError),
}

impl From<ArchiveError> for TarStreamError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// An entry that streams by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamEntry {
    /// A file of `size` bytes; [`TarStream::piece`] has its content.
    File { name: String, size: u64 },
    /// A link, and where it leads.
    Link {
        name: String,
        target: Option<String>,
    },
}

/// Reads an archive while it comes: nothing of it is kept.
pub(crate) struct TarStream {
    input: BlobStream,
    /// What has come and was not read.
    waiting: Bytes,
    walk: Walk,
    /// How many bytes were read.
    position: u64,
    /// How many bytes of the entry's content are still to come.
    content: u64,
    /// How many bytes fill its last block.
    filling: u64,
    is_over: bool,
}

impl TarStream {
    pub(crate) fn new(input: BlobStream) -> Self {
        Self {
            input,
            waiting: Bytes::new(),
            walk: Walk::default(),
            position: 0,
            content: 0,
            filling: 0,
            is_over: false,
        }
    }

    /// Where the content of the entry begins, just after [`next`](Self::next) has given a file.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next file or link; `None` at the end. What was not read of the entry before is skipped.
    pub(crate) async fn next(&mut self) -> Result<Option<StreamEntry>, TarStreamError> {
        while !self.is_over {
            while self.piece().await?.is_some() {}
            self.skip_filling().await?;
            let at = self.position;
            let block = self.block().await?;
            match self.walk.block(&block, at)? {
                Step::End => {
                    self.is_over = true;
                    self.end().await?;
                }
                Step::Folder => {}
                Step::Extension(kind, size) => self.extension(kind, size, at).await?,
                Step::File(name, size) => {
                    self.follows(size);
                    return Ok(Some(StreamEntry::File { name, size }));
                }
                Step::Link(name, target) => return Ok(Some(StreamEntry::Link { name, target })),
            }
        }
        Ok(None)
    }

    /// More of the content of the file that [`next`](Self::next) gave; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, TarStreamError> {
        if self.content == 0 {
            return Ok(None);
        }
        self.wait_for_some().await?;
        let count = usize::try_from(self.content)
            .unwrap_or(usize::MAX)
            .min(self.waiting.len());
        let piece = self.waiting.split_to(count);
        self.content -= count as u64;
        self.position += count as u64;
        Ok(Some(piece))
    }

    /// So many bytes of content follow.
    fn follows(&mut self, size: u64) {
        self.content = size;
        self.filling = (BLOCK - size % BLOCK) % BLOCK;
    }

    async fn extension(
        &mut self,
        kind: ExtensionKind,
        size: usize,
        at: u64,
    ) -> Result<(), TarStreamError> {
        self.follows(size as u64);
        let mut content = Vec::with_capacity(size);
        while let Some(piece) = self.piece().await? {
            content.extend_from_slice(&piece);
        }
        Ok(self.walk.extend(kind, content, at)?)
    }

    async fn block(&mut self) -> Result<[u8; BLOCK_SIZE], TarStreamError> {
        let mut block = [0; BLOCK_SIZE];
        let mut filled = 0;
        while filled < BLOCK_SIZE {
            if !self.has_some().await? {
                return Err(TarStreamError::Archive(if self.position < BLOCK {
                    not_tar(&block)
                } else {
                    ArchiveError::Truncated
                }));
            }
            let count = self.waiting.len().min(BLOCK_SIZE - filled);
            if let Some(place) = block.get_mut(filled..filled + count) {
                self.waiting.copy_to_slice(place);
            }
            filled += count;
            self.position += count as u64;
        }
        Ok(block)
    }

    async fn skip_filling(&mut self) -> Result<(), TarStreamError> {
        while self.filling > 0 {
            self.wait_for_some().await?;
            let count = usize::try_from(self.filling)
                .unwrap_or(usize::MAX)
                .min(self.waiting.len());
            self.waiting.advance(count);
            self.filling -= count as u64;
            self.position += count as u64;
        }
        Ok(())
    }

    /// After one empty block there is another or nothing. What follows both is not looked at, as `tar` does it.
    async fn end(&mut self) -> Result<(), TarStreamError> {
        if !self.has_some().await? {
            return Ok(());
        }
        let at = self.position;
        if !self.block().await?.iter().all(|byte| *byte == 0) {
            return Err(ArchiveError::Header { offset: at }.into());
        }
        let mut trailer = self.waiting.len();
        while trailer < MAX_TRAILER
            && let Some(Ok(piece)) = self.input.next().await
        {
            trailer += piece.len();
        }
        Ok(())
    }

    async fn wait_for_some(&mut self) -> Result<(), TarStreamError> {
        if self.has_some().await? {
            Ok(())
        } else {
            Err(ArchiveError::Truncated.into())
        }
    }

    /// Waits for bytes to come; whether any did.
    async fn has_some(&mut self) -> Result<bool, TarStreamError> {
        while self.waiting.is_empty() {
            match self.input.next().await {
                Some(piece) => self.waiting = piece.map_err(TarStreamError::Input)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl std::fmt::Debug for TarStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TarStream")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
