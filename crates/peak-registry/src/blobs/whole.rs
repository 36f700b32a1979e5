//! Blobs as a whole: whether they are there, and small ones read into memory.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use peak_oci::{Descriptor, Digest, MediaType, Verifier};

use super::part::content_length;
use crate::auth::Scope;
use crate::connection::{Call, reasons};
use crate::manifests::said_digest;
use crate::{Reasons, RegistryError, Repository};

impl Repository {
    /// The size of a blob in bytes, or `None` where the repository does not have it.
    ///
    /// # Errors
    /// Whatever a request can meet; [`RegistryError::InvalidResponse`] where the registry does not say the size.
    pub async fn get_blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        match self.find_blob(digest, None).await? {
            Some(None) => Err(self.unusable("it does not say how large a blob is")),
            Some(size) => Ok(size),
            None => Ok(None),
        }
    }

    /// Whether the blob is there, and then its size in bytes where the registry says it. `scope` is what to ask to be
    /// allowed, where that is more than to read.
    pub(crate) async fn find_blob(
        &self,
        digest: &Digest,
        scope: Option<Scope>,
    ) -> Result<Option<Option<u64>>, RegistryError> {
        let url = self.url("blobs", digest).await?;
        let call = |method| {
            let call = Call::new("get_blob_size", method, url.clone());
            match scope.clone() {
                Some(scope) => call.scope(scope),
                None => call,
            }
        };
        let head = self.call(call(Method::HEAD)).await?;
        // What GET says is the answer where HEAD is refused or does not tell.
        let is_final = match head.status() {
            StatusCode::OK => content_length(head.headers()).is_some(),
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => false,
            _ => true,
        };
        let response = if is_final {
            head
        } else {
            // The body is not read: dropping it ends the request.
            self.call(call(Method::GET)).await?
        };
        match response.status() {
            StatusCode::OK => {
                let headers = response.headers();
                let said = said_digest(headers);
                let other = said
                    .as_ref()
                    .is_some_and(|said| said.algorithm() == digest.algorithm() && said != digest);
                if other || (said.is_none() && is_page(headers)) {
                    return Err(self.unusable("asked for a blob, it answers with something else"));
                }
                // The header, since the body of an answer to HEAD has no length.
                Ok(Some(content_length(headers)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let reasons = reasons(response).await;
                Err(self.refusal(status, reasons))
            }
        }
    }

    /// The size of a blob that has to be there.
    pub(crate) async fn existing_blob_size(&self, digest: &Digest) -> Result<u64, RegistryError> {
        self.get_blob_size(digest)
            .await?
            .ok_or_else(|| RegistryError::BlobNotFound {
                repository: self.to_string(),
                digest: digest.clone(),
                reasons: Reasons::default(),
            })
    }

    /// Reads a blob of at most `limit` bytes into memory, and verifies it.
    ///
    /// # Errors
    /// [`RegistryError::BlobNotFound`], [`BlobTooLarge`](RegistryError::BlobTooLarge),
    /// [`Integrity`](RegistryError::Integrity), and whatever a request can meet.
    pub async fn get_blob(&self, digest: &Digest, limit: u64) -> Result<Bytes, RegistryError> {
        let size = self.existing_blob_size(digest).await?;
        let descriptor = Descriptor::new(MediaType::OCI_EMPTY, digest.clone(), size);
        self.read_blob(&descriptor, limit).await
    }

    /// As [`get_blob`](Self::get_blob), where a descriptor says the size, which is then not asked for.
    ///
    /// # Errors
    /// As [`get_blob`](Self::get_blob); [`BlobSize`](RegistryError::BlobSize) where the registry's blob has not the
    /// descriptor's size.
    pub async fn read_blob(
        &self,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let digest = &descriptor.digest;
        if descriptor.size > limit {
            return Err(RegistryError::BlobTooLarge {
                repository: self.to_string(),
                digest: digest.clone(),
                size: descriptor.size,
                limit,
            });
        }
        let mut read = self.open_blob(descriptor, 0).await?;
        let mut verifier = Verifier::for_descriptor(descriptor);
        let mut bytes = BytesMut::new();
        let wrong = |source| RegistryError::Integrity {
            repository: self.to_string(),
            selector: digest.to_string(),
            source,
        };
        while let Some(piece) = read
            .stream
            .try_next()
            .await
            .map_err(|source| RegistryError::Content { source })?
        {
            verifier.update(&piece).map_err(wrong)?;
            bytes.extend_from_slice(&piece);
        }
        verifier.finish().map_err(wrong)?;
        Ok(bytes.freeze())
    }
}

/// Whether this is a web page: something else than a registry answers, with "OK" to whatever it is asked.
fn is_page(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| MediaType::from_content_type(text).ok())
        .is_some_and(|media_type| media_type == "text/html")
}
