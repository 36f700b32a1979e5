//! Refusals as the API words them: a status and `{"detail": "..."}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::JoinError;

use crate::error::chain;
use crate::state::StateError;

/// A request that was not done.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

#[derive(Serialize)]
struct Body {
    detail: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    /// The request has not the form that the operation takes: something is missing, unknown or of the wrong kind.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The request has the right form, but what it asks for cannot be done.
    pub(super) fn impossible(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// Something that is no fault of the caller; the cause goes to the program's own log. The caller learns what the
    /// operating system said, such as a full disk, but no path of this machine.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "a request failed");
        let mut detail =
            "the embedded platform could not read or write its state directory".to_owned();
        if let Some(kind) = input_output_kind(error) {
            detail.push_str(": ");
            detail.push_str(&kind.to_string());
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

/// What the operating system said, if it is among the causes.
fn input_output_kind(error: &(dyn std::error::Error + 'static)) -> Option<std::io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (
            self.status,
            Json(Body {
                detail: self.detail,
            }),
        )
            .into_response()
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        let status = match &error {
            StateError::ImageUnknown(_)
            | StateError::VersionUnknown { .. }
            | StateError::BuildUnknown { .. }
            | StateError::ArtifactUnknown(_)
            | StateError::ArtifactVersionUnknown { .. }
            | StateError::ArtifactEmpty(_) => StatusCode::NOT_FOUND,
            StateError::NameTaken { .. } | StateError::VersionTaken { .. } => StatusCode::CONFLICT,
            StateError::VersionBusy { .. }
            | StateError::BeingDeleted(_)
            | StateError::DeletionFailed(_)
            | StateError::NoNextVersion(_) => StatusCode::UNPROCESSABLE_ENTITY,
            StateError::Damaged { .. }
            | StateError::LaterFormat { .. }
            | StateError::Archive(_)
            | StateError::Tag(_)
            | StateError::Database(_) => {
                return Self::internal(&error);
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        Self::internal(&error)
    }
}
