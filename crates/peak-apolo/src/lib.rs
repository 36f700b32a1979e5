//! Apolo image names and image operations.
//!
//! Today there are the names as values: [`LocalImage`] for the Docker Engine, [`RemoteImage`] for the platform's
//! registries and others, and how both are written.
//!
//! ```
//! use peak_apolo::RemoteImage;
//!
//! let image = RemoteImage::new_platform_image(
//!     "app",
//!     "registry.apolo.example",
//!     "main",
//!     Some("acme".to_owned()),
//!     "team",
//!     Some("v1".to_owned()),
//! );
//! assert_eq!(image.to_string(), "image://main/acme/team/app:v1");
//! assert_eq!(image.as_docker_url(false), "registry.apolo.example/acme/team/app:v1");
//! ```
//!
//! What will live here: reading such names from text with the clusters' defaults, and the operations on images (push
//! and pull through the Docker Engine or without one, digest, list, tags, size, remove) with their progress. None of
//! these is here yet. It is no registry client and no Docker client: those are `peak-registry` and `peak-docker`.

mod clusters;
mod image;
mod name;
mod name_error;

pub use clusters::{Cluster, Clusters, ClustersBuilder, ClustersError};
pub use image::{LocalImage, RemoteImage};
pub use name_error::{ImageNameError, ImageNameProblem};
