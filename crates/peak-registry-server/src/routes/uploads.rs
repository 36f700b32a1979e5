//! Bringing blobs in: in one request, in two, or in chunks; or by mounting them.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peak_oci::{Algorithm, Digest, DigestError, RepositoryName};

use crate::auth::{Actions, Permissions};
use crate::routes::failure::{Code, Failure};
use crate::routes::parameters::Parameters;
use crate::routes::sessions::Held;
use crate::routes::{
    DOCKER_CONTENT_DIGEST, Registry, blocking, empty, header_value, path, range, receive,
};
use crate::store::{StoreError, Upload, UploadId};

/// The number of an upload, under the name that Docker's registry gave the header.
const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST`: starts an upload, or with `digest` takes the whole blob, or with `mount` takes it from
/// another repository.
pub(crate) async fn start(
    registry: &Registry,
    name: RepositoryName,
    request: Request,
    permissions: &Permissions,
) -> Result<Response, Failure> {
    let parameters = Parameters::of(request.uri())?;
    if let Some(digest) = parameters.first("digest") {
        let digest = parse_digest(digest)?;
        return whole(registry, name, digest, request).await;
    }
    if let Some(mount) = parameters.first("mount") {
        let digest = parse_digest(mount)?;
        let from = parameters.first("from");
        if mounted(registry, &name, from, &digest, permissions).await? {
            return created(&name, &digest);
        }
    }
    let algorithm = match parameters.first("digest-algorithm") {
        None => Algorithm::Sha256,
        Some(name) => name.parse().map_err(|error: DigestError| {
            Failure::bad_request(Code::DigestInvalid, error.to_string())
        })?,
    };
    let repository = registry.store.repository(&name);
    let id = registry
        .sessions
        .open_lasting(repository, algorithm)
        .await?;
    Ok((StatusCode::ACCEPTED, progress(&name, id, 0)?).into_response())
}

/// `GET`: how far the upload is.
pub(crate) async fn status(
    registry: &Registry,
    name: &RepositoryName,
    id: UploadId,
) -> Result<Response, Failure> {
    let held = registry.sessions.hold(name, id).await?;
    let received = held.upload()?.received();
    Ok((StatusCode::NO_CONTENT, progress(name, id, received)?).into_response())
}

/// `PATCH`: appends a chunk.
pub(crate) async fn append(
    registry: &Registry,
    name: &RepositoryName,
    id: UploadId,
    request: Request,
) -> Result<Response, Failure> {
    let held = registry.sessions.hold(name, id).await?;
    let length = announced(&held, name, id, request.headers())?;
    let held = receive(registry, request, held, length).await?;
    let received = held.upload()?.received();
    Ok((StatusCode::ACCEPTED, progress(name, id, received)?).into_response())
}

/// `PUT`: appends what is in the body, if anything, checks the digest and makes the blob visible.
pub(crate) async fn finish(
    registry: &Registry,
    name: &RepositoryName,
    id: UploadId,
    request: Request,
) -> Result<Response, Failure> {
    let parameters = Parameters::of(request.uri())?;
    let digest = parameters.first("digest").ok_or_else(|| {
        Failure::bad_request(Code::DigestInvalid, "the parameter `digest` is missing")
    })?;
    let digest = parse_digest(digest)?;
    let mut held = registry.sessions.hold(name, id).await?;
    let length = announced(&held, name, id, request.headers())?;
    if let Some(upload) = held.upload_mut() {
        upload.expect_algorithm(digest.algorithm());
    }
    let held = receive(registry, request, held, length).await?;
    complete(held, name, digest).await
}

/// `DELETE`: gives the upload up.
pub(crate) async fn cancel(
    registry: &Registry,
    name: &RepositoryName,
    id: UploadId,
) -> Result<Response, Failure> {
    let mut held = registry.sessions.hold(name, id).await?;
    blocking(move || held.take().map_or(Ok(()), Upload::cancel)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A blob in a single request. If it breaks off nothing stays: nobody knows of an upload.
async fn whole(
    registry: &Registry,
    name: RepositoryName,
    digest: Digest,
    request: Request,
) -> Result<Response, Failure> {
    let repository = registry.store.repository(&name);
    let held = registry
        .sessions
        .open_once(repository, digest.algorithm())
        .await?;
    let length = receive::content_length(request.headers());
    let held = receive(registry, request, held, length).await?;
    complete(held, &name, digest).await
}

/// Whether the blob could be taken from the repository `from`, or if the client names none, from
/// any. Where it could not, for whatever reason, an upload starts instead: who may not pull there
/// does not learn what is there.
async fn mounted(
    registry: &Registry,
    name: &RepositoryName,
    from: Option<&str>,
    digest: &Digest,
    permissions: &Permissions,
) -> Result<bool, Failure> {
    let Ok(from) = from.map(path::name).transpose() else {
        return Ok(false);
    };
    let may_pull = {
        let permissions = permissions.clone();
        move |name: &RepositoryName| permissions.allow(name, Actions::PULL)
    };
    let repository = registry.store.repository(name);
    let digest = digest.clone();
    blocking(move || match from {
        Some(from) if may_pull(&from) => repository.link_blob_from(&from, &digest),
        Some(_) => Ok(false),
        None => repository.link_blob_from_any(&digest, may_pull),
    })
    .await
}

async fn complete(
    mut held: Held,
    name: &RepositoryName,
    digest: Digest,
) -> Result<Response, Failure> {
    let expected = digest.clone();
    blocking(move || {
        held.take()
            .ok_or(StoreError::UploadBroken)?
            .finish(&expected)
    })
    .await?;
    created(name, &digest)
}

/// Appends the body to the upload.
async fn receive(
    registry: &Registry,
    request: Request,
    held: Held,
    length: Option<u64>,
) -> Result<Held, Failure> {
    let share = registry.bodies.join();
    receive::append(request.into_body(), held, length, registry.limits, share).await
}

/// The length of the chunk as its headers have it, after checking that it goes on where the upload
/// is.
fn announced(
    held: &Held,
    name: &RepositoryName,
    id: UploadId,
    headers: &HeaderMap,
) -> Result<Option<u64>, Failure> {
    let body = receive::content_length(headers);
    let Some(value) = headers.get(header::CONTENT_RANGE) else {
        return Ok(body);
    };
    let received = held.upload()?.received();
    let chunk = value.to_str().ok().and_then(range::chunk);
    let Some(chunk) = chunk.filter(|chunk| chunk.start == received) else {
        return Err(Failure::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            Code::BlobUploadInvalid,
            format!("the chunk's Content-Range has to start at {received}"),
        )
        .with_headers(progress(name, id, received)?));
    };
    match body {
        Some(length) if length != chunk.length => Err(Failure::bad_request(
            Code::SizeInvalid,
            format!(
                "Content-Range is {} bytes long, Content-Length {length}",
                chunk.length
            ),
        )),
        _ => Ok(Some(chunk.length)),
    }
}

/// The headers that say where an upload is and how far. Refusals have them too, beside a body.
fn progress(name: &RepositoryName, id: UploadId, received: u64) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let location = format!("/v2/{name}/blobs/uploads/{id}");
    headers.insert(header::LOCATION, header_value(&location)?);
    // An inclusive range cannot say that there is nothing; `0-0` is how registries write it.
    let range = format!("0-{}", received.saturating_sub(1));
    headers.insert(header::RANGE, header_value(&range)?);
    headers.insert(DOCKER_UPLOAD_UUID, header_value(&id.to_string())?);
    Ok(headers)
}

fn created(name: &RepositoryName, digest: &Digest) -> Result<Response, Failure> {
    let location = header_value(&format!("/v2/{name}/blobs/{digest}"))?;
    let digest = header_value(digest.as_str())?;
    let headers = [
        (header::LOCATION, location),
        (DOCKER_CONTENT_DIGEST, digest),
    ];
    Ok((StatusCode::CREATED, headers).into_response())
}

fn parse_digest(text: &str) -> Result<Digest, Failure> {
    path::digest(text).map_err(|error| Failure::bad_request(Code::DigestInvalid, error.to_string()))
}
