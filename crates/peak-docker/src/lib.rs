//! A client of the Docker Engine (and of Podman, which speaks the same API) for its images.
//!
//! ```no_run
//! use peak_docker::{Engine, EngineConfig, EngineCredentials};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // Where the `docker` command would find it; nothing is connected yet.
//! let engine = Engine::new(EngineConfig::from_environment()?);
//! let image = engine.inspect("app:v1").await?;
//! println!("{} has {} layers", image.id, image.root_fs.layers.len());
//! engine.tag("app:v1", &"registry.example/team/app:v1".parse()?).await?;
//! # Ok(())
//! # }
//! ```

mod archive;
mod build;
mod call;
mod config;
mod connection;
mod context;
mod credentials;
mod endpoint;
mod engine;
mod error;
mod follow;
mod images;
mod name;
mod patience;
mod progress;
mod registry;
mod version;

pub use archive::{LoadedImage, SavedImages};
pub use build::BuildRequest;
pub use config::{EngineConfig, EngineConfigError};
pub use credentials::EngineCredentials;
pub use endpoint::{Endpoint, EndpointError};
pub use engine::{Engine, EngineComponent, EngineInfo, EngineVersion, Ping};
pub use error::{EngineError, TriedEndpoint};
pub use images::{ImageConfig, ImageInspect, ImageSummary, RemoveOptions, Removed, RootFs};
pub use name::{DaemonImage, DaemonImageError};
pub use progress::{EngineEvent, EventResult, ProgressDetail};
pub use registry::{Pulled, Pushed};
pub use version::{ApiVersion, ApiVersionError};
