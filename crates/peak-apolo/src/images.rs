//! The images of the platform: what there is, and what is known of it.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use peak_docker::{Engine, EngineCredentials};
use peak_oci::{Digest, Manifest, Platform, Raw, Reference, Selector};
use peak_registry::{Credentials, Registry, RegistryBuilder, Repository};

use crate::progress::Way;
use crate::{ApoloError, Clusters, Config, RemoteImage};

/// How many repositories or tags the registry is asked for at once.
const PAGE_SIZE: NonZeroU32 = match NonZeroU32::new(30) {
    Some(size) => size,
    None => NonZeroU32::MIN,
};

/// How long a push may take unless something else is asked for.
const PUSH_LIMIT: Duration = Duration::from_secs(20 * 60);

/// The user name that goes with the token where the Engine shows it to the registry.
const ENGINE_USER: &str = "token";

/// Indexes in indexes, where an image's size is looked for.
const MAX_DEPTH: usize = 4;

/// A tag of an image, and how large the image is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tag {
    /// The tag.
    pub name: String,
    /// The bytes of the image's layers, as they are in the registry.
    pub size: Option<u64>,
}

impl Tag {
    /// A tag.
    pub fn new(name: impl Into<String>, size: Option<u64>) -> Self {
        Self {
            name: name.into(),
            size,
        }
    }
}

/// The images of the platform, and the operations on them. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Images {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) clusters: Clusters,
    pub(crate) registry: Registry,
    pub(crate) engine: Option<Engine>,
    pub(crate) engine_credentials: Option<EngineCredentials>,
    pub(crate) push_limit: Duration,
    pub(crate) pull_limit: Option<Duration>,
    /// Names in the Engine that pushes and pulls have made, or may make, and that are to go again.
    pub(crate) temporary: Mutex<BTreeSet<String>>,
}

impl Images {
    /// Settings of a new client for these clusters.
    pub fn builder(config: Config) -> ImagesBuilder {
        ImagesBuilder {
            config,
            registry: Registry::builder(),
            engine: None,
            push_limit: PUSH_LIMIT,
            pull_limit: None,
        }
    }

    /// The clusters, to read names with.
    pub fn clusters(&self) -> &Clusters {
        &self.inner.clusters
    }

    /// The client of the clusters' registries.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Finds out the digest that a tag leads to: from the header of the answer, or where that is missing, from the
    /// manifest itself.
    ///
    /// # Errors
    /// [`ApoloError::NotFoundInRegistry`], [`NoTag`](ApoloError::NoTag),
    /// [`NotPlatformImage`](ApoloError::NotPlatformImage), and whatever a request can meet.
    pub async fn digest(&self, remote: &RemoteImage) -> Result<Digest, ApoloError> {
        let (repository, selector) = self.tagged(remote)?;
        let digest = repository.get_manifest_digest(&selector).await;
        digest.map_err(|error| ApoloError::of_registry(remote, error))
    }

    /// Deletes a manifest, and with it every tag that leads to it. The image's own tag does not matter.
    ///
    /// # Errors
    /// [`ApoloError::NotFoundInRegistry`], [`NotPlatformImage`](ApoloError::NotPlatformImage), and whatever a request can
    /// meet.
    pub async fn rm(&self, remote: &RemoteImage, digest: &Digest) -> Result<(), ApoloError> {
        let deleted = self.repository(remote)?.delete_manifest(digest).await;
        deleted.map_err(|error| ApoloError::of_registry(remote, error))
    }

    /// The images in a cluster (by default the default one), without tags. Names that cannot be read are left out, which
    /// the log says.
    ///
    /// # Errors
    /// [`ApoloError::UnknownCluster`], and whatever a request can meet.
    pub async fn list(&self, cluster: Option<&str>) -> Result<Vec<RemoteImage>, ApoloError> {
        let clusters = self.clusters();
        let cluster = match cluster {
            None => clusters.default_cluster(),
            Some(name) => clusters
                .get(name)
                .ok_or_else(|| ApoloError::UnknownCluster {
                    cluster: name.to_owned(),
                    known: clusters.names(),
                })?,
        };
        let mut images = Vec::new();
        let mut repositories = std::pin::pin!(self.inner.registry.catalog(cluster.registry()));
        while let Some(repository) = repositories
            .try_next()
            .await
            .map_err(|error| ApoloError::refused(cluster.registry(), error))?
        {
            let name = format!("image://{}/{repository}", cluster.name());
            match clusters.parse_remote_without_tag(&name) {
                Ok(image) => images.push(image),
                Err(error) => tracing::warn!(%error, "a repository is left out"),
            }
        }
        Ok(images)
    }

