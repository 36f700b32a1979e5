//! Writing a layer: tar, gzip, two digests and the upload in one stream.
//!
//! The same changes give the same bytes on every machine and at any time: entries are sorted, the
//! time of every one is the epoch, the gzip header carries neither time, name nor system, and the
//! compressor and its level are fixed.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use peak_oci::{Algorithm, Digest, Hasher};
use peak_registry_server::{Repository, Upload};
use tar::{EntryType, Header};

use super::contents::Contents;
use super::error::BuildError;
use super::stop::Stop;
use super::tree::{Content, Kind, Node};

/// The level of compression; part of what makes a layer's digest.
const LEVEL: u32 = 6;

/// "Unknown" as the system in a gzip header.
const UNKNOWN_SYSTEM: u8 = 255;

/// How much is compressed and written at a time, in bytes.
const BUFFER: usize = 64 * 1024;

/// The mode of symbolic links, whose own is never used.
const LINK_MODE: u32 = 0o777;

/// A layer that is written but not yet part of its repository.
#[derive(Debug)]
pub(crate) struct PendingLayer {
    upload: Upload,
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Of the tar.
    pub diff_id: Digest,
    /// Of the compressed form, in bytes.
    pub size: u64,
}

impl PendingLayer {
    /// Makes the layer part of its repository.
    pub(crate) fn publish(self) -> Result<(), BuildError> {
        self.upload
            .finish(&self.digest)
            .map_err(BuildError::store("write a layer to"))?;
        Ok(())
    }
}

/// Counts and hashes what it passes on.
struct Hashing<W> {
    inner: W,
    hasher: Hasher,
    count: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Hasher::new(Algorithm::Sha256),
            count: 0,
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

type Compressed = BufWriter<Hashing<Upload>>;
type Plain = BufWriter<Hashing<GzEncoder<Compressed>>>;

/// Writes a layer with these entries. The contents of all files must be on disk.
pub(crate) fn write(
    entries: &BTreeMap<String, Node>,
    contents: &Contents,
    repository: &Repository,
    stop: Stop<'_>,
) -> Result<PendingLayer, BuildError> {
    let upload = repository
        .new_upload()
        .map_err(BuildError::store("start a layer in"))?;
    let compressed = BufWriter::with_capacity(BUFFER, Hashing::new(upload));
    let encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(UNKNOWN_SYSTEM)
        .write(compressed, Compression::new(LEVEL));
    let plain = BufWriter::with_capacity(BUFFER, Hashing::new(encoder));
    let mut archive = tar::Builder::new(plain);
    for (path, node) in entries {
        stop.check()?;
        append(&mut archive, path, node, contents, stop)?;
    }
    finish(archive).map_err(BuildError::disk("write a layer"))
}

/// Writes one entry. The content of a file must be on disk.
pub(crate) fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    node: &Node,
    contents: &Contents,
    stop: Stop<'_>,
) -> Result<(), BuildError> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(u64::from(node.owner.user));
    header.set_gid(u64::from(node.owner.group));
    header.set_mode(node.mode);
    header.set_size(0);
    let written = match &node.kind {
        Kind::Directory => {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Kind::Symlink { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(LINK_MODE);
            archive.append_link(&mut header, path, target)
        }
        Kind::File {
            size,
            content: Content::Disk(number),
        } => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(*size);
            let file = contents
                .open(*number)
                .map_err(BuildError::disk("read an unpacked file"))?;
            let mut reader = stop.watch(file);
            let written = archive.append_data(&mut header, path, &mut reader);
            if written.is_ok() && reader.count() != *size {
                Err(io::Error::other("an unpacked file changed its size"))
            } else {
                written
            }
        }
        Kind::File {
            content: Content::Layer { .. },
            ..
        }
        | Kind::Special => Err(io::Error::other(format!("{path:?} has no content at hand"))),
    };
    stop.check()?;
    written.map_err(BuildError::disk("write a layer"))
}

fn finish(archive: tar::Builder<Plain>) -> io::Result<PendingLayer> {
    let plain = archive
        .into_inner()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    let diff_id = plain.hasher.finish();
    let compressed = plain
        .inner
        .finish()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok(PendingLayer {
        upload: compressed.inner,
        digest: compressed.hasher.finish(),
        diff_id,
        size: compressed.count,
    })
}
