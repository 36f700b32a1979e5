//! TLS against a server with a certificate of our own authority.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use peak_http::{
    Client, Error, ErrorKind, HttpVersions, Origin, Proxies, Proxy, RequestBuilderExt as _,
    Response, TlsOptions,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use url::Url;

use crate::secure::{CLIENT_CERTIFICATE, CLIENT_KEY, Secure, Speaks, trust};
use crate::server::quick;

const AUTHORITY: &[u8] = include_bytes!("certificates/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("certificates/server.pem");
const KEY: &[u8] = include_bytes!("certificates/server.key.pem");

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as provider;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as provider;

/// Serves one connection; the result says whether a request came through.
fn serve_one() -> (SocketAddr, JoinHandle<bool>) {
    serve_answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret".to_owned())
}

/// The same with another answer.
fn serve_answer(answer: String) -> (SocketAddr, JoinHandle<bool>) {
    let provider = Arc::new(provider::default_provider());
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return false;
            }
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).is_ok()
    });
    (address, thread)
}

async fn get(client: &Client, url: String) -> Result<Response, Error> {
    client.send(Request::get(url).without_body().unwrap()).await
}

fn trusting() -> Client {
    let tls = TlsOptions::new()
        .with_root_certificates_pem(AUTHORITY)
        .unwrap();
    quick().tls(tls).build().unwrap()
}

#[tokio::test]
async fn an_authority_that_was_added_is_trusted() {
    let (address, server) = serve_one();
    let response = get(&trusting(), format!("https://{address}/"))
        .await
        .unwrap();
    assert_eq!(response.text(10).await.unwrap(), "secret");
    assert!(server.join().unwrap());
}

