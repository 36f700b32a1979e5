//! An OCI registry over a directory on disk or in memory, as a library.
//!
//! [`RegistryServer`] is the whole of it on an address of its own. A test that needs a registry has one
//! in a line; it is empty, in memory, on a free loopback port, and gone when it is dropped:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use peak_registry_server::RegistryServer;
//!
//! let registry = RegistryServer::in_memory().await?;
//! let image = format!("{}/demo/hello:1", registry.host()); // for the code under test
//! assert!(registry.store().repositories()?.is_empty()); // what came can be looked at without HTTP
//! # drop(image);
//! # Ok(())
//! # }
//! ```
//!
//! Below it, each good for itself:
//!
//! | | |
//! |---|---|
//! | [`Store`] | blobs, manifests and tags; synchronous; what is where on disk, garbage, checking |
//! | [`router`], [`router_with`] | the HTTP endpoints of the OCI distribution specification over a store, as an `axum` router to serve alone or to merge into a larger one; how uploads go on |
//! | [`auth`] | users from an htpasswd file, rules for repositories, Basic and Bearer |
//! | [`Observer`], [`health`] | metrics, an access log, and whether it is well |
//!
//! # What it is for
//!
//! Development, tests and small sites, air-gapped ones among them: one process, one directory, no
//! other service. It has no replication, no storage in the cloud, no scanning, no quotas and no
//! user interface. For more than that use
//! [distribution](https://distribution.github.io/distribution/), [zot](https://zotregistry.dev/),
//! [Harbor](https://goharbor.io/) or [Quay](https://www.projectquay.io/); `peak registry copy`
//! brings the content there.
//!
//! # Features
//!
//! `server` and `tls` (both on) bring the server, its observer and its certificates; without them there
//! is the router alone, for a server of your own.

#[cfg(feature = "server")]
mod access_log;
pub mod auth;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "server")]
mod observe;
mod routes;
#[cfg(feature = "server")]
mod server;
mod store;

// What is kept.
pub use store::{
    Blob, BlobReader, Page, Repository, Store, StoreError, StoredManifest, Upload, UploadId,
    UploadIdError,
};

// Its upkeep.
pub use store::{
    CheckOptions, CheckReport, Finding, FindingKind, GarbageCount, GarbageOptions, GarbageProblem,
    GarbageReport,
};

// Its endpoints.
pub use routes::{RouterOptions, router, router_with};

// The server.
#[cfg(feature = "server")]
pub use observe::Observer;
#[cfg(feature = "server")]
pub use peak_serve::{Limits as ConnectionLimits, ServeError};
#[cfg(feature = "tls")]
pub use peak_serve::{Tls, TlsError};
#[cfg(feature = "server")]
pub use server::{RegistryServer, RegistryServerBuilder, ServerError, health};
