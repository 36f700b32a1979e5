//! How fast large bodies come over TLS on loopback, by HTTP/1.1 and HTTP/2: what the default of `HttpVersions` and the
//! windows in `src/version.rs` were chosen by.
//!
//! ```text
//! cargo run --release -p peak-http --example large_bodies -- VERSION BODIES MEBIBYTES
//! ```
//!
//! `VERSION` is `1` or `2`, `BODIES` how many are read at the same time, `MEBIBYTES` the size of each. The server is in
//! the same process, on a thread of its own.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use peak_http::{Client, HttpVersions, RequestBuilderExt as _, TlsOptions};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as provider;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const AUTHORITY: &[u8] = include_bytes!("../tests/it/certificates/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../tests/it/certificates/server.pem");
const KEY: &[u8] = include_bytes!("../tests/it/certificates/server.key.pem");
static CHUNK: [u8; 64 * 1024] = [7; 64 * 1024];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [version, bodies, mebibytes] = arguments.as_slice() else {
        return Err("usage: large_bodies VERSION BODIES MEBIBYTES".into());
    };
    let versions = match version.as_str() {
        "1" => HttpVersions::Http1,
        "2" => HttpVersions::Any,
        _ => return Err("VERSION is 1 or 2".into()),
    };
    let (bodies, size): (usize, u64) = (bodies.parse()?, mebibytes.parse::<u64>()? << 20);
    let (give_address, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || serve(size, &give_address));
    let address = address.recv()?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(measure(versions, bodies, size, address))
}

async fn measure(
    versions: HttpVersions,
    bodies: usize,
    size: u64,
    address: SocketAddr,
) -> Result<(), Failure> {
    let client = Client::builder()
        .http_versions(versions)
        .tls(TlsOptions::new().with_root_certificates_pem(AUTHORITY)?)
        .build()?;
    // The handshake is not part of it.
    read(client.clone(), address, 0).await?;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..bodies {
        tasks.push(tokio::spawn(read(client.clone(), address, size)));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or("VmHWM: unknown");
    // No body is near 2^53 bytes.
    #[expect(clippy::cast_precision_loss, reason = "for a person to read")]
    let speed = (total >> 20) as f64 / seconds;
    #[expect(clippy::print_stdout, reason = "what the example is for")]
    {
        println!("{versions:?}: {total} bytes, {seconds:.2} s, {speed:.0} MiB/s; {memory}");
    }
    Ok(())
}

async fn read(client: Client, address: SocketAddr, size: u64) -> Result<u64, Failure> {
    let request = Request::get(format!("https://{address}/{size}")).without_body()?;
    let mut body = client.send(request).await?.into_body();
    let mut total = 0;
    while let Some(bytes) = body.next().await {
        total += bytes?.len() as u64;
    }
    if total != size {
        return Err(format!("{total} of {size} bytes").into());
    }
    Ok(total)
}

fn serve(size: u64, give_address: &std::sync::mpsc::Sender<SocketAddr>) -> Result<(), Failure> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE)?],
            PrivateKeyDer::from_pem_slice(KEY)?,
        )?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        give_address.send(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await?;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let (io, service) = (
                    TokioIo::new(stream),
                    service_fn(move |request| ready(Ok::<_, Infallible>(answer(&request, size)))),
                );
                // The client goes when it has what it wants.
                if is_http2 {
                    let _ = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await;
                } else {
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                }
                Ok::<_, Failure>(())
            });
        }
    })
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

fn answer(request: &Request<Incoming>, size: u64) -> Response<StreamBody<Chunks>> {
    let size = if request.uri().path() == "/0" {
        0
    } else {
        size
    };
    let chunks = size / CHUNK.len() as u64;
    let chunks = (0..chunks).map(|_| Ok(Frame::data(Bytes::from_static(&CHUNK))));
    Response::new(StreamBody::new(Box::pin(stream::iter(chunks))))
}
