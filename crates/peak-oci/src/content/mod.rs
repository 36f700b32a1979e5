//! What every end of a transfer implements: sources of content and sinks for it.
//!
//! There is no runtime in here. Futures are boxed so that ends can be chosen at run time.

mod error;
mod read;
mod take;
mod validate;

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;

pub use error::{ContentError, ContentErrorKind};
pub use read::{read_verified, stream_verified};
pub use take::{BlobEvent, BlobListener, BlobOutcome, TakeError, open_blob};
pub use validate::{MAX_INDEX_DEPTH, ValidationReport, validate};

use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::raw::Raw;
use crate::reference::{RepositoryName, Selector, Tag};

/// A boxed future that may borrow for `'a`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tags, one by one as they are asked for.
pub type TagStream<'a> = Pin<Box<dyn Stream<Item = Result<Tag, ContentError>> + Send + 'a>>;

/// Most referrers that a source lists for one manifest.
pub const MAX_REFERRERS: usize = 1000;

/// The bytes of a blob, in pieces of any size.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, ContentError>> + Send>>;

/// A blob that is being read. Its bytes are not verified yet; see [`crate::Verifier`].
#[non_exhaustive]
pub struct BlobRead {
    /// Where the stream really starts, in bytes: the offset that was asked for, or 0 where the source cannot skip.
    pub offset: u64,
    /// The size of the whole blob in bytes, if the source knows it.
    pub size: Option<u64>,
    /// The bytes from `offset` to the end.
    pub stream: BlobStream,
}

impl BlobRead {
    /// A read that starts at `offset` of a blob of `size` bytes.
    pub fn new(offset: u64, size: Option<u64>, stream: BlobStream) -> Self {
        Self {
            offset,
            size,
            stream,
        }
    }
}

impl fmt::Debug for BlobRead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BlobRead")
            .field("offset", &self.offset)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// An end that content is read from: one repository, one layout directory, one archive.
pub trait Source: Send + Sync {
    /// A manifest with its bytes. `None` means the only or the default one.
    ///
    /// Asked for by digest, the answer is verified against it.
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>>;

    /// Opens a blob at an offset in bytes. What comes is not verified.
    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>>;

    /// The repository that this is, where it is one: registry and name. A sink at the same registry may then mount blobs
    /// from there without moving them.
    ///
    /// A source that does not override this is none.
    fn repository(&self) -> Option<(&str, &RepositoryName)> {
        None
    }

    /// The order in which blobs are best asked for, one after another, where this is not all the same: those of an
    /// archive that streams by. Those that it does not name are at hand at any time. It is known when the manifest is.
    ///
    /// A blob asked for out of this order, or while another one is being read, comes as well, but later.
    /// A source that does not override this gives blobs in any order, and several at once.
    fn blob_order(&self) -> Option<Vec<Digest>> {
        None
    }

