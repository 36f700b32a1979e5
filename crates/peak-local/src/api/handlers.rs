//! One function per operation of the images API.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;

use super::Application;
use super::answers::{Done, Image, ListBuilds, ListImages, ListVersions, Logs, Made, Version};
use super::error::ApiError;
use super::form::{Build, IMAGE_FIELDS};
use super::query::Parameters;
use super::upload::{Form, receive};
use crate::artifacts::{Artifact, Spooled};
use crate::model::BuildDetails;
use crate::queue::{BuildJob, Place};
use crate::shared::Shared;
use crate::state::{Changed, NewImage, NewVersion, StateError, VersionChange};

type Answer<T> = Result<Json<T>, ApiError>;

pub(super) async fn create_image(
    State(application): State<Application>,
    request: Request,
) -> Result<(StatusCode, Json<Made>), ApiError> {
    let form = receive(&application, request, IMAGE_FIELDS).await?;
    let name = form.image_name()?;
    let kind = form.image_type()?;
    let (first, notes, spooled) = new_version(form)?;
    let mut new = NewImage { name, kind, first };
    let place = place(&application)?;
    let changed = application
        .shared
        .blocking(move |shared| {
            keep(shared, spooled, |artifact| {
                new.first.artifact = artifact.map(|artifact| artifact.digest.clone());
                let changed = shared.state.create_image(&new)?;
                enqueue(place, &changed, &new.first.details, artifact, notes);
                Ok(changed)
            })
        })
        .await??;
    Ok((StatusCode::CREATED, Json(Made::new(&changed))))
}

pub(super) async fn create_version(
    State(application): State<Application>,
    Path(image): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Made>), ApiError> {
    let image = image_id(&image)?;
    application
        .shared
        .blocking(move |shared| shared.state.image(image))
        .await??;
    let form = receive(&application, request, IMAGE_FIELDS).await?;
    let (mut new, notes, spooled) = new_version(form)?;
    let place = place(&application)?;
    let changed = application
        .shared
        .blocking(move |shared| {
            keep(shared, spooled, |artifact| {
                new.artifact = artifact.map(|artifact| artifact.digest.clone());
                let changed = shared.state.create_version(image, &new)?;
                enqueue(place, &changed, &new.details, artifact, notes);
                Ok(changed)
            })
        })
        .await??;
    Ok((StatusCode::CREATED, Json(Made::new(&changed))))
}

/// A form with neither an artifact nor build details changes the description alone.
pub(super) async fn update_version(
    State(application): State<Application>,
    Path((image, version)): Path<(String, String)>,
    request: Request,
) -> Answer<Made> {
    let (image, version) = (image_id(&image)?, version_id(&version)?);
    let view = application
        .shared
        .blocking(move |shared| shared.state.version(image, version))
        .await??;
    let form = receive(&application, request, IMAGE_FIELDS).await?;
    if form
        .version()?
        .is_some_and(|name| name != view.record.version)
    {
        return Err(ApiError::impossible(format!(
            "the embedded platform does not rename versions, and this one is {}; create a version instead",
            view.record.version
        )));
    }
    let description = form.description()?;
    if !form.wants_build() {
        let change = VersionChange {
            description,
            build: None,
        };
        let changed = application
            .shared
            .blocking(move |shared| shared.state.update_version(image, version, &change))
            .await??;
        return Ok(Json(Made::new(&changed)));
    }
    let Build { details, notes } = form.build()?;
    let place = place(&application)?;
    let changed = application
        .shared
        .blocking(move |shared| {
            keep(shared, form.artifact, |artifact| {
                let digest = artifact.map(|artifact| artifact.digest.clone());
                let change = VersionChange {
                    description,
                    build: Some((details.clone(), digest)),
                };
                let changed = shared.state.update_version(image, version, &change)?;
                enqueue(place, &changed, &details, artifact, notes);
                Ok(changed)
            })
        })
        .await??;
    Ok(Json(Made::new(&changed)))
}

pub(super) async fn describe_image(
    State(application): State<Application>,
    Path(image): Path<String>,
    parameters: Parameters,
) -> Answer<Image> {
    parameters.none()?;
    let image = image_id(&image)?;
    let view = application
        .shared
        .blocking(move |shared| shared.state.image(image))
        .await??;
    Ok(Json(Image::new(view, application.shared.address)))
}

pub(super) async fn describe_version(
    State(application): State<Application>,
    Path((image, version)): Path<(String, String)>,
    parameters: Parameters,
) -> Answer<Version> {
    parameters.none()?;
    let (image, version) = (image_id(&image)?, version_id(&version)?);
    let view = application
        .shared
        .blocking(move |shared| shared.state.version(image, version))
        .await??;
    Ok(Json(Version::new(view, application.shared.address)))
}

pub(super) async fn list_images(
    State(application): State<Application>,
    parameters: Parameters,
) -> Answer<ListImages> {
    let (filter, page) = parameters.images()?;
    let listing = application
        .shared
        .blocking(move |shared| shared.state.list_images(&filter, page))
        .await??;
    Ok(Json(ListImages::new(listing, application.shared.address)))
}

