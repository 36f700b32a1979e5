//! An image into the Engine.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use peak_layout::{DockerArchiveOptions, DockerArchiveSender};
use peak_oci::{
    BlobWriter, BoxFuture, ContentError, Descriptor, Digest, ImageConfig, ImageManifest, Manifest,
    Placement, Raw, Reference, Sink, Tag,
};

use super::{has_layers, is_known_by, other_image};
use crate::engine::Engine;
use crate::name::{DaemonImage, DaemonImageError};

/// A Docker Engine that an image is loaded into, under one name: a [`Sink`] of one image.
///
/// It takes images for one platform, not indexes or artifacts: pick a platform first. Where the Engine has the image, by
/// the digest of its config, nothing moves and it only gets the name.
///
/// Else its archive is sent while it is made, see [`DockerArchiveSender`]: one layer after the other, none of them in
/// memory, and none on disk here unless it is one that an Engine cannot decompress. The Engine makes an image of it when it
/// has all of it, and keeps nothing where the archive breaks off: with an error, or when this is dropped. Afterwards the
/// Engine is asked what it made of it.
///
/// Nothing is connected before something is asked for. Cheap to clone.
#[derive(Clone)]
pub struct EngineSink {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    image: DaemonImage,
    archive: DockerArchiveSender,
    /// The identifier of the image, where the Engine had it from the beginning.
    present: Mutex<Option<String>>,
}

impl EngineSink {
    /// The Engine, and the name that the image gets there.
    ///
    /// # Errors
    /// [`DaemonImageError::NotAName`] where the name has a digest or is an identifier: those cannot be given to an image.
    pub fn new(engine: Engine, image: DaemonImage) -> Result<Self, DaemonImageError> {
        image.check_writable()?;
        let options = DockerArchiveOptions::new().name(image.reference().clone());
        let loader = engine.clone();
        let send = move |archive| {
            Box::pin(async move {
                loader.load(archive, |_| ()).await?;
                Ok(())
            }) as BoxFuture<'static, Result<(), ContentError>>
        };
        let archive = DockerArchiveSender::new(image.to_string(), options, send).map_err(|_| {
            DaemonImageError::NotAName {
                text: image.to_string(),
            }
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                image,
                archive,
                present: Mutex::new(None),
            }),
        })
    }
}

impl Inner {
    fn present(&self) -> Option<String> {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.clone()
    }

    /// The identifier of the image, where the Engine has it.
    async fn find(
        &self,
        manifest: &Raw<Manifest>,
        image: &ImageManifest,
    ) -> Result<Option<String>, ContentError> {
        let config = &image.config.digest;
        for name in [config, manifest.digest()] {
            match self.engine.inspect(name.as_str()).await {
                Ok(found) if is_known_by(&found, config, manifest.digest()) => {
                    return Ok(Some(found.id));
                }
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The name that the image gets.
    fn name(&self, tag: Option<&Tag>) -> Reference {
        let reference = self.image.reference();
        match tag {
            Some(tag) => reference.with_tag(tag.clone()),
            None => reference.clone(),
        }
    }

    async fn put(
        &self,
        manifest: &Raw<Manifest>,
        placement: &Placement,
    ) -> Result<(), ContentError> {
        if let (Some(id), Placement::Root { tag }) = (self.present(), placement) {
            self.engine.tag(&id, &self.name(tag.as_ref())).await?;
            return Ok(());
        }
        self.archive.put_manifest(manifest, placement).await?;
        let (Some(image), Placement::Root { tag }) = (manifest.value().as_image(), placement)
        else {
            return Ok(());
        };
        let made = self
            .engine
            .inspect(&self.name(tag.as_ref()).canonical())
            .await?;
        // The archive was finished, so that the config is there and can be understood.
        let config = self
            .archive
            .config(&image.config.digest)
            .unwrap_or_default();
        let id = Digest::sha256_of(&config);
        if is_known_by(&made, &id, manifest.digest()) {
            return Ok(());
        }
        // An Engine that keeps manifests makes one for an image whose own it was not given, and calls it by that.
        let diff_ids = ImageConfig::parse(config)?.into_value().rootfs.diff_ids;
        if has_layers(&made, &diff_ids) && self.engine.info().await?.keeps_manifests() {
            Ok(())
        } else {
            Err(other_image(&made, &id))
        }
    }
}

/// What an Engine can be given is what its archive can hold.
impl Sink for EngineSink {
    fn holds(&self, manifest: &Raw<Manifest>) -> Result<(), ContentError> {
        self.inner.archive.holds(manifest)
    }

    fn holds_referrers(&self) -> bool {
        self.inner.archive.holds_referrers()
    }

    fn holds_images_without_foreign_layers(&self) -> bool {
        self.inner.archive.holds_images_without_foreign_layers()
    }

    /// Refuses what it cannot hold, and asks the Engine whether it has the image.
    fn prepare<'a>(
        &'a self,
        root: &'a Raw<Manifest>,
        blobs: &'a [Descriptor],
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        Box::pin(async move {
            self.inner.archive.prepare(root, blobs).await?;
            let Some(image) = root.value().as_image() else {
                return Ok(());
            };
            let found = self.inner.find(root, image).await?;
            let mut present = self
                .inner
                .present
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *present = found;
            Ok(())
        })
    }

    /// A blob is there when the whole image is, or when it was sent.
    fn has_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<bool, ContentError>> {
        if self.inner.present().is_some() {
            return Box::pin(std::future::ready(Ok(true)));
        }
        self.inner.archive.has_blob(descriptor)
    }

    fn blob_writer<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<Box<dyn BlobWriter>, ContentError>> {
        self.inner.archive.blob_writer(descriptor)
    }

    fn put_manifest<'a>(
        &'a self,
        manifest: &'a Raw<Manifest>,
        placement: &'a Placement,
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        Box::pin(self.inner.put(manifest, placement))
    }
}

impl fmt::Debug for EngineSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EngineSink")
            .field("image", &self.inner.image)
            .finish_non_exhaustive()
    }
}
