//! The images part of the Peak API, below `/image-management/api/v2`, the artifacts part, below
//! `/artifacts/api/v1`, and the registry beside them.

mod answers;
mod artifacts;
mod authorization;
pub(crate) mod control;
mod error;
mod form;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handlers;
mod json;
mod log_download;
mod origin;
mod query;
mod range;
mod signed;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, patch};
use peak_registry_server::auth::Auth;
use peak_registry_server::{Observer, RouterOptions};

pub(crate) use self::authorization::AccessToken;
use self::signed::Signatures;
use crate::queue::Queue;
use crate::shared::Shared;

/// Where the images API lies.
const BASE: &str = "/image-management/api/v2";

/// Where the artifacts API lies.
const ARTIFACTS_BASE: &str = "/artifacts/api/v1";

/// What every request has at hand.
#[derive(Clone)]
pub(crate) struct Application {
    shared: Arc<Shared>,
    queue: Queue,
    artifact_limit: u64,
    signatures: Signatures,
}

impl Application {
    pub(crate) fn new(shared: Arc<Shared>, queue: Queue, artifact_limit: u64) -> Self {
        Self {
            shared,
            queue,
            artifact_limit,
            signatures: Signatures::default(),
        }
    }
}

/// What watches requests knows the parts of the API by these kinds.
pub(crate) fn observer() -> Observer {
    Observer::new()
        .kind(BASE, "images")
        .kind(ARTIFACTS_BASE, "artifacts")
        .kind(log_download::PATH, "signed")
}

/// Everything that is served on the address, for the names of this machine alone if it is one of `loopback`.
pub(crate) fn router(
    application: Application,
    token: Option<AccessToken>,
    observer: &Observer,
    loopback: bool,
    registry_auth: Auth,
    #[cfg(feature = "faults")] faults: crate::faults::Faults,
) -> Router {
    let store = application.shared.registry.clone();
    let options = RouterOptions::new().auth(registry_auth);
    let registry = observer.registry(store.clone(), &options);
    let signed = signed(application.clone());
    let mut artifacts = artifacts(application.clone());
    let mut images = images(application);
    if let Some(token) = token {
        artifacts = artifacts.layer(from_fn_with_state(
            token.clone(),
            authorization::require_verbatim,
        ));
        images = images.layer(from_fn_with_state(token, authorization::require_verbatim));
    }
    let mut router = Router::new()
        .nest(BASE, images)
        .nest(ARTIFACTS_BASE, artifacts)
        .merge(registry)
        .merge(signed)
        .merge(peak_registry_server::health(store))
        .merge(observer.endpoint())
        .fallback(handlers::unknown_path);
    if loopback {
        router = router.layer(from_fn(origin::require_local));
    }
    #[cfg(feature = "faults")]
    let router = router.layer(from_fn_with_state(faults, crate::faults::misbehave));
    router
}

/// The length of a form is bounded where it is received, by the limit of this platform.
fn images(application: Application) -> Router {
    Router::new()
        .route(
            "/images/",
            get(handlers::list_images).post(handlers::create_image),
        )
        .route(
            "/images/{image}",
            get(handlers::describe_image).delete(handlers::delete_image),
        )
        .route(
            "/images/{image}/versions",
            get(handlers::list_versions).post(handlers::create_version),
        )
        .route(
            "/images/{image}/versions",
            delete(handlers::delete_versions),
        )
        .route(
            "/images/{image}/versions/{version}",
            get(handlers::describe_version),
        )
        .route(
            "/images/{image}/versions/{version}",
            patch(handlers::update_version).delete(handlers::delete_version),
        )
        .route("/images/{image}/builds", get(handlers::list_builds))
        .route(
            "/images/{image}/builds/{build}/logs",
            get(handlers::build_logs),
        )
        .route(
            "/images/{image}/builds/{build}/logs/download",
            get(log_download::sign),
        )
        .method_not_allowed_fallback(handlers::unknown_method)
        .fallback(handlers::unknown_path)
        .layer(DefaultBodyLimit::disable())
        .with_state(application)
}

fn artifacts(application: Application) -> Router {
    Router::new()
        .route("/artifacts/", get(artifacts::list).post(artifacts::create))
        .route(
            "/artifacts/{artifact}",
            get(artifacts::describe).put(artifacts::create_version),
        )
        .route(
            "/artifacts/{artifact}",
            patch(artifacts::update).delete(artifacts::delete),
        )
        .route(
            "/artifacts/{artifact}/download",
            get(artifacts::download_latest),
        )
        .route(
            "/artifacts/{artifact}/{version}",
            delete(artifacts::delete_version),
        )
        .route(
            "/artifacts/{artifact}/{version}/download",
            get(artifacts::download),
        )
        .method_not_allowed_fallback(handlers::unknown_method)
        .fallback(handlers::unknown_path)
        .layer(DefaultBodyLimit::disable())
        .with_state(application)
}

/// What a signature in the URL opens, whatever token the platform has.
fn signed(application: Application) -> Router {
    let method = get(log_download::download).fallback(handlers::unknown_method);
    Router::new()
        .route(log_download::PATH, method)
        .with_state(application)
}
