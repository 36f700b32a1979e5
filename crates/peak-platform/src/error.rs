//! What can go wrong between asking the platform and having its answer.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::message::{message, one_line};

/// Why an operation has no answer.
///
/// The statuses have the names that the platform's clients know them by (`spec/peak-api.md`,
/// "Errors").
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 400: the parameters are not what the operation takes.
    #[error("bad request: {0}")]
    BadRequest(Box<StatusError>),
    /// 401: no token, or not a valid one.
    #[error("not authenticated: {0}; {advice}", advice = .0.about_token())]
    Unauthorized(Box<StatusError>),
    /// 403: the token's owner may not do this.
    #[error("not allowed: {0}")]
    Forbidden(Box<StatusError>),
    /// 404: there is no such thing.
    #[error("not found: {0}")]
    NotFound(Box<StatusError>),
    /// 409: it is there already, or in use.
    #[error("conflict: {0}")]
    Conflict(Box<StatusError>),
    /// 413: the artifact is larger than the platform takes.
    #[error(
        "too large: {0}; preview what is packed with a dry run, and exclude files with an ignore file"
    )]
    PayloadTooLarge(Box<StatusError>),
    /// 422: the parameters have the right form but not the right meaning.
    #[error("cannot be processed: {0}")]
    UnprocessableEntity(Box<StatusError>),
    /// 429: the platform asks for fewer requests, even after all retries.
    #[error("too many requests: {0}; try again later")]
    TooManyRequests(Box<StatusError>),
    /// 500: something failed on the platform, even after all retries.
    #[error("the platform failed: {0}")]
    InternalServerError(Box<StatusError>),
    /// Any other status that is not a success.
    #[error("unexpected status: {0}")]
    Status(Box<StatusError>),
    /// The parameters cannot be sent at all; nothing was.
    #[error("the request cannot be made: {message}")]
    InvalidRequest {
        /// Why.
        message: String,
    },
    /// The request or its answer was lost on the way, or the answer is not what it should be.
    #[error("no usable answer to {method} {url}")]
    Http {
        /// The method of the request.
        method: Method,
        /// Its URL, without secrets.
        url: String,
        /// What happened.
        #[source]
        source: peak_http::Error,
    },
    /// A download has been cut off again and again; nothing was saved.
    #[error(
        "the download was cut off too often, the last time after {received} bytes; try again later"
    )]
    DownloadInterrupted {
        /// How many bytes had come.
        received: u64,
        /// What happened the last time, if more than that it ended early.
        #[source]
        source: Option<Box<Error>>,
    },
    /// A download was answered with something else than the file, such as the sign-in page of a proxy; nothing was
    /// saved.
    #[error(
        "what came from {url} is not the file but {what}; see whether a proxy or a sign-in page is in between"
    )]
    UnexpectedContent {
        /// What answered, without secrets.
        url: String,
        /// What it is.
        what: String,
    },
    /// The file to save to is a directory.
    #[error("{} is a directory; name the file to save to", path.display())]
    TargetIsDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The file to save to cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A list that does not end.
    #[error("the list has more than {limit} pages; narrow the search")]
    TooManyPages {
        /// The limit.
        limit: u64,
    },
}

impl Error {
    /// The error for an answer with a status that is not a success.
    pub(crate) fn of_status(error: StatusError) -> Self {
        let named = match error.status.as_u16() {
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            413 => Self::PayloadTooLarge,
            422 => Self::UnprocessableEntity,
            429 => Self::TooManyRequests,
            500 => Self::InternalServerError,
            _ => Self::Status,
        };
        named(Box::new(error))
    }

    /// The error for a file that cannot be written.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// What the platform said, if it answered with a status that is not a success.
    pub fn status_error(&self) -> Option<&StatusError> {
        match self {
            Self::BadRequest(error)
            | Self::Unauthorized(error)
            | Self::Forbidden(error)
            | Self::NotFound(error)
            | Self::Conflict(error)
            | Self::PayloadTooLarge(error)
            | Self::UnprocessableEntity(error)
            | Self::TooManyRequests(error)
            | Self::InternalServerError(error)
            | Self::Status(error) => Some(error),
            _ => None,
        }
    }

    /// The status of the answer, if it was not a success.
    pub fn status(&self) -> Option<StatusCode> {
        self.status_error().map(StatusError::status)
    }

    /// Whether what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// Whether the caller is not known or not allowed.
    pub fn is_auth(&self) -> bool {
        matches!(self, Self::Unauthorized(_) | Self::Forbidden(_))
    }

    /// Whether the platform may have done what was asked, though there is no answer that says so. `false` means that it
    /// has not, so that even what must not be done twice may be asked for again: the request never left, or it was
    /// refused (any status below 500 but 408; also 503, which says "not now"). After anything else look first whether it
    /// was done.
    ///
    /// For downloads and lists, which change nothing, the errors of their own are `false` too.
    pub fn may_have_been_acted_upon(&self) -> bool {
        match self {
            Self::Http { source, .. } => source.may_have_been_sent(),
            other => other.status().is_some_and(|status| {
                status == StatusCode::REQUEST_TIMEOUT
                    || status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE
            }),
        }
    }

