//! A server that answers what a test tells it to, byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peak_http::{Proxies, Proxy, TlsOptions};
use peak_oci::{Reference, Selector};
use peak_registry::{Credentials, Keychain, Registry, RegistryError, Repository};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const AUTHORITY: &[u8] = include_bytes!("../../../peak-http/tests/it/certificates/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../peak-http/tests/it/certificates/server.pem");
const KEY: &[u8] = include_bytes!("../../../peak-http/tests/it/certificates/server.key.pem");

/// One request as it came: the first line and the headers, and the body.
#[derive(Clone, Debug)]
pub(crate) struct Request(String, Vec<u8>);

impl Request {
    /// `GET /v2/…`
    pub(crate) fn line(&self) -> &str {
        self.0.lines().next().unwrap().trim_end_matches(" HTTP/1.1")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.0.split_once("\r\n\r\n").unwrap();
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.1
    }

    /// The body as text.
    pub(crate) fn body_text(&self) -> &str {
        std::str::from_utf8(&self.1).unwrap()
    }

    /// Where the asked range starts; 0 where none is asked for.
    pub(crate) fn range_start(&self) -> usize {
        self.header("range").map_or(0, |range| {
            let range = range.strip_prefix("bytes=").unwrap();
            range.strip_suffix('-').unwrap().parse().unwrap()
        })
    }
}

/// A running server. It stops when this is dropped.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    _running: JoinSet<()>,
}

/// What a server is to its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speaks {
    /// Plain HTTP. To the greeting of TLS it answers as such servers do, and does not count it as a request.
    Plain,
    /// TLS, with the certificate of `127.0.0.1`.
    Tls,
    /// A proxy behind which every https server is this one.
    Proxy,
}

/// What came so far.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Request>>,
    greetings: AtomicUsize,
    unprotected: AtomicUsize,
}

impl Script {
    /// Answers each request (counted from 0) with the bytes that `answer` gives, then closes the connection.
    pub(crate) async fn start(
        answer: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Speaks::Plain, answer).await
    }

    /// The same, as a proxy behind which every https server is this one; it can prove to be `origin.test`.
    pub(crate) async fn start_secure(
        answer: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Speaks::Proxy, answer).await
    }

    pub(crate) async fn listen(
        speaks: Speaks,
        answer: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve_on(listener, speaks, answer)
    }

    /// The same at an address that is taken already.
    pub(crate) fn serve_on(
        listener: TcpListener,
        speaks: Speaks,
        answer: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen: Arc<Seen> = Arc::default();
        let ours = Arc::clone(&seen);
        let answer = Arc::new(answer);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (seen, answer) = (Arc::clone(&ours), Arc::clone(&answer));
                connections.spawn(async move {
                    if let Some(connection) = received(connection, speaks, &seen).await {
                        serve(connection, &seen.requests, &*answer).await;
                    }
                });
            }
        });
        Self {
            address,
            seen,
            _running: running,
        }
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// How often it was greeted in TLS.
    pub(crate) fn greetings(&self) -> usize {
        self.seen.greetings.load(Ordering::Relaxed)
    }

    /// How often somebody spoke to this server of TLS without it.
    pub(crate) fn unprotected(&self) -> usize {
        self.seen.unprotected.load(Ordering::Relaxed)
    }

    pub(crate) fn repository(&self) -> Repository {
        let registry = Registry::builder()
            .idle_timeout(Duration::from_secs(1))
            .build();
        registry.unwrap().repository(&self.reference())
    }

    /// The error of asking for the manifest `v1` as nobody.
    pub(crate) async fn manifest_error(&self) -> RegistryError {
        let found = self.repository().get_manifest(&tag("v1")).await;
        found.unwrap_err()
    }

    pub(crate) fn repository_as(&self, user: &str, secret: &str) -> Repository {
        let credentials = Credentials::new(user, secret.into());
        let registry = Registry::builder()
            .credentials(&self.address.to_string(), credentials)
            .build();
        registry.unwrap().repository(&self.reference())
    }

    /// `origin.test`, as a client sees it that trusts its certificate and reaches it through this server.
    pub(crate) fn secure_repository_as(&self, user: &str, secret: &str) -> Repository {
        let registry = self.secure_registry("origin.test", Credentials::new(user, secret.into()));
        registry.repository(&"origin.test/team/app:v1".parse().unwrap())
    }

    /// A client that trusts the certificate and reaches every https server here; with credentials for one.
    pub(crate) fn secure_registry(&self, registry: &str, credentials: Credentials) -> Registry {
        let proxy = Proxy::new(&format!("http://{}", self.address)).unwrap();
        let registry = Registry::builder()
            .credentials(registry, credentials)
            .tls(trusting())
            .proxies(Proxies::all(proxy))
            .build();
        registry.unwrap()
    }

    pub(crate) fn reference(&self) -> Reference {
        format!("{}/team/app:v1", self.address).parse().unwrap()
    }
}

