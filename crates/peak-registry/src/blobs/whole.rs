//! Blobs as a whole: whether they are there, and small ones read into memory.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use peak_oci::{Descriptor, Digest, MediaType, Verifier};

use super::read::content_length;
use crate::connection::reasons;
use crate::{RegistryError, Repository};

impl Repository {
    /// The size of a blob in bytes, or `None` where the repository does not have it.
    ///
    /// # Errors
    /// Whatever a request can meet; [`RegistryError::InvalidResponse`] where the registry does not say the size.
    pub async fn get_blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let url = self.url("blobs", digest)?;
        let head = self
            .send("get_blob_size", Method::HEAD, &url, HeaderMap::new())
            .await?;
        let response = match head.status() {
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                // The body is not read: dropping it ends the request.
                self.send("get_blob_size", Method::GET, &url, HeaderMap::new())
                    .await?
            }
            _ => head,
        };
        match response.status() {
            // The header, since the body of an answer to HEAD has no length.
            StatusCode::OK => content_length(response.headers())
                .map(Some)
                .ok_or_else(|| self.unusable("it does not say how large a blob is")),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let reasons = reasons(response).await;
                Err(self.refusal(status, reasons))
            }
        }
    }

    /// Reads a blob of at most `limit` bytes into memory, and verifies it.
    ///
    /// # Errors
    /// [`RegistryError::BlobNotFound`], [`BlobTooLarge`](RegistryError::BlobTooLarge),
    /// [`Integrity`](RegistryError::Integrity), and whatever a request can meet.
    pub async fn get_blob(&self, digest: &Digest, limit: u64) -> Result<Bytes, RegistryError> {
        let size =
            self.get_blob_size(digest)
                .await?
                .ok_or_else(|| RegistryError::BlobNotFound {
                    repository: self.to_string(),
                    digest: digest.clone(),
                    reasons: crate::Reasons::default(),
                })?;
        if size > limit {
            return Err(RegistryError::BlobTooLarge {
                repository: self.to_string(),
                digest: digest.clone(),
                size,
                limit,
            });
        }
        let descriptor = Descriptor::new(MediaType::OCI_EMPTY, digest.clone(), size);
        let mut read = self.open_blob(&descriptor, 0).await?;
        let mut verifier = Verifier::for_descriptor(&descriptor);
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
