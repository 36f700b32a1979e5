//! Credentials on each attempt, and one more try with a renewed one after a 401.

use std::sync::Arc;

use http::{Request, Response, StatusCode};

use super::{HttpResult, HttpService, layer_service};
use crate::auth::Authenticator;
use crate::body::Body;
use crate::origin::Origin;
use crate::request::{self, Anonymous};
use crate::response::FinalUrl;

#[derive(Clone)]
pub(crate) struct Auth<S> {
    inner: S,
    authenticator: Option<Arc<dyn Authenticator>>,
}

impl<S: HttpService> Auth<S> {
    pub(crate) fn new(inner: S, authenticator: Option<Arc<dyn Authenticator>>) -> Self {
        Self {
            inner,
            authenticator,
        }
    }

    fn is_idle(&self, request: &Request<Body>) -> bool {
        self.authenticator.is_none() || request.extensions().get::<Anonymous>().is_some()
    }

    async fn run(mut self, request: Request<Body>) -> HttpResult {
        let Some(authenticator) = self.authenticator else {
            return self.inner.call(request).await;
        };
        let url = request::target(request.extensions())?;
        let (plain, body) = request.into_parts();
        let spare = body.try_clone();

        let mut parts = plain.clone();
        authenticator.authorize(&mut parts).await?;
        let first = Request::from_parts(parts.clone(), body);
        let response = self.inner.call(first).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // A challenge of somewhere we were redirected to is not about our credential.
        if let Some(FinalUrl(last)) = response.extensions().get::<FinalUrl>()
            && Origin::of(last) != Origin::of(&url)
        {
            return Ok(response);
        }
        let (head, rest) = response.into_parts();
        // Asked even if the body cannot be sent again, so that a stale credential is forgotten.
        let renewed = authenticator.challenged(&parts, &head).await?;
        let Some(spare) = spare.filter(|_| renewed) else {
            return Ok(Response::from_parts(head, rest));
        };
        drop(rest);
        let mut parts = plain;
        authenticator.authorize(&mut parts).await?;
        self.inner.call(Request::from_parts(parts, spare)).await
    }
}

layer_service!(Auth, passed_by_if is_idle);