    /// The size of a blob in bytes, for manifests that do not say it: those of Docker's schema 1.
    ///
    /// A source that does not override this says [`ContentErrorKind::Unsupported`].
    fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
        Box::pin(async move {
            Err(ContentError::new(
                ContentErrorKind::Unsupported,
                format!(
                    "this source cannot tell the size of {digest}, which its manifest does not say"
                ),
            ))
        })
    }

    /// The digest of a manifest, `None` where there is no such manifest. Cheaper than reading it, where that can be.
    fn manifest_digest<'a>(
        &'a self,
        selector: &'a Selector,
    ) -> BoxFuture<'a, Result<Option<Digest>, ContentError>> {
        Box::pin(async move {
            match self.manifest(Some(selector)).await {
                Ok(manifest) => Ok(Some(manifest.digest().clone())),
                Err(error) if error.kind() == ContentErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// The tags of all images here. The stream ends after the first error.
    ///
    /// A source that does not override this says [`ContentErrorKind::Unsupported`].
    fn tags(&self) -> TagStream<'_> {
        let error = ContentError::new(
            ContentErrorKind::Unsupported,
            "this source cannot list its tags",
        );
        Box::pin(take::Once(Some(Err(error))))
    }

    /// The manifests here whose `subject` has this digest: signatures, attestations and the like. At most
    /// [`MAX_REFERRERS`]; where there are more, that is an error.
    ///
    /// A source that does not override this knows of none.
    fn referrers<'a>(
        &'a self,
        _subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, ContentError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// Where a manifest stands in what is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// An index points to it; it is not visible by itself.
    Child,
    /// It is what the whole is about: putting it makes everything visible.
    Root {
        /// The tag it gets, if any.
        tag: Option<Tag>,
    },
}

/// An end that content is written to.
///
/// Blobs come in by [`take_blob`](Sink::take_blob). A sink implements either that, or [`blob_writer`](Sink::blob_writer)
/// where it is enough for it to be given all bytes once and in order.
pub trait Sink: Send + Sync {
    /// Is told what will come, before any of it is moved: the manifest that will become visible, and the blobs below it,
    /// each once, in the order in which they are named.
    ///
    /// Here a sink may lay out where things go. Nothing becomes visible. A sink that does not override this takes
    /// things as they come; whoever writes to it without saying so beforehand may do that. What it cannot hold it says
    /// in [`holds`](Sink::holds), for which nothing is written.
    fn prepare<'a>(
        &'a self,
        root: &'a Raw<Manifest>,
        blobs: &'a [Descriptor],
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        let _ = (root, blobs);
        Box::pin(async { Ok(()) })
    }

    /// Whether the blob is there already, complete and verified.
    fn has_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<bool, ContentError>>;

    /// Starts, or goes on with, writing a blob.
    ///
    /// A sink that does not override this says [`ContentErrorKind::Unsupported`]: it has to be able to open the source
    /// again, and takes blobs by [`take_blob`](Sink::take_blob) only.
    fn blob_writer<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, ContentError>> {
        Box::pin(async move {
            Err(ContentError::new(
                ContentErrorKind::Unsupported,
                format!(
                    "{} cannot be written here piece by piece, but only taken from a source",
                    descriptor.digest
                ),
            ))
        })
    }

    /// Takes a blob from a source, unless it is there already. It is verified before it becomes visible.
    ///
    /// Without an override it asks [`has_blob`](Sink::has_blob) and writes through
    /// [`blob_writer`](Sink::blob_writer). Dropping the future leaves nothing visible.
    fn take_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        source: &'a dyn Source,
        listener: &'a BlobListener<'a>,
    ) -> BoxFuture<'a, Result<BlobOutcome, TakeError>> {
        Box::pin(take::write_through(self, descriptor, source, listener))
    }

    /// Whether it can hold this manifest as it is, so that what it cannot hold is known before anything is moved.
    ///
    /// # Errors
    /// [`ContentErrorKind::Unsupported`] says why not. A sink that does not override this holds everything except
    /// images of Docker's schema 1, whose layers have no sizes.
    fn holds(&self, manifest: &Raw<Manifest>) -> Result<(), ContentError> {
        if manifest.media_type().is_schema1() {
            return Err(ContentError::new(
                ContentErrorKind::Unsupported,
                "images of Docker's schema 1 can only be kept in a registry; push the image again with a newer client",
            ));
        }
        Ok(())
    }

    /// Whether what refers to an image, by its subject or by a tag named after it, can be kept beside the image and be
    /// found. A sink that does not override this says yes; one that holds a single image says no.
    fn holds_referrers(&self) -> bool {
        true
    }

    /// Whether an image can be kept without [foreign layers](crate::MediaType::is_foreign_layer) that the source does
    /// not have and that say by their `urls` where they are. A sink that does not override this says yes; one whose
    /// form has no place for a layer that is elsewhere says no.
    fn holds_images_without_foreign_layers(&self) -> bool {
        true
    }

    /// Whether it takes over blobs from this source without moving them, where they are there.
    ///
    /// A sink that does not override this moves everything.
    fn mounts_from(&self, _source: &dyn Source) -> bool {
        false
    }

    /// Puts a manifest, byte by byte as it is. Everything that it points to has to be there before; the root comes last.
    fn put_manifest<'a>(
        &'a self,
        manifest: &'a Raw<Manifest>,
        placement: &'a Placement,
    ) -> BoxFuture<'a, Result<(), ContentError>>;
}

/// A blob that is being written. Dropped without [`BlobWriter::commit`], it leaves nothing visible.
pub trait BlobWriter: Send {
    /// How many bytes are already there, so that the source is opened at this offset.
    fn offset(&self) -> u64;

    /// Appends bytes. After an error the writer is of no more use.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ContentError>>;

    /// Verifies size and digest of everything, also of what was there before, and then makes the blob visible.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), ContentError>>;
}
