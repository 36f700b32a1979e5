//! What of an image has arrived for an archive that is being written, and whether that is the image.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use peak_oci::{
    Algorithm, BlobWriter, BoxFuture, ContentError, Descriptor, Digest, ImageConfig, ImageManifest,
    MAX_CONFIG_SIZE, Manifest, Placement, Raw, Tag, Verifier, VerifyError,
};

use crate::LayoutError;

/// The image that a manifest is, if it is one that Docker can run.
pub(super) fn runnable(manifest: &Raw<Manifest>) -> Result<&ImageManifest, LayoutError> {
    let what = match manifest.value() {
        Manifest::Image(image) if image.config.media_type.is_image_config() => return Ok(image),
        Manifest::Index(_) => {
            return Err(LayoutError::IndexNotHeld {
                digest: manifest.digest().clone(),
            });
        }
        Manifest::Schema1(_) => "an image of Docker's schema 1",
        _ => "an artifact and not an image",
    };
    Err(LayoutError::NotHeld {
        digest: manifest.digest().clone(),
        what,
    })
}

/// The tag of a manifest that shall make an image visible: an archive has one image, and none of which it is a part.
pub(super) fn tag_of_root<'a>(
    manifest: &Raw<Manifest>,
    placement: &'a Placement,
) -> Result<Option<&'a Tag>, LayoutError> {
    match placement {
        Placement::Root { tag } => Ok(tag.as_ref()),
        Placement::Child => Err(LayoutError::NotHeld {
            digest: manifest.digest().clone(),
            what: "part of an index; pick one image of it",
        }),
    }
}

/// A layer that has arrived.
pub(super) trait ArrivedLayer: Clone + Send + 'static {
    /// Its digest uncompressed, where that is known.
    fn diff_id(&self) -> Option<&Digest>;
}

/// The config of an image, and its layers by the digests of their blobs. Clones are the same one.
#[derive(Debug)]
pub(super) struct Arrived<L>(Arc<Mutex<Parts<L>>>);

#[derive(Debug)]
struct Parts<L> {
    /// What is known to be a config.
    config: Option<Digest>,
    configs: HashMap<Digest, Bytes>,
    layers: HashMap<Digest, L>,
}

impl<L> Default for Arrived<L> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Parts {
            config: None,
            configs: HashMap::new(),
            layers: HashMap::new(),
        })))
    }
}

impl<L: ArrivedLayer> Arrived<L> {
    fn parts(&self) -> MutexGuard<'_, Parts<L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This image will come.
    pub(super) fn expect(&self, image: &ImageManifest) {
        self.parts().config = Some(image.config.digest.clone());
    }

    pub(super) fn is_config(&self, descriptor: &Descriptor) -> bool {
        descriptor.media_type.is_image_config()
            || self.parts().config.as_ref() == Some(&descriptor.digest)
    }

    pub(super) fn has(&self, descriptor: &Descriptor) -> bool {
        let parts = self.parts();
        parts.layers.contains_key(&descriptor.digest)
            || parts.configs.contains_key(&descriptor.digest)
    }

    /// A config as it came.
    pub(super) fn config(&self, digest: &Digest) -> Option<Bytes> {
        self.parts().configs.get(digest).cloned()
    }

    /// Takes in a config, for the archive that is called `path` in errors: small, and written when all else is there.
    pub(super) fn config_writer(
        &self,
        descriptor: &Descriptor,
        path: &Path,
    ) -> Result<Box<dyn BlobWriter>, LayoutError> {
        if descriptor.size > MAX_CONFIG_SIZE {
            return Err(LayoutError::TooLarge {
                path: path.join(descriptor.digest.hex()),
                limit: MAX_CONFIG_SIZE,
            });
        }
        Ok(Box::new(ConfigWriter {
            arrived: Self(Arc::clone(&self.0)),
            digest: descriptor.digest.clone(),
            verifier: Verifier::for_descriptor(descriptor),
            content: Vec::new(),
        }))
    }

    /// Whether a layer like that has arrived: the same one may come compressed in several ways.
    pub(super) fn has_layer(&self, is_it: impl Fn(&L) -> bool) -> bool {
        self.parts().layers.values().any(is_it)
    }

    pub(super) fn add_layer(&self, blob: Digest, layer: L) {
        self.parts().layers.insert(blob, layer);
    }

    /// The config and the layers of the image, compared with what the config says they are.
    pub(super) fn image(&self, image: &ImageManifest) -> Result<(Bytes, Vec<L>), LayoutError> {
        let parts = self.parts();
        let digest = &image.config.digest;
        let missing = |digest: &Digest| LayoutError::MissingBlob {
            digest: digest.clone(),
        };
        let bytes = parts.configs.get(digest).ok_or_else(|| missing(digest))?;
        let config =
            ImageConfig::parse(bytes.clone()).map_err(|source| LayoutError::InvalidManifest {
                digest: digest.clone(),
                source,
            })?;
        let diff_ids = &config.value().rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            return Err(LayoutError::Layers {
                digest: digest.clone(),
                said: diff_ids.len(),
                found: image.layers.len(),
            });
        }
        let mut layers = Vec::new();
        for (blob, expected) in image.layers.iter().zip(diff_ids) {
            let layer = parts.layers.get(&blob.digest);
            let layer = layer.ok_or_else(|| missing(&blob.digest))?;
            if expected.algorithm() != Algorithm::Sha256 {
                return Err(LayoutError::NotHeld {
                    digest: digest.clone(),
                    what: "a config that names its layers by other digests than SHA-256",
                });
            }
            // What is not known is found out by whoever decompresses it.
            if let Some(actual) = layer.diff_id().filter(|actual| *actual != expected) {
                return Err(LayoutError::integrity(&blob.digest)(VerifyError::Digest {
                    expected: expected.clone(),
                    actual: actual.clone(),
                }));
            }
            layers.push(layer.clone());
        }
        Ok((bytes.clone(), layers))
    }
}

struct ConfigWriter<L> {
    arrived: Arrived<L>,
    digest: Digest,
    verifier: Verifier,
    content: Vec<u8>,
}

impl<L: ArrivedLayer> ConfigWriter<L> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), LayoutError> {
        let taken = self.verifier.update(bytes);
        taken.map_err(LayoutError::integrity(&self.digest))?;
        self.content.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self) -> Result<(), LayoutError> {
        let verified = self.verifier.finish();
        verified.map_err(LayoutError::integrity(&self.digest))?;
        let mut parts = self.arrived.parts();
        parts.configs.insert(self.digest, self.content.into());
        Ok(())
    }
}

impl<L: ArrivedLayer> BlobWriter for ConfigWriter<L> {
    fn offset(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ContentError>> {
        let taken = self.append(&bytes);
        Box::pin(async move { Ok(taken?) })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), ContentError>> {
        let finished = self.finish();
        Box::pin(async move { Ok(finished?) })
    }
}