    /// All tags of an image, each as the image with that tag.
    ///
    /// # Errors
    /// [`ApoloError::TagNotAllowed`] where the image has a tag already, [`NotFoundInRegistry`](ApoloError::NotFoundInRegistry),
    /// [`NotPlatformImage`](ApoloError::NotPlatformImage), and whatever a request can meet.
    pub async fn tags(&self, remote: &RemoteImage) -> Result<Vec<RemoteImage>, ApoloError> {
        if remote.tag.is_some() {
            return Err(ApoloError::TagNotAllowed {
                image: Box::new(remote.clone()),
            });
        }
        let tags = self.repository(remote)?.get_repository_tags();
        tags.map_ok(|tag| remote.with_tag(tag.as_str()))
            .try_collect()
            .await
            .map_err(|error| ApoloError::of_registry(remote, error))
    }

    /// The bytes of an image's layers in the registry; of an image for several platforms, those for this machine's.
    ///
    /// # Errors
    /// As [`tag_info_for`](Self::tag_info_for).
    pub async fn size(&self, remote: &RemoteImage) -> Result<u64, ApoloError> {
        self.size_for(remote, &Platform::host()).await
    }

    /// The tag of an image and the bytes of its layers, as [`size`](Self::size) says them.
    ///
    /// # Errors
    /// As [`tag_info_for`](Self::tag_info_for).
    pub async fn tag_info(&self, remote: &RemoteImage) -> Result<Tag, ApoloError> {
        self.tag_info_for(remote, &Platform::host()).await
    }

    /// As [`tag_info`](Self::tag_info), for another platform.
    ///
    /// # Errors
    /// [`ApoloError::NotFoundInRegistry`], [`NoTag`](ApoloError::NoTag), [`NoPlatform`](ApoloError::NoPlatform),
    /// [`NoSize`](ApoloError::NoSize) for old manifests, [`NotPlatformImage`](ApoloError::NotPlatformImage), and whatever a
    /// request can meet.
    pub async fn tag_info_for(
        &self,
        remote: &RemoteImage,
        platform: &Platform,
    ) -> Result<Tag, ApoloError> {
        let size = self.size_for(remote, platform).await?;
        let name = remote.tag.clone().unwrap_or_default();
        Ok(Tag::new(name, Some(size)))
    }

    /// As [`size`](Self::size), for another platform.
    ///
    /// # Errors
    /// As [`tag_info_for`](Self::tag_info_for).
    pub async fn size_for(
        &self,
        remote: &RemoteImage,
        platform: &Platform,
    ) -> Result<u64, ApoloError> {
        let (repository, mut selector) = self.tagged(remote)?;
        let mut manifest = manifest(&repository, &selector, remote).await?;
        for _ in 0..MAX_DEPTH {
            let Some(index) = manifest.value().as_index() else {
                break;
            };
            let child = index
                .select(platform)
                .map_err(|source| ApoloError::NoPlatform {
                    image: Box::new(remote.clone()),
                    source,
                })?;
            selector = Selector::Digest(child.digest.clone());
            manifest = self::manifest(&repository, &selector, remote).await?;
        }
        let Some(image) = manifest.value().as_image() else {
            return Err(ApoloError::NoSize {
                image: Box::new(remote.clone()),
                media_type: manifest.media_type().clone(),
            });
        };
        let sizes = image.layers.iter().map(|layer| layer.size);
        Ok(sizes.fold(0, u64::saturating_add))
    }

