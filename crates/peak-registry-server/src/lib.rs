//! An OCI registry over a directory on disk or in memory, as a library.
//!
//! [`Store`] keeps blobs, manifests and tags; it is synchronous and can be used by itself, for
//! example by a builder that writes what it builds straight into the registry. [`router`] puts the
//! HTTP endpoints of the OCI distribution specification in front of it, as an `axum` router that
//! is served alone or merged into a larger one.
//!
//! ```
//! use peak_registry_server::Store;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let directory = temporary.path();
//! let store = Store::open(directory)?;
//! let repository = store.repository(&"demo/hello".parse()?);
//!
//! let mut upload = repository.new_upload()?;
//! upload.write(b"hello")?;
//! let digest = peak_oci::Digest::sha256_of(b"hello");
//! assert_eq!(upload.finish(&digest)?, 5);
//!
//! assert!(repository.has_blob(&digest)?);
//! assert!(!store.repository(&"demo/other".parse()?).has_blob(&digest)?);
//! # Ok(())
//! # }
//! ```
//!
//! # In a test
//!
//! [`RegistryServer`] is the router on an address of its own, by default in memory and on a free
//! loopback port, and gone when it is dropped. A test that pushes and pulls, here with a plain HTTP
//! client in the place of the code under test:
//!
//! ```
//! use axum::body::Body;
//! use http_body_util::BodyExt;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use peak_oci::Digest;
//! use peak_registry_server::RegistryServer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = RegistryServer::in_memory().await?;
//! let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
//!
//! let digest = Digest::sha256_of(b"hello");
//! let url = format!("{}/v2/demo/blobs/uploads/?digest={digest}", registry.url());
//! let pushed = client.request(axum::http::Request::post(url).body("hello".into())?).await?;
//! assert_eq!(pushed.status(), 201);
//!
//! let url = format!("{}/v2/demo/blobs/{digest}", registry.url());
//! let pulled = client.get(url.parse()?).await?;
//! assert_eq!(pulled.into_body().collect().await?.to_bytes(), "hello");
//!
//! // What came can be looked at without HTTP, too.
//! assert!(registry.store().repository(&"demo".parse()?).has_blob(&digest)?);
//! # Ok(())
//! # }
//! ```
//!
//! # On a site
//!
//! ```no_run
//! use peak_registry_server::auth::{Auth, Rules, Users};
//! use peak_registry_server::{RegistryServer, Store, Tls};
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let users = Users::from_file("users.htpasswd")?; // htpasswd -B -c users.htpasswd alice
//! let registry = RegistryServer::builder()
//!     .storage(Store::open("registry-data".as_ref())?)
//!     .auth(Auth::bearer(users, Rules::default()))
//!     .tls(Tls::from_files("registry.pem", "registry.key")?)
//!     .metrics(true)
//!     .access_log(true)
//!     .allow_remote(true)
//!     .bind("0.0.0.0:5000")
//!     .await?;
//! // … until somebody asks it to end …
//! registry.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! The features `server` and `tls` (both on) bring this; without them there is the router alone,
//! for a server of your own.
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
//! # Authentication
//!
//! Unless told otherwise, everyone who reaches the address may read, write and delete: listen on
//! loopback then. With [users](auth::Users) from an htpasswd file and [rules](auth::Rules) by the
//! beginnings of the repositories' names, who asks has to show a password, with each request
//! (Basic) or for tokens (Bearer), for which the router has the endpoint `/token`:
//!
//! ```no_run
//! use peak_registry_server::auth::{Auth, Rules, Users};
//! use peak_registry_server::{RouterOptions, Store, router_with};
//! # fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let users = Users::from_file("users.htpasswd")?; // htpasswd -B -c users.htpasswd alice
//! let rules = Rules::from_file("rules.yaml")?;
//! let options = RouterOptions::new().auth(Auth::bearer(users, rules));
//! let router = router_with(Store::open("registry-data".as_ref())?, &options);
//! # Ok(())
//! # }
//! ```
//!
//! Both files are read again when they change. A request that is not allowed is answered 401 where
//! other credentials might help and 403 where they would not, and neither says whether the
//! repository exists; the catalog has what its reader may pull, and blobs are mounted from there
//! alone. Right passwords are remembered for five minutes, so that a push of hundreds of layers does
//! not hash as often; wrong ones are braked after twenty, but nobody whose password was right before
//! waits for that. Docker, skopeo and other clients log in as
//! they do elsewhere. Passwords need TLS beyond loopback.
//!
//! # On disk
//!
//! | path | what |
//! |---|---|
//! | `registry.json` | says that the directory is a store, and the version of its layout |
//! | `lock` | locked while a process has the store open |
//! | `clean` | empty; the store is closed, and was closed properly |
//! | `blobs/<algorithm>/<first 2 digits>/<hex>` | the bytes of a blob or manifest, once for all repositories |
//! | `repositories/<name, with + for />/blobs/<algorithm>-<hex>` | empty; the repository has this blob |
//! | `repositories/…/manifests/<algorithm>-<hex>` | JSON; the repository has this manifest, with its media type and, where its digest is not that of its bytes, theirs |
//! | `repositories/…/tags/<tag>` | the digest that the tag points to |
//! | `repositories/…/referrers/<subject>/<algorithm>-<hex>` | empty; this manifest names that subject |
//! | `uploads/<name, with + for />/<algorithm>-<number>` | what has arrived of an upload that is not finished |
//! | `temporary/` | other unfinished files; emptied when the store is opened |
//! | `deleting/` | manifests whose deletion is decided; completed when the store is opened |
//!
//! Every file is written under a temporary name, synced, renamed, and the directory synced, before
//! anything is acknowledged. After a crash at any point the store is valid: what was acknowledged
//! is there, and nothing else is visible. Tags need a file system that tells upper from lower case.
//!
//! [`Store::in_memory`] keeps the same files in memory instead, for tests.
//!
//! # Garbage
//!
//! What is deleted frees its space when [`Store::collect_garbage`] runs, which nothing does by
//! itself: the blobs of a repository that none of its manifests names go, then the bytes that no
//! repository names any more, and if so asked the manifests that no tag reaches. Pushes and pulls
//! go on meanwhile. A blob that was pushed, mounted or asked for within the grace time stays, so
//! that a push may rely on what it was told; being asked for is noted as the time of the link's
//! file, which outlives a restart and takes no memory.
//!
//! ```
//! use std::time::Duration;
//! use peak_registry_server::{GarbageOptions, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::in_memory();
//! let mut upload = store.repository(&"demo/hello".parse()?).new_upload()?;
//! upload.write(b"never used by any manifest")?;
//! upload.finish(&peak_oci::Digest::sha256_of(b"never used by any manifest"))?;
//!
//! // It could be the beginning of a push …
//! let report = store.collect_garbage(&GarbageOptions::new())?;
//! assert_eq!((report.blobs.removed, report.blobs.spared), (0, 1));
//! // … unless somebody says that it is not.
//! let report = store.collect_garbage(&GarbageOptions::new().grace(Duration::ZERO))?;
//! assert_eq!((report.blobs.removed, report.removed_bytes), (1, 26));
//! # Ok(())
//! # }
//! ```
//!
//! # Checking
//!
//! After an end that was not a proper one the store looks at its start whether everything is there
//! that it says ([`Store::start_report`]); [`Store::check`] does that at any time, and reads every
//! blob too if so asked. What a crash leaves is put in order. What is damaged is told and left, as
//! pushing it again mends it; the rest is served.
//!
//! # Uploads
//!
//! Bytes go to the disk as they arrive and are hashed on the way; nothing is visible before the
//! digest was right. If the body of a `PATCH` or `PUT` breaks off, what arrived is kept: `GET` on
//! the upload's address says how far it is, and the client goes on from there. That holds across a
//! restart of the server too, in whatever way the one before ended; the new one reads what is there
//! once, when the upload goes on, for its hash. What a power failure does to an unfinished upload
//! is not said: the digest tells at the end. A blob sent with a single `POST` leaves nothing behind
//! when it breaks off. A wrong digest ends the upload. The limits are in [`RouterOptions`].

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

#[cfg(feature = "server")]
pub use observe::Observer;
#[cfg(feature = "server")]
pub use peak_serve::{Limits as ConnectionLimits, ServeError};
#[cfg(feature = "tls")]
pub use peak_serve::{Tls, TlsError};
pub use routes::{RouterOptions, router, router_with};
#[cfg(feature = "server")]
pub use server::{RegistryServer, RegistryServerBuilder, ServerError, health};
pub use store::{
    Blob, BlobReader, CheckOptions, CheckReport, Finding, FindingKind, GarbageCount,
    GarbageOptions, GarbageProblem, GarbageReport, Page, Repository, Store, StoreError,
    StoredManifest, Upload, UploadId, UploadIdError,
};
