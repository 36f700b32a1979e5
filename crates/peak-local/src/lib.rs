//! The embedded Peak platform: the artifacts and images parts of the Peak API, a builder that needs no Docker Engine,
//! and an OCI registry, on one address of this process.
//!
//! It is what `peak ship --local` and `peak local serve` run, and a server for tests that talks real
//! HTTP. Any client of the Peak API and any client of registries can use it:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let state_dir = directory.path().join("peak");
//! use peak_local::Platform;
//!
//! let platform = Platform::builder().state_dir(state_dir).start().await?;
//! println!("export PEAK_ENDPOINT_URL={} PEAK_AUTH_TOKEN=any", platform.url());
//! // … clients create images, follow their builds, and pull them from platform.address() …
//! platform.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! What of the API is different from the real platform's, and what the state directory keeps, is said at
//! [`Platform`].
//!
//! # What it is not
//!
//! It is for one machine and the people who have an account on it: it listens on loopback addresses
//! unless it has both a token and TLS, answers there only for the names of this machine, and takes no
//! requests from web pages of other sites. A token is optional: the API wants it verbatim, the registry
//! as the password of anybody (Basic, or Bearer through its own token endpoint). The registry can have
//! [users and rules](PlatformBuilder::registry_auth) as well. TLS is optional too, with
//! [certificates from files](PlatformBuilder::tls_files) or [its own](PlatformBuilder::tls_self_signed).
//! Of the Peak API it has the artifacts and the images parts, no other.
//!
//! The builder copies files and sets metadata. For `RUN`, and for other things that it does not do, it can hand a build to
//! a Docker Engine that whoever starts the platform [plugs in](PlatformBuilder::engine) by an implementation of
//! [`EngineBuilder`]; there is none in this crate.
//!
//! The feature `faults` adds misbehaviour by script, for tests of clients; without it there is nothing of that.

mod api;
mod artifacts;
mod builder;
mod control;
mod control_file;
mod control_protocol;
mod directory;
mod engine;
mod engine_log;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod model;
mod platform;
mod queue;
mod remover;
mod runner;
mod shared;
mod state;
mod timestamp;
mod upkeep;

// The platform.
pub use error::LocalError;
pub use peak_serve::ServeError;
pub use platform::{DEFAULT_ARTIFACT_LIMIT, DEFAULT_ENGINE_TIME_LIMIT, Platform, PlatformBuilder};

// What a Docker Engine has to be able to do for it.
pub use engine::{
    BuildContext, EngineBuild, EngineBuilder, EngineFailure, EngineLog, EngineRun, EngineUse,
};

// Work on its state directory, whether or not it runs.
pub use control_protocol::{CheckRequest, GarbageRequest, Outcome};
pub use peak_registry_server::{
    CheckReport, Finding, FindingKind, GarbageCount, GarbageProblem, GarbageReport, StoreError,
};
pub use upkeep::{FreeState, RunningPlatform, Upkeep, must_have_state, reset};