    /// What the registry calls an image of the platform.
    pub(crate) fn reference(&self, remote: &RemoteImage) -> Result<Reference, ApoloError> {
        let cluster = remote
            .cluster_name()
            .ok_or_else(|| ApoloError::NotPlatformImage {
                image: Box::new(remote.clone()),
            })?;
        // The token is for the registries of the clusters that we know, and for no other.
        let is_known = self
            .clusters()
            .get(cluster)
            .is_some_and(|known| Some(known.registry()) == remote.registry.as_deref());
        if !is_known {
            return Err(ApoloError::UnknownCluster {
                cluster: cluster.to_owned(),
                known: self.clusters().names(),
            });
        }
        let url = remote.as_docker_url(false);
        Reference::parse(&url).map_err(|source| ApoloError::Unusable { image: url, source })
    }

    /// Pushes or pulls an image for at most as long as that may take.
    pub(crate) async fn within_limit<T>(
        &self,
        way: Way,
        image: &RemoteImage,
        work: impl Future<Output = Result<T, ApoloError>>,
    ) -> Result<T, ApoloError> {
        let (operation, limit) = match way {
            Way::Push => ("push", Some(self.inner.push_limit)),
            Way::Pull => ("pull", self.inner.pull_limit),
        };
        // Boxed, since it is large.
        let work = Box::pin(work);
        let Some(limit) = limit else {
            return work.await;
        };
        let done = tokio::time::timeout(limit, work).await;
        done.unwrap_or_else(|_| {
            Err(ApoloError::TimedOut {
                operation,
                image: Box::new(image.clone()),
                limit,
            })
        })
    }

    fn repository(&self, remote: &RemoteImage) -> Result<Repository, ApoloError> {
        let reference = self.reference(remote)?;
        Ok(self.inner.registry.repository(&reference))
    }

    fn tagged(&self, remote: &RemoteImage) -> Result<(Repository, Selector), ApoloError> {
        let reference = self.reference(remote)?;
        let selector = reference.selector().ok_or_else(|| ApoloError::NoTag {
            image: Box::new(remote.clone()),
        })?;
        Ok((self.inner.registry.repository(&reference), selector))
    }
}

async fn manifest(
    repository: &Repository,
    selector: &Selector,
    remote: &RemoteImage,
) -> Result<Raw<Manifest>, ApoloError> {
    let manifest = repository.get_manifest(selector).await;
    manifest.map_err(|error| ApoloError::of_registry(remote, error))
}

impl fmt::Debug for Images {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Images")
            .field("clusters", &self.inner.clusters)
            .finish_non_exhaustive()
    }
}

/// Settings of [`Images`].
#[derive(Debug)]
#[must_use]
pub struct ImagesBuilder {
    config: Config,
    registry: RegistryBuilder,
    engine: Option<Engine>,
    push_limit: Duration,
    pull_limit: Option<Duration>,
}

impl ImagesBuilder {
    /// How registries are spoken to: proxies, trust, limits. The credentials of the clusters' registries are added.
    pub fn registry(mut self, options: RegistryBuilder) -> Self {
        self.registry = options;
        self
    }

    /// The Docker Engine that pushes and pulls.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// How long a push may take; 20 minutes by default.
    pub fn push_limit(mut self, limit: Duration) -> Self {
        self.push_limit = limit;
        self
    }

    /// How long a pull may take; as long as it goes on by default.
    pub fn pull_limit(mut self, limit: Duration) -> Self {
        self.pull_limit = Some(limit);
        self
    }

    /// Makes the client. Nothing is sent.
    ///
    /// # Errors
    /// [`ApoloError::Registry`] where the HTTP client cannot be made.
    pub fn build(self) -> Result<Images, ApoloError> {
        let Config {
            clusters,
            user,
            token,
        } = self.config;
        let mut registry = self.registry.page_size(PAGE_SIZE);
        for cluster in clusters.iter() {
            if cluster.registry_url().scheme() == "http" {
                registry = registry.insecure(cluster.registry());
            }
            if let Some(token) = &token {
                let credentials = Credentials::new(user.clone(), token.clone());
                registry = registry.credentials(cluster.registry(), credentials);
            }
        }
        Ok(Images {
            inner: Arc::new(Inner {
                clusters,
                registry: registry.build().map_err(ApoloError::Registry)?,
                engine: self.engine,
                engine_credentials: token.map(|token| EngineCredentials::new(ENGINE_USER, token)),
                push_limit: self.push_limit,
                pull_limit: self.pull_limit,
                temporary: Mutex::default(),
            }),
        })
    }
}
