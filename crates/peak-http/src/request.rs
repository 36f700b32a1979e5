//! What a caller can say about one request: options carried in the extensions of an `http::Request`, and helpers to
//! build requests.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Extensions, Method, Request, Uri};
use serde::Serialize;
use url::Url;

use crate::body::Body;
use crate::error::{Error, ErrorKind};

/// The name of the operation a request belongs to, such as `create_image`; it names the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation(pub &'static str);

/// Overrides whether a request may be repeated after the server may have acted upon it.
/// Without it the method decides: GET, HEAD, PUT, PATCH, DELETE and OPTIONS are taken as idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// Doing it twice is the same as doing it once.
    Idempotent,
    /// Doing it twice does harm; it is repeated only when the server cannot have acted on it.
    NotIdempotent,
}

impl Idempotency {
    /// What the method says.
    pub fn of_method(method: &Method) -> Self {
        match *method {
            Method::GET
            | Method::HEAD
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS => Self::Idempotent,
            _ => Self::NotIdempotent,
        }
    }
}

/// The body of an answer with a success status is read whole before the answer is handed over, and may have at most this
/// many bytes (else [`ErrorKind::TooLarge`]).
///
/// An attempt is then over when the body is here: one whose body breaks, stalls or ends early has failed after the server
/// may have acted upon the request, and is repeated if the request may be. Time limits to the headers still end there,
/// but the [`Deadline`] is over the body too. For answers that are wanted whole anyway, such as JSON; never for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeBody(pub u64);

/// Time to the response headers over all attempts, waits included; overrides that of the client. With [`WholeBody`] time
/// to the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Duration);

/// Time to the response headers of one attempt, counted from the last byte of the request body that was taken by the
/// connection; overrides that of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptTimeout(pub Duration);

/// Longest silence in the response body; overrides that of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleTimeout(pub Duration);

/// The authenticator of the client leaves this request alone, for example for a signed URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anonymous;

/// The URL a request was made for, as the layers see it.
#[derive(Debug, Clone)]
pub(crate) struct Target(pub(crate) Arc<Url>);

/// Options of one request, on a request and on its builder alike.
///
/// ```
/// use std::time::Duration;
/// use peak_http::{Error, RequestBuilderExt as _, RequestExt as _};
///
/// # fn main() -> Result<(), Error> {
/// let request = http::Request::post("http://127.0.0.1:5000/images/")
///     .operation("create_image")
///     .deadline(Duration::from_secs(60))
///     .json(&["some", "json"])?;
/// # assert_eq!(request.headers()["content-type"], "application/json");
/// # Ok(())
/// # }
/// ```
pub trait RequestExt: Sized {
    /// Sets one option; any of the option types of this module.
    #[must_use]
    fn option<T: Clone + Send + Sync + 'static>(self, option: T) -> Self;

    /// Names the operation, for spans.
    #[must_use]
    fn operation(self, name: &'static str) -> Self {
        self.option(Operation(name))
    }

    /// Overrides what the method says about repeating the request.
    #[must_use]
    fn idempotency(self, idempotency: Idempotency) -> Self {
        self.option(idempotency)
    }

    /// Sets the time to the response headers over all attempts.
    #[must_use]
    fn deadline(self, deadline: Duration) -> Self {
        self.option(Deadline(deadline))
    }

    /// Sets the time to the response headers of each attempt.
    #[must_use]
    fn attempt_timeout(self, timeout: Duration) -> Self {
        self.option(AttemptTimeout(timeout))
    }

    /// Sets the longest silence in the response body.
    #[must_use]
    fn idle_timeout(self, timeout: Duration) -> Self {
        self.option(IdleTimeout(timeout))
    }

    /// Has the body of a successful answer read whole as part of the attempt: [`WholeBody`].
    #[must_use]
    fn whole_body(self, limit: u64) -> Self {
        self.option(WholeBody(limit))
    }

    /// Sends the request without the client's authenticator.
    #[must_use]
    fn anonymous(self) -> Self {
        self.option(Anonymous)
    }
}

impl RequestExt for http::request::Builder {
    fn option<T: Clone + Send + Sync + 'static>(self, option: T) -> Self {
        self.extension(option)
    }
}

impl<B> RequestExt for Request<B> {
    fn option<T: Clone + Send + Sync + 'static>(mut self, option: T) -> Self {
        self.extensions_mut().insert(option);
        self
    }
}

