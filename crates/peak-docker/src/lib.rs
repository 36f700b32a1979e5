//! A client of the Docker Engine, and of Podman, which speaks the same API: its images, and their way into it, out of it
//! and to registries.
//!
//! ```no_run
//! use peak_docker::{Engine, EngineConfig, EngineCredentials};
//!
//! # async fn example(password: secrecy::SecretString) -> Result<(), Box<dyn std::error::Error>> {
//! // Where the `docker` command would find it; nothing is connected yet.
//! let engine = Engine::new(EngineConfig::from_environment()?);
//! let image = engine.inspect("app:v1").await?;
//! println!("{} has {} layers", image.id, image.root_fs.layers.len());
//!
//! let remote = "registry.example/team/app:v1".parse()?;
//! engine.tag("app:v1", &remote).await?;
//! let robot = EngineCredentials::new("robot", password);
//! let pushed = engine
//!     .push(&remote, Some(&robot), |event| {
//!         if let (Some(layer), Some(status)) = (event.id, event.status) {
//!             println!("{layer}: {status} {}", event.progress.unwrap_or_default());
//!         }
//!     })
//!     .await?;
//! println!("{:?}", pushed.digest);
//! # Ok(())
//! # }
//! ```
//!
//! # Where the Engine is
//!
//! [`EngineConfig::from_environment`] follows `DOCKER_HOST`, `DOCKER_CONTEXT` and Docker's current context as the `docker`
//! command does, and else looks into the usual places of Docker, rootless Docker and Podman. Where no Engine answers, the
//! error lists every place that was tried with the reason ([`EngineError::Unreachable`]). Unix sockets, TCP and TLS with
//! client certificates are spoken; `ssh://` and named pipes are refused with what to do in their place. Certificates are
//! always checked, and requests to the Engine never go through a proxy.
//!
//! # Operations
//!
//! [`inspect`](Engine::inspect), [`images`](Engine::images), [`tag`](Engine::tag) and [`remove`](Engine::remove);
//! [`save`](Engine::save) and [`load`](Engine::load), which stream archives; [`push`](Engine::push) and
//! [`pull`](Engine::pull), where the Engine itself speaks with the registry; [`build`](Engine::build) with the Engine's
//! classic builder. The progress of the Engine comes as [`EngineEvent`]s. An error in it ends the operation with the
//! Engine's message, although the answer began with status 200.
//!
//! Nothing is tried again here, and operations that the Engine works for have no time limit; how an Engine that is gone or
//! hangs is noticed stands at [`EngineConfig::longest_silence`].
//!
//! # Secrets
//!
//! Credentials are given by the caller ([`EngineCredentials`]), go to the Engine in one header of one request, and are in
//! no log, error or `Debug`. They are refused where they would go to another machine without TLS.
//!
//! # What it is not
//!
//! No general Docker client: containers, networks and volumes are not its subject, and the protocol of `BuildKit` is not
//! spoken. It speaks with no registry; `peak-registry` does that without an Engine. [`DaemonImage`] is the name of an image
//! in the Engine as a transport, `docker-daemon:reference`.

// Where the Engine is.
mod config;
mod connection;
mod context;
mod endpoint;
mod version;

// The client, and how it asks.
mod call;
mod credentials;
mod engine;
mod follow;
mod patience;
mod progress;

// What can be asked of it, one kind of operation each.
mod archive;
mod build;
mod images;
mod registry;

// Its images as ends of a transfer.
mod image;
mod name;

// What can go wrong.
mod error;

// For tests.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use config::{EngineConfig, EngineConfigError};
pub use endpoint::{Endpoint, EndpointError};
pub use version::{ApiVersion, ApiVersionError};

pub use credentials::EngineCredentials;
pub use engine::{Engine, EngineComponent, EngineInfo, EngineVersion, Ping};
pub use progress::{EngineEvent, EventResult, ProgressDetail};

pub use archive::{LoadedImage, SavedImages};
pub use build::BuildRequest;
pub use images::{ImageConfig, ImageInspect, ImageSummary, RemoveOptions, Removed, RootFs};
pub use registry::{Pulled, Pushed};

pub use image::{EngineSink, EngineSource};
pub use name::{DaemonImage, DaemonImageError};

pub use error::{EngineError, TriedEndpoint};
