//! A build's log as a text file, by a URL that needs no credentials.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use peak_serve::Connection;
use uuid::Uuid;

use super::Application;
use super::answers::LogDownload;
use super::error::ApiError;
use super::handlers::{build_id, image_id};
use super::query::Parameters;
use super::signed::SignedLog;
use crate::shared::Shared;
use crate::state::LogPage;

/// Where signed URLs point to. The signature stands behind the `?`, where those who log URLs expect secrets.
pub(super) const PATH: &str = "/signed/build-logs";

/// Makes the URL.
pub(super) async fn sign(
    State(application): State<Application>,
    Extension(connection): Extension<Connection>,
    Path((image, build)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<LogDownload>, ApiError> {
    parameters.none()?;
    let image = image_id(&image)?;
    let build = build_id(image, &build)?;
    application
        .shared
        .blocking(move |shared| shared.state.log_page(image, build, 0))
        .await??;
    let signature = application.signatures.sign(SignedLog { image, build });
    let url = url(connection.scheme(), application.shared.address, signature);
    Ok(Json(LogDownload::new(url)))
}

fn url(scheme: &str, address: SocketAddr, signature: Uuid) -> String {
    format!("{scheme}://{address}{PATH}?signature={signature}")
}

/// Answers the URL: the lines that there are, each with a line break behind it.
pub(super) async fn download(
    State(application): State<Application>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let SignedLog { image, build } = parameters
        .signature()
        .and_then(|signature| application.signatures.verify(signature))
        .ok_or_else(|| {
            ApiError::new(
                StatusCode::FORBIDDEN,
                "the signature of this URL is wrong or has expired; ask for a new URL",
            )
        })?;
    let shared = Arc::clone(&application.shared);
    let first = read(&shared, image, build, 0).await??;
    let name = format!("attachment; filename=\"image_build_logs_{image}_{build}.log\"");
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CONTENT_DISPOSITION, name.as_str()),
        (CACHE_CONTROL, "no-store"),
    ];
    // A page at a time, so that memory does not grow with the log.
    let pages = stream::try_unfold(Some(first), move |page| {
        let shared = Arc::clone(&shared);
        async move {
            let Some(page) = page else {
                return Ok(None);
            };
            let next = match following(&page) {
                Some(from) => Some(
                    read(&shared, image, build, from)
                        .await
                        .map_err(io::Error::other)?
                        .map_err(io::Error::other)?,
                ),
                None => None,
            };
            Ok::<_, io::Error>(Some((text(&page), next)))
        }
    });
    Ok((headers, Body::from_stream(pages)).into_response())
}

async fn read(
    shared: &Arc<Shared>,
    image: u64,
    build: u64,
    from: u64,
) -> Result<Result<LogPage, crate::state::StateError>, tokio::task::JoinError> {
    shared
        .blocking(move |shared| shared.state.log_page(image, build, from))
        .await
}

/// Where to go on. A build that runs always has a next line, but nobody waits for it here.
fn following(page: &LogPage) -> Option<u64> {
    (page.has_more && !page.lines.is_empty()).then_some(page.position)
}

fn text(page: &LogPage) -> Bytes {
    let mut text = String::new();
    for line in &page.lines {
        text.push_str(&line.message);
        text.push('\n');
    }
    text.into()
}
