//! The service's operations, done.

use std::path::{Path, PathBuf};

use futures_core::Stream;
use futures_util::TryStreamExt;
use peak_models::{
    Build, BuildLogs, CreateImageResponse, CreateVersionResponse, Id, Image, ImageVersion,
    ListImageBuildsResponse, ListImageVersionsResponse, ListImagesResponse, UpdateVersionResponse,
};
use peak_platform::pages::{self, Page};
use peak_platform::{Operation, SavedFile, Session};

use crate::build_logs::{self, BuildLogEvent, FinishedBuild, FollowOptions};
use crate::error::Error;
use crate::requests::builds::{BuildsPage, ListImageBuilds};
use crate::requests::images::{CreateImage, DeleteImage, DescribeImage, ImagesPage, ListImages};
use crate::requests::logs::{BuildLogsPage, BuildLogsUrl, SignedBuildLogs, default_file_name};
use crate::requests::versions::{
    CreateVersion, CreateVersionOf, DeleteVersion, DeleteVersions, DescribeVersion,
    ListImageVersions, UpdateVersion, UpdateVersionOf, VersionsPage,
};
use crate::upsert::{self, Existing, Upserted};

/// The Images service, as seen by a session. Cheap to clone.
///
/// All operations can be dropped at any time; what was already sent may then still have happened.
#[derive(Debug, Clone)]
pub struct Images {
    session: Session,
}

impl Images {
    /// The service that this session leads to.
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    async fn call<O: Operation>(&self, operation: &O) -> Result<O::Answer, Error> {
        Ok(self.session.call(operation).await?)
    }

    /// Creates an image, its first version and the build of it. Repeated only where the platform
    /// cannot have acted on it, since a second request would make a second image.
    ///
    /// # Errors
    /// [`Error::Platform`]; a conflict if the name is taken.
    pub async fn create_image(&self, image: &CreateImage) -> Result<CreateImageResponse, Error> {
        self.call(image).await
    }

    /// Creates a version of an image and the build of it. Repeated only where the platform cannot
    /// have acted on it.
    ///
    /// # Errors
    /// [`Error::Platform`]; a conflict if the version is there.
    pub async fn create_version(
        &self,
        image: &Id,
        version: &CreateVersion,
    ) -> Result<CreateVersionResponse, Error> {
        self.call(&CreateVersionOf { image, version }).await
    }