#[tokio::test]
async fn a_stranger_is_not_trusted_and_gets_no_request() {
    let (address, server) = serve_one();
    let client = quick().build().unwrap();
    let error = get(&client, format!("https://{address}/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(!error.is_transient() && !error.may_have_been_sent());
    assert!(!server.join().unwrap());
}

/// A client that trusts nobody, and does not ask the server there for trust.
fn unverifying(address: SocketAddr) -> Client {
    let url = Url::parse(&format!("https://{address}/")).unwrap();
    let tls = TlsOptions::new().without_verification_of(Origin::of(&url).unwrap());
    quick().tls(tls).build().unwrap()
}

#[tokio::test]
async fn the_certificate_of_one_server_does_not_matter_where_that_was_asked_for() {
    let (address, server) = serve_one();
    let client = unverifying(address);
    let response = get(&client, format!("https://{address}/")).await.unwrap();
    assert_eq!(response.text(10).await.unwrap(), "secret");
    assert!(server.join().unwrap());

    // Another port is another server, and so is another client's.
    for client in [client, quick().build().unwrap()] {
        let (other, server) = serve_one();
        let error = get(&client, format!("https://{other}/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
        assert!(!server.join().unwrap());
    }
}

#[tokio::test]
async fn who_a_server_that_is_not_verified_redirects_to_is_verified() {
    let (other, reached) = serve_one();
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://{other}/\r\nContent-Length: 0\r\n\r\n"
    );
    let (address, server) = serve_answer(answer);
    let error = get(&unverifying(address), format!("https://{address}/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(server.join().unwrap());
    assert!(!reached.join().unwrap());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let (address, server) = serve_one();
    // An IPv4 address written as IPv6 is the same server under a name its certificate does not have.
    let url = format!("https://[::ffff:127.0.0.1]:{}/", address.port());
    let error = get(&trusting(), url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(!server.join().unwrap());
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_error_and_is_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut start = [0; 64];
        let read = stream.read(&mut start).unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        read > 0 && stream.write_all(answer).is_ok()
    });
    let error = get(&quick().build().unwrap(), url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(!error.is_transient() && !error.may_have_been_sent());
    assert!(server.join().unwrap());
}

fn mutual() -> Speaks {
    Speaks {
        asks_for_certificate: true,
        ..Speaks::both()
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    std::fs::write(&chain, CLIENT_CERTIFICATE).unwrap();
    std::fs::write(&key, CLIENT_KEY).unwrap();
    let from_files = trust().with_client_certificate_files(chain, key).unwrap();
    let from_memory = trust()
        .with_client_certificate_pem(CLIENT_CERTIFICATE, CLIENT_KEY)
        .unwrap();
    for versions in [HttpVersions::Http1, HttpVersions::Any] {
        for tls in [&from_files, &from_memory] {
            let server = Secure::start(mutual()).await;
            let client = quick().tls(tls.clone()).http_versions(versions);
            get(&client.build().unwrap(), server.url()).await.unwrap();
            assert!(server.seen()[0].has_client_certificate);
        }
    }
}

#[tokio::test]
async fn without_a_client_certificate_a_server_that_wants_one_is_a_tls_error() {
    let server = Secure::start(mutual()).await;
    let client = quick().tls(trust()).build().unwrap();
    let error = get(&client, server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn only_the_roots_that_were_added_are_trusted_where_that_was_asked_for() {
    let server = Secure::start(Speaks::both()).await;
    let client = quick().tls(trust().without_platform_roots());
    assert!(get(&client.build().unwrap(), server.url()).await.is_ok());

    let client = quick().tls(TlsOptions::new().without_platform_roots());
    let error = get(&client.build().unwrap(), server.url())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("nobody is trusted"), "{error}");
}

/// What is found out of a server that answers the first bytes it gets with these, then hangs up.
async fn found_of(answer: &'static [u8]) -> Result<bool, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).unwrap();
        // A record of a handshake, in the version that all begin with.
        assert_eq!(greeting, [22, 3, 1]);
        stream.write_all(answer).unwrap();
        assert!(listener.set_nonblocking(true).is_ok());
        listener.accept().is_err()
    });
    let client = quick().build().unwrap();
    let found = client.speaks_tls(&url.parse().unwrap(), LIMIT).await;
    assert!(server.join().unwrap(), "one greeting is all");
    found
}

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn whether_a_server_speaks_tls_is_told_by_how_it_answers_the_greeting() {
    for (answer, expected) in [
        (&b"\x16\x03\x03"[..], true),
        // An alert: it refuses to shake hands, in TLS.
        (b"\x15\x03\x03\x00\x02\x02\x28", true),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", false),
        (b"\x00", false),
        (b"", false),
    ] {
        let found = found_of(answer).await;
        assert_eq!(found.unwrap(), expected, "{answer:?}");
    }
}

#[tokio::test]
async fn that_a_server_speaks_tls_is_seen_without_trust_and_through_proxies() {
    let server = Secure::start(Speaks::both()).await;
    let url = server.url().parse().unwrap();
    let client = quick().build().unwrap();
    assert!(client.speaks_tls(&url, LIMIT).await.unwrap());
    // That a proxy opens no tunnel says nothing of the server.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let refusing = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut head = [0; 1000];
        let length = stream.read(&mut head).unwrap();
        assert!(head[..length].starts_with(b"CONNECT "));
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let proxies = Proxies::all(Proxy::new(&address).unwrap());
    let client = quick().proxies(proxies).build().unwrap();
    let behind = "https://origin.test/".parse().unwrap();
    let error = client.speaks_tls(&behind, LIMIT).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Proxy, "{error}");
    refusing.join().unwrap();
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn whether_a_server_speaks_tls_is_not_known_where_nobody_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let url = url.parse().unwrap();
    let client = quick().build().unwrap();
    let limit = Duration::from_millis(20);
    let silent = client.speaks_tls(&url, limit).await.unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::Timeout, "{silent}");
    drop(listener);
    let closed = client.speaks_tls(&url, LIMIT).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Connect, "{closed}");
    let plain = "http://127.0.0.1:1/".parse().unwrap();
    let wrong = client.speaks_tls(&plain, LIMIT).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidRequest, "{wrong}");
}
