//! The layers of a client, one per file. Each is a service over the next one inside. All of them, the transport too, are
//! always ready, so that each just calls the next one.

pub(crate) mod auth;
pub(crate) mod custom;
pub(crate) mod deadline;
pub(crate) mod headers;
pub(crate) mod log;
pub(crate) mod redirect;
pub(crate) mod retry;
pub(crate) mod span;
pub(crate) mod timeout;

use http::Request;
use tower::Service;

use crate::BoxFuture;
use crate::body::Body;
use crate::error::Error;
use crate::response::ResponseBody;

pub(crate) type HttpFuture = BoxFuture<'static, HttpResult>;
pub(crate) type HttpResult = Result<http::Response<ResponseBody>, Error>;

/// What every layer is and stands on.
pub(crate) trait HttpService:
    Service<
        Request<Body>,
        Response = http::Response<ResponseBody>,
        Error = Error,
        Future = HttpFuture,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<
            Request<Body>,
            Response = http::Response<ResponseBody>,
            Error = Error,
            Future = HttpFuture,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Writes the part of `Service` that is the same for every layer: always ready, and `Self::run` on a clone, unless the
/// layer has nothing to do for this request and is passed by at no cost.
macro_rules! layer_service {
    ($layer:ident $(, passed_by_if $idle:ident)?) => {
        impl<S: $crate::layer::HttpService> tower::Service<http::Request<$crate::body::Body>>
            for $layer<S>
        {
            type Response = http::Response<$crate::response::ResponseBody>;
            type Error = $crate::error::Error;
            type Future = $crate::layer::HttpFuture;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), $crate::error::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<$crate::body::Body>) -> Self::Future {
                $(if self.$idle(&request) {
                    return self.inner.call(request);
                })?
                Box::pin(self.clone().run(request))
            }
        }
    };
}
pub(crate) use layer_service;
