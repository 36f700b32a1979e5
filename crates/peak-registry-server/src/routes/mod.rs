//! The distribution specification's endpoints over a [`Store`].

mod about;
mod blobs;
mod conditions;
mod failure;
mod lists;
mod manifests;
mod parameters;
pub(crate) mod path;
mod permission;
pub(crate) mod range;
mod receive;
mod sessions;
mod share;
mod token;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use peak_oci::MAX_MANIFEST_SIZE;

use crate::auth::{Auth, Permissions, TOKEN_PATH};
use crate::store::{Store, StoreError};
use failure::Failure;
use path::Route;
use receive::Limits;
use sessions::Sessions;
use share::Bodies;

pub(crate) use about::KnownUser;
#[cfg(feature = "server")]
pub(crate) use about::kind_of;
#[cfg(feature = "server")]
pub(crate) use failure::foreign_failure;

/// The digest of what an answer is about.
const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Says that this is a registry, on every answer.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The limits of a registry.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RouterOptions {
    max_blob_size: Option<u64>,
    max_manifest_size: u64,
    sparse_manifests: bool,
    max_open_uploads: usize,
    upload_idle: Duration,
    body_idle: Duration,
    auth: Auth,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self {
            max_blob_size: None,
            max_manifest_size: MAX_MANIFEST_SIZE,
            sparse_manifests: false,
            max_open_uploads: 4096,
            upload_idle: Duration::from_secs(60 * 60),
            body_idle: Duration::from_secs(60),
            auth: Auth::none(),
        }
    }
}

impl RouterOptions {
    /// The defaults: blobs of any size, manifests of 4 MiB, 4096 open uploads, an hour between the
    /// requests of an upload, a minute between the bytes of a body, and no authentication.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest blob in bytes. Default: no limit but the disk.
    #[must_use]
    pub fn max_blob_size(mut self, bytes: u64) -> Self {
        self.max_blob_size = Some(bytes);
        self
    }

    /// The largest manifest in bytes; more than the 4 MiB of the default is not possible.
    #[must_use]
    pub fn max_manifest_size(mut self, bytes: u64) -> Self {
        self.max_manifest_size = bytes.min(MAX_MANIFEST_SIZE);
        self
    }

    /// Whether manifests may point to blobs and manifests that the repository does not have: an
    /// index that is mirrored with one of its platforms, for example. Without it they are refused
    /// with `MANIFEST_BLOB_UNKNOWN`, as the specification allows, so that what was pushed can be
    /// pulled. The subject of a manifest may be missing either way. Default: no.
    #[must_use]
    pub fn sparse_manifests(mut self, accepted: bool) -> Self {
        self.sparse_manifests = accepted;
        self
    }

    /// How many uploads may be open at the same time. Each takes some hundred bytes of memory and
    /// what was sent to it, but a file is open only during its requests. Further ones are answered
    /// 429. Default: 4096, with room for several of each of hundreds of clients.
    #[must_use]
    pub fn max_open_uploads(mut self, count: usize) -> Self {
        self.max_open_uploads = count;
        self
    }

    /// How long an upload may stand without a request before it is removed, which happens with the
    /// next request of any kind, or when the server starts; a new process counts from the last byte
    /// that the one before it received. Default: an hour.
    #[must_use]
    pub fn upload_idle(mut self, time: Duration) -> Self {
        self.upload_idle = time;
        self
    }

    /// How long the body of a request may stand still before the request is ended with 408.
    /// Default: a minute.
    #[must_use]
    pub fn body_idle(mut self, time: Duration) -> Self {
        self.body_idle = time;
        self
    }

    /// Who may do what. Default: everybody everything.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }
}

/// The registry's endpoints below `/v2/` with the default limits and without authentication, to be
/// served as they are or merged into a larger router.
///
/// The runtime that drives it needs its timer on. Whoever serves it decides on addresses, TLS,
/// limits on connections and the time that headers may take.
pub fn router(store: Store) -> axum::Router {
    router_with(store, &RouterOptions::default())
}

/// As [`router`], with limits and [authentication](RouterOptions::auth) of your own. Where that is
/// by tokens, there is the endpoint `/token` beside `/v2/`.
///
/// # Uploads
///
/// Bytes go to the disk as they arrive and are hashed on the way; nothing is visible before the
/// digest was right. If the body of a `PATCH` or `PUT` breaks off, what arrived is kept: `GET` on
/// the upload's address says how far it is, and the client goes on from there. That holds across a
/// restart of the server too, in whatever way the one before ended; the new one reads what is there
/// once, when the upload goes on, for its hash. What a power failure does to an unfinished upload
/// is not said: the digest tells at the end. A blob sent with a single `POST` leaves nothing behind
/// when it breaks off. A wrong digest ends the upload. The limits are in [`RouterOptions`].
///
/// This takes over the uploads that an earlier process left unfinished in the store, for which it
/// looks once through the store's directory of uploads. Of several routers over one store the first
/// has them, and each goes on with its own alone.
pub fn router_with(store: Store, options: &RouterOptions) -> axum::Router {
    router_and_uploads(store, options).0
}

