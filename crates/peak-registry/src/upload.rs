//! Manifests and small blobs, sent.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use peak_http::{Body, Idempotency, Origin, Response};
use peak_oci::{Digest, Manifest, Raw, Selector, Tag};
use url::Url;

use crate::auth::Scope;
use crate::connection::Call;
use crate::manifests::said_digest;
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

    /// Sends a small blob in one piece, unless the repository has it. `peak-transfer` sends large ones.
    ///
    /// # Errors
    /// [`RegistryError::Stored`] where the registry says another digest, and whatever a request can meet.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<Digest, RegistryError> {
        let digest = Digest::sha256_of(&bytes);
        if self.get_blob_size(&digest).await?.is_some() {
            return Ok(digest);
        }
        // A second session that nobody ends does no harm, so the request may be repeated.
        let start = Call::new(
            "start_upload",
            Method::POST,
            self.url("blobs", &"uploads/").await?,
        );
        let start = start.idempotency(Idempotency::Idempotent);
        let response = self.call(start).await?;
        if !matches!(
            response.status(),
            StatusCode::ACCEPTED | StatusCode::CREATED
        ) {
            return Err(self.refused(response).await);
        }
        let location = self.location(&response)?;
        let elsewhere = Origin::of(&location) != Origin::of(response.url());
        let call = Call::new("upload_blob", Method::PUT, with_digest(location, &digest));
        let call = call
            .scope(Scope::push(self.name()))
            .headers(HeaderMap::from_iter([(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )]))
            // A signed URL at another server holds what it needs; credentials are not for that server.
            .anonymous(elsewhere)
            .body(Body::from(bytes));
        let response = self.call(call).await?;
        if !matches!(
            response.status(),
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK
        ) {
            return Err(self.refused(response).await);
        }
        self.check_stored(said_digest(response.headers()), &digest)?;
        Ok(digest)
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

    /// Where an upload goes on: relative to the request, and not less protected than it.
    fn location(&self, response: &Response) -> Result<Url, RegistryError> {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| {
                self.unusable("the answer to an upload does not say where it goes on")
            })?;
        let request = response.url();
        let url = request
            .join(location)
            .map_err(|_| self.unusable("where the upload goes on cannot be read"))?;
        let downgraded = request.scheme() == "https" && url.scheme() != "https";
        let inward = peak_http::address::is_internal(&url)
            && !peak_http::address::is_internal(request)
            && url.host() != request.host();
        if downgraded || inward || !matches!(url.scheme(), "http" | "https") {
            return Err(self.unusable("the upload would go on where nothing must be sent"));
        }
        Ok(url)
    }
}

/// The URL with the digest appended; what its query has stays byte for byte, since it may be signed.
fn with_digest(mut url: Url, digest: &Digest) -> Url {
    let query = match url.query() {
        Some(query) if !query.is_empty() => format!("{query}&digest={digest}"),
        _ => format!("digest={digest}"),
    };
    url.set_query(Some(&query));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_appended_and_nothing_else_changed() {
        let digest = Digest::sha256_of(b"");
        for (before, sign) in [
            ("https://r.example/u/1", '?'),
            ("https://r.example/u/1?_state=a%2Fb%3D&x=+", '&'),
        ] {
            let url = with_digest(Url::parse(before).unwrap(), &digest);
            assert_eq!(url.as_str(), format!("{before}{sign}digest={digest}"));
        }
    }
}
