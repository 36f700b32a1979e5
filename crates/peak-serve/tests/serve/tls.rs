//! TLS with certificates of the server's own, seen by a client of rustls and by curl.

use std::process::Command;
use std::sync::Arc;

use peak_serve::{Limits, Listener, Server, Tls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::support::{HANG, SHORT, Seen, connect, rest, router, within};

async fn serve(tls: Tls, limits: &Limits) -> Server {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let router = router(&Arc::new(Seen::default()));
    Server::start(listener.with_tls(tls), router, limits)
}

/// What a client that trusts `ca` gets, or why it does not.
async fn fetch(server: &Server, ca: &str, name: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, connect(server).await)
        .await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream
        .write_all(b"GET /about HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await?;
    Ok(answer)
}

#[tokio::test]
async fn who_trusts_the_authority_trusts_every_server_that_it_signs_for() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["registry.example"];
    let first = Tls::self_signed(directory.path(), names).unwrap();
    let ca = first.ca_certificate_pem().unwrap().to_owned();
    let path = first.ca_certificate().unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), ca);
    let server = serve(first, &Limits::new()).await;
    for name in ["localhost", "127.0.0.1", "::1", "registry.example"] {
        let answer = fetch(&server, &ca, name).await.unwrap();
        assert!(answer.contains("\r\n\r\nhttps "), "{answer}");
    }
    fetch(&server, &ca, "other.example").await.unwrap_err();
    drop(server);

    let again = Tls::self_signed(directory.path(), names).unwrap();
    let server = serve(again, &Limits::new()).await;
    fetch(&server, &ca, "localhost").await.unwrap();

    let other = Tls::ephemeral(names).unwrap();
    assert_eq!(other.ca_certificate(), None);
    let server = serve(other, &Limits::new()).await;
    fetch(&server, &ca, "localhost").await.unwrap_err();
}

#[tokio::test]
async fn curl_trusts_it_too() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls::self_signed(directory.path(), Vec::<String>::new()).unwrap();
    let ca = tls.ca_certificate().unwrap().to_owned();
    let server = serve(tls, &Limits::new()).await;
    let url = format!("https://{}/", server.address());
    let run = move || {
        Command::new("curl")
            .args(["--silent", "--show-error", "--noproxy", "*", "--cacert"])
            .arg(ca)
            .arg(url)
            .output()
    };
    match tokio::task::spawn_blocking(run).await.unwrap() {
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{error}");
            assert_eq!(output.stdout, b"hello");
        }
        Err(error) => {
            let required = std::env::var("PEAK_PEERS").is_ok_and(|value| value == "required");
            assert!(!required, "{error}");
            eprintln!("skipped: there is no curl on this machine: {error}");
        }
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_dropped() {
    let tls = Tls::ephemeral(Vec::<String>::new()).unwrap();
    let limits = Limits::new().header_time(SHORT).keep_alive(HANG);
    let server = serve(tls, &limits).await;
    let mut silent = connect(&server).await;
    let mut dripping = connect(&server).await;
    // The beginning of a record with a ClientHello.
    dripping.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut dripping).await, "");
}

#[tokio::test]
async fn plain_http_is_turned_away() {
    let tls = Tls::ephemeral(Vec::<String>::new()).unwrap();
    let server = serve(tls, &Limits::new()).await;
    let mut client = connect(&server).await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(!rest(&mut client).await.contains("HTTP"));
}