/// As [`router_with`], and a way to ask how many uploads are open.
pub(crate) fn router_and_uploads(
    store: Store,
    options: &RouterOptions,
) -> (axum::Router, impl Fn() -> usize + Send + Sync + 'static) {
    let registry = Arc::new(Registry {
        sessions: Sessions::new(&store, options.max_open_uploads, options.upload_idle),
        store,
        limits: Limits {
            idle: options.body_idle,
            blob_size: options.max_blob_size,
        },
        max_manifest_size: options.max_manifest_size,
        sparse_manifests: options.sparse_manifests,
        bodies: Bodies::default(),
        auth: options.auth.clone(),
    });
    let counted = Arc::clone(&registry);
    let open_uploads = move || counted.sessions.count();
    // The paths have names with slashes inside, which patterns cannot say: `path` reads them.
    let mut router = axum::Router::new()
        .route("/v2", any(answer))
        .route("/v2/", any(answer))
        .route("/v2/{*rest}", any(answer));
    if options.auth.has_tokens() {
        router = router.route(TOKEN_PATH, any(token::answer));
    }
    (router.with_state(registry), open_uploads)
}

/// What the handlers share.
struct Registry {
    store: Store,
    sessions: Sessions,
    limits: Limits,
    max_manifest_size: u64,
    sparse_manifests: bool,
    bodies: Bodies,
    auth: Auth,
}

async fn answer(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let mut response = match Route::parse(request.uri().path()) {
        Ok(route) => Box::pin(admit(&registry, route, request)).await,
        Err(error) => Err(Failure::path(&error, request.method())),
    }
    .unwrap_or_else(IntoResponse::into_response);
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn admit(registry: &Registry, route: Route, request: Request) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let permissions = permission::identify(&registry.auth, &route, &head).await?;
    let user = KnownUser::of(&permissions);
    let result = match permission::check(&registry.auth, &route, &head, &permissions) {
        Ok(()) => {
            let request = Request::from_parts(head, body);
            dispatch(registry, route, request, permissions).await
        }
        Err(failure) => Err(failure),
    };
    // After its work, so that a client that comes back late still finds its own upload.
    // What goes wrong is in the log, and no concern of this client.
    let _ = registry.sessions.remove_stale().await;
    Ok(about::by(user, result.into_response()))
}

/// `permissions` are at least what the route needs; what goes beyond it is for handlers to ask.
async fn dispatch(
    registry: &Registry,
    route: Route,
    request: Request,
    permissions: Permissions,
) -> Result<Response, Failure> {
    let method = request.method().clone();
    match route {
        Route::Base => match method {
            Method::GET | Method::HEAD => Ok(base()),
            _ => Err(Failure::method_not_allowed("GET, HEAD")),
        },
        Route::Catalog => match method {
            Method::GET | Method::HEAD => {
                lists::catalog(registry, request.uri(), permissions).await
            }
            _ => Err(Failure::method_not_allowed("GET, HEAD")),
        },
        Route::Tags { name } => match method {
            Method::GET | Method::HEAD => lists::tags(registry, name, request.uri()).await,
            _ => Err(Failure::method_not_allowed("GET, HEAD")),
        },
        Route::Referrers { name, digest } => match method {
            Method::GET | Method::HEAD => {
                lists::referrers(registry, name, digest, request.uri()).await
            }
            _ => Err(Failure::method_not_allowed("GET, HEAD")),
        },
        Route::Manifest { name, selector } => match method {
            Method::GET => manifests::get(registry, name, selector, request.headers()).await,
            Method::HEAD => manifests::head(registry, name, selector, request.headers()).await,
            Method::PUT => manifests::put(registry, name, selector, request).await,
            Method::DELETE => manifests::delete(registry, name, selector).await,
            _ => Err(Failure::method_not_allowed("GET, HEAD, PUT, DELETE")),
        },
        Route::Blob { name, digest } => match method {
            Method::GET => blobs::get(registry, name, digest, request.headers()).await,
            Method::HEAD => blobs::head(registry, name, digest, request.headers()).await,
            Method::DELETE => blobs::delete(registry, name, digest).await,
            _ => Err(Failure::method_not_allowed("GET, HEAD, DELETE")),
        },
        Route::Uploads { name } => match method {
            Method::POST => uploads::start(registry, name, request, &permissions).await,
            _ => Err(Failure::method_not_allowed("POST")),
        },
        Route::Upload { name, id } => match method {
            Method::GET => uploads::status(registry, &name, id).await,
            Method::PATCH => uploads::append(registry, &name, id, request).await,
            Method::PUT => uploads::finish(registry, &name, id, request).await,
            Method::DELETE => uploads::cancel(registry, &name, id).await,
            _ => Err(Failure::method_not_allowed("GET, PATCH, PUT, DELETE")),
        },
    }
}

fn base() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{}").into_response()
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Text that the grammars of names, tags and digests have made fit for a header.
fn header_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|error| Failure::internal(&error))
}

/// Does work that blocks on the disk where that disturbs no other request.
///
/// If the caller is dropped the work still comes to its end, which is always a valid state.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Failure::from),
        Err(error) => Err(Failure::internal(&error)),
    }
}
