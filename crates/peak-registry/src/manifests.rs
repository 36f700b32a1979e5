//! Manifests: by tag or digest, as received.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use peak_http::Response;
use peak_oci::{Digest, MAX_MANIFEST_SIZE, Manifest, MediaType, Raw, Selector};

use crate::connection::{Call, reasons};
use crate::{RegistryError, Repository};

/// Every type in one header, the preferred first: one round trip, and old registries do not convert to schema 1.
const ALL_TYPES: &str = concat!(
    "application/vnd.docker.distribution.manifest.list.v2+json,",
    "application/vnd.docker.distribution.manifest.v2+json,",
    "application/vnd.oci.image.index.v1+json,",
    "application/vnd.oci.image.manifest.v1+json,",
    "application/vnd.docker.distribution.manifest.v1+prettyjws,",
    "application/vnd.docker.distribution.manifest.v1+json"
);

const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

impl Repository {
    /// Gets a manifest of whatever type the registry has, in one request.
    ///
    /// By digest it is verified against it. By tag the digest that the registry says is compared with the computed
    /// one; where they differ that is logged, and the computed one counts.
    ///
    /// # Errors
    /// [`RegistryError::ManifestNotFound`], [`Integrity`](RegistryError::Integrity),
    /// [`InvalidManifest`](RegistryError::InvalidManifest) (also for more than 4 MiB), and whatever a request can meet.
    pub async fn get_manifest(&self, selector: &Selector) -> Result<Raw<Manifest>, RegistryError> {
        self.fetch(selector, HeaderValue::from_static(ALL_TYPES))
            .await
    }

    /// Gets a manifest of one type.
    ///
    /// # Errors
    /// [`RegistryError::ManifestType`] where the registry sends another type; else as
    /// [`get_manifest`](Self::get_manifest).
    pub async fn get_manifest_as(
        &self,
        selector: &Selector,
        media_type: &MediaType,
    ) -> Result<Raw<Manifest>, RegistryError> {
        let accept = HeaderValue::from_str(media_type.as_str())
            .map_err(|_| self.unusable("the type asked for cannot stand in a header"))?;
        let manifest = self.fetch(selector, accept).await?;
        if manifest.media_type() == media_type {
            Ok(manifest)
        } else {
            Err(RegistryError::ManifestType {
                expected: media_type.clone(),
                actual: manifest.media_type().clone(),
            })
        }
    }

    /// Finds out the digest of a manifest: by asking for its headers, and where those do not say it, from its bytes.
    ///
    /// # Errors
    /// As [`get_manifest`](Self::get_manifest).
    pub async fn get_manifest_digest(&self, selector: &Selector) -> Result<Digest, RegistryError> {
        let url = self.url("manifests", selector)?;
        let accept = HeaderValue::from_static(ALL_TYPES);
        let response = self
            .send("get_manifest_digest", Method::HEAD, &url, accepting(accept))
            .await?;
        let said = match response.status() {
            StatusCode::OK => said_digest(response.headers()),
            StatusCode::NOT_FOUND => return Err(self.manifest_failure(selector, response).await),
            // Some registries refuse HEAD; what GET says is then the answer.
            _ => None,
        };
        match (said, selector) {
            (Some(said), Selector::Tag(_)) => Ok(said),
            (Some(said), Selector::Digest(asked)) if said == *asked => Ok(said),
            _ => Ok(self.get_manifest(selector).await?.digest().clone()),
        }
    }

    async fn fetch(
        &self,
        selector: &Selector,
        accept: HeaderValue,
    ) -> Result<Raw<Manifest>, RegistryError> {
        let url = self.url("manifests", selector)?;
        let call = Call::new("get_manifest", Method::GET, url)
            .headers(accepting(accept))
            .whole_body(MAX_MANIFEST_SIZE);
        let response = self.call(call).await?;
        if response.status() != StatusCode::OK {
            return Err(self.manifest_failure(selector, response).await);
        }
        let said = said_digest(response.headers());
        let content_type = response.headers().get(CONTENT_TYPE).cloned();
        let bytes = response
            .bytes(MAX_MANIFEST_SIZE)
            .await
            .map_err(|source| self.transport(source))?;
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
        let manifest = Manifest::parse(bytes, content_type).map_err(|source| {
            RegistryError::InvalidManifest {
                repository: self.to_string(),
                selector: selector.to_string(),
                source,
            }
        })?;
        match selector {
            Selector::Digest(digest) => {
                manifest
                    .verify(digest)
                    .map_err(|source| RegistryError::Integrity {
                        repository: self.to_string(),
                        selector: selector.to_string(),
                        source,
                    })
            }
            Selector::Tag(tag) => {
                if let Some(said) = said.filter(|said| said != manifest.digest()) {
                    tracing::warn!(
                        repository = %self, %tag, %said, computed = %manifest.digest(),
                        "the registry says a digest that its manifest does not have"
                    );
                }
                Ok(manifest)
            }
        }
    }

    async fn manifest_failure(&self, selector: &Selector, response: Response) -> RegistryError {
        let status = response.status();
        let reasons = reasons(response).await;
        if status == StatusCode::NOT_FOUND {
            RegistryError::ManifestNotFound {
                repository: self.to_string(),
                selector: selector.to_string(),
                reasons,
            }
        } else {
            self.refusal(status, reasons)
        }
    }
}

fn accepting(types: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, types)])
}

/// The digest that the registry says; one that cannot be read counts as none.
pub(crate) fn said_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.parse().ok()
}
