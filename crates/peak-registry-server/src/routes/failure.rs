//! What a client is told when something does not work: status, headers and the specification's
//! JSON form of errors.

use std::error::Error;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use peak_oci::Digest;
use serde::Serialize;
use serde_json::{Value, json};

use crate::routes::path::PathError;
use crate::store::{StoreError, with_causes};

/// The error codes of the distribution specification, and the few of Docker's registry for what
/// that one does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    PaginationNumberInvalid,
    SizeInvalid,
    TagInvalid,
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    Unauthorized,
    Unknown,
    Unsupported,
}

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    /// Boxed, as most failures have none and every `Result` here carries the room.
    headers: Box<HeaderMap>,
    errors: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    code: Code,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

#[derive(Serialize)]
struct Document {
    errors: Vec<Entry>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        let entry = Entry {
            code,
            message: message.into(),
            detail: None,
        };
        Self {
            status,
            headers: Box::default(),
            errors: vec![entry],
        }
    }

    pub(crate) fn bad_request(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn too_large(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, message)
    }

    pub(crate) fn upload_unknown() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::BlobUploadUnknown,
            "there is no such upload; it was finished, cancelled or idle for too long",
        )
    }

    /// The endpoint exists, but not for this method.
    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        let message = format!("this endpoint takes {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message)
            .with_header(header::ALLOW, HeaderValue::from_static(allowed))
    }

    /// Something is wrong here and not with the request; the log has more.
    pub(crate) fn internal(error: &dyn Error) -> Self {
        tracing::error!(error = %with_causes(error), "the registry could not answer a request");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unknown,
            "the registry has a problem; its log says more",
        )
    }

    /// The answer to a path that cannot be read, which for a few depends on the method.
    pub(crate) fn path(error: &PathError, method: &Method) -> Self {
        let message = error.to_string();
        match error {
            PathError::Endpoint => Self::new(StatusCode::NOT_FOUND, Code::Unsupported, message),
            PathError::Name => Self::bad_request(Code::NameInvalid, message),
            // What cannot be a tag was surely never pushed: a reader hears that it is not there.
            PathError::Tag if is_read(method) => {
                Self::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, message)
            }
            PathError::Tag => Self::bad_request(Code::TagInvalid, message),
            PathError::Digest { .. } => Self::bad_request(Code::DigestInvalid, message),
            PathError::Upload => Self::upload_unknown(),
        }
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    #[must_use]
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    #[must_use]
    fn with_digest(mut self, digest: &Digest) -> Self {
        for entry in &mut self.errors {
            entry.detail = Some(json!({ "digest": digest.to_string() }));
        }
        self
    }
}

/// The answer to a request that was meant for somebody else, of those that a server on loopback refuses.
#[cfg(feature = "server")]
pub(crate) fn foreign_failure(status: StatusCode, message: &str) -> Failure {
    Failure::new(status, Code::Unsupported, message)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match &error {
            StoreError::RepositoryUnknown { .. } => {
                Self::new(StatusCode::NOT_FOUND, Code::NameUnknown, message)
            }
            StoreError::BlobUnknown { digest, .. } => {
                Self::new(StatusCode::NOT_FOUND, Code::BlobUnknown, message).with_digest(digest)
            }
            StoreError::ManifestUnknown { .. } => {
                Self::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, message)
            }
            StoreError::ManifestBlobUnknown { missing, .. } => Self {
                status: StatusCode::BAD_REQUEST,
                headers: Box::default(),
                errors: missing.iter().map(missing_entry).collect(),
            },
            StoreError::ManifestSizeMismatch { digest, .. } => {
                Self::bad_request(Code::ManifestInvalid, message).with_digest(digest)
            }
            StoreError::ManifestInvalid { .. } => {
                Self::bad_request(Code::ManifestInvalid, with_causes(&error))
            }
            StoreError::DigestMismatch { expected, .. } => {
                Self::bad_request(Code::DigestInvalid, message).with_digest(expected)
            }
            StoreError::UploadBroken => Self::upload_unknown(),
            StoreError::Io { .. } if error.is_storage_full() => {
                tracing::error!(error = %with_causes(&error), "the registry's disk is full");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    Code::Unknown,
                    "the registry has no space left",
                )
            }
            StoreError::Io { .. }
            | StoreError::Damaged { .. }
            | StoreError::InUse { .. }
            | StoreError::CollectionUnderWay
            | StoreError::Stopped
            | StoreError::NotAStore { .. } => Self::internal(&error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (
            self.status,
            *self.headers,
            Json(Document {
                errors: self.errors,
            }),
        )
            .into_response()
    }
}

fn missing_entry(digest: &Digest) -> Entry {
    Entry {
        code: Code::ManifestBlobUnknown,
        message: format!("the manifest points to {digest}, which the repository does not have"),
        detail: Some(json!({ "digest": digest.to_string() })),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_as_the_specification_has_them() {
        for (code, text) in [
            (Code::BlobUploadUnknown, "\"BLOB_UPLOAD_UNKNOWN\""),
            (Code::TooManyRequests, "\"TOOMANYREQUESTS\""),
            (Code::ManifestBlobUnknown, "\"MANIFEST_BLOB_UNKNOWN\""),
        ] {
            assert_eq!(serde_json::to_string(&code).unwrap(), text);
        }
    }

    #[test]
    fn paths_on_the_server_are_not_told() {
        let error = StoreError::Damaged {
            path: "/secret/place".into(),
            reason: "broken".into(),
        };
        let failure = Failure::from(error);
        assert_eq!(failure.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!format!("{:?}", failure.errors).contains("secret"));
    }

    #[test]
    fn each_missing_blob_is_an_error_of_its_own() {
        let missing = vec![Digest::sha256_of(b"a"), Digest::sha256_of(b"b")];
        let failure = Failure::from(StoreError::ManifestBlobUnknown {
            repository: "a".parse().unwrap(),
            missing,
        });
        assert_eq!(failure.status, StatusCode::BAD_REQUEST);
        assert_eq!(failure.errors.len(), 2);
    }

    #[test]
    fn an_impossible_tag_is_unknown_to_readers_and_invalid_to_writers() {
        assert_eq!(
            Failure::path(&PathError::Tag, &Method::GET).status,
            StatusCode::NOT_FOUND
        );
        assert_eq!(
            Failure::path(&PathError::Tag, &Method::PUT).status,
            StatusCode::BAD_REQUEST
        );
    }
}
