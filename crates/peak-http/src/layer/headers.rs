//! The headers every request has.

use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};

use super::{HttpResult, HttpService, layer_service};
use crate::body::Body;

/// Headers about the connection rather than the request, which is ours to manage: HTTP/2 forbids them (RFC 9113, section
/// 8.2.2), and in HTTP/1.1 they would promise what we do not do. `Transfer-Encoding` says how a body is framed.
static OF_THE_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[derive(Clone)]
pub(crate) struct Headers<S> {
    inner: S,
    user_agent: HeaderValue,
}

impl<S: HttpService> Headers<S> {
    pub(crate) fn new(inner: S, user_agent: HeaderValue) -> Self {
        Self { inner, user_agent }
    }

    async fn run(mut self, mut request: Request<Body>) -> HttpResult {
        request.body_mut().check_if_declared_empty().await?;
        let length = request.body().len();
        let expects_content = matches!(
            *request.method(),
            Method::POST | Method::PUT | Method::PATCH
        );
        let headers = request.headers_mut();
        headers
            .entry(USER_AGENT)
            .or_insert_with(|| self.user_agent.clone());
        // How long a body is and how it is framed is for the body to say, never for a header put on by hand: two
        // answers to that question are how requests get smuggled.
        headers.remove(CONTENT_LENGTH);
        for name in &OF_THE_CONNECTION {
            headers.remove(name);
        }
        match length {
            // A POST without a body says so, since some servers insist (411).
            Some(0) if !expects_content => {}
            Some(length) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            None => {}
        }
        self.inner.call(request).await
    }
}

layer_service!(Headers);
