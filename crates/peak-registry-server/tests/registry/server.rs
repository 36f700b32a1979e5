//! The registry on an address of its own, over real HTTP.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use peak_oci::Digest;
use peak_registry_server::auth::{Auth, Rules, Users};
use peak_registry_server::{
    ConnectionLimits, Observer, RegistryServer, RouterOptions, ServerError, Store,
};
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::fmt::MakeWriter;

struct Http(Client<HttpConnector, Body>);

impl Http {
    fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    async fn send(&self, request: Request<Body>) -> (u16, HeaderMap, String) {
        let answer = self.0.request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (head.status.as_u16(), head.headers, text)
    }

    async fn get(&self, url: String) -> (u16, HeaderMap, String) {
        let request = Request::get(url).body(Body::empty()).unwrap();
        self.send(request).await
    }

    async fn push_blob(&self, registry: &RegistryServer, name: &str, content: &'static str) {
        let digest = Digest::sha256_of(content.as_bytes());
        let url = format!(
            "{}/v2/{name}/blobs/uploads/?digest={digest}",
            registry.url()
        );
        let request = Request::post(url).body(Body::from(content)).unwrap();
        assert_eq!(self.send(request).await.0, 201);
    }
}

#[tokio::test]
async fn a_registry_of_one_line_is_empty_and_takes_what_is_pushed() {
    let registry = RegistryServer::in_memory().await.unwrap();
    assert!(registry.address().ip().is_loopback());
    assert_eq!(registry.url(), format!("http://{}", registry.host()));
    let http = Http::new();
    assert_eq!(http.get(format!("{}/v2/", registry.url())).await.0, 200);
    assert!(registry.store().repositories().unwrap().is_empty());
    http.push_blob(&registry, "demo/one", "some content").await;
    let digest = Digest::sha256_of(b"some content");
    let url = format!("{}/v2/demo/one/blobs/{digest}", registry.url());
    assert_eq!(http.get(url).await.2, "some content");
    registry.shutdown().await;
}

/// What a client that trusts the registry's own authority gets over TLS.
#[cfg(feature = "tls")]
async fn get_over_tls(registry: &RegistryServer, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

    let authority = registry.ca_certificate().unwrap().as_bytes();
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority).unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(registry.address()).await;
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream.unwrap())
        .await
        .unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        registry.host()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn clients_that_came_over_tls_are_sent_to_the_token_endpoint_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let tls = peak_registry_server::Tls::self_signed(directory.path(), None::<String>).unwrap();
    let registry = RegistryServer::builder()
        .auth(Auth::shared_secret("open sesame"))
        .tls(tls)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let answer = get_over_tls(&registry, "/v2/").await;
    let realm = format!("realm=\"https://{}/token\"", registry.host());
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains(&realm), "{answer}");
}

#[tokio::test]
async fn only_who_allows_it_listens_beyond_loopback() {
    let error = RegistryServer::builder().bind("0.0.0.0:0").await;
    assert!(
        matches!(error, Err(ServerError::NotLoopback { .. })),
        "{error:?}"
    );
    let registry = RegistryServer::builder()
        .allow_remote(true)
        .bind("0.0.0.0:0")
        .await
        .unwrap();
    let request = Request::get(format!(
        "http://127.0.0.1:{}/v2/",
        registry.address().port()
    ))
    .header("Host", "registry.example")
    .body(Body::empty())
    .unwrap();
    assert_eq!(Http::new().send(request).await.0, 200);
}

