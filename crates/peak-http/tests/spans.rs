//! What a collector sees of an operation: its span, and the events on the way. A binary of its own, since `tracing`
//! remembers for the whole process whether anyone is interested in a span, and other tests are not.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests may fail them, too"
)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use peak_http::test_util::{Answer, MockService};
use peak_http::{Body, Client, Error, RequestBuilderExt as _, RequestExt as _, RetryPolicy};
use tower::service_fn;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[derive(Clone, Default)]
struct Collector {
    fields: Arc<Mutex<BTreeMap<String, String>>>,
    events: Arc<Mutex<Vec<(Level, String)>>>,
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
    fn event(&self, event: &Event<'_>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let message = fields.remove("message").unwrap();
        let level = *event.metadata().level();
        self.events.lock().unwrap().push((level, message));
    }
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

/// What is said of two attempts, of which the first is lost in its body.
async fn events() -> Vec<(Level, String)> {
    let collector = Collector::default();
    let guard = tracing::subscriber::set_default(collector.clone());
    let whole = Answer::json(&serde_json::json!({"name": "a", "token": "secret"}))
        .header("x-amz-meta", "secret");
    let mock = MockService::playing([whole.clone().cut_off_after(3), whole]);
    let client = Client::builder()
        .user_agent("test")
        .retry(RetryPolicy::new().waits(Duration::ZERO, Duration::ZERO))
        .build_with_service(mock)
        .unwrap();
    let request = Request::put("http://mock/a?n=1&signature=secret")
        .header("authorization", "secret")
        .json(&serde_json::json!({"password": "secret"}))
        .unwrap()
        .whole_body(100);
    client.send(request).await.unwrap();
    drop(guard);
    let events = collector.events.lock().unwrap();
    events.clone()
}

#[tokio::test(start_paused = true)]
async fn each_exchange_is_events_of_three_levels_without_secrets() {
    let events = events().await;
    assert!(!format!("{events:?}").contains("secret"));
    let levels = |levels: &[Level]| {
        let events = events.iter().filter(|(level, _)| levels.contains(level));
        let lines: Vec<_> = events.map(|(_, line)| line.as_str()).collect();
        lines.join("\n")
    };
    assert_eq!(
        levels(&[Level::INFO]),
        "PUT http://mock/a?n=1&signature=REDACTED 200 in 0.0ns, attempt 1\n\
         PUT http://mock/a?n=1&signature=REDACTED failed (transport), again in 0.0ns\n\
         PUT http://mock/a?n=1&signature=REDACTED 200 in 0.0ns, attempt 2"
    );
    insta::assert_snapshot!(levels(&[Level::INFO, Level::DEBUG, Level::TRACE]));
}