    /// Changes a version, and builds it again if a build is given.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn update_version(
        &self,
        image: &Id,
        version: &Id,
        update: &UpdateVersion,
    ) -> Result<UpdateVersionResponse, Error> {
        self.call(&UpdateVersionOf {
            image,
            version,
            update,
        })
        .await
    }

    /// Creates the image if there is none of its name; else creates the version if the image has
    /// none of its name, or if it has no name; else updates that version. Names must be equal, not
    /// similar.
    ///
    /// # Errors
    /// [`Error::Platform`], of any of the requests it takes; [`Error::Incomplete`] if the platform
    /// does not say what it found or made.
    pub async fn create_or_update_image_version(
        &self,
        image: &CreateImage,
    ) -> Result<Upserted, Error> {
        upsert::create_or_update(self, image).await
    }

    /// Looks for the image of exactly this name, and for the version of exactly this name in it. The
    /// platform's search finds whatever contains the name, so all of what it finds is gone through.
    ///
    /// # Errors
    /// [`Error::Platform`]; [`Error::Incomplete`] if the platform does not say what it found.
    pub async fn look_up(&self, name: &str, version: Option<&str>) -> Result<Existing, Error> {
        upsert::look_up(self, name, version).await
    }

    /// Describes an image.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn describe_image(&self, image: &Id) -> Result<Image, Error> {
        self.call(&DescribeImage { image }).await
    }

    /// Describes a version of an image.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn describe_version(&self, image: &Id, version: &Id) -> Result<ImageVersion, Error> {
        self.call(&DescribeVersion { image, version }).await
    }

    /// Deletes an image with all of its versions. The platform may go on deleting after it has
    /// answered; until then the versions' status is `deleting`.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn delete_image(&self, image: &Id) -> Result<(), Error> {
        self.call(&DeleteImage { image }).await.map(drop)
    }

    /// Deletes a version of an image; else as [`delete_image`](Self::delete_image).
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn delete_version(&self, image: &Id, version: &Id) -> Result<(), Error> {
        self.call(&DeleteVersion { image, version }).await.map(drop)
    }

    /// Deletes several versions of an image in one request; else as
    /// [`delete_image`](Self::delete_image).
    ///
    /// # Errors
    /// [`Error::Platform`]; an invalid request if no version is named.
    pub async fn delete_versions(&self, image: &Id, versions: &[Id]) -> Result<(), Error> {
        self.call(&DeleteVersions { image, versions })
            .await
            .map(drop)
    }

    /// All images of a list, page by page as they are asked for.
    pub fn list_images(
        &self,
        list: ListImages,
    ) -> impl Stream<Item = Result<Image, Error>> + Send + use<> {
        let session = self.session.clone();
        pages::items(move |number| {
            let (session, list) = (session.clone(), list.clone());
            async move {
                let page = ImagesPage {
                    list: &list,
                    number: Some(number),
                };
                let answer = session.call(&page).await?;
                Ok(Page::new(answer.images, answer.page_count))
            }
        })
        .map_err(Error::from)
    }

    /// One page of a list of images, counted from 1; the first unless given.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn list_images_page(
        &self,
        list: &ListImages,
        number: Option<u64>,
    ) -> Result<ListImagesResponse, Error> {
        self.call(&ImagesPage { list, number }).await
    }

    /// All versions of a list, page by page as they are asked for.
    pub fn list_image_versions(
        &self,
        image: &Id,
        list: ListImageVersions,
    ) -> impl Stream<Item = Result<ImageVersion, Error>> + Send + use<> {
        let (session, image) = (self.session.clone(), image.clone());
        pages::items(move |number| {
            let (session, image, list) = (session.clone(), image.clone(), list.clone());
            async move {
                let page = VersionsPage {
                    image: &image,
                    list: &list,
                    number: Some(number),
                };
                let answer = session.call(&page).await?;
                Ok(Page::new(answer.versions, answer.page_count))
            }
        })
        .map_err(Error::from)
    }

    /// One page of a list of versions, counted from 1; the first unless given.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn list_image_versions_page(
        &self,
        image: &Id,
        list: &ListImageVersions,
        number: Option<u64>,
    ) -> Result<ListImageVersionsResponse, Error> {
        self.call(&VersionsPage {
            image,
            list,
            number,
        })
        .await
    }

    /// All builds of a list, page by page as they are asked for.
    pub fn list_image_builds(
        &self,
        image: &Id,
        list: ListImageBuilds,
    ) -> impl Stream<Item = Result<Build, Error>> + Send + use<> {
        let (session, image) = (self.session.clone(), image.clone());
        pages::items(move |number| {
            let (session, image, list) = (session.clone(), image.clone(), list.clone());
            async move {
                let page = BuildsPage {
                    image: &image,
                    list: &list,
                    number: Some(number),
                };
                let answer = session.call(&page).await?;
                Ok(Page::new(answer.builds, answer.page_count))
            }
        })
        .map_err(Error::from)
    }

    /// One page of a list of builds, counted from 1; the first unless given.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn list_image_builds_page(
        &self,
        image: &Id,
        list: &ListImageBuilds,
        number: Option<u64>,
    ) -> Result<ListImageBuildsResponse, Error> {
        self.call(&BuildsPage {
            image,
            list,
            number,
        })
        .await
    }

    /// One page of a build's log: from the start, or from where another page said to go on.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn get_build_logs_page(
        &self,
        image: &Id,
        build: &Id,
        next_token: Option<&str>,
    ) -> Result<BuildLogs, Error> {
        self.call(&BuildLogsPage {
            image,
            build,
            next_token,
        })
        .await
    }

    /// The lines of a build's log as they are written, each once and in order, and at last how the
    /// build ended. The stream ends there, or after the first error.
    ///
    /// Asking for the next event may be given up and taken up again; nothing is lost by that.
    pub fn follow_build_logs(
        &self,
        image: &Id,
        build: &Id,
        options: FollowOptions,
    ) -> impl Stream<Item = Result<BuildLogEvent, Error>> + Send + use<> {
        build_logs::follow(self.session.clone(), image.clone(), build.clone(), options)
    }

    /// Saves the log of a build, as far as it is written, into the file `target`, or else into
    /// `image_build_logs_{image}_{build}.log` in the current directory; see [`Session::download`].
    /// The platform answers with a signed URL, which is then asked without the token.
    ///
    /// # Errors
    /// [`Error::Platform`]; [`Error::Incomplete`] if the platform gives no URL.
    pub async fn save_build_logs(
        &self,
        image: &Id,
        build: &Id,
        target: Option<&Path>,
    ) -> Result<SavedFile, Error> {
        let answer = self.call(&BuildLogsUrl { image, build }).await?;
        let url = answer.download_url.ok_or(Error::Incomplete {
            operation: BuildLogsUrl::NAME,
            field: "downloadUrl",
        })?;
        let target = target.map_or_else(
            || PathBuf::from(default_file_name(image, build)),
            Path::to_path_buf,
        );
        let log = SignedBuildLogs { url: url.expose() };
        Ok(self.session.download(&log, &target).await?)
    }

    /// Waits until a build has ended, however it did.
    ///
    /// # Errors
    /// [`Error::Platform`]
    pub async fn wait_for_build(
        &self,
        image: &Id,
        build: &Id,
        options: FollowOptions,
    ) -> Result<FinishedBuild, Error> {
        let mut events = std::pin::pin!(self.follow_build_logs(image, build, options));
        while let Some(event) = events.try_next().await? {
            if let BuildLogEvent::Finished(build) = event {
                return Ok(build);
            }
        }
        // The stream ends with one of the two.
        Err(Error::Incomplete {
            operation: BuildLogsPage::NAME,
            field: "buildStatus",
        })
    }
}
