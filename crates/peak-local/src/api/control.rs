//! Upkeep of the registry, for whoever has the secret of the state directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use peak_registry_server::{Store, StoreError};
use serde::Serialize;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::{AccessToken, authorization, handlers, origin};
use crate::control_protocol::{CHECK_PATH, CheckRequest, GARBAGE_PATH, GarbageRequest, Outcome};
use crate::error::chain;
use crate::shared::Shared;

/// How often an answer that is still being worked out shows that it is.
const HEARTBEAT: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Upkeep {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

/// The endpoints of upkeep. What runs when `stop` is cancelled ends early.
pub(crate) fn router(shared: Arc<Shared>, secret: AccessToken, stop: CancellationToken) -> Router {
    let gc = post(collect_garbage).fallback(handlers::unknown_method);
    let check = post(check).fallback(handlers::unknown_method);
    Router::new()
        .route(GARBAGE_PATH, gc)
        .route(CHECK_PATH, check)
        .fallback(handlers::unknown_path)
        .layer(from_fn_with_state(secret, authorization::require_bearer))
        .layer(from_fn(origin::require_local))
        .with_state(Upkeep { shared, stop })
}

async fn collect_garbage(
    State(upkeep): State<Upkeep>,
    Json(request): Json<GarbageRequest>,
) -> Response {
    upkeep
        .answer(move |registry, flag| registry.collect_garbage(&request.options().stop_when(flag)))
}

async fn check(State(upkeep): State<Upkeep>, Json(request): Json<CheckRequest>) -> Response {
    upkeep.answer(move |registry, flag| registry.check(&request.options().stop_when(flag)))
}

/// Stops the work when nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Upkeep {
    /// Answers at once, and goes on with white space until there is the outcome: so a connection over which
    /// nothing else comes for long is not taken for a dead one.
    fn answer<T: Serialize + Send + 'static>(
        self,
        work: impl FnOnce(&Store, Arc<AtomicBool>) -> Result<T, StoreError> + Send + 'static,
    ) -> Response {
        let flag = Arc::new(AtomicBool::new(false));
        let waiting = Waiting(Arc::clone(&flag));
        let Self { shared, stop } = self;
        let outcome = async move {
            let _waiting = waiting;
            let work = shared.blocking(move |shared| work(&shared.registry, flag));
            tokio::select! {
                biased;
                () = stop.cancelled() => Outcome::Error("the platform ends".to_owned()),
                outcome = work => outcome_of(outcome),
            }
        };
        let body = stream::unfold(Some(Box::pin(outcome)), |outcome| async move {
            let mut outcome = outcome?;
            match tokio::time::timeout(HEARTBEAT, &mut outcome).await {
                Ok(done) => Some((serde_json::to_vec(&done).map(Bytes::from), None)),
                Err(_) => Some((Ok(Bytes::from_static(b"\n")), Some(outcome))),
            }
        });
        (
            [(CONTENT_TYPE, "application/json")],
            Body::from_stream(body),
        )
            .into_response()
    }
}

fn outcome_of<T>(result: Result<Result<T, StoreError>, JoinError>) -> Outcome<T> {
    match result {
        Ok(Ok(report)) => Outcome::Report(report),
        Ok(Err(error)) => Outcome::Error(chain(&error)),
        Err(error) => {
            tracing::error!(%error, "upkeep of the registry ended with a panic");
            Outcome::Error("it ended with a panic, which the platform's log tells".to_owned())
        }
    }
}
