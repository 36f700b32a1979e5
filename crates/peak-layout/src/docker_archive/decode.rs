//! Layers as they were before they were compressed.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use flate2::write::MultiGzDecoder;
use peak_oci::{Algorithm, Digest, Hasher};
use zstd::stream::raw::{self, InBuffer, Operation, OutBuffer};

use crate::LayoutError;
use crate::positioned;
use crate::tar::BEGINNING;

/// How a layer may be compressed, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    pub(super) fn of(beginning: &[u8]) -> Option<Self> {
        if beginning.starts_with(b"\x1f\x8b") {
            Some(Self::Gzip)
        } else if beginning.starts_with(b"\x28\xb5\x2f\xfd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

/// Bytes that zstd may look back, as a power of two: what its own tools accept unasked, 128 MiB.
const ZSTD_WINDOW: u32 = 27;
/// Bytes that come out of zstd at a time.
const ZSTD_PIECE: usize = 128 * 1024;

/// Why a layer cannot be decompressed.
#[derive(Debug)]
pub(super) enum DecodeError {
    /// The bytes are not what they began as.
    Corrupt(io::Error),
    /// There is no end to it.
    TooLarge,
    /// The disk failed.
    Write(io::Error),
}

impl DecodeError {
    /// What it means for the layer `digest`, which may have `limit` bytes in `path`.
    pub(super) fn of_layer(self, digest: &Digest, limit: u64, path: &Path) -> LayoutError {
        let digest = digest.clone();
        match self {
            Self::Corrupt(source) => LayoutError::Compression { digest, source },
            Self::TooLarge => LayoutError::Expansion { digest, limit },
            Self::Write(source) => LayoutError::writing(path)(source),
        }
    }
}

/// The uncompressed layer: hashed and written where it belongs.
struct Output {
    file: Arc<File>,
    position: u64,
    size: u64,
    limit: u64,
    /// None where the layer comes as it is and is hashed elsewhere.
    hasher: Option<Hasher>,
    /// Why it takes no more, as the decoders pass on only that something failed.
    failure: Option<DecodeError>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.limit {
            self.failure = Some(DecodeError::TooLarge);
            return Err(io::ErrorKind::Other.into());
        }
        if let Err(error) = positioned::write(&self.file, bytes, self.position) {
            self.failure = Some(DecodeError::Write(error));
            return Err(io::ErrorKind::Other.into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.size = size;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decompresses a layer while it comes, and writes it.
pub(super) struct Decoder {
    /// The first bytes, until there are enough of them.
    beginning: Option<Vec<u8>>,
    kind: Kind,
}

enum Kind {
    Plain(Box<Output>),
    Gzip(Box<MultiGzDecoder<Output>>),
    Zstd(Box<Zstd>),
    /// Between two of the others.
    Nothing,
}

struct Zstd {
    decoder: raw::Decoder<'static>,
    piece: Vec<u8>,
    /// Whether what came so far is whole.
    is_whole: bool,
    output: Output,
}

impl Decoder {
    /// A layer that goes to `position` of the file and may have `limit` bytes.
    ///
    /// `is_hashed` says that whoever writes computes the SHA-256 of what comes; then that need not be done twice.
    pub(super) fn new(file: Arc<File>, position: u64, limit: u64, is_hashed: bool) -> Self {
        Self {
            beginning: Some(Vec::new()),
            kind: Kind::Plain(Box::new(Output {
                file,
                position,
                size: 0,
                limit,
                hasher: (!is_hashed).then(|| Hasher::new(Algorithm::Sha256)),
                failure: None,
            })),
        }
    }

    /// Takes compressed bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if let Some(beginning) = &mut self.beginning {
            beginning.extend_from_slice(bytes);
            if beginning.len() < BEGINNING {
                return Ok(());
            }
            return self.begin();
        }
        self.kind.write(bytes)
    }

    fn begin(&mut self) -> Result<(), DecodeError> {
        let beginning = self.beginning.take().unwrap_or_default();
        if let Some(compression) = Compression::of(&beginning)
            && let Kind::Plain(mut output) = std::mem::replace(&mut self.kind, Kind::Nothing)
        {
            output.hasher = Some(Hasher::new(Algorithm::Sha256));
            self.kind = match compression {
                Compression::Gzip => Kind::Gzip(Box::new(MultiGzDecoder::new(*output))),
                Compression::Zstd => Kind::Zstd(Box::new(Zstd::new(*output)?)),
            };
        }
        self.kind.write(&beginning)
    }

    /// The SHA-256 digest and the size of the uncompressed layer; no digest where that of what came
    /// is the same, and known.
    pub(super) fn finish(mut self) -> Result<(Option<Digest>, u64), DecodeError> {
        if self.beginning.is_some() {
            self.begin()?;
        }
        let output = match self.kind {
            Kind::Plain(output) => *output,
            Kind::Gzip(mut decoder) => {
                if let Err(error) = decoder.try_finish() {
                    return Err(failed(decoder.get_mut(), error));
                }
                decoder.finish().map_err(DecodeError::Corrupt)?
            }
            Kind::Zstd(zstd) if zstd.is_whole => zstd.output,
            Kind::Zstd(_) | Kind::Nothing => {
                return Err(DecodeError::Corrupt(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        Ok((output.hasher.map(Hasher::finish), output.size))
    }
}

impl Kind {
    fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        match self {
            Self::Plain(output) => output
                .write_all(bytes)
                .map_err(|error| failed(output, error)),
            Self::Gzip(decoder) => decoder
                .write_all(bytes)
                .map_err(|error| failed(decoder.get_mut(), error)),
            Self::Zstd(zstd) => zstd.write(bytes),
            Self::Nothing => Err(DecodeError::Corrupt(io::ErrorKind::InvalidData.into())),
        }
    }
}

impl Zstd {
    fn new(output: Output) -> Result<Self, DecodeError> {
        let mut decoder = raw::Decoder::new().map_err(DecodeError::Corrupt)?;
        decoder
            .set_parameter(raw::DParameter::WindowLogMax(ZSTD_WINDOW))
            .map_err(DecodeError::Corrupt)?;
        Ok(Self {
            decoder,
            piece: vec![0; ZSTD_PIECE],
            is_whole: false,
            output,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut input = InBuffer::around(bytes);
        loop {
            if self.is_whole {
                if input.pos() == bytes.len() {
                    return Ok(());
                }
                // Several frames are read as one.
                self.decoder.reinit().map_err(DecodeError::Corrupt)?;
            }
            let mut piece = OutBuffer::around(self.piece.as_mut_slice());
            let wanted = self
                .decoder
                .run(&mut input, &mut piece)
                .map_err(DecodeError::Corrupt)?;
            self.is_whole = wanted == 0;
            let count = piece.pos();
            let made = self.piece.get(..count).unwrap_or_default();
            if let Err(error) = self.output.write_all(made) {
                return Err(failed(&mut self.output, error));
            }
            // A piece that is not full says that there is no more to come from what went in.
            if input.pos() == bytes.len() && count < self.piece.len() {
                return Ok(());
            }
        }
    }
}

/// What really happened: the output knows better than the decoder before it.
fn failed(output: &mut Output, error: io::Error) -> DecodeError {
    output.failure.take().unwrap_or(DecodeError::Corrupt(error))
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Decoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    /// Decodes what comes in pieces of this size; says the digest, the size and what was written.
    fn decode(bytes: &[u8], piece: usize) -> Result<(Digest, u64, Vec<u8>), DecodeError> {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut decoder = Decoder::new(Arc::clone(&file), 7, 1 << 20, false);
        for piece in bytes.chunks(piece) {
            decoder.write(piece)?;
        }
        let (digest, size) = decoder.finish()?;
        let mut written = vec![0; usize::try_from(size).unwrap()];
        assert_eq!(
            positioned::read(&file, &mut written, 7).unwrap(),
            written.len()
        );
        Ok((digest.unwrap(), size, written))
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_layer_in_any_pieces_and_of_several_streams_is_what_it_was(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..300),
                    (any::<u8>(), 0..200_000_usize).prop_map(|(byte, size)| vec![byte; size]),
                ],
                1..4,
            ),
            piece in prop_oneof![1..9_usize, Just(100_000)],
        ) {
            let whole = parts.concat();
            let gzipped: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            let frames: Vec<u8> = parts
                .iter()
                .flat_map(|part| zstd::encode_all(part.as_slice(), 1).unwrap())
                .collect();
            for compressed in [gzipped, frames] {
                let (digest, size, written) = decode(&compressed, piece).unwrap();
                prop_assert_eq!(&digest, &Digest::sha256_of(&whole));
                prop_assert_eq!(size, whole.len() as u64);
                prop_assert!(written == whole);
                // Cut off anywhere in its last stream it is no layer.
                let cut = &compressed[..compressed.len() - 1];
                prop_assert!(matches!(decode(cut, piece), Err(DecodeError::Corrupt(_))));
            }
        }
    }

    #[test]
    fn a_layer_may_be_shorter_than_what_tells_its_compression() {
        for content in [&b""[..], b"a", b"abc", b"\x1f", b"\x28\xb5\x2f"] {
            let (digest, ..) = decode(content, 1).unwrap();
            assert_eq!(digest, Digest::sha256_of(content));
        }
    }

    #[test]
    fn more_than_is_allowed_is_not_written() {
        let nothing = vec![0; (1 << 20) + 1];
        for bytes in [
            gzip(&nothing),
            zstd::encode_all(nothing.as_slice(), 1).unwrap(),
            nothing,
        ] {
            let refused = decode(&bytes, 1000);
            assert!(matches!(refused, Err(DecodeError::TooLarge)));
        }
    }
}
