//! The one error type of this crate.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use url::Url;

use crate::redact;

/// Any error that may stand as the cause of another.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong, by what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection to the server came about (name not found, refused, timed out). Nothing was sent.
    Connect,
    /// The TLS handshake failed, TLS could not be set up, or what came over it was not what it should be.
    Tls,
    /// A proxy did not do what was asked: it wants other credentials, or will not lead to this server. The server has
    /// seen nothing.
    Proxy,
    /// The attempt timeout or the total deadline passed before the response headers came.
    Timeout,
    /// The response body stalled for longer than the idle timeout.
    Idle,
    /// The connection broke in the middle of an exchange; also a response body that ended early.
    Transport,
    /// A redirect could not be followed.
    Redirect,
    /// The request body could not be produced, or was not as long as declared.
    Body,
    /// What came back is not what it should be (HTTP, JSON, UTF-8).
    Decode,
    /// The response body is larger than the caller allows.
    TooLarge,
    /// No credential could be obtained or used.
    Authentication,
    /// The request itself cannot be sent (scheme, URL, header).
    InvalidRequest,
    /// The client is configured with something that cannot work.
    Configuration,
    /// Something else, for example an error of a service given to [`Client::from_service`](crate::Client::from_service).
    Other,
}

impl ErrorKind {
    /// A short stable name, as used for `error.type` in spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::Transport => "transport",
            Self::Redirect => "redirect",
            Self::Body => "body",
            Self::Decode => "decode",
            Self::TooLarge => "too_large",
            Self::Authentication => "authentication",
            Self::InvalidRequest => "invalid_request",
            Self::Configuration => "configuration",
            Self::Other => "other",
        }
    }

    /// Whether the server can have seen a request that failed in this way.
    fn may_have_been_sent(self) -> bool {
        !matches!(
            self,
            Self::Connect
                | Self::Tls
                | Self::Proxy
                | Self::Authentication
                | Self::InvalidRequest
                | Self::Configuration
        )
    }
}

/// Why TLS with a server did not come about, as far as it matters for what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProblem {
    /// What answers does not speak TLS on this port.
    NotTls,
    /// The certificate is for other names.
    WrongName,
    /// The certificate has run out, or is not good yet.
    OutOfDate,
    /// Anything else: most often the certificate is of somebody who is not trusted.
    Other,
}

/// An error of the transport core.
///
/// `Display` says what failed at this layer and the redacted URL; the cause is in [`source`](StdError::source).
/// Neither `Display` nor `Debug` shows header values or query values outside the allow-list of [`redact::url`].
/// Cheap to clone.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    url: Option<Arc<str>>,
    may_have_been_sent: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message` (lower case, without the text of its cause).
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            url: None,
            may_have_been_sent: kind.may_have_been_sent(),
            source: None,
        }))
    }

    /// Keeps `source` as the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Names the URL the error is about; it is redacted here and never kept as it is.
    #[must_use]
    pub fn with_url(mut self, url: &Url) -> Self {
        self.0.url = Some(Arc::from(redact::url(url)));
        self
    }

    /// Overrides whether the server can have seen the request.
    #[must_use]
    pub fn with_may_have_been_sent(mut self, may_have_been_sent: bool) -> Self {
        self.0.may_have_been_sent = may_have_been_sent;
        self
    }

    /// Names the URL unless a deeper layer already did.
    pub(crate) fn or_url(self, url: &Url) -> Self {
        if self.0.url.is_some() {
            self
        } else {
            self.with_url(url)
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The URL the error is about, redacted.
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// A time limit passed: that of the connection, an attempt, the whole operation, or an idle body.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Timeout | ErrorKind::Idle)
            || self.chain().any(|cause| {
                cause
                    .downcast_ref::<io::Error>()
                    .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
            })
    }

    /// Why TLS did not come about, where that is what failed: with the server, or with the proxy on the way to it.
    pub fn tls_problem(&self) -> Option<TlsProblem> {
        use rustls::CertificateError;

        if self.0.kind != ErrorKind::Tls {
            return None;
        }
        let error = self
            .chain()
            .find_map(|cause| cause.downcast_ref::<rustls::Error>());
        Some(match error {
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                TlsProblem::NotTls
            }
            Some(rustls::Error::InvalidCertificate(problem)) => match problem {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => TlsProblem::WrongName,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => TlsProblem::OutOfDate,
                _ => TlsProblem::Other,
            },
            _ => TlsProblem::Other,
        })
    }

    /// No connection came about.
    pub fn is_connect(&self) -> bool {
        self.0.kind == ErrorKind::Connect
    }

    /// Whether the server may have seen (a part of) the request. `false` only when that is certain.
    pub fn may_have_been_sent(&self) -> bool {
        self.0.may_have_been_sent
    }

    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Idle | ErrorKind::Transport
        )
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        Chain(self.source())
    }

    /// Sorts an error of the transport (hyper, or a service given by the caller) into our kinds.
    pub(crate) fn from_transport(source: BoxError) -> Self {
        let source = match source.downcast::<Self>() {
            Ok(own) => return *own,
            Err(other) => other,
        };
        if let Some(own) = find::<Self>(&*source) {
            return own.clone();
        }
        let connecting = find::<hyper_util::client::legacy::Error>(&*source)
            .is_some_and(hyper_util::client::legacy::Error::is_connect);
        if is_about_tls(&*source) {
            // A server that wants another certificate of ours says so when we take the handshake for done (TLS 1.3).
            let message = if connecting {
                "the TLS connection to the server could not be set up"
            } else {
                "the TLS connection to the server was refused or broke"
            };
            return Self::new(ErrorKind::Tls, message)
                .with_may_have_been_sent(!connecting)
                .with_source(source);
        }
        if connecting {
            return Self::new(ErrorKind::Connect, "no connection to the server")
                .with_source(source);
        }
        if let Some(error) = find::<hyper::Error>(&*source) {
            let (kind, message) = if error.is_parse() {
                (ErrorKind::Decode, "the server's answer is not valid HTTP")
            } else {
                (
                    ErrorKind::Transport,
                    "the connection broke before the exchange was complete",
                )
            };
            // hyper says "canceled" only of requests of which it has not written a byte.
            let sent = !error.is_canceled() && !is_refused_stream(&*source);
            return Self::new(kind, message)
                .with_may_have_been_sent(sent)
                .with_source(source);
        }
        let transport = find::<hyper_util::client::legacy::Error>(&*source).is_some()
            || find::<io::Error>(&*source).is_some();
        if transport {
            return Self::new(
                ErrorKind::Transport,
                "the connection broke before the exchange was complete",
            )
            .with_source(source);
        }
        Self::new(ErrorKind::Other, "the request failed").with_source(source)
    }
}

// Written by hand, since `thiserror` cannot take a shared (`Arc`) cause as `#[source]`.
impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.url {
            Some(url) => write!(formatter, "{} ({url})", self.0.message),
            None => formatter.write_str(&self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("url", &self.0.url)
            .field("may_have_been_sent", &self.0.may_have_been_sent)
            .field("source", &self.0.source)
            .finish()
    }
}

