//! What a collector sees of an operation. A binary of its own, since `tracing` remembers for the whole process whether
//! anyone is interested in a span, and other tests are not.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use peak_http::{Body, Client, Error, RequestBuilderExt as _, RequestExt as _};
use tower::service_fn;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[derive(Clone, Default)]
struct Collector {
    fields: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Collector {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}").trim_matches('"').to_owned();
        self.0.insert(field.name().to_owned(), text);
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("peak_http")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Fields(&mut self.lock()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.lock()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_one_span_with_the_standard_names_and_no_secrets() {
    let collector = Collector::default();
    let guard = tracing::subscriber::set_default(collector.clone());
    let service = service_fn(|_: Request<Body>| async {
        let response = http::Response::builder().status(503).body(Body::empty());
        Ok::<_, Error>(response.unwrap())
    });
    let request = Request::get("http://mock:81/a?n=1&token=secret")
        .header("authorization", "secret")
        .operation("list_things")
        .without_body()
        .unwrap();
    let client = Client::from_service(service);
    client.send(request).await.unwrap();
    let fields = std::mem::take(&mut *collector.lock());
    let request = Request::builder().method("PURGE").uri("http://mock/");
    let request = request.without_body().unwrap();
    client.send(request).await.unwrap();
    drop(guard);

    let unknown = collector.lock().clone();
    for (name, value) in [
        ("otel.name", "HTTP"),
        ("http.request.method", "_OTHER"),
        ("http.request.method_original", "PURGE"),
    ] {
        assert_eq!(unknown.get(name).map(String::as_str), Some(value), "{name}");
    }
    for (name, value) in [
        ("otel.kind", "client"),
        ("otel.name", "list_things"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "503"),
        ("network.protocol.version", "1.1"),
        ("server.address", "mock"),
        ("server.port", "81"),
        ("url.full", "http://mock:81/a?n=1&token=REDACTED"),
        ("error.type", "503"),
        ("http.request.resend_count", "3"),
    ] {
        assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!format!("{fields:?}").contains("secret"));
}
