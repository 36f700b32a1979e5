//! Client of the Peak Images service: images, their versions, the builds that make them and the
//! logs of these builds (`spec/peak-api.md`, "Images").
//!
//! ```no_run
//! use futures_util::TryStreamExt;
//! use peak_images::models::ImageType;
//! use peak_images::{Artifact, BuildLogEvent, CreateImage, FollowOptions, Images, Upload};
//! use peak_platform::Session;
//!
//! # async fn ship() -> Result<(), Box<dyn std::error::Error>> {
//! let images = Images::new(Session::from_environment()?);
//!
//! // A zip as `peak-pack` makes it.
//! let upload = Upload::new(Artifact::file("artifact.zip")?).dockerfile_path("web/Dockerfile");
//! let image = CreateImage::new("hello-web", ImageType::Webapp, upload).version("1.2.0");
//! let made = images.create_or_update_image_version(&image).await?;
//!
//! if let Some(build_id) = made.build_id {
//!     let events = images.follow_build_logs(&made.image_id, &build_id, FollowOptions::new());
//!     let mut events = std::pin::pin!(events);
//!     while let Some(event) = events.try_next().await? {
//!         match event {
//!             BuildLogEvent::Line(line) => println!("{}", line.message.unwrap_or_default()),
//!             BuildLogEvent::Finished(build) => println!("{}", build.status),
//!             _ => {}
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every operation is a value first: what would be sent can be seen without sending it.
//!
//! ```
//! use peak_images::operations::ImagesPage;
//! use peak_images::{ListImages, models::ImageStatus};
//! use peak_platform::{Endpoint, Operation};
//!
//! let list = ListImages::new().name("hello").status(ImageStatus::Ready);
//! let request = ImagesPage { list: &list, number: None }
//!     .request(&Endpoint::parse("https://service.peak.ai")?)?;
//! assert_eq!(
//!     request.uri(),
//!     "https://service.peak.ai/image-management/api/v2/images/?searchTerm=hello&status=ready"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What this crate is not: it does not pack directories (`peak-pack`), does not pull what was built
//! (`peak-registry`, `peak-transfer`), and does not retry (`peak-http`).

mod build_logs;
mod client;
mod error;
mod requests;
mod upsert;

// The service.
pub use client::Images;
pub use error::Error;
pub use peak_models as models;
pub use peak_platform::{Artifact, SavedFile};

// What is asked of it.
pub use build_logs::FollowOptions;
pub use requests::build::{Build, BuildSource, Dockerfile, Github, Upload};
pub use requests::builds::ListImageBuilds;
pub use requests::images::{CreateImage, ListImages};
pub use requests::versions::{CreateVersion, ListImageVersions, UpdateVersion};

// What comes of it.
pub use build_logs::{BuildLogEvent, FinishedBuild};
pub use upsert::{Existing, UpsertOutcome, Upserted};

pub mod operations {
    //! The operations as values that turn into requests.

    pub use crate::requests::builds::BuildsPage;
    pub use crate::requests::images::{CreateImageFrom, DeleteImage, DescribeImage, ImagesPage};
    pub use crate::requests::logs::{BuildLogsPage, BuildLogsUrl};
    pub use crate::requests::versions::{
        CreateVersionFrom, CreateVersionOf, DeleteVersion, DeleteVersions, DescribeVersion,
        UpdateVersionFrom, UpdateVersionOf, VersionsPage,
    };
}
