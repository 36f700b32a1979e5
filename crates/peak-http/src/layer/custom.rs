//! Layers of the caller's own, in the middle of the stack.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use tower::{Layer, Service, ServiceExt as _};

use crate::body::Body;
use crate::error::{BoxError, Error};
use crate::layer::{HttpFuture, HttpService};
use crate::response::ResponseBody;

/// What a layer given to [`ClientBuilder::layer`](crate::ClientBuilder::layer) stands on: the rest of the stack, down to
/// the connections. It is always ready, and cheap to clone.
#[derive(Clone)]
pub struct InnerService(Arc<dyn Fn(Request<Body>) -> HttpFuture + Send + Sync>);

impl InnerService {
    pub(crate) fn new(service: impl HttpService) -> Self {
        Self(Arc::new(move |request| service.clone().call(request)))
    }
}

impl Service<Request<Body>> for InnerService {
    type Response = http::Response<ResponseBody>;
    type Error = Error;
    type Future = HttpFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> HttpFuture {
        (self.0)(request)
    }
}

impl fmt::Debug for InnerService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("InnerService")
            .finish_non_exhaustive()
    }
}

/// What can be added to a client with [`ClientBuilder::layer`](crate::ClientBuilder::layer): every [`tower::Layer`] that
/// makes of an [`InnerService`] a service of the same requests, which can be cloned and used from many tasks. Its answers
/// may have any body of [`Bytes`], its errors may be of any type.
///
/// There is nothing to implement: it is a short name for what is asked of a layer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no layer for a client",
    note = "it has to be a `tower::Layer<InnerService>` whose service takes `http::Request<peak_http::Body>` and is \
            `Clone + Send + Sync`"
)]
pub trait RequestLayer: sealed::Sealed + Send + Sync + 'static {
    #[doc(hidden)]
    fn over(&self, inner: InnerService) -> InnerService;
}

mod sealed {
    pub trait Sealed {}
    impl<L: super::Layer<super::InnerService>> Sealed for L {}
}

impl<L, B> RequestLayer for L
where
    L: Layer<InnerService> + Send + Sync + 'static,
    L::Service:
        Service<Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<Body>>>::Error: Into<BoxError>,
    <L::Service as Service<Request<Body>>>::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn over(&self, inner: InnerService) -> InnerService {
        let service = self.layer(inner);
        InnerService(Arc::new(move |request| {
            let service = service.clone();
            Box::pin(async move {
                match service.oneshot(request).await {
                    Ok(response) => Ok(response.map(body)),
                    Err(source) => Err(Error::from_transport(source.into())),
                }
            })
        }))
    }
}

/// The layers of a builder, outermost first.
#[derive(Clone, Default)]
pub(crate) struct CustomLayers(Vec<Arc<dyn RequestLayer>>);

impl CustomLayers {
    pub(crate) fn push(&mut self, layer: impl RequestLayer) {
        self.0.push(Arc::new(layer));
    }

    /// All of them over `service`.
    pub(crate) fn over(&self, service: InnerService) -> InnerService {
        self.0
            .iter()
            .rev()
            .fold(service, |inner, layer| layer.over(inner))
    }
}

/// A body as a layer gives it on. Most leave it alone: then it costs nothing.
fn body<B>(body: B) -> ResponseBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Some(body);
    let untouched: &mut dyn Any = &mut body;
    match untouched
        .downcast_mut::<Option<ResponseBody>>()
        .and_then(Option::take)
    {
        Some(untouched) => untouched,
        None => body.map_or_else(
            || ResponseBody::from_bytes(Bytes::new()),
            ResponseBody::from_service,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use http::header::{CONTENT_LENGTH, HeaderValue};
    use http_body_util::Full;
    use tower::layer::layer_fn;
    use tower::service_fn;

    use super::*;
    use crate::{Client, RequestBuilderExt as _, RetryPolicy};

    type Seen = Arc<Mutex<Vec<String>>>;

    /// Answers 503 at first, then with what the layers have written into the request.
    fn server(seen: &Seen) -> impl HttpService {
        let seen = Arc::clone(seen);
        InnerService(Arc::new(move |request| {
            let headers = request.headers();
            let marks: Vec<_> = headers.get_all("mark").iter().collect();
            let length = headers.get(CONTENT_LENGTH);
            let mut seen = seen.lock().unwrap();
            seen.push(format!("{marks:?} {length:?}"));
            let status = if seen.len() == 1 { 503 } else { 200 };
            Box::pin(async move {
                let body = ResponseBody::from_bytes(Bytes::from_static(b"from the server"));
                Ok(http::Response::builder().status(status).body(body).unwrap())
            })
        }))
    }

    /// Adds a header to each request that passes.
    fn mark(
        name: &'static str,
    ) -> impl Layer<InnerService, Service = Mark> + Send + Sync + 'static {
        layer_fn(move |inner| Mark { name, inner })
    }

    #[derive(Clone)]
    struct Mark {
        name: &'static str,
        inner: InnerService,
    }

    impl Service<Request<Body>> for Mark {
        type Response = http::Response<ResponseBody>;
        type Error = Error;
        type Future = HttpFuture;

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
            self.inner.poll_ready(context)
        }

        fn call(&mut self, mut request: Request<Body>) -> HttpFuture {
            let name = HeaderValue::from_static(self.name);
            request.headers_mut().append("mark", name);
            self.inner.call(request)
        }
    }

    fn request() -> Request<Body> {
        Request::put("http://service/")
            .with_body(Body::from("four"))
            .unwrap()
    }

    #[tokio::test]
    async fn layers_see_each_attempt_the_first_one_first() {
        let seen = Seen::default();
        let policy = RetryPolicy::new().waits(Duration::from_millis(1), Duration::from_millis(1));
        let client = Client::builder()
            .retry(policy)
            .layer(mark("outer"))
            .layer(mark("inner"))
            .build_with_service(server(&seen))
            .unwrap();
        let response = client.send(request()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.text(100).await.unwrap(), "from the server");
        let expected = r#"["outer", "inner"] Some("4")"#;
        assert_eq!(*seen.lock().unwrap(), [expected, expected]);
    }

    #[tokio::test]
    async fn a_layer_may_answer_itself_or_fail_with_an_error_of_its_own() {
        let answering = layer_fn(|_: InnerService| {
            service_fn(|_: Request<Body>| async {
                let body = Full::new(Bytes::from_static(b"from the layer"));
                Ok::<_, std::io::Error>(http::Response::new(body))
            })
        });
        let seen = Seen::default();
        let client = Client::builder()
            .layer(answering)
            .build_with_service(server(&seen))
            .unwrap();
        let response = client.send(request()).await.unwrap();
        assert_eq!(response.text(100).await.unwrap(), "from the layer");

        let failing = layer_fn(|_: InnerService| {
            service_fn(|_: Request<Body>| async {
                Err::<http::Response<Full<Bytes>>, _>(std::io::Error::other("not today"))
            })
        });
        let client = Client::builder()
            .layer(failing)
            .build_with_service(server(&seen))
            .unwrap();
        let error = client.send(request()).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "not today");
        assert_eq!(*seen.lock().unwrap(), [""; 0]);
    }
}
