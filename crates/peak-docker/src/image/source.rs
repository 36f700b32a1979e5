//! An image out of the Engine.

use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use peak_layout::DockerArchiveStream;
use peak_oci::{
    BlobRead, BlobStream, BoxFuture, ContentError, ContentErrorKind, Descriptor, Digest,
    ImageConfig, MAX_CONFIG_SIZE, Manifest, Raw, Selector, Source, read_verified,
};
use tokio::sync::OnceCell;

use super::{has_layers, is_known_by, other_image};
use crate::engine::Engine;
use crate::images::ImageInspect;
use crate::name::DaemonImage;

/// One image that a Docker Engine has: a [`Source`].
///
/// The Engine is asked which image has the name, once; after that the image goes by its identifier, so that it stays the
/// same whatever happens to the name. Its archive streams by twice, see [`DockerArchiveStream`]: nothing is kept on disk
/// here, and no layer in memory. (The Engine itself writes the image to its own disk for each of the passes.)
///
/// The manifest is the one that the image came with, where the Engine keeps manifests and gives them out (Docker 25 and
/// later with containerd's store); else one is made, of Docker's schema 2 with uncompressed layers. The config, and with it
/// what Docker calls the image's id, is always the image's own.
///
/// Nothing is connected before something is asked for. Cheap to clone.
#[derive(Clone)]
pub struct EngineSource {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    image: DaemonImage,
    opened: OnceCell<Opened>,
}

/// What the Engine has under the name.
struct Opened {
    inspected: ImageInspect,
    archive: DockerArchiveStream,
    /// The image is the one that the Engine says it is.
    checked: OnceCell<()>,
}

impl EngineSource {
    /// The image of this name in this Engine.
    pub fn new(engine: Engine, image: DaemonImage) -> Self {
        Self {
            inner: Arc::new(Inner {
                engine,
                image,
                opened: OnceCell::new(),
            }),
        }
    }
}

impl Inner {
    async fn opened(&self) -> Result<&Opened, ContentError> {
        self.opened
            .get_or_try_init(|| async {
                let inspected = self.engine.inspect(&self.image.for_engine()).await?;
                let (engine, id) = (self.engine.clone(), inspected.id.clone());
                let open = move || save(engine.clone(), id.clone());
                Ok(Opened {
                    archive: DockerArchiveStream::new(self.image.to_string(), None, open),
                    inspected,
                    checked: OnceCell::new(),
                })
            })
            .await
    }

    async fn manifest(&self, selector: Option<&Selector>) -> Result<Raw<Manifest>, ContentError> {
        // The archive of an identifier has no names, and the name is known here.
        let selector = selector.filter(|selector| match selector {
            Selector::Tag(tag) => self.image.reference().tag() != Some(tag),
            Selector::Digest(_) => true,
        });
        let opened = self.opened().await?;
        let manifest = opened.archive.manifest(selector).await?;
        opened
            .checked
            .get_or_try_init(|| opened.check(&manifest))
            .await?;
        Ok(manifest)
    }
}

impl Opened {
    /// Refuses what is not the image that was asked for.
    async fn check(&self, manifest: &Raw<Manifest>) -> Result<(), ContentError> {
        let Some(image) = manifest.value().as_image() else {
            return Err(ContentError::new(
                ContentErrorKind::Invalid,
                "the Docker Engine saved something else than an image",
            ));
        };
        let config = &image.config;
        if is_known_by(&self.inspected, &config.digest, manifest.digest()) {
            return Ok(());
        }
        // An Engine that keeps indexes calls an image by that of its index.
        let bytes = read_verified(&self.archive, config, MAX_CONFIG_SIZE).await?;
        let parsed = ImageConfig::parse(bytes)?;
        if has_layers(&self.inspected, &parsed.value().rootfs.diff_ids) {
            Ok(())
        } else {
            Err(other_image(&self.inspected, &config.digest))
        }
    }
}

/// The archive of an image, from its beginning.
fn save(engine: Engine, id: String) -> BoxFuture<'static, Result<BlobStream, ContentError>> {
    Box::pin(async move {
        let saved = engine.save(&[id.as_str()]).await?;
        Ok(Box::pin(saved.map_err(ContentError::from)) as BlobStream)
    })
}

impl Source for EngineSource {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        Box::pin(self.inner.manifest(selector))
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        Box::pin(async move {
            let opened = self.inner.opened().await?;
            opened.archive.blob(descriptor, offset).await
        })
    }

    fn blob_order(&self) -> Option<Vec<Digest>> {
        match self.inner.opened.get() {
            Some(opened) => opened.archive.blob_order(),
            None => Some(Vec::new()),
        }
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
        Box::pin(async move { self.inner.opened().await?.archive.blob_size(digest).await })
    }
}

impl fmt::Debug for EngineSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EngineSource")
            .field("image", &self.inner.image)
            .finish_non_exhaustive()
    }
}
