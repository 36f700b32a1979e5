//! The headers every request has.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderValue, Method, Request};
use tower::ServiceExt as _;

use super::{HttpResult, HttpService, layer_service};
use crate::body::Body;

#[derive(Clone)]
pub(crate) struct Headers<S> {
    inner: S,
    user_agent: HeaderValue,
}

impl<S: HttpService> Headers<S> {
    pub(crate) fn new(inner: S, user_agent: HeaderValue) -> Self {
        Self { inner, user_agent }
    }

    async fn run(self, mut request: Request<Body>) -> HttpResult {
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
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
        match length {
            // A POST without a body says so, since some servers insist (411).
            Some(0) if !expects_content => {}
            Some(length) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            None => {}
        }
        self.inner.oneshot(request).await
    }
}

layer_service!(Headers);
