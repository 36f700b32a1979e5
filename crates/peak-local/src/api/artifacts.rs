//! One function per operation of the artifacts API.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::Application;
use super::answers::{Artifact, Done, ListArtifacts, NewArtifact, NewArtifactVersion};
use super::error::ApiError;
use super::form::{
    ARTIFACT_FIELDS, ARTIFACT_VERSION_FIELDS, check_artifact_name, check_description,
};
use super::json::Object;
use super::query::Parameters;
use super::range::{Part, part};
use super::upload::{IDLE, receive};
use crate::state::{ArtifactChange, Page, StoredArchive};

type Answer<T> = Result<Json<T>, ApiError>;

/// The longest JSON body, bytes.
const JSON_LIMIT: usize = 256 * 1024;

/// How much of an archive is read at once, bytes.
const CHUNK: usize = 64 * 1024;

pub(super) async fn create(
    State(application): State<Application>,
    request: Request,
) -> Result<(StatusCode, Json<NewArtifact>), ApiError> {
    let form = receive(&application, request, ARTIFACT_FIELDS).await?;
    let name = form.artifact_name()?;
    let description = form.description()?;
    form.check_flags()?;
    let spooled = form.zip()?;
    let id = application
        .shared
        .blocking(move |shared| {
            shared.keep(spooled, |artifact| {
                shared
                    .state
                    .create_artifact(name, description, &stored(artifact))
            })
        })
        .await??;
    Ok((StatusCode::CREATED, Json(NewArtifact::new(id))))
}

pub(super) async fn create_version(
    State(application): State<Application>,
    Path(artifact): Path<String>,
    request: Request,
) -> Answer<NewArtifactVersion> {
    let id = artifact_id(&artifact)?;
    // An unknown artifact is known before the archive is received.
    let first = Page { number: 1, size: 1 };
    application
        .shared
        .blocking(move |shared| shared.state.artifact(id, first))
        .await??;
    let form = receive(&application, request, ARTIFACT_VERSION_FIELDS).await?;
    form.check_flags()?;
    let spooled = form.zip()?;
    let version = application
        .shared
        .blocking(move |shared| {
            shared.keep(spooled, |artifact| {
                shared.state.create_artifact_version(id, &stored(artifact))
            })
        })
        .await??;
    Ok(Json(NewArtifactVersion::new(version)))
}

pub(super) async fn list(
    State(application): State<Application>,
    parameters: Parameters,
) -> Answer<ListArtifacts> {
    let page = parameters.page()?;
    let listing = application
        .shared
        .blocking(move |shared| shared.state.list_artifacts(page))
        .await??;
    Ok(Json(ListArtifacts::new(listing)))
}

pub(super) async fn describe(
    State(application): State<Application>,
    Path(artifact): Path<String>,
    parameters: Parameters,
) -> Answer<Artifact> {
    let id = artifact_id(&artifact)?;
    let page = parameters.page()?;
    let (record, versions) = application
        .shared
        .blocking(move |shared| shared.state.artifact(id, page))
        .await??;
    Ok(Json(Artifact::described(record, &versions)))
}

pub(super) async fn update(
    State(application): State<Application>,
    Path(artifact): Path<String>,
    request: Request,
) -> Answer<Done> {
    let id = artifact_id(&artifact)?;
    Parameters::of(request.uri()).none()?;
    let change = receive_update(request).await?;
    application
        .shared
        .blocking(move |shared| shared.state.update_artifact(id, change))
        .await??;
    Ok(Json(Done {}))
}

async fn receive_update(request: Request) -> Result<ArtifactChange, ApiError> {
    check_json(request.headers())?;
    let body = tokio::time::timeout(IDLE, to_bytes(request.into_body(), JSON_LIMIT)).await;
    let body = body
        .map_err(|_| {
            ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            )
        })?
        .map_err(|_| {
            ApiError::too_large(format!(
                "the body is longer than {JSON_LIMIT} bytes, or ended early"
            ))
        })?;
    let mut object = Object::parse("the body", &body)?;
    let change = ArtifactChange {
        name: object.text("name")?,
        description: object.text("description")?,
    };
    object.finish()?;
    if let Some(name) = &change.name {
        check_artifact_name(name)?;
    }
    if let Some(description) = &change.description {
        check_description(description)?;
    }
    Ok(change)
}

