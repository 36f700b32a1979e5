//! Images of the Apolo platform: their names, and what can be done with them.
//!
//! [`Clusters`] reads and writes names ([`RemoteImage`] for registries, [`LocalImage`] for the Docker Engine), [`Images`]
//! does the work: push and pull through the Docker Engine or without one, list, tags, digest, size, remove.
//!
//! ```no_run
//! use peak_apolo::{Config, Images};
//! use peak_docker::{Engine, EngineConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // APOLO_REGISTRY_URL, APOLO_CLUSTER, APOLO_ORG, APOLO_PROJECT, APOLO_USER, APOLO_TOKEN
//! let images = Images::builder(Config::from_environment()?)
//!     .engine(Engine::new(EngineConfig::from_environment()?))
//!     .build()?;
//!
//! let remote = images.push(&"app:v1".parse()?, None, None).await?;
//! println!("{remote} is {}", images.digest(&remote).await?);
//!
//! // The same without an Engine.
//! let place = "oci:target/app:v1".parse()?;
//! images.pull_into(&remote, &place, Default::default(), None).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The token is shown to the registries of the configured clusters (Basic, with the user's name) and, for push and pull
//! through it, to the Docker Engine; to nobody else. Names of other registries can be read, but nothing here works on them.
//!
//! It is no registry client and no Docker client: those are `peak-registry` and `peak-docker`.

// Names of images, and the clusters that they are in.
mod clusters;
mod image;
mod name;
mod name_error;

// What can be done with images, and the two ways to push and pull.
mod config;
mod images;
mod through_engine;
mod without_engine;

// What is told, and what can go wrong.
mod error;
mod progress;

// For tests.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use clusters::{Cluster, Clusters, ClustersBuilder, ClustersError};
pub use image::{LocalImage, RemoteImage};
pub use name_error::{ImageNameError, ImageNameProblem};

pub use config::{Config, ConfigError};
pub use images::{Images, ImagesBuilder, Tag};

pub use error::ApoloError;
pub use progress::{ImageProgress, ImageProgressPull, ImageProgressPush, ImageProgressStep};
