//! Questions for which something is begun in a repository and taken back.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use peak_http::Body;
use peak_oci::{Digest, Tag};

use super::report::{BlobUploads, Deletes, Deletion, Mounts};
use crate::blobs::upload::{OpenSession, Reply, about_session, cancel};
use crate::{RegistryError, Repository};

/// What nobody else can have stored.
fn unheard_of() -> String {
    format!("peak probe {:032x}", rand::random::<u128>())
}

/// Begins an upload, sends a chunk of it, and ends it. Nothing is stored.
pub(super) async fn uploads(
    repository: &Repository,
    limit: Duration,
) -> Result<BlobUploads, RegistryError> {
    let url = repository.url("blobs", &"uploads/").await?;
    let call = about_session(repository, "probe_upload", Method::POST, url.clone()).await?;
    let response = repository.call(call.deadline(limit)).await?;
    if response.status() != StatusCode::ACCEPTED {
        return Err(repository.refused(response).await);
    }
    let reply = Reply::new(&url, response.status(), response.headers(), None);
    let location = reply
        .location
        .unwrap_or(Err("it does not say where the upload goes on"))
        .map_err(|reason| repository.unusable(reason))?;
    // Where this ends early, it is remembered to be cancelled.
    let mut session = OpenSession::passing(repository);
    session.set(Some(&location));

    let chunk = Bytes::from(unheard_of());
    let range = format!("0-{}", chunk.len().saturating_sub(1));
    let headers = HeaderMap::from_iter([
        (
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (
            CONTENT_RANGE,
            HeaderValue::from_str(&range)
                .map_err(|_| repository.unusable("the range cannot stand in a header"))?,
        ),
    ]);
    let call = about_session(repository, "probe_chunk", Method::PATCH, location.clone()).await?;
    let call = call
        .headers(headers)
        .body(Body::from(chunk))
        .deadline(limit);
    let sent = repository.call(call).await?;
    let chunks = sent.status().is_success();
    let next = Reply::new(&location, sent.status(), sent.headers(), None);
    let location = match next.location {
        Some(Ok(next)) if chunks => next,
        _ => location,
    };
    session.set(Some(&location));
    let cancels = cancel(repository, &location).await;
    session.set(None);
    Ok(BlobUploads {
        chunks,
        smallest_chunk: Some(reply.min_chunk).filter(|least| *least > 0),
        cancels,
    })
}

/// Asks to delete what the registry cannot have: whether it deletes is then in how it says so.
pub(super) async fn deletion(repository: &Repository) -> Result<Deletion, RegistryError> {
    let name = unheard_of();
    let digest = Digest::sha256_of(name.as_bytes());
    let tag: Tag = name
        .replace(' ', "-")
        .parse()
        .map_err(|_| repository.unusable("its tags cannot be asked about"))?;
    Ok(Deletion {
        manifests: deletes(repository.delete_just_manifest(&digest).await)?,
        tags: deletes(repository.delete_tag(&tag).await)?,
        blobs: deletes(repository.delete_blob(&digest).await)?,
    })
}

fn deletes(answer: Result<(), RegistryError>) -> Result<Deletes, RegistryError> {
    // What has a code comes from the registry itself, and not from something before it that knows no such path.
    const UNKNOWN: [&str; 3] = ["MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"];
    match answer {
        Ok(()) => Ok(Deletes::Yes),
        Err(
            RegistryError::ManifestNotFound { reasons, .. }
            | RegistryError::BlobNotFound { reasons, .. },
        ) if reasons.has_any(&UNKNOWN) => Ok(Deletes::Yes),
        Err(error) if error.is_not_found() => Ok(Deletes::Unclear),
        Err(RegistryError::DeleteUnsupported { .. }) => Ok(Deletes::No),
        Err(error) if error.is_authentication() => Ok(Deletes::Denied),
        Err(RegistryError::Status { status, .. }) if status.is_client_error() => {
            Ok(Deletes::Unclear)
        }
        Err(error) => Err(error),
    }
}

/// Stores a blob of a few bytes in one repository, mounts it into the other, and deletes both.
pub(super) async fn mounts(
    from: &Repository,
    into: &Repository,
    limit: Duration,
    left_behind: &mut Vec<String>,
) -> Result<Mounts, RegistryError> {
    let blob = Bytes::from(unheard_of());
    let digest = Digest::sha256_of(&blob);
    let stored = |repository: &Repository| format!("{repository}@{digest}");
    // Until it is known to be gone: this may end early, and an answer that is lost may have been a good one.
    left_behind.push(stored(from));
    if let Err(error) = from.put_blob(blob).await {
        let is_refused = error
            .status()
            .is_some_and(|status| status.is_client_error());
        if is_refused
            || error.is_authentication()
            || matches!(from.get_blob_size(&digest).await, Ok(None))
        {
            left_behind.clear();
        }
        return Err(error);
    }
    let mut url = into.url("blobs", &"uploads/").await?;
    url.query_pairs_mut()
        .append_pair("mount", digest.as_ref())
        .append_pair("from", from.name().as_str());
    // Its scope is in its URL: two repositories are asked for.
    let call = crate::connection::Call::new("probe_mount", Method::POST, url.clone());
    left_behind.push(stored(into));
    let answer = into.call(call.deadline(limit)).await;
    let result = match answer {
        Err(error) => Err(error),
        Ok(response) => {
            let status = response.status();
            match status {
                StatusCode::CREATED => Ok(Mounts::Yes),
                StatusCode::ACCEPTED => {
                    let reply = Reply::new(&url, status, response.headers(), None);
                    if let Some(Ok(location)) = reply.location {
                        let _ = cancel(into, &location).await;
                    }
                    Ok(Mounts::No)
                }
                status if status.is_client_error() => Ok(Mounts::Refused { status }),
                _ => Err(into.refused(response).await),
            }
        }
    };
    // An answer that was lost may have been a good one.
    if matches!(result, Ok(Mounts::No | Mounts::Refused { .. })) {
        let name = stored(into);
        left_behind.retain(|known| *known != name);
    }
    for repository in [from, into] {
        let name = stored(repository);
        if !left_behind.contains(&name) {
            continue;
        }
        match repository.delete_blob(&digest).await {
            Ok(()) => left_behind.retain(|known| *known != name),
            Err(error) if error.is_not_found() => left_behind.retain(|known| *known != name),
            Err(error) => {
                tracing::debug!(%repository, %digest, %error, "a blob could not be deleted again");
            }
        }
    }
    result
}
