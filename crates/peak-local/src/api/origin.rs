//! Requests that were meant for another host, or that a web page makes behind its reader's back.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use peak_serve::origin::{Foreign, foreign};

use super::error::ApiError;

/// Lets requests through that name this machine.
pub(super) async fn require_local(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    let (status, detail) = match foreign(headers) {
        None => return Ok(()),
        Some(Foreign::Host) => (
            StatusCode::MISDIRECTED_REQUEST,
            "the embedded platform answers only for 127.0.0.1, [::1] and localhost",
        ),
        Some(Foreign::Origin) => (
            StatusCode::FORBIDDEN,
            "the embedded platform takes no requests from pages of other sites",
        ),
    };
    Err(ApiError::new(status, detail))
}
