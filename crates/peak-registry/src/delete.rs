//! Deleting manifests, tags and blobs. What is named is what goes.

use http::{Method, StatusCode};
use peak_http::Response;
use peak_oci::{Descriptor, Digest, ImageManifest, MediaType, Selector, Tag};
use url::Url;

use crate::connection::{Call, reasons};
use crate::{RegistryError, Repository};

impl Repository {
    /// Deletes a manifest, and with it every tag that leads to it.
    ///
    /// It is read before: where it has a subject and the registry does not keep the list of referrers, it is taken out
    /// of the list under the subject's fallback tag, too.
    ///
    /// # Errors
    /// [`RegistryError::ManifestNotFound`], [`DeleteUnsupported`](RegistryError::DeleteUnsupported), and whatever a
    /// request can meet. When the manifest is gone and only the list could not be changed, that is an error, too.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<(), RegistryError> {
        let manifest = match self.get_manifest(&Selector::Digest(digest.clone())).await {
            Ok(manifest) => Some(manifest),
            Err(error) if error.is_transient() => return Err(error),
            // What cannot be read has to be deletable nevertheless.
            Err(_) => None,
        };
        self.delete_just_manifest(digest).await?;
        match manifest.as_ref().and_then(|found| found.value().subject()) {
            Some(subject) => self.remove_referrer(&subject.digest, digest).await,
            None => Ok(()),
        }
    }

    /// Deletes a manifest that is no referrer.
    pub(crate) async fn delete_just_manifest(&self, digest: &Digest) -> Result<(), RegistryError> {
        let selector = Selector::Digest(digest.clone());
        self.delete_by(
            &selector,
            &format!("the manifest {digest}"),
            "the registry's own interface may be able to",
        )
        .await
    }

    /// Deletes a tag and leaves the manifest. Many registries cannot do that.
    ///
    /// # Errors
    /// [`RegistryError::DeleteUnsupported`] where the registry cannot; [`replace_tag`](Self::replace_tag) then
    /// can, or [`delete_manifest`](Self::delete_manifest) with all of its tags.
    pub async fn delete_tag(&self, tag: &Tag) -> Result<(), RegistryError> {
        self.delete_by(
            &Selector::Tag(tag.clone()),
            &format!("just the tag `{tag}`"),
            "delete the manifest by its digest, with all its tags, or put another manifest in its place and delete that",
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
        self.delete_just_manifest(manifest.digest()).await
    }

    /// Deletes a blob from the repository.
    ///
    /// # Errors
    /// [`RegistryError::BlobNotFound`], [`DeleteUnsupported`](RegistryError::DeleteUnsupported), and whatever a
    /// request can meet.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<(), RegistryError> {
        let url = self.url("blobs", digest).await?;
        let response = self.call(deletion(url)).await?;
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

    /// Deletes a manifest or a tag.
    async fn delete_by(
        &self,
        selector: &Selector,
        what: &str,
        alternative: &'static str,
    ) -> Result<(), RegistryError> {
        let url = self.url("manifests", selector).await?;
        let response = self.call_about(selector, || deletion(url.clone())).await?;
        self.deleted(response, what, alternative, |repository, reasons| {
            RegistryError::ManifestNotFound {
                repository,
                selector: selector.to_string(),
                reasons,
            }
        })
        .await?;
        self.forget_write(selector);
        Ok(())
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

fn deletion(url: Url) -> Call {
    Call::new("delete", Method::DELETE, url)
}
