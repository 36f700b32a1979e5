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
//! Serving it:
//!
//! ```no_run
//! use peak_registry_server::{Store, router};
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("registry-data".as_ref())?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! axum::serve(listener, router(store)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it is for
//!
//! Development, tests and small sites, air-gapped ones among them: one process, one directory, no
//! other service. It has no replication, no storage in the cloud, no scanning, no quotas and no
//! user interface, and the space of deleted content is not freed yet. For more than that use
//! [distribution](https://distribution.github.io/distribution/), [zot](https://zotregistry.dev/),
//! [Harbor](https://goharbor.io/) or [Quay](https://www.projectquay.io/); `peak registry copy`
//! brings the content there.
//!
//! Everyone who reaches the address may read, write and delete: there is no authentication yet, so
//! listen on loopback.
//!
//! # On disk
//!
//! | path | what |
//! |---|---|
//! | `registry.json` | says that the directory is a store, and the version of its layout |
//! | `lock` | locked while a process has the store open |
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
//! # Uploads
//!
//! Bytes go to the disk as they arrive and are hashed on the way; nothing is visible before the
//! digest was right. If the body of a `PATCH` or `PUT` breaks off, what arrived is kept: `GET` on
//! the upload's address says how far it is, and the client goes on from there. That holds across a
//! restart of the server too, in whatever way the one before ended; the new one reads what is there
//! once, when the upload goes on, for its hash. What a power failure does to an unfinished upload
//! is not said: the digest tells at the end. A blob sent with a single `POST` leaves nothing behind
//! when it breaks off. A wrong digest ends the upload. The limits are in [`RouterOptions`].

mod routes;
mod store;

pub use routes::{RouterOptions, router, router_with};
pub use store::{
    Blob, BlobReader, Page, Repository, Store, StoreError, StoredManifest, Upload, UploadId,
    UploadIdError,
};
