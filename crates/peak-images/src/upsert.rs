//! Creating an image, or a version of it, or building a version again: whichever it takes.

use std::pin::pin;

use futures_util::TryStreamExt;
use peak_models::Id;

use crate::client::Images;
use crate::error::Error;
use crate::requests::images::{CreateImage, ListImages};
use crate::requests::versions::{CreateVersion, ListImageVersions, UpdateVersion};

/// What [`Images::create_or_update_image_version`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upserted {
    /// The image.
    pub image_id: Id,
    /// Its version.
    pub version_id: Id,
    /// The build of the version, which goes on after the answer.
    pub build_id: Option<Id>,
    /// The deployment that follows the build, where one was asked for.
    pub autodeployment_id: Option<Id>,
    /// Which of them are new.
    pub outcome: UpsertOutcome,
}

/// What there was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpsertOutcome {
    /// The image is new, and so is the version.
    CreatedImage,
    /// The image was there, the version is new.
    CreatedVersion,
    /// Image and version were there; the version is built again.
    UpdatedVersion,
}

/// What there is of an image and a version of given names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Existing {
    /// No image of that name
    Nothing,
    /// The image, without a version of that name
    Image(Id),
    /// The image and its version
    Version(Id, Id),
}

pub(crate) async fn look_up(
    images: &Images,
    name: &str,
    version: Option<&str>,
) -> Result<Existing, Error> {
    let Some(image) = find_image(images, name).await? else {
        return Ok(Existing::Nothing);
    };
    let found = match version {
        Some(version) => find_version(images, &image, version).await?,
        None => None,
    };
    Ok(match found {
        Some(version) => Existing::Version(image, version),
        None => Existing::Image(image),
    })
}

pub(crate) async fn create_or_update(
    images: &Images,
    wanted: &CreateImage,
) -> Result<Upserted, Error> {
    match look_up(images, &wanted.name, wanted.version.as_deref()).await? {
        Existing::Nothing => {
            let made = images.create_image(wanted).await?;
            Ok(Upserted {
                image_id: required("create_image", "imageId", made.image_id)?,
                version_id: required("create_image", "versionId", made.version_id)?,
                build_id: made.build_id,
                autodeployment_id: None,
                outcome: UpsertOutcome::CreatedImage,
            })
        }
        Existing::Image(image_id) => {
            let made = images
                .create_version(&image_id, &version_of(wanted))
                .await?;
            Ok(Upserted {
                image_id,
                version_id: required("create_version", "versionId", made.version_id)?,
                build_id: made.build_id,
                autodeployment_id: made.autodeployment_id,
                outcome: UpsertOutcome::CreatedVersion,
            })
        }
        Existing::Version(image_id, version_id) => {
            let made = images
                .update_version(&image_id, &version_id, &update_of(wanted))
                .await?;
            Ok(Upserted {
                image_id,
                version_id,
                build_id: made.build_id,
                autodeployment_id: made.autodeployment_id,
                outcome: UpsertOutcome::UpdatedVersion,
            })
        }
    }
}

/// The image of exactly this name. The search finds every name that contains it, so the one meant
/// may be on any page.
async fn find_image(images: &Images, name: &str) -> Result<Option<Id>, Error> {
    let list = ListImages::new().name(name).page_size(100);
    let mut found = pin!(images.list_images(list));
    while let Some(image) = found.try_next().await? {
        if image.name.as_deref() == Some(name) {
            return required("list_images", "id", image.id).map(Some);
        }
    }
    Ok(None)
}

/// The version of exactly this name.
async fn find_version(images: &Images, image: &Id, version: &str) -> Result<Option<Id>, Error> {
    let list = ListImageVersions::new().version(version).page_size(1);
    let mut found = pin!(images.list_image_versions(image, list));
    while let Some(candidate) = found.try_next().await? {
        if candidate.version.as_deref() == Some(version) {
            return required("list_image_versions", "id", candidate.id).map(Some);
        }
    }
    Ok(None)
}

fn required<T>(operation: &'static str, field: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or(Error::Incomplete { operation, field })
}

fn version_of(wanted: &CreateImage) -> CreateVersion {
    let mut version = CreateVersion::new(wanted.build.clone());
    if let Some(name) = &wanted.version {
        version = version.version(name);
    }
    if let Some(text) = &wanted.description {
        version = version.description(text);
    }
    let resources = wanted.autodeploy.iter().cloned();
    resources.fold(version, CreateVersion::autodeploy)
}

fn update_of(wanted: &CreateImage) -> UpdateVersion {
    let mut update = UpdateVersion::new().build(wanted.build.clone());
    if let Some(text) = &wanted.description {
        update = update.description(text);
    }
    let resources = wanted.autodeploy.iter().cloned();
    resources.fold(update, UpdateVersion::autodeploy)
}
