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
//! # What it keeps
//!
//! One state directory, used by one process at a time: `registry/` (a [`peak_registry_server::Store`]),
//! `state.redb` (artifacts, images, versions, builds, log lines; one transaction per change) and `artifacts/` (the
//! uploaded archives by digest; one goes with the last version of an artifact or of an image that has it, or, where
//! a version was only built again from another one, at the next start). A build
//! that waits or runs when the process ends, however it ends, is `failed` from then on, and the last line
//! of its log says so; nothing is built again by itself.
//!
//! What is deleted from the registry frees its space with `peak local gc`, here [`Upkeep`]: work on the directory whether
//! or not a platform runs on it. One that runs says in `control.json` how those can ask it who can read the directory.
//!
//! # How it differs from the real platform
//!
//! - Every image has the scope `custom`; versions have no tags. Lists are newest first; a page has at
//!   most 100 entries, and 25 where nothing is asked for.
//! - An image's name is also its repository and must be lower-case letters and digits, in parts that
//!   `.`, `_`, `__`, dashes or `/` separate; a version is also a tag: at most 128 letters, digits, `.`,
//!   `_` and `-`.
//! - A version that is being built is not built a second time at once (422). A version that was built once
//!   stays `ready` while, and although, a later build of it runs or fails.
//! - The source `github` is refused (422): there is no way out to the network. Secrets and
//!   `autodeployResources` are accepted, do nothing, and the build's log says so.
//! - It is strict: parameters and fields that an operation does not know, that have another kind or come twice
//!   are 400 and named; what is well-formed but cannot be done is 422. Two things are not looked at: `name` and `type`
//!   in the form of a version, which clients send that create or update as needed.
//! - A delete answers at once and is carried out right after, a restart in between or not. Until then what goes has
//!   the status `deleting` (artifacts and images say so in a `status` that they do not have otherwise), its name is
//!   taken, it can be read but not changed (422), and deleting it again is no error. What could not be deleted is
//!   `delete-failed` until it is deleted again. What is being built is not deleted (422): wait for the build.
//!   The tag goes from the registry with its version, the layers behind it with `peak local gc --untagged`. An image whose versions are all
//!   deleted stays, without a `latestVersion`.
//! - The URL of a log's download is on the same address, needs no token, and is good for five minutes, or
//!   until the platform ends. It gives the lines there are at that time.
//! - Artifacts may share a name, since nothing says that the real platform refuses that; images and the versions of an
//!   image may not (409). The archives of artifacts are neither scanned nor validated, beyond that each must
//!   begin as a zip does (422); a download comes from the same address, with ranges. Version numbers of
//!   deleted versions are not given out again.
//! - Archives are at most 10 MiB unless [told otherwise](PlatformBuilder::artifact_limit); the whole form
//!   may be 2 MiB longer.
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
mod remover;
mod runner;
mod shared;
mod state;
mod timestamp;
mod upkeep;

pub use engine::{
    BuildContext, EngineBuild, EngineBuilder, EngineFailure, EngineLog, EngineRun, EngineUse,
};
pub use error::LocalError;
pub use peak_registry_server::{
    CheckReport, Finding, FindingKind, GarbageCount, GarbageProblem, GarbageReport, StoreError,
};
pub use platform::{DEFAULT_ARTIFACT_LIMIT, DEFAULT_ENGINE_TIME_LIMIT, Platform, PlatformBuilder};
pub use upkeep::{
    CheckRequest, FreeState, GarbageRequest, Outcome, RunningPlatform, Upkeep, reset,
};
