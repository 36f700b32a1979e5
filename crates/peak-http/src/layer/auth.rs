//! Credentials on each attempt, and one more try with a renewed one after a 401.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode, request as http_request};
use http_body_util::Full;
use url::Url;

use super::redirect::drop_credentials;
use super::{HttpResult, HttpService, layer_service};
use crate::auth::{Authenticator, Beginning, ChallengedBefore};
use crate::body::Body;
use crate::origin::Origin;
use crate::request::{self, Anonymous, Target};
use crate::response::{FinalUrl, ResponseBody};

/// How much of an answer the authenticator may look at, in bytes.
const BEGINNING: usize = 64 * 1024;

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
        let Some(authenticator) = self.authenticator.clone() else {
            return self.inner.call(request).await;
        };
        let url = request::target(request.extensions())?;
        let (mut plain, mut body) = request.into_parts();
        let mut may_renew = true;
        let mut challenged_before = false;
        loop {
            let spare = body.try_clone();
            let mut parts = plain.clone();
            authenticator.authorize(&mut parts).await?;
            let attempt = Request::from_parts(parts.clone(), body);
            let response = self.inner.call(attempt).await?;

            // A challenge of somewhere we were redirected to is not about our credential.
            if let Some(FinalUrl(last)) = response.extensions().get::<FinalUrl>()
                && Origin::of(last) != Origin::of(&url)
            {
                let last = Arc::clone(last);
                return self.elsewhere(&*authenticator, plain, last, response).await;
            }
            if !may_renew {
                return Ok(response);
            }
            let (mut head, rest) = response.into_parts();
            let rest = if head.status == StatusCode::UNAUTHORIZED {
                rest
            } else if authenticator.may_be_refusal(&parts, &head) {
                let beginning = rest.beginning(BEGINNING).await;
                head.extensions.insert(Beginning(beginning.clone()));
                ResponseBody::from_service(Full::new(beginning))
            } else {
                return Ok(Response::from_parts(head, rest));
            };
            // Asked even if the body cannot be sent again, so that a stale credential is forgotten.
            let renewed = authenticator.challenged(&parts, &head).await?;
            let Some(spare) = spare.filter(|_| renewed) else {
                return Ok(Response::from_parts(head, rest));
            };
            drop(rest);
            let bare = !parts.headers.contains_key(AUTHORIZATION);
            may_renew = bare && !challenged_before;
            challenged_before = true;
            plain.extensions.insert(ChallengedBefore);
            body = spare;
        }
    }

    /// Asks a server that we were redirected to once more, with what the authenticator has for it.
    async fn elsewhere(
        mut self,
        authenticator: &dyn Authenticator,
        mut plain: http_request::Parts,
        url: Arc<Url>,
        response: Response<ResponseBody>,
    ) -> HttpResult {
        let reads = matches!(plain.method, Method::GET | Method::HEAD);
        if response.status() != StatusCode::UNAUTHORIZED || !reads {
            return Ok(response);
        }
        let (head, rest) = response.into_parts();
        let Some(credential) = authenticator.challenged_elsewhere(&url, &head).await? else {
            return Ok(Response::from_parts(head, rest));
        };
        drop(rest);
        drop_credentials(&mut plain.headers);
        plain.headers.insert(AUTHORIZATION, credential);
        plain.uri = request::to_uri(&url)?;
        plain.extensions.insert(Target(Arc::clone(&url)));
        let again = Request::from_parts(plain, Body::empty());
        let mut response = self.inner.call(again).await?;
        if response.extensions().get::<FinalUrl>().is_none() {
            response.extensions_mut().insert(FinalUrl(url));
        }
        Ok(response)
    }
}

layer_service!(Auth, passed_by_if is_idle);
