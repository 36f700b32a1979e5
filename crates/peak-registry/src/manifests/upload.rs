//! Manifests, sent.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use peak_http::{Body, Response};
use peak_oci::{Digest, Manifest, Raw, Selector, Tag};

use super::said_digest;
use crate::connection::Call;
use crate::{RegistryError, Repository};

/// The registry's answer to a manifest with a subject, when it keeps the list of referrers itself.
const SUBJECT_HEADER: &str = "oci-subject";

impl Repository {
    /// Sends a manifest, its bytes unchanged: under each of these tags, or under its digest where there are none.
    ///
    /// What it points to has to be there before it. Where it has a subject and the registry does not keep the list of
    /// referrers, the list under the fallback tag is updated.
    ///
    /// # Errors
    /// [`RegistryError::Stored`] where the registry says another digest, [`Status`](RegistryError::Status) with the
    /// registry's reasons where it refuses the manifest, and whatever a request can meet.
    pub async fn upload_manifest(
        &self,
        manifest: &Raw<Manifest>,
        tags: &[Tag],
    ) -> Result<(), RegistryError> {
        let mut keeps_referrers = false;
        let by_digest = [Selector::Digest(manifest.digest().clone())];
        let by_tag: Vec<_> = tags.iter().cloned().map(Selector::Tag).collect();
        let selectors = if by_tag.is_empty() {
            by_digest.as_slice()
        } else {
            by_tag.as_slice()
        };
        for selector in selectors {
            let response = self.put_manifest(manifest, selector).await?;
            keeps_referrers |= response.headers().contains_key(SUBJECT_HEADER);
        }
        if manifest.value().subject().is_some() && !keeps_referrers {
            self.add_referrer(manifest).await?;
        }
        Ok(())
    }

    /// One PUT of a manifest, its answer checked.
    pub(crate) async fn put_manifest(
        &self,
        manifest: &Raw<Manifest>,
        selector: &Selector,
    ) -> Result<Response, RegistryError> {
        let media_type = HeaderValue::from_str(manifest.media_type().as_str())
            .map_err(|_| self.unusable("the manifest's type cannot stand in a header"))?;
        let call = Call::new(
            "upload_manifest",
            Method::PUT,
            self.url("manifests", selector).await?,
        );
        let call = call
            .headers(HeaderMap::from_iter([(CONTENT_TYPE, media_type)]))
            .body(Body::from(manifest.bytes().clone()));
        let response = self.call(call).await?;
        if !matches!(
            response.status(),
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED
        ) {
            return Err(self.refused(response).await);
        }
        self.connection()
            .own_writes()
            .add(self, manifest.digest(), selector);
        let said = match said_digest(response.headers()) {
            // Something before the registry may say "OK" to anything; the registry itself would have said 201.
            None if response.status() != StatusCode::CREATED => {
                Some(self.get_manifest_digest(selector).await?)
            }
            said => said,
        };
        self.check_stored(said, manifest.digest())?;
        Ok(response)
    }

    /// The registry may say the digest of what it stored; it must then be that of what was sent.
    fn check_stored(&self, said: Option<Digest>, sent: &Digest) -> Result<(), RegistryError> {
        match said {
            Some(said) if said.algorithm() == sent.algorithm() && said != *sent => {
                Err(RegistryError::Stored {
                    repository: self.to_string(),
                    expected: sent.clone(),
                    actual: said,
                })
            }
            _ => Ok(()),
        }
    }
}
