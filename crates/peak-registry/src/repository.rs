//! One repository of one registry.

use std::fmt;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, Method, StatusCode};
use peak_http::Response;
use peak_oci::{
    BlobListener, BlobOutcome, BlobRead, BoxFuture, ContentError, ContentErrorKind, Descriptor,
    Digest, MAX_REFERRERS, Manifest, Placement, Raw, RepositoryName, Selector, Sink, Source,
    TagStream, TakeError,
};
use url::Url;

use crate::connection::{self, Call, Connection};
use crate::reasons::Reasons;
use crate::{RegistryError, UploadOptions, blobs};

/// One repository of one registry: manifests and blobs; a [`Source`] of images and a [`Sink`] for them. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    name: RepositoryName,
    selector: Option<Selector>,
}

impl Repository {
    pub(crate) fn new(
        connection: Connection,
        name: RepositoryName,
        selector: Option<Selector>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                connection,
                name,
                selector,
            }),
        }
    }

    /// The registry's name.
    pub fn registry(&self) -> &str {
        self.inner.connection.host.name()
    }

    /// The repository's name within the registry.
    pub fn name(&self) -> &RepositoryName {
        &self.inner.name
    }

    /// The digest or tag of the reference that this was made from.
    pub fn selector(&self) -> Option<&Selector> {
        self.inner.selector.as_ref()
    }

    /// Opens a blob of the repository at a position.
    ///
    /// The answer says where it really starts: a registry without ranges starts at 0. Its stream goes on by itself,
    /// from where it stopped, when a body is dropped, cut short or silent; it ends with an error only when that
    /// happens again and again without progress. The bytes are **not** yet verified: that is for whoever keeps them.
    ///
    /// # Errors
    /// [`RegistryError::BlobNotFound`], [`BlobSize`](RegistryError::BlobSize) where the registry's blob has not the
    /// descriptor's size, and whatever a request can meet.
    pub async fn open_blob(
        &self,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<BlobRead, RegistryError> {
        blobs::read::open(self.clone(), descriptor, offset).await
    }

    /// The repository of the same registry that a source is, where it is one: blobs can be mounted from there.
    fn mount_candidate<'a>(&self, source: &'a dyn Source) -> Option<&'a RepositoryName> {
        let (registry, name) = source.repository()?;
        (registry == self.registry() && name != self.name()).then_some(name)
    }

    /// The way to the registry.
    pub(crate) fn connection(&self) -> &Connection {
        &self.inner.connection
    }

    /// The URL of something in the repository.
    pub(crate) async fn url(
        &self,
        kind: &str,
        what: &(dyn fmt::Display + Sync),
    ) -> Result<Url, RegistryError> {
        let connection = self.connection();
        connection.url(&self.inner.name, kind, what).await
    }

    /// Sends a request that reads.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        method: Method,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response, RegistryError> {
        let call = Call::new(operation, method, url.clone()).headers(headers);
        self.call(call).await
    }

    /// Sends any request.
    pub(crate) async fn call(&self, call: Call) -> Result<Response, RegistryError> {
        self.connection().send(call, &self.to_string()).await
    }

    pub(crate) fn transport(&self, source: peak_http::Error) -> RegistryError {
        connection::transport(&self.to_string(), source)
    }

    /// The error for a status that means the same for every request.
    pub(crate) async fn refused(&self, response: Response) -> RegistryError {
        let status = response.status();
        let reasons = connection::reasons(response).await;
        self.refusal(status, reasons)
    }

    /// The same, when the reasons are read already.
    pub(crate) fn refusal(&self, status: StatusCode, reasons: Reasons) -> RegistryError {
        connection::refusal(&self.to_string(), status, reasons)
    }

    /// The error for an answer that does not follow the protocol.
    pub(crate) fn unusable(&self, reason: &'static str) -> RegistryError {
        RegistryError::InvalidResponse {
            repository: self.to_string(),
            reason,
        }
    }
}

impl Source for Repository {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        Box::pin(async move {
            let selector =
                selector
                    .or(self.selector())
                    .ok_or_else(|| RegistryError::NoSelector {
                        repository: self.to_string(),
                    })?;
            Ok(self.get_manifest(selector).await?)
        })
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        Box::pin(async move { Ok(self.open_blob(descriptor, offset).await?) })
    }

    fn repository(&self) -> Option<(&str, &RepositoryName)> {
        Some((self.registry(), self.name()))
    }

    fn blob_size<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<u64, ContentError>> {
        Box::pin(async move { Ok(self.existing_blob_size(digest).await?) })
    }

    fn manifest_digest<'a>(
        &'a self,
        selector: &'a Selector,
    ) -> BoxFuture<'a, Result<Option<Digest>, ContentError>> {
        Box::pin(async move {
            match self.get_manifest_digest(selector).await {
                Ok(digest) => Ok(Some(digest)),
                Err(error) if error.is_not_found() => Ok(None),
                // Some registries say so of what is not there; then the question is asked in another way.
                Err(error @ RegistryError::Denied { .. }) => {
                    if self.has_manifest(selector).await? {
                        Err(error.into())
                    } else {
                        Ok(None)
                    }
                }
                Err(error) => Err(error.into()),
            }
        })
    }

    fn tags(&self) -> TagStream<'_> {
        Box::pin(self.get_repository_tags().map_err(ContentError::from))
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, ContentError>> {
        Box::pin(async move {
            let found: Vec<_> = Repository::referrers(self, subject, None)
                .take(MAX_REFERRERS + 1)
                .try_collect()
                .await?;
            if found.len() > MAX_REFERRERS {
                return Err(ContentError::new(
                    ContentErrorKind::Invalid,
                    format!("{subject} has more than {MAX_REFERRERS} referrers"),
                ));
            }
            Ok(found)
        })
    }
}

impl Sink for Repository {
    fn has_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<bool, ContentError>> {
        Box::pin(async move { Ok(self.find_blob(&descriptor.digest, None).await?.is_some()) })
    }

    fn take_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        source: &'a dyn Source,
        listener: &'a BlobListener<'a>,
    ) -> BoxFuture<'a, Result<BlobOutcome, TakeError>> {
        Box::pin(async move {
            let mut options = UploadOptions::new().progress(listener);
            if let Some(name) = self.mount_candidate(source) {
                options = options.mount_from(name.clone());
            }
            let uploaded = self.upload_blob(descriptor, source, &options).await;
            uploaded.map_err(|error| match error {
                RegistryError::Content { source } => TakeError::Source(source),
                error => TakeError::Sink(error.into()),
            })
        })
    }

    fn put_manifest<'a>(
        &'a self,
        manifest: &'a Raw<Manifest>,
        placement: &'a Placement,
    ) -> BoxFuture<'a, Result<(), ContentError>> {
        let tags = match placement {
            Placement::Root { tag: Some(tag) } => std::slice::from_ref(tag),
            Placement::Root { tag: None } | Placement::Child => &[],
        };
        Box::pin(async move { Ok(self.upload_manifest(manifest, tags).await?) })
    }

    /// Registries keep manifests of every type.
    fn holds(&self, _manifest: &Raw<Manifest>) -> Result<(), ContentError> {
        Ok(())
    }

    fn mounts_from(&self, source: &dyn Source) -> bool {
        self.mount_candidate(source).is_some()
    }
}

/// Registry and repository, as in a reference.
impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry(), self.name())
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Repository")
            .field("registry", &self.registry())
            .field("name", &self.name())
            .field("selector", &self.selector())
            .finish_non_exhaustive()
    }
}
