//! An https server on loopback, with a certificate of our own authority.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use peak_http::{ClientBuilder, HttpVersions, TlsOptions};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::quick;

pub(crate) const AUTHORITY: &[u8] = include_bytes!("certificates/ca.pem");
pub(crate) const CLIENT_CERTIFICATE: &[u8] = include_bytes!("certificates/client.pem");
pub(crate) const CLIENT_KEY: &[u8] = include_bytes!("certificates/client.key.pem");
const CERTIFICATE: &[u8] = include_bytes!("certificates/server.pem");
const KEY: &[u8] = include_bytes!("certificates/server.key.pem");

#[cfg(feature = "aws-lc-rs")]
pub(crate) use rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use rustls::crypto::ring as provider;

/// What the server saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) has_client_certificate: bool,
}

/// Answers every request with `secret`.
pub(crate) struct Secure {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// What TLS a server speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speaks {
    pub(crate) protocols: &'static [&'static str],
    pub(crate) asks_for_certificate: bool,
}

impl Speaks {
    pub(crate) fn both() -> Self {
        Self {
            protocols: &["h2", "http/1.1"],
            asks_for_certificate: false,
        }
    }

    pub(crate) fn acceptor(self) -> TlsAcceptor {
        let provider = Arc::new(provider::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if self.asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(AUTHORITY).unwrap())
                .unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
                PrivateKeyDer::from_pem_slice(KEY).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = self
            .protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Secure {
    pub(crate) async fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, speaks.acceptor(), Arc::clone(&seen)));
        Self {
            address,
            seen,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            // A client that does not trust us goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, seen).await;
            }
        });
    }
}

async fn answer(stream: TlsStream<TcpStream>, seen: Arc<Mutex<Vec<Seen>>>) {
    let session = stream.get_ref().1;
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let has_client_certificate = session.peer_certificates().is_some();
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            seen.lock().unwrap().push(Seen {
                version: head.version,
                headers: head.headers,
                body,
                has_client_certificate,
            });
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"secret"))))
        }
    });
    let io = TokioIo::new(stream);
    // How the connection ends is the client's affair.
    if is_http2 {
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).await;
    }
}

/// A builder of clients that trust our authority and speak all versions.
pub(crate) fn trusting() -> ClientBuilder {
    quick().tls(trust()).http_versions(HttpVersions::Any)
}

pub(crate) fn trust() -> TlsOptions {
    TlsOptions::new()
        .with_root_certificates_pem(AUTHORITY)
        .unwrap()
}
