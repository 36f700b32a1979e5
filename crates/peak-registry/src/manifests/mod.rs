//! Manifests: by tag or digest, as received; and sent, as they are.

mod upload;

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use peak_http::{Response, redact};
use peak_oci::{Digest, MAX_MANIFEST_SIZE, Manifest, MediaType, Raw, Selector};

use crate::connection::{Call, reasons};
use crate::{RegistryError, Repository};

const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// The two types of Docker's schema 1.
static SCHEMA1: [MediaType; 2] = [
    MediaType::DOCKER_MANIFEST_V1_SIGNED,
    MediaType::DOCKER_MANIFEST_V1,
];

/// A manifest, and the headers of the answer that it came in.
#[derive(Clone)]
#[non_exhaustive]
pub struct FetchedManifest {
    /// The manifest, verified if it was asked for by digest.
    pub manifest: Raw<Manifest>,
    /// The headers as the registry sent them. They may hold secrets, such as cookies.
    pub headers: HeaderMap,
}

impl fmt::Debug for FetchedManifest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FetchedManifest")
            .field("manifest", &self.manifest)
            .field("headers", &redact::headers(&self.headers))
            .finish()
    }
}

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
        Ok(self.fetch_manifest(selector).await?.manifest)
    }

    /// As [`get_manifest`](Self::get_manifest), with the headers of the answer.
    ///
    /// # Errors
    /// As [`get_manifest`](Self::get_manifest).
    pub async fn fetch_manifest(
        &self,
        selector: &Selector,
    ) -> Result<FetchedManifest, RegistryError> {
        self.fetch(selector, &MediaType::MANIFESTS).await
    }

    /// Gets a manifest of one type. The two types of Docker's schema 1 count as one: whether such a manifest is signed
    /// is seen in itself, and registries send the one for the other.
    ///
    /// # Errors
    /// [`RegistryError::ManifestType`] where the registry sends another type; else as
    /// [`get_manifest`](Self::get_manifest).
    pub async fn get_manifest_as(
        &self,
        selector: &Selector,
        media_type: &MediaType,
    ) -> Result<Raw<Manifest>, RegistryError> {
        let types = if media_type.is_schema1() {
            SCHEMA1.as_slice()
        } else {
            std::slice::from_ref(media_type)
        };
        let manifest = self.fetch(selector, types).await?.manifest;
        let actual = manifest.media_type();
        if types.contains(actual) {
            Ok(manifest)
        } else {
            Err(RegistryError::ManifestType {
                expected: media_type.clone(),
                actual: actual.clone(),
            })
        }
    }

    /// Finds out the digest of a manifest: by asking for its headers, and where those do not say it, from its bytes.
    ///
    /// # Errors
    /// As [`get_manifest`](Self::get_manifest).
    pub async fn get_manifest_digest(&self, selector: &Selector) -> Result<Digest, RegistryError> {
        let types = &MediaType::MANIFESTS;
        let response = self
            .ask("get_manifest_digest", Method::HEAD, selector, types)
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

    /// Whether the repository has such a manifest.
    ///
    /// Some registries (Artifactory, for virtual repositories) deny access to a tag that does not exist. Where the
    /// repository's tags may be listed nevertheless, that is taken for a no.
    ///
    /// # Errors
    /// [`RegistryError::Denied`] where nothing in the repository may be read, and else as
    /// [`get_manifest`](Self::get_manifest).
    pub async fn has_manifest(&self, selector: &Selector) -> Result<bool, RegistryError> {
        let denied = match self.get_manifest_digest(selector).await {
            Ok(_) => return Ok(true),
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error @ RegistryError::Denied { .. }) => error,
            Err(error) => return Err(error),
        };
        let mut url = self.url("tags", &"list").await?;
        url.set_query(Some("n=1"));
        let list = self.send("has_manifest", Method::GET, &url, HeaderMap::new());
        match (list.await?.status(), selector) {
            (StatusCode::OK | StatusCode::NOT_FOUND, Selector::Tag(_)) => Ok(false),
            _ => Err(denied),
        }
    }

    /// Asks for a manifest of one of these types.
    pub(crate) async fn ask(
        &self,
        operation: &'static str,
        method: Method,
        selector: &Selector,
        types: &[MediaType],
    ) -> Result<Response, RegistryError> {
        let url = self.url("manifests", selector).await?;
        // All in one header, the preferred first: one round trip, and old registries do not convert to schema 1.
        let accept = types.iter().map(MediaType::as_str).collect::<Vec<_>>();
        let accept = HeaderValue::from_str(&accept.join(","))
            .map_err(|_| self.unusable("the type asked for cannot stand in a header"))?;
        self.call_about(selector, || {
            let call = Call::new(operation, method.clone(), url.clone())
                .headers(HeaderMap::from_iter([(ACCEPT, accept.clone())]));
            if method == Method::GET {
                call.whole_body(MAX_MANIFEST_SIZE)
            } else {
                call
            }
        })
        .await
    }

    async fn fetch(
        &self,
        selector: &Selector,
        types: &[MediaType],
    ) -> Result<FetchedManifest, RegistryError> {
        let response = self
            .ask("get_manifest", Method::GET, selector, types)
            .await?;
        if response.status() != StatusCode::OK {
            return Err(self.manifest_failure(selector, response).await);
        }
        let headers = response.headers().clone();
        let bytes = response
            .bytes(MAX_MANIFEST_SIZE)
            .await
            .map_err(|source| self.transport(source))?;
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let manifest = Manifest::parse(bytes, content_type).map_err(|source| {
            RegistryError::InvalidManifest {
                repository: self.to_string(),
                selector: selector.to_string(),
                source,
            }
        })?;
        let manifest = self.checked(manifest, selector, said_digest(&headers))?;
        Ok(FetchedManifest { manifest, headers })
    }

    /// A manifest that is what it was asked for as.
    fn checked(
        &self,
        manifest: Raw<Manifest>,
        selector: &Selector,
        said: Option<Digest>,
    ) -> Result<Raw<Manifest>, RegistryError> {
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

/// The digest that the registry says; one that cannot be read counts as none.
pub(crate) fn said_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.parse().ok()
}
