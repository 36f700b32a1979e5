//! An image or an index as it is in its source: a tree of manifests, each with what it leads to. No layer is read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use peak_sdk::oci::annotations::{DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE};
use peak_sdk::oci::{
    BoxFuture, ContentErrorKind, Descriptor, Digest, ImageConfig, MAX_CONFIG_SIZE, MAX_INDEX_DEPTH,
    Manifest, MediaType, Raw, Selector, Source, read_verified,
};

use crate::error::CliError;

/// How many manifests of an index are asked for at once.
const CONCURRENCY: usize = 6;

/// How many manifests are shown at most, in all indexes together: each is a request.
const MANIFEST_LIMIT: usize = 1000;

/// A manifest with what it leads to.
pub(super) struct Node {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: MediaType,
    /// What the index says about it.
    pub(super) listed: Option<Descriptor>,
    pub(super) artifact_type: Option<MediaType>,
    pub(super) subject: Option<Digest>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) content: Content,
}

/// What a manifest leads to, by its kind.
pub(super) enum Content {
    Index(Vec<Child>),
    Image {
        config: Box<Descriptor>,
        /// What the config says, where it is one of a runnable image.
        details: Option<Box<ImageConfig>>,
        layers: Vec<Layer>,
    },
    Artifact(Vec<Descriptor>),
    /// The digests of the layers, the base first. Schema 1 says no sizes.
    Schema1(Vec<Digest>),
    Other,
}

/// What an index lists.
pub(super) enum Child {
    Here(Box<Node>),
    /// It is listed, but the registry does not have it.
    Absent(Box<Descriptor>),
}

/// A layer of an image.
pub(super) struct Layer {
    pub(super) descriptor: Descriptor,
    /// The command that made it, where the history tells.
    pub(super) created_by: Option<String>,
}

impl Node {
    /// Reads what an image or an index consists of.
    pub(super) async fn read(
        source: &dyn Source,
        manifest: Raw<Manifest>,
    ) -> Result<Self, CliError> {
        Self::of(source, manifest, None, 0, &AtomicUsize::new(0)).await
    }

    /// Reads what the manifest leads to: manifests and configs, no layers.
    fn of<'a>(
        source: &'a dyn Source,
        manifest: Raw<Manifest>,
        listed: Option<Descriptor>,
        depth: usize,
        count: &'a AtomicUsize,
    ) -> BoxFuture<'a, Result<Self, CliError>> {
        Box::pin(async move {
            let (digest, size) = (manifest.digest().clone(), manifest.size());
            let media_type = manifest.media_type().clone();
            let value = manifest.into_value();
            let artifact_type = value.artifact_type().cloned();
            let subject = value.subject().map(|subject| subject.digest.clone());
            let annotations = value.annotations().clone();
            let content = match value {
                Manifest::Index(index) => {
                    if depth >= MAX_INDEX_DEPTH {
                        return Err(CliError::other(format!(
                            "indexes stand in indexes more than {MAX_INDEX_DEPTH} deep"
                        )));
                    }
                    let more = index.manifests.len();
                    let all = count
                        .fetch_add(more, Ordering::Relaxed)
                        .saturating_add(more);
                    if all > MANIFEST_LIMIT {
                        return Err(CliError::other(format!(
                            "there are {all} manifests with those of {digest}; at most {MANIFEST_LIMIT} are shown"
                        )));
                    }
                    let children = stream::iter(index.manifests)
                        .map(|listed| Child::of(source, listed, depth + 1, count))
                        .buffered(CONCURRENCY)
                        .try_collect()
                        .await?;
                    Content::Index(children)
                }
                Manifest::Image(image) => {
                    let details = details(source, &image.config).await?;
                    let commands = commands(details.as_deref(), image.layers.len());
                    let layers = image
                        .layers
                        .into_iter()
                        .zip(commands)
                        .map(|(descriptor, created_by)| Layer {
                            descriptor,
                            created_by,
                        })
                        .collect();
                    Content::Image {
                        config: Box::new(image.config),
                        details,
                        layers,
                    }
                }
                Manifest::Artifact(artifact) => Content::Artifact(artifact.blobs),
                Manifest::Schema1(schema1) => {
                    let layers = schema1.layers.into_iter().rev();
                    Content::Schema1(layers.map(|layer| layer.digest).collect())
                }
                _ => Content::Other,
            };
            Ok(Self {
                digest,
                size,
                media_type,
                listed,
                artifact_type,
                subject,
                annotations,
                content,
            })
        })
    }

    /// The manifest that it is about, where it is an attestation of one.
    pub(super) fn attested(&self) -> Option<Digest> {
        let listed = self.listed.as_ref()?;
        listed.annotation(DOCKER_REFERENCE_TYPE)?;
        listed.annotation(DOCKER_REFERENCE_DIGEST)?.parse().ok()
    }
}

impl Child {
    async fn of(
        source: &dyn Source,
        listed: Descriptor,
        depth: usize,
        count: &AtomicUsize,
    ) -> Result<Self, CliError> {
        if !listed.media_type.is_manifest() {
            return Ok(Self::Absent(Box::new(listed)));
        }
        let selector = Selector::Digest(listed.digest.clone());
        match source.manifest(Some(&selector)).await {
            Ok(manifest) => Node::of(source, manifest, Some(listed), depth, count)
                .await
                .map(|node| Self::Here(Box::new(node))),
            Err(error) if error.kind() == ContentErrorKind::NotFound => {
                Ok(Self::Absent(Box::new(listed)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The config of a runnable image; other artifacts have something of their own there.
async fn details(
    source: &dyn Source,
    config: &Descriptor,
) -> Result<Option<Box<ImageConfig>>, CliError> {
    if ![MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG].contains(&config.media_type) {
        return Ok(None);
    }
    let bytes = read_verified(source, config, MAX_CONFIG_SIZE).await?;
    // A config that cannot be read leaves the rest of the image to be seen.
    Ok(ImageConfig::parse(bytes)
        .ok()
        .map(|config| Box::new(config.into_value())))
}

/// For each layer the command that made it, where the history tells.
fn commands(config: Option<&ImageConfig>, count: usize) -> Vec<Option<String>> {
    let mut commands = vec![None; count];
    for step in config.and_then(ImageConfig::steps).unwrap_or_default() {
        let slot = step.layer.and_then(|layer| commands.get_mut(layer));
        if let Some(slot) = slot {
            slot.clone_from(&step.history.created_by);
        }
    }
    commands
}
