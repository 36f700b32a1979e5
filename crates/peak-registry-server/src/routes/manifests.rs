//! Reading, putting and deleting manifests.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peak_oci::{RepositoryName, Selector, Tag};

use crate::routes::failure::{Code, Failure};
use crate::routes::parameters::Parameters;
use crate::routes::{
    DOCKER_CONTENT_DIGEST, Registry, blocking, conditions, empty, header_value, receive,
};
use crate::store::StoredManifest;

/// Says that the manifest's subject was seen and that the manifest is among its referrers now.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// Says which tags a manifest got by the parameters of the request.
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// The most tags that one request may give.
const MAX_TAGS: usize = 100;

pub(crate) async fn head(
    registry: &Registry,
    name: RepositoryName,
    selector: Selector,
    request: &HeaderMap,
) -> Result<Response, Failure> {
    let repository = registry.store.repository(&name);
    let entry = blocking(move || repository.manifest_entry(&selector)).await?;
    if let Some(response) = conditions::answer(request, &entry.digest)? {
        return Ok(response);
    }
    Ok((StatusCode::OK, headers(&entry)?).into_response())
}

pub(crate) async fn get(
    registry: &Registry,
    name: RepositoryName,
    selector: Selector,
    request: &HeaderMap,
) -> Result<Response, Failure> {
    let repository = registry.store.repository(&name);
    let (entry, bytes) = blocking(move || repository.manifest_bytes(&selector)).await?;
    if let Some(response) = conditions::answer(request, &entry.digest)? {
        return Ok(response);
    }
    Ok((StatusCode::OK, headers(&entry)?, bytes).into_response())
}

pub(crate) async fn put(
    registry: &Registry,
    name: RepositoryName,
    selector: Selector,
    request: Request,
) -> Result<Response, Failure> {
    let tags = match &selector {
        Selector::Digest(_) => further_tags(&Parameters::of(request.uri())?)?,
        Selector::Tag(_) => Vec::new(),
    };
    let (head, body) = request.into_parts();
    let content_type = head
        .headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().map(str::to_owned))
        .transpose()
        .map_err(|_| Failure::bad_request(Code::ManifestInvalid, "the Content-Type is no text"))?;
    let bytes = receive::whole(
        body,
        &head.headers,
        registry.max_manifest_size,
        registry.limits.idle,
    )
    .await?;

    let repository = registry.store.repository(&name);
    let given = tags.clone();
    let sparse = registry.sparse_manifests;
    let manifest = blocking(move || {
        let content_type = content_type.as_deref();
        let manifest = if sparse {
            repository.put_sparse_manifest(&selector, content_type, bytes)
        } else {
            repository.put_manifest(&selector, content_type, bytes)
        }?;
        given
            .iter()
            .try_for_each(|tag| repository.put_tag(tag, manifest.digest()))?;
        Ok(manifest)
    })
    .await?;
    let digest = manifest.digest();

    let mut headers = HeaderMap::new();
    headers.insert(
        header::LOCATION,
        header_value(&format!("/v2/{name}/manifests/{digest}"))?,
    );
    headers.insert(DOCKER_CONTENT_DIGEST, header_value(digest.as_str())?);
    if let Some(subject) = manifest.value().subject() {
        headers.insert(OCI_SUBJECT, header_value(subject.digest.as_str())?);
    }
    for tag in &tags {
        headers.append(OCI_TAG, header_value(tag.as_str())?);
    }
    Ok((StatusCode::CREATED, headers).into_response())
}

pub(crate) async fn delete(
    registry: &Registry,
    name: RepositoryName,
    selector: Selector,
) -> Result<Response, Failure> {
    let repository = registry.store.repository(&name);
    blocking(move || repository.delete_manifest(&selector)).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// The tags that a manifest pushed by digest is to get, from the parameters `tag`.
fn further_tags(parameters: &Parameters) -> Result<Vec<Tag>, Failure> {
    let tags = parameters
        .all("tag")
        .map(str::parse)
        .collect::<Result<Vec<Tag>, _>>()
        .map_err(|_| Failure::bad_request(Code::TagInvalid, "a parameter `tag` is no tag"))?;
    if tags.len() > MAX_TAGS {
        return Err(Failure::new(
            StatusCode::URI_TOO_LONG,
            Code::TagInvalid,
            format!("a manifest gets at most {MAX_TAGS} tags at a time"),
        ));
    }
    Ok(tags)
}

fn headers(entry: &StoredManifest) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(entry.size));
    headers.insert(
        header::CONTENT_TYPE,
        header_value(entry.media_type.as_str())?,
    );
    headers.insert(DOCKER_CONTENT_DIGEST, header_value(entry.digest.as_str())?);
    headers.insert(
        header::ETAG,
        header_value(&conditions::entity_tag(&entry.digest))?,
    );
    Ok(headers)
}