/// Trusts the certificate of these servers.
pub(crate) fn trusting() -> TlsOptions {
    let tls = TlsOptions::new().with_root_certificates_pem(AUTHORITY);
    tls.unwrap().without_platform_roots()
}

/// Whatever a server talks over.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// What requests come over on a new connection, if any do.
async fn received(
    mut connection: TcpStream,
    speaks: Speaks,
    seen: &Seen,
) -> Option<Box<dyn Connection>> {
    let mut first = [0];
    connection.peek(&mut first).await.ok()?;
    // What a record of TLS begins with.
    let is_greeting = first == [22];
    if is_greeting {
        seen.greetings.fetch_add(1, Ordering::Relaxed);
    }
    match speaks {
        Speaks::Proxy => tunnel(connection).await,
        Speaks::Plain if is_greeting => {
            let refusal = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            connection.write_all(refusal).await.ok()?;
            None
        }
        Speaks::Plain => Some(Box::new(connection)),
        Speaks::Tls if is_greeting => secured(connection).await,
        Speaks::Tls => {
            seen.unprotected.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// Takes a connection as an https proxy does, and is then itself the server that it was asked for.
async fn tunnel(mut connection: TcpStream) -> Option<Box<dyn Connection>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    if !head.starts_with(b"CONNECT ") {
        // Nobody may speak without protection here.
        return None;
    }
    connection
        .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
        .await
        .ok()?;
    secured(connection).await
}

/// Speaks TLS, with the certificate of `origin.test` and `127.0.0.1`.
async fn secured(connection: TcpStream) -> Option<Box<dyn Connection>> {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let secured = TlsAcceptor::from(Arc::new(settings)).accept(connection);
    Some(Box::new(secured.await.ok()?))
}

async fn serve(
    mut connection: Box<dyn Connection>,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(usize, &Request) -> Vec<u8> + Send + Sync),
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let mut request = Request(String::from_utf8(head).unwrap(), Vec::new());
    let length = request.header("content-length").map(str::parse);
    request.1 = vec![0; length.transpose().unwrap().unwrap_or(0)];
    if connection.read_exact(&mut request.1).await.is_err() {
        return;
    }
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    // The client may have gone; then there is nobody to tell.
    let _ = connection.write_all(&answer(number, &request)).await;
    let _ = connection.shutdown().await;
}

/// A whole answer.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let mut all = vec![("content-length", length.as_str())];
    all.extend_from_slice(headers);
    with_headers(status, &all, body)
}

/// An answer with exactly these headers.
pub(crate) fn with_headers(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for &(name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn tag(text: &str) -> Selector {
    Selector::Tag(text.parse().unwrap())
}

/// A client with the credentials of a keychain.
pub(crate) fn registry_with(keychain: Keychain) -> Registry {
    let registry = Registry::builder().keychain(keychain).build();
    registry.unwrap()
}
