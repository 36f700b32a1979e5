//! Deleting manifests, tags and blobs. Nothing is looked up behind the caller's back: what is named is what goes.

use std::fmt;

use http::{Method, StatusCode};
use peak_http::Response;
use peak_oci::{Descriptor, Digest, ImageManifest, MediaType, Selector, Tag};

use crate::connection::{Call, reasons};
use crate::{RegistryError, Repository};

impl Repository {
    /// Deletes a manifest, and with it every tag that leads to it.
    ///
    /// # Errors
    /// [`RegistryError::ManifestNotFound`], [`DeleteUnsupported`](RegistryError::DeleteUnsupported), and whatever a
    /// request can meet.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<(), RegistryError> {
        let selector = Selector::Digest(digest.clone());
        let response = self.delete("manifests", &selector).await?;
        self.deleted(
            response,
            &format!("the manifest {digest}"),
            "the registry's own interface may be able to",
            |repository, reasons| RegistryError::ManifestNotFound {
                repository,
                selector: selector.to_string(),
                reasons,
            },
        )
        .await
    }

    /// Deletes a tag and leaves the manifest. Many registries cannot do that.
    ///
    /// # Errors
    /// [`RegistryError::DeleteUnsupported`] where the registry cannot; [`replace_tag`](Self::replace_tag) then
    /// can, or [`delete_manifest`](Self::delete_manifest) with all of its tags.
    pub async fn delete_tag(&self, tag: &Tag) -> Result<(), RegistryError> {
        let selector = Selector::Tag(tag.clone());
        let response = self.delete("manifests", &selector).await?;
        self.deleted(
            response,
            &format!("just the tag `{tag}`"),
            "delete the manifest by its digest, with all its tags, or put another manifest in its place and delete that",
            |repository, reasons| RegistryError::ManifestNotFound {
                repository,
                selector: selector.to_string(),
                reasons,
            },
        )
        .await
    }

    /// Gets rid of a tag where the registry cannot delete just a tag: makes it lead to a new, empty manifest of its
    /// own, and deletes that. For a moment, and for good if the second step fails, the tag leads to an empty image.
    ///
    /// # Errors
    /// Whatever the two steps can meet.
    pub async fn replace_tag(&self, tag: &Tag) -> Result<(), RegistryError> {
        let empty = bytes::Bytes::from_static(b"{}");
        let config = Descriptor::of(MediaType::OCI_EMPTY, &empty);
        self.put_blob(empty).await?;
        let mut manifest = ImageManifest::new(config, Vec::new());
        manifest.artifact_type = Some(MediaType::OCI_EMPTY);
        // Its own digest: no other tag may go with it.
        manifest.annotations.insert(
            "peak.replaced-tag".to_owned(),
            format!("{tag} {:032x}", rand::random::<u128>()),
        );
        let manifest = manifest
            .to_raw()
            .map_err(|_| self.unusable("an empty manifest cannot be made"))?;
        self.upload_manifest(&manifest, std::slice::from_ref(tag))
            .await?;
        self.delete_manifest(manifest.digest()).await
    }

    /// Deletes a blob from the repository.
    ///
    /// # Errors
    /// [`RegistryError::BlobNotFound`], [`DeleteUnsupported`](RegistryError::DeleteUnsupported), and whatever a
    /// request can meet.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), RegistryError> {
        let response = self.delete("blobs", digest).await?;
        self.deleted(
            response,
            &format!("the blob {digest}"),
            "the registry removes blobs that nothing points to by itself",
            |repository, reasons| RegistryError::BlobNotFound {
                repository,
                digest: digest.clone(),
                reasons,
            },
        )
        .await
    }

    async fn delete(
        &self,
        kind: &'static str,
        what: &(dyn fmt::Display + Sync),
    ) -> Result<Response, RegistryError> {
        let call = Call::new("delete", Method::DELETE, self.url(kind, &what)?);
        self.call(call).await
    }

    async fn deleted(
        &self,
        response: Response,
        what: &str,
        alternative: &'static str,
        not_found: impl FnOnce(String, crate::Reasons) -> RegistryError,
    ) -> Result<(), RegistryError> {
        let status = response.status();
        if matches!(
            status,
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT
        ) {
            return Ok(());
        }
        let reasons = reasons(response).await;
        let unsupported = status == StatusCode::METHOD_NOT_ALLOWED
            || status == StatusCode::NOT_IMPLEMENTED
            || (status == StatusCode::BAD_REQUEST
                && reasons.has_any(&["UNSUPPORTED", "DIGEST_INVALID"]));
        Err(if status == StatusCode::NOT_FOUND {
            not_found(self.to_string(), reasons)
        } else if unsupported {
            RegistryError::DeleteUnsupported {
                repository: self.to_string(),
                what: what.to_owned(),
                reasons,
                alternative,
            }
        } else {
            self.refusal(status, reasons)
        })
    }
}