pub(super) async fn list_versions(
    State(application): State<Application>,
    Path(image): Path<String>,
    parameters: Parameters,
) -> Answer<ListVersions> {
    let image = image_id(&image)?;
    let (filter, page) = parameters.versions()?;
    let listing = application
        .shared
        .blocking(move |shared| shared.state.list_versions(image, &filter, page))
        .await??;
    Ok(Json(ListVersions::new(listing, application.shared.address)))
}

pub(super) async fn list_builds(
    State(application): State<Application>,
    Path(image): Path<String>,
    parameters: Parameters,
) -> Answer<ListBuilds> {
    let image = image_id(&image)?;
    let (filter, page) = parameters.builds()?;
    let listing = application
        .shared
        .blocking(move |shared| shared.state.list_builds(image, &filter, page))
        .await??;
    Ok(Json(ListBuilds::new(listing)))
}

pub(super) async fn delete_image(
    State(application): State<Application>,
    Path(image): Path<String>,
    parameters: Parameters,
) -> Answer<Done> {
    parameters.none()?;
    let image = image_id(&image)?;
    application
        .shared
        .blocking(move |shared| shared.state.delete_image(image))
        .await??;
    application.shared.deletions.notify_one();
    Ok(Json(Done {}))
}

pub(super) async fn delete_version(
    State(application): State<Application>,
    Path((image, version)): Path<(String, String)>,
    parameters: Parameters,
) -> Answer<Done> {
    parameters.none()?;
    let (image, version) = (image_id(&image)?, version_id(&version)?);
    remove_versions(&application, image, BTreeSet::from([version])).await
}

pub(super) async fn delete_versions(
    State(application): State<Application>,
    Path(image): Path<String>,
    parameters: Parameters,
) -> Answer<Done> {
    let image = image_id(&image)?;
    let versions = parameters.version_ids()?;
    remove_versions(&application, image, versions).await
}

async fn remove_versions(
    application: &Application,
    image: u64,
    versions: BTreeSet<u64>,
) -> Answer<Done> {
    application
        .shared
        .blocking(move |shared| shared.state.delete_versions(image, &versions))
        .await??;
    application.shared.deletions.notify_one();
    Ok(Json(Done {}))
}

pub(super) async fn build_logs(
    State(application): State<Application>,
    Path((image, build)): Path<(String, String)>,
    parameters: Parameters,
) -> Answer<Logs> {
    let image = image_id(&image)?;
    let build = build_id(image, &build)?;
    let from = parameters.log_position()?;
    let page = application
        .shared
        .blocking(move |shared| shared.state.log_page(image, build, from))
        .await??;
    Ok(Json(Logs::new(page)))
}

/// Ids are numbers here, so whatever is none is the id of nothing.
pub(super) fn image_id(text: &str) -> Result<u64, ApiError> {
    text.parse()
        .map_err(|_| ApiError::not_found(format!("there is no image {text}")))
}

pub(super) fn build_id(image: u64, text: &str) -> Result<u64, ApiError> {
    text.parse()
        .map_err(|_| ApiError::not_found(format!("image {image} has no build {text}")))
}

fn version_id(text: &str) -> Result<u64, ApiError> {
    text.parse()
        .map_err(|_| ApiError::not_found(format!("there is no version with the id {text}")))
}

fn new_version(form: Form) -> Result<(NewVersion, Vec<String>, Option<Spooled>), ApiError> {
    let Build { details, notes } = form.build()?;
    let new = NewVersion {
        version: form.version()?,
        description: form.description()?,
        details,
        artifact: None,
    };
    Ok((new, notes, form.artifact))
}

fn place(application: &Application) -> Result<Place, ApiError> {
    application.queue.place().ok_or_else(|| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many builds are waiting, or the platform is about to end",
        )
    })
}

/// Writes a change down, with the archive that it came with, if it did.
fn keep<T>(
    shared: &Shared,
    spooled: Option<Spooled>,
    write: impl FnOnce(Option<&Artifact>) -> Result<T, StateError>,
) -> Result<T, StateError> {
    match spooled {
        Some(spooled) => shared.keep(spooled, |artifact| write(Some(artifact))),
        None => write(None),
    }
}

/// Puts the build of a change into the queue. This belongs to the same uninterrupted step as the change:
/// a request that is given up in between would leave a build that never ends.
fn enqueue(
    place: Place,
    changed: &Changed,
    details: &BuildDetails,
    artifact: Option<&Artifact>,
    notes: Vec<String>,
) {
    if let Some(build) = changed.build {
        place.fill(BuildJob::new(
            changed,
            build,
            details,
            artifact.map(|artifact| artifact.path.clone()),
            notes,
        ));
    }
}

/// Whatever has no route.
pub(super) async fn unknown_path() -> ApiError {
    ApiError::not_found("the embedded platform has nothing at this path")
}

/// Routes that are there, but not with this method.
pub(super) async fn unknown_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "the embedded platform does not have this operation",
    )
}
