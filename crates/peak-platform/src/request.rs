//! Requests as values: where the platform is, and what is asked of it.

use std::fmt;

use http::{HeaderValue, Method, Request, header};
use peak_http::{Anonymous, Body, address};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use crate::config::SessionError;
use crate::error::Error;
use crate::form::Form;

/// One operation of a service, with all its parameters.
///
/// Turning it into a request is pure: no server, no clock, no environment.
pub trait Operation {
    /// What logs call it, such as `list_images`.
    const NAME: &'static str;

    /// What the service answers.
    type Answer: DeserializeOwned;

    /// The request, against this endpoint and without credentials.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the parameters cannot be sent.
    fn request(&self, endpoint: &Endpoint) -> Result<Request<Body>, Error>;
}

/// The answer to an operation of which there is no more to say than that it was done. The platform
/// sends `{}`; any other JSON, and an answer without content, is taken for the same, so that what was
/// done is not reported as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Done;

impl<'de> Deserialize<'de> for Done {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self)
    }
}

/// The base URL of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// An endpoint at this URL: `http` or `https`, with a host, perhaps with a path that all
    /// requests start with, and with nothing else.
    ///
    /// # Errors
    /// [`SessionError::InvalidEndpoint`].
    pub fn new(url: Url) -> Result<Self, SessionError> {
        let reason = if !matches!(url.scheme(), "http" | "https") {
            "its scheme is neither `https` nor `http`"
        } else if !url.username().is_empty() || url.password().is_some() {
            "it holds credentials; give them as the token instead"
        } else if url.query().is_some() || url.fragment().is_some() {
            "it has a query or a fragment"
        } else {
            return Ok(Self(url));
        };
        Err(SessionError::InvalidEndpoint { reason })
    }

    /// As [`new`](Self::new), from text.
    ///
    /// # Errors
    /// [`SessionError::InvalidEndpoint`].
    pub fn parse(text: &str) -> Result<Self, SessionError> {
        // The text stays out of the error: it may hold credentials.
        let url = Url::parse(text).map_err(|_| SessionError::InvalidEndpoint {
            reason: "it is not an absolute URL",
        })?;
        Self::new(url)
    }

    /// The URL itself.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether the endpoint is on this machine and reached without a network.
    pub fn is_loopback(&self) -> bool {
        address::is_loopback(&self.0)
    }

    /// A `GET` of the path with these segments.
    ///
    /// # Errors
    /// As [`method`](Self::method).
    pub fn get(&self, segments: &[&str]) -> Result<RequestBuilder, Error> {
        self.method(Method::GET, segments)
    }

    /// A `POST` to the path with these segments.
    ///
    /// # Errors
    /// As [`method`](Self::method).
    pub fn post(&self, segments: &[&str]) -> Result<RequestBuilder, Error> {
        self.method(Method::POST, segments)
    }

    /// A `PATCH` of the path with these segments.
    ///
    /// # Errors
    /// As [`method`](Self::method).
    pub fn patch(&self, segments: &[&str]) -> Result<RequestBuilder, Error> {
        self.method(Method::PATCH, segments)
    }

    /// A `PUT` to the path with these segments.
    ///
    /// # Errors
    /// As [`method`](Self::method).
    pub fn put(&self, segments: &[&str]) -> Result<RequestBuilder, Error> {
        self.method(Method::PUT, segments)
    }

    /// A `DELETE` of the path with these segments.
    ///
    /// # Errors
    /// As [`method`](Self::method).
    pub fn delete(&self, segments: &[&str]) -> Result<RequestBuilder, Error> {
        self.method(Method::DELETE, segments)
    }

    /// A `GET` of a signed URL that the platform gave: as it is, and without credentials, since it
    /// holds its own. It must not be less protected than the endpoint, nor lead from outside to this
    /// machine or a private network.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], which does not show the URL.
    pub fn get_signed(&self, url: &str) -> Result<Request<Body>, Error> {
        let refused = |reason: &str| Error::InvalidRequest {
            message: format!("the signed URL {reason}"),
        };
        let url = Url::parse(url).map_err(|_| refused("is no absolute URL"))?;
        match (url.scheme(), self.0.scheme()) {
            ("https", _) | ("http", "http") => {}
            ("http", _) => return Err(refused("leads to unprotected http")),
            _ => return Err(refused("is neither https nor http")),
        }
        if address::is_internal(&url)
            && !address::is_internal(&self.0)
            && url.host() != self.0.host()
        {
            return Err(refused(
                "leads to this machine or a private network, where no server outside may send us",
            ));
        }
        Request::get(url.as_str())
            .extension(Anonymous)
            .body(Body::empty())
            .map_err(|_| refused("cannot stand in a request"))
    }

    /// A request for the path with these segments, below the endpoint's own path. Segments are
    /// escaped, so an identifier cannot become another path.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for a segment that would not stay one: `.`, `..`, or an empty one,
    /// with which a request for one thing would be one for all of them.
    pub fn method(&self, method: Method, segments: &[&str]) -> Result<RequestBuilder, Error> {
        if segments.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(Error::InvalidRequest {
                message: format!(
                    "an identifier in the path is empty or made of dots: `{}`",
                    segments.join("/")
                ),
            });
        }
        let mut url = self.0.clone();
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().extend(segments);
            }
            // `http` URLs always have a path.
            Err(()) => {
                return Err(Error::InvalidRequest {
                    message: "the endpoint has no path".to_owned(),
                });
            }
        }
        Ok(RequestBuilder {
            method,
            url,
            content_type: None,
            body: Body::empty(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A request in the making.
#[derive(Debug)]
pub struct RequestBuilder {
    method: Method,
    url: Url,
    content_type: Option<HeaderValue>,
    body: Body,
}

impl RequestBuilder {
    /// Ends the path in `/`, as the platform's lists have it.
    #[must_use]
    pub fn collection(mut self) -> Self {
        // `http` URLs always have a path.
        if let Ok(mut path) = self.url.path_segments_mut() {
            path.pop_if_empty().push("");
        }
        self
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub fn query(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.url
            .query_pairs_mut()
            .append_pair(key, &value.to_string());
        self
    }

    /// Adds the parameter once for each value: `status=ready&status=in-use`. An option is a list of
    /// at most one.
    #[must_use]
    pub fn query_each<I>(self, key: &str, values: I) -> Self
    where
        I: IntoIterator,
        I::Item: fmt::Display,
    {
        values
            .into_iter()
            .fold(self, |builder, value| builder.query(key, value))
    }

    /// Sends a multipart form.
    #[must_use]
    pub fn form(mut self, form: Form) -> Self {
        let (content_type, body) = form.into_body();
        self.content_type = Some(content_type);
        self.body = body;
        self
    }

    /// Sends a JSON document.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the value has no JSON form.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, Error> {
        let text = serde_json::to_vec(value).map_err(|error| Error::InvalidRequest {
            message: format!("the body has no JSON form: {error}"),
        })?;
        self.content_type = Some(HeaderValue::from_static("application/json"));
        self.body = Body::from(text);
        Ok(self)
    }

    /// The request.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the URL is too long to be sent.
    pub fn build(self) -> Result<Request<Body>, Error> {
        let mut builder = Request::builder()
            .method(self.method)
            .uri(self.url.as_str())
            .header(header::ACCEPT, "application/json");
        if let Some(content_type) = self.content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        builder
            .body(self.body)
            .map_err(|error| Error::InvalidRequest {
                message: error.to_string(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(base: &str, segments: &[&str]) -> Result<String, Error> {
        let endpoint = Endpoint::parse(base).unwrap();
        let request = endpoint.get(segments)?.build()?;
        Ok(request.uri().to_string())
    }

    #[test]
    fn paths_join_the_endpoints_own() {
        let cases = [
            ("https://x.example", "https://x.example/a/b/"),
            ("https://x.example/", "https://x.example/a/b/"),
            ("https://x.example/peak", "https://x.example/peak/a/b/"),
            (
                "http://127.0.0.1:5000/peak/",
                "http://127.0.0.1:5000/peak/a/b/",
            ),
        ];
        for (base, expected) in cases {
            let endpoint = Endpoint::parse(base).unwrap();
            let request = endpoint.get(&["a", "b"]).unwrap().collection().build();
            assert_eq!(request.unwrap().uri(), expected);
        }
    }

    #[test]
    fn an_identifier_cannot_become_another_path() {
        let base = "https://x.example";
        assert_eq!(
            uri(base, &["images", "../1?a#b%2e"]).unwrap(),
            "https://x.example/images/..%2F1%3Fa%23b%252e"
        );
        for id in ["", ".", ".."] {
            assert!(matches!(
                uri(base, &["images", id, "versions"]),
                Err(Error::InvalidRequest { .. })
            ));
        }
        // Without its id, a request to delete one would be one to delete all.
        assert!(uri(base, &["images", ""]).is_err());
        assert!(uri(base, &["images", ".."]).is_err());
    }

    #[test]
    fn lists_repeat_their_key_and_values_are_escaped() {
        let request = Endpoint::parse("https://x.example")
            .unwrap()
            .get(&["images"])
            .unwrap()
            .collection()
            .query_each("status", ["ready", "in-use"])
            .query_each("name", None::<&str>)
            .query("searchTerm", "a&b=c d")
            .build()
            .unwrap();
        assert_eq!(
            request.uri().query(),
            Some("status=ready&status=in-use&searchTerm=a%26b%3Dc+d")
        );
    }

    #[test]
    fn signed_urls_go_as_they_are_and_not_to_where_they_should_not() {
        let outside = Endpoint::parse("https://service.peak.ai").unwrap();
        let signed = "https://bucket.example/log?X-Signature=a%2Fb&Expires=1";
        let request = outside.get_signed(signed).unwrap();
        assert_eq!(request.uri(), signed);
        assert_eq!(request.extensions().get(), Some(&Anonymous));
        for url in [
            "http://bucket.example/log?s3cret",
            "ftp://bucket.example/log?s3cret",
            "file:///etc/s3cret",
            "https://127.0.0.1/log?s3cret",
            "https://169.254.169.254/log?s3cret",
            "/log?s3cret",
            "",
        ] {
            let error = outside.get_signed(url).unwrap_err();
            assert!(matches!(error, Error::InvalidRequest { .. }), "{url}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
        let inside = Endpoint::parse("http://127.0.0.1:5000").unwrap();
        assert!(inside.get_signed("http://127.0.0.1:5001/log").is_ok());
    }

    #[test]
    fn endpoints_are_plain_web_addresses() {
        for text in [
            "service.peak.ai",
            "ftp://service.peak.ai",
            "https://user:secret@service.peak.ai",
            "https://service.peak.ai?a=b",
            "https://service.peak.ai#a",
            "",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
