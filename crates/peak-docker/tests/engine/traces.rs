//! What is logged of a push with credentials, at every level.

use std::io;
use std::sync::{Arc, Mutex};

use peak_docker::{BuildRequest, EngineCredentials};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

use crate::fake::{FakeEngine, answer, stream as answer_in};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn neither_passwords_nor_build_arguments_are_in_any_log_or_error() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // While a process has one subscriber only, `tracing` asks the thread that comes first to a
    // place in the code whether anybody listens there, and keeps what it says: a test on another
    // thread would say no for this one. Where there are two, each is asked.
    let _second = Dispatch::new(NoSubscriber::default());
    let guard = tracing::subscriber::set_default(subscriber);
    let fake = FakeEngine::start(|request| {
        if request.line().contains("refused") {
            answer(500, r#"{"message":"no"}"#)
        } else {
            answer_in(&["{\"aux\":{\"ID\":\"sha256:abc\"}}"])
        }
    });
    let engine = fake.engine();
    let credentials = EngineCredentials::new("robot", "hunter2".into());
    let push = async |image: &str| {
        let image = image.parse().unwrap();
        engine.push(&image, Some(&credentials), drop).await
    };
    push("registry.example/app:v1").await.unwrap();
    let error = push("registry.example/refused:v1").await.unwrap_err();
    let request = BuildRequest::new()
        .build_arg("TOKEN", "s3cret")
        .credentials("registry.example", credentials.clone());
    let context = || futures_util::stream::empty::<Result<bytes::Bytes, io::Error>>();
    engine.build(&request, context(), drop).await.unwrap();
    let broken = FakeEngine::start(|_| vec![]);
    let broken = broken.engine().build(&request, context(), drop).await;
    let broken = broken.unwrap_err();
    drop(guard);

    let shown = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // It did look on.
    assert!(shown.contains("x-registry-auth: REDACTED"), "{shown}");
    assert!(shown.contains("x-registry-config: REDACTED"), "{shown}");
    let shown = format!("{shown} {error:?} {broken:?} {credentials:?} {engine:?}");
    for request in fake.recorded() {
        for header in ["x-registry-auth", "x-registry-config"] {
            if let Some(value) = request.header(header) {
                assert!(!shown.contains(value), "{shown}");
            }
        }
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}