#[tokio::test]
async fn web_pages_of_other_sites_are_turned_away() {
    let registry = RegistryServer::builder()
        .metrics(true)
        .bind("localhost:0")
        .await
        .unwrap();
    for path in ["/v2/", "/metrics", "/healthz"] {
        for (name, value, status) in [
            ("Host", "evil.example", 421),
            ("Origin", "https://evil.example", 403),
        ] {
            let request = Request::get(format!("{}{path}", registry.url()))
                .header(name, value)
                .body(Body::empty())
                .unwrap();
            assert_eq!(Http::new().send(request).await.0, status, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn health_is_that_of_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let registry = RegistryServer::builder()
        .storage(Store::open(directory.path()).unwrap())
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let http = Http::new();
    let url = format!("{}/healthz", registry.url());
    let (status, _, text) = http.get(url.clone()).await;
    assert_eq!((status, text.as_str()), (200, "ok\n"));
    std::fs::remove_file(directory.path().join("registry.json")).unwrap();
    assert_eq!(http.get(url).await.0, 503);
}

#[tokio::test]
async fn metrics_count_requests_without_saying_what_they_were_about() {
    let registry = RegistryServer::builder()
        .metrics(true)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let http = Http::new();
    http.push_blob(&registry, "secret/name", "0123456789").await;
    let digest = Digest::sha256_of(b"0123456789");
    for _ in 0..2 {
        let url = format!("{}/v2/secret/name/blobs/{digest}", registry.url());
        assert_eq!(http.get(url).await.0, 200);
    }
    let url = format!("{}/v2/secret/name/manifests/secret-tag", registry.url());
    assert_eq!(http.get(url).await.0, 404);
    let url = format!("{}/v2/secret/name/blobs/uploads/", registry.url());
    let request = Request::post(url).body(Body::empty()).unwrap();
    assert_eq!(http.send(request).await.0, 202);

    let (status, headers, text) = http.get(format!("{}/metrics", registry.url())).await;
    assert_eq!(status, 200);
    assert!(
        headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    for line in [
        "peak_http_requests_total{method=\"POST\",route=\"uploads\",status=\"2xx\"} 2",
        "peak_http_requests_total{method=\"GET\",route=\"blob\",status=\"2xx\"} 2",
        "peak_http_requests_total{method=\"GET\",route=\"manifest\",status=\"4xx\"} 1",
        "peak_http_received_bytes_total{method=\"POST\",route=\"uploads\"} 10",
        "peak_http_sent_bytes_total{method=\"GET\",route=\"blob\"} 20",
        "peak_http_request_duration_seconds_count{method=\"GET\",route=\"blob\"} 2",
        "peak_http_requests_running 1",
        "peak_http_connections_open 1",
        "peak_registry_uploads_open 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn there_are_no_metrics_unless_they_are_wanted() {
    let registry = RegistryServer::in_memory().await.unwrap();
    let (status, ..) = Http::new().get(format!("{}/metrics", registry.url())).await;
    assert_eq!(status, 404);
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The lines of the access log, once there are so many.
    async fn lines(&self, count: usize) -> Vec<String> {
        loop {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            if lines.len() >= count {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Keeps what the access log says on this thread, which is where the tests' servers run.
///
/// The second subscriber hears nothing. While a process has one only, `tracing` asks the thread
/// that comes first to a place in the code whether anybody listens there, and keeps what it says:
/// a test on another thread would say no for this one. Where there are two, each is asked.
fn logging() -> (Log, (DefaultGuard, Dispatch)) {
    let second = Dispatch::new(NoSubscriber::default());
    let log = Log::default();
    let filter = format!("{}=info", Observer::ACCESS_LOG_TARGET);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .without_time()
        .with_writer(log.clone())
        .finish();
    (log, (tracing::subscriber::set_default(subscriber), second))
}

#[tokio::test]
async fn each_request_is_logged_when_its_answer_has_ended() {
    let (log, _guard) = logging();
    let registry = RegistryServer::builder()
        .access_log(true)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let http = Http::new();
    http.push_blob(&registry, "demo", "0123456789").await;
    let url = format!("{}/v2/demo/tags/list?n=5&token=s3cret", registry.url());
    let request = Request::get(url)
        .header("X-Request-Id", "build-7.1")
        .body(Body::empty())
        .unwrap();
    let (_, headers, _) = http.send(request).await;
    assert_eq!(headers["x-request-id"], "build-7.1");
    let request = Request::get(format!("{}/v2/", registry.url()))
        .header("X-Request-Id", "two words\"")
        .body(Body::empty())
        .unwrap();
    let (_, headers, _) = http.send(request).await;
    assert_eq!(headers["x-request-id"].len(), 32);

    let lines = log.lines(3).await;
    let has = |line: &str, parts: &[&str]| {
        for part in parts {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    };
    has(
        &lines[0],
        &[
            "INFO peak_registry_server::access: request",
            "method=\"POST\"",
            "path=\"/v2/demo/blobs/uploads/\"",
            "query=\"digest=sha256:",
            "status=201",
            "complete=true",
            "bytes_in=10",
            "bytes_out=0",
            "remote=\"127.0.0.1:",
        ],
    );
    has(
        &lines[1],
        &["query=\"n=5\"", "status=200", "request_id=\"build-7.1\""],
    );
    assert!(!lines.concat().contains("s3cret"));
    has(&lines[2], &["path=\"/v2/\"", "status=200", "bytes_out=2"]);
}

#[tokio::test]
async fn who_asked_is_logged_where_that_is_known_be_it_that_they_may_not() {
    const ALICE: &str = "Basic YWxpY2U6d29uZGVybGFuZA==";
    let (log, _guard) = logging();
    let users = "alice:$2y$04$abcdefghijklmnopqrstuujZkTwHUiJ9XdZPwKfcfDo7dMp5DjlTu";
    let rules = "rules: [{repositories: team, users: alice, actions: pull}]";
    let auth = Auth::bearer(Users::parse(users).unwrap(), Rules::parse(rules).unwrap());
    let registry = RegistryServer::builder()
        .auth(auth.accept_basic(true))
        // What they do not say of authentication takes nothing from it.
        .options(RouterOptions::new())
        .access_log(true)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let http = Http::new();
    let requests = [
        ("/v2/team/tags/list", Some(ALICE), 404),
        ("/v2/other/tags/list", Some(ALICE), 403),
        ("/token?scope=repository:team:pull", Some(ALICE), 200),
        ("/v2/team/tags/list", None, 401),
    ];
    for (path, who, status) in requests {
        let mut request = Request::get(format!("{}{path}", registry.url()));
        if let Some(who) = who {
            request = request.header("Authorization", who);
        }
        let answer = http.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.0, status, "{path}");
    }
    let lines = log.lines(requests.len()).await;
    for (line, (_, who, status)) in lines.iter().zip(requests) {
        assert!(line.contains(&format!("status={status}")), "{line}");
        assert_eq!(line.contains("user=\"alice\""), who.is_some(), "{line}");
    }
    assert!(!lines.concat().contains("YWxpY2U6"));
}

#[tokio::test]
async fn an_answer_that_is_not_read_to_its_end_is_logged_as_such() {
    let (log, _guard) = logging();
    let registry = RegistryServer::builder()
        .access_log(true)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let content = vec![7; 32 * 1024 * 1024];
    let digest = Digest::sha256_of(&content);
    let repository = registry.store().repository(&"demo".parse().unwrap());
    let mut upload = repository.new_upload().unwrap();
    upload.write(&content).unwrap();
    upload.finish(&digest).unwrap();
    let url = format!("{}/v2/demo/blobs/{digest}", registry.url());
    let http = Http::new();
    let mut answer = http.0.get(url.parse().unwrap()).await.unwrap();
    answer.body_mut().frame().await.unwrap().unwrap();
    drop(answer);
    let lines = log.lines(1).await;
    assert!(lines[0].contains("complete=false"), "{}", lines[0]);
    assert!(!lines[0].contains("bytes_out=33554432"), "{}", lines[0]);
}

#[tokio::test]
async fn the_end_waits_for_an_upload_that_is_on_its_way() {
    let limits = ConnectionLimits::new().drain(Duration::from_secs(60));
    let registry = RegistryServer::builder()
        .limits(limits)
        .metrics(true)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let digest = Digest::sha256_of(b"0123456789");
    let url = format!("{}/v2/demo/blobs/uploads/?digest={digest}", registry.url());
    let (sender, receiver) = tokio::sync::mpsc::channel::<&'static [u8]>(1);
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    let request = Request::post(url)
        .header("Content-Length", 10)
        .body(Body::from_stream(pieces))
        .unwrap();
    let pushed = tokio::spawn(async move { Http::new().send(request).await.0 });
    sender.send(b"01234").await.unwrap();
    // The request's header has to have come: a connection without a request is closed.
    let http = Http::new();
    let metrics = format!("{}/metrics", registry.url());
    while !http.get(metrics.clone()).await.2.contains("_running 2") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let store = registry.store().clone();
    let end = tokio::spawn(registry.shutdown());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!end.is_finished());
    sender.send(b"56789").await.unwrap();
    assert_eq!(pushed.await.unwrap(), 201);
    end.await.unwrap();
    let repository = store.repository(&"demo".parse().unwrap());
    assert!(repository.has_blob(&digest).unwrap());
}