/// Walks causes, and also into `io::Error`, which hides the error it was made from.
struct Chain<'a>(Option<&'a (dyn StdError + 'static)>);

impl<'a> Iterator for Chain<'a> {
    type Item = &'a (dyn StdError + 'static);

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.0?;
        self.0 = match current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(hidden) => Some(hidden),
            None => current.source(),
        };
        Some(current)
    }
}

/// Whether TLS itself failed, rather than what it goes over.
pub(crate) fn is_about_tls(error: &(dyn StdError + 'static)) -> bool {
    find::<rustls::Error>(error).is_some()
        || find::<Error>(error).is_some_and(|error| error.kind() == ErrorKind::Tls)
}

/// Whether the server says of an HTTP/2 stream that it has done nothing with it (RFC 9113, section 8.7).
///
/// A `GOAWAY` says the same of the streams behind its last one, but hyper reports it for others too: it looks at the
/// state of the connection after it has handed a request over, and if a `GOAWAY` has come just between, gives the
/// request up with the same error though the server may have it. So that proves nothing.
fn is_refused_stream(error: &(dyn StdError + 'static)) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
    })
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    Chain(Some(error)).find_map(|cause| cause.downcast_ref::<E>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("http://user:secret@example.com/a?token=hidden&pageSize=2").unwrap()
    }

    #[test]
    fn neither_display_nor_debug_shows_secrets_of_the_url() {
        let error = Error::new(ErrorKind::Connect, "no connection to the server")
            .with_source(io::Error::other("refused"))
            .with_url(&url());
        for text in [format!("{error}"), format!("{error:?}")] {
            assert!(!text.contains("secret"), "{text}");
            assert!(!text.contains("hidden"), "{text}");
            assert!(text.contains("pageSize=2"), "{text}");
        }
        assert!(!format!("{error}").contains("refused"));
        assert_eq!(error.source().unwrap().to_string(), "refused");
    }

    #[test]
    fn an_own_error_is_found_again_below_other_errors() {
        let own = Error::new(ErrorKind::Body, "the file changed");
        let wrapped: BoxError = Box::new(io::Error::other(own));
        assert_eq!(Error::from_transport(wrapped).kind(), ErrorKind::Body);
    }

    #[test]
    fn certificate_errors_are_tls_errors_and_never_transient() {
        let source: BoxError = Box::new(io::Error::other(rustls::Error::HandshakeNotComplete));
        let error = Error::from_transport(source);
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert!(!error.is_transient());
        // Not an error of connecting, so that something may have gone out before.
        assert!(error.may_have_been_sent());
    }

    #[test]
    fn what_is_wrong_with_tls_is_known_without_reading_words() {
        use rustls::{CertificateError, InvalidMessage};

        let problem = |error: rustls::Error| {
            let source: BoxError = Box::new(io::Error::other(error));
            Error::from_transport(source).tls_problem()
        };
        for (error, expected) in [
            (CertificateError::NotValidForName, TlsProblem::WrongName),
            (CertificateError::Expired, TlsProblem::OutOfDate),
            (CertificateError::NotValidYet, TlsProblem::OutOfDate),
            (CertificateError::UnknownIssuer, TlsProblem::Other),
        ] {
            assert_eq!(problem(error.into()), Some(expected));
        }
        let no_tls = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(problem(no_tls), Some(TlsProblem::NotTls));
        assert_eq!(Error::new(ErrorKind::Connect, "x").tls_problem(), None);
    }

    #[test]
    fn a_timed_out_connection_is_both_connect_and_timeout() {
        let error = Error::new(ErrorKind::Connect, "no connection to the server")
            .with_source(io::Error::from(io::ErrorKind::TimedOut));
        assert!(error.is_timeout() && error.is_connect() && error.is_transient());
        assert!(!error.may_have_been_sent());
    }

    #[test]
    fn a_foreign_error_is_other_and_keeps_its_text() {
        let error = Error::from_transport("out of cheese".into());
        assert_eq!(error.kind(), ErrorKind::Other);
        assert_eq!(error.source().unwrap().to_string(), "out of cheese");
        assert!(error.may_have_been_sent());
    }
}