fn check_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    if kind.trim().eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(ApiError::malformed(
            "the body must be JSON, with the `Content-Type` application/json",
        ))
    }
}

pub(super) async fn delete(
    State(application): State<Application>,
    Path(artifact): Path<String>,
    parameters: Parameters,
) -> Answer<Done> {
    parameters.none()?;
    let id = artifact_id(&artifact)?;
    application
        .shared
        .blocking(move |shared| shared.state.delete_artifact(id))
        .await??;
    application.shared.deletions.notify_one();
    Ok(Json(Done {}))
}

pub(super) async fn delete_version(
    State(application): State<Application>,
    Path((artifact, version)): Path<(String, String)>,
    parameters: Parameters,
) -> Answer<Done> {
    parameters.none()?;
    let (id, version) = (artifact_id(&artifact)?, version_number(&version)?);
    application
        .shared
        .blocking(move |shared| shared.state.delete_artifact_version(id, version))
        .await??;
    application.shared.deletions.notify_one();
    Ok(Json(Done {}))
}

pub(super) async fn download_latest(
    State(application): State<Application>,
    Path(artifact): Path<String>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    parameters.none()?;
    send(&application, artifact_id(&artifact)?, None, &headers).await
}

pub(super) async fn download(
    State(application): State<Application>,
    Path((artifact, version)): Path<(String, String)>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    parameters.none()?;
    let (id, version) = (artifact_id(&artifact)?, version_number(&version)?);
    send(&application, id, Some(version), &headers).await
}

/// Sends an archive, or the part of it that is asked for.
async fn send(
    application: &Application,
    id: Uuid,
    version: Option<u64>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let (archive, file) = application
        .shared
        .blocking(move |shared| {
            let hold = shared.artifacts.hold();
            let archive = shared.state.artifact_archive(id, version)?;
            let file = hold.open(&archive.digest)?;
            Ok::<_, ApiError>((archive, file))
        })
        .await??;
    let StoredArchive { digest, size } = archive;
    let etag = format!("\"{digest}\"");
    let (status, start, length) = match part(headers, &etag, size) {
        Part::Whole => (StatusCode::OK, 0, size),
        Part::Some { start, length } => (StatusCode::PARTIAL_CONTENT, start, length),
        Part::Unsatisfiable => {
            let mut refusal = ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("the archive has {size} bytes, and the asked range begins behind them"),
            )
            .into_response();
            if let Ok(value) = format!("bytes */{size}").parse() {
                refusal.headers_mut().insert(CONTENT_RANGE, value);
            }
            return Ok(refusal);
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(start)).await?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK));
    let headers = [
        (CONTENT_TYPE, "application/zip".to_owned()),
        (
            CONTENT_DISPOSITION,
            "attachment; filename=\"artifact.zip\"".to_owned(),
        ),
        (CONTENT_LENGTH, length.to_string()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (ETAG, etag),
    ];
    let mut response = (status, headers, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let last = start.saturating_add(length).saturating_sub(1);
        if let Ok(value) = format!("bytes {start}-{last}/{size}").parse() {
            response.headers_mut().insert(CONTENT_RANGE, value);
        }
    }
    Ok(response)
}

fn artifact_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| ApiError::not_found(format!("there is no artifact {text}")))
}

fn version_number(text: &str) -> Result<u64, ApiError> {
    text.parse()
        .map_err(|_| ApiError::not_found(format!("the artifact has no version {text}")))
}

fn stored(artifact: &crate::artifacts::Artifact) -> StoredArchive {
    StoredArchive {
        digest: artifact.digest.clone(),
        size: artifact.size,
    }
}