/// Ends a request builder with a body of ours and an error of ours.
pub trait RequestBuilderExt: Sized {
    /// With this body. Errors: [`ErrorKind::InvalidRequest`] if URL, method or a header was not valid.
    fn with_body(self, body: impl Into<Body>) -> Result<Request<Body>, Error>;

    /// Without a body.
    fn without_body(self) -> Result<Request<Body>, Error> {
        self.with_body(Body::empty())
    }

    /// With `value` as JSON, and its `Content-Type`.
    fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Request<Body>, Error>;
}

impl RequestBuilderExt for http::request::Builder {
    fn with_body(self, body: impl Into<Body>) -> Result<Request<Body>, Error> {
        self.body(body.into()).map_err(|source| {
            Error::new(ErrorKind::InvalidRequest, "the request is not valid").with_source(source)
        })
    }

    fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Request<Body>, Error> {
        let text = serde_json::to_vec(value).map_err(|source| {
            Error::new(
                ErrorKind::InvalidRequest,
                "the request body cannot be written as JSON",
            )
            .with_source(source)
        })?;
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .with_body(text)
    }
}

/// Checks the target of a request and leaves it in its one canonical form, so that what is checked, shown and
/// connected to is the same.
pub(crate) fn prepare(mut request: Request<Body>) -> Result<(Request<Body>, Arc<Url>), Error> {
    let written = request.uri().to_string();
    let url = Url::parse(&written).map_err(|source| {
        Error::new(
            ErrorKind::InvalidRequest,
            "the request needs an absolute http or https URL",
        )
        .with_source(source)
    })?;
    check_url(&url)
        .map_err(|message| Error::new(ErrorKind::InvalidRequest, message).with_url(&url))?;
    if written != url.as_str() {
        *request.uri_mut() = to_uri(&url)?;
    }
    let url = Arc::new(url);
    request.extensions_mut().insert(Target(Arc::clone(&url)));
    Ok((request, url))
}

/// Says why a URL may not be used, if so.
pub(crate) fn check_url(url: &Url) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https URLs can be requested");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the URL has no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds credentials; give them to an authenticator instead");
    }
    Ok(())
}

/// The URL as a request target.
pub(crate) fn to_uri(url: &Url) -> Result<Uri, Error> {
    url.as_str()
        .parse()
        .map_err(|source: http::uri::InvalidUri| {
            Error::new(
                ErrorKind::InvalidRequest,
                "the URL cannot stand in a request",
            )
            .with_url(url)
            .with_source(source)
        })
}

/// The target that [`prepare`] put on a request.
pub(crate) fn target(extensions: &Extensions) -> Result<Arc<Url>, Error> {
    extensions
        .get::<Target>()
        .map(|target| Arc::clone(&target.0))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidRequest,
                "the request was not given to a client",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(uri: &str) -> Result<String, Error> {
        let request = Request::get(uri).without_body()?;
        prepare(request).map(|(request, _)| request.uri().to_string())
    }

    #[test]
    fn only_http_and_https_with_a_host_and_without_credentials() {
        for uri in [
            "/v2/",
            "ftp://h/",
            "file:///etc/passwd",
            "http://user:password@h/",
            "http://user@h/",
            "h:80",
        ] {
            let error = prepared(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{uri}");
            assert!(!format!("{error:?}").contains("password"), "{error:?}");
        }
    }

    #[test]
    fn targets_are_canonical() {
        assert_eq!(prepared("HTTP://H:80/a/../b").unwrap(), "http://h/b");
        assert_eq!(prepared("http://127.1/").unwrap(), "http://127.0.0.1/");
        assert_eq!(prepared("http://h/a?b=%20c").unwrap(), "http://h/a?b=%20c");
    }

    #[test]
    fn options_are_kept_on_builder_and_request() {
        let request = Request::get("http://h/")
            .operation("list")
            .without_body()
            .unwrap()
            .anonymous();
        assert_eq!(request.extensions().get(), Some(&Operation("list")));
        assert_eq!(request.extensions().get(), Some(&Anonymous));
    }

    #[test]
    fn an_invalid_header_is_an_error_of_the_request() {
        let error = Request::get("http://h/")
            .header("x", "a\nb")
            .without_body()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}
