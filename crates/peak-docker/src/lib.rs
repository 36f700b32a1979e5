//! The Docker Engine as a source and destination of images.
//!
//! Today there is the name of such an image, [`DaemonImage`]: `docker-daemon:reference`.
//!
//! ```
//! use peak_docker::DaemonImage;
//!
//! let image: DaemonImage = "docker-daemon:busybox:1.36".parse()?;
//! assert_eq!(image.reference().canonical(), "docker.io/library/busybox:1.36");
//! # Ok::<(), peak_docker::DaemonImageError>(())
//! ```
//!
//! What will live here: reading images out of the Engine and loading them into it as the content traits of `peak-oci`,
//! and push and pull through the Engine with its progress. None of these is here yet, and `peak-transfer` says so when
//! it is given such a name. It will not be a general Docker client: containers, networks and volumes are not its
//! subject.

mod name;

pub use name::{DaemonImage, DaemonImageError};