    /// Whether time ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Http { source, .. } if source.is_timeout())
    }
}

/// An answer with a status that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusError {
    status: StatusCode,
    method: Method,
    url: String,
    request_id: Option<String>,
    message: String,
    /// Whether the session has a token.
    has_token: bool,
}

impl StatusError {
    /// Most bytes of an answer's body that are read for its message.
    pub(crate) const MAX_BODY_SIZE: usize = 64 * 1024;

    pub(crate) fn new(
        status: StatusCode,
        method: Method,
        url: String,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Self {
        Self {
            status,
            method,
            url,
            request_id: request_id(headers),
            message: message(body).unwrap_or_default(),
            has_token: true,
        }
    }

    /// The same, of a session that has a token or none.
    pub(crate) fn with_token(self, has_token: bool) -> Self {
        Self { has_token, ..self }
    }

    /// What to do about a token that is missing or not the right one.
    fn about_token(&self) -> &'static str {
        if self.has_token {
            "check the token in PEAK_AUTH_TOKEN and the stage it belongs to"
        } else {
            "set PEAK_AUTH_TOKEN to a token of this platform"
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The method of the request.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URL that answered, without secrets.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What to give the platform's support to find the request by, if the answer had it.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// What the body says; empty if it says nothing. Without control characters and of bounded
    /// length.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.message.is_empty() {
            write!(formatter, "{} ", self.message)?;
        }
        write!(
            formatter,
            "({} from {} {}",
            self.status.as_u16(),
            self.method,
            self.url
        )?;
        if let Some(request_id) = &self.request_id {
            write!(formatter, ", request id {request_id}")?;
        }
        formatter.write_str(")")
    }
}

/// The headers in which gateways give a request its name, most telling first.
const REQUEST_ID_HEADERS: [&str; 5] = [
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "x-amz-apigw-id",
    "x-correlation-id",
];

fn request_id(headers: &HeaderMap) -> Option<String> {
    REQUEST_ID_HEADERS
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .find(|text| !text.is_empty())
        .map(|text| one_line(text, 128))
}

#[cfg(test)]
mod tests {
    use peak_http::ErrorKind;

    use super::*;

    fn error(status: u16) -> Error {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "abc-1".parse().unwrap());
        Error::of_status(StatusError::new(
            StatusCode::from_u16(status).unwrap(),
            Method::POST,
            "https://service.peak.ai/x".to_owned(),
            &headers,
            &Bytes::from_static(br#"{"detail": "because"}"#),
        ))
    }

    #[test]
    fn each_status_has_its_name() {
        let names = [
            (400, "BadRequest"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "NotFound"),
            (409, "Conflict"),
            (413, "PayloadTooLarge"),
            (422, "UnprocessableEntity"),
            (429, "TooManyRequests"),
            (500, "InternalServerError"),
            (418, "Status"),
            (502, "Status"),
        ];
        for (status, name) in names {
            let error = error(status);
            assert!(format!("{error:?}").starts_with(&format!("{name}(")));
            assert_eq!(error.status().unwrap().as_u16(), status);
        }
    }

    #[test]
    fn what_may_have_been_done_is_told_from_what_was_not() {
        for status in [408, 500, 501, 502, 504, 520] {
            assert!(error(status).may_have_been_acted_upon(), "{status}");
        }
        for status in [302, 400, 401, 403, 404, 409, 413, 422, 429, 503] {
            assert!(!error(status).may_have_been_acted_upon(), "{status}");
        }
        for (kind, expected) in [
            (ErrorKind::Connect, false),
            (ErrorKind::Authentication, false),
            (ErrorKind::Transport, true),
            (ErrorKind::Timeout, true),
            (ErrorKind::Idle, true),
            (ErrorKind::Decode, true),
            (ErrorKind::TooLarge, true),
        ] {
            let error = Error::Http {
                method: Method::POST,
                url: String::new(),
                source: peak_http::Error::new(kind, "x"),
            };
            assert_eq!(error.may_have_been_acted_upon(), expected, "{kind:?}");
        }
        let unsent = Error::InvalidRequest {
            message: String::new(),
        };
        assert!(!unsent.may_have_been_acted_upon());
    }

    #[test]
    fn without_a_token_none_is_to_be_checked() {
        let unauthorized = |has_token| {
            let status = StatusError::new(
                StatusCode::UNAUTHORIZED,
                Method::GET,
                String::new(),
                &HeaderMap::new(),
                &Bytes::new(),
            );
            Error::of_status(status.with_token(has_token)).to_string()
        };
        assert!(unauthorized(true).contains("check the token in PEAK_AUTH_TOKEN"));
        assert!(unauthorized(false).contains("set PEAK_AUTH_TOKEN"));
    }

    #[test]
    fn errors_say_what_happened_to_what() {
        assert_eq!(
            error(404).to_string(),
            "not found: because (404 from POST https://service.peak.ai/x, request id abc-1)"
        );
        assert!(error(413).to_string().contains("dry run"));
    }
}
