//! An Engine behind TLS that wants a certificate of its clients.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use peak_docker::{Endpoint, Engine, EngineConfig, EngineError};
use peak_http::TlsOptions;

use super::{Dockerd, peers};

/// Those that peak-http is tested with.
fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../peak-http/tests/it/certificates")
        .join(name)
}

#[tokio::test]
async fn an_engine_behind_tls_is_reached_with_the_right_certificates_only() {
    if !peers() {
        return;
    }
    // Nobody else takes it in the short while until the Engine does.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let path = |name: &str| certificate(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("server.pem"), path("server.key.pem"));
    let _dockerd = Dockerd::start_with(&[
        "--host",
        &format!("tcp://{address}"),
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &cert,
        "--tlskey",
        &key,
    ])
    .await;
    let endpoint = Endpoint::parse(&format!("tcp://{address}")).unwrap();
    let ping = async |endpoint: Endpoint| Engine::new(EngineConfig::at(endpoint)).ping().await;
    let trusting = TlsOptions::new()
        .with_root_certificates_file(&ca)
        .unwrap()
        .without_platform_roots();
    let known = trusting
        .clone()
        .with_client_certificate_files(certificate("client.pem"), certificate("client.key.pem"))
        .unwrap();
    let answered = ping(endpoint.clone().with_tls(known)).await.unwrap();
    assert_eq!(answered.endpoint, format!("https://{address}/"));
    for (endpoint, why) in [
        (endpoint.clone(), "400 Bad Request"),
        (endpoint.clone().with_tls(trusting), "TLS"),
        (endpoint.with_tls(TlsOptions::new()), "TLS"),
    ] {
        let error = ping(endpoint).await.unwrap_err();
        let EngineError::Unreachable { tried } = &error else {
            panic!("{error:?}");
        };
        assert!(tried[0].why.contains(why), "{tried:?}");
    }
}
