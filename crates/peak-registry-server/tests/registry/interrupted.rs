//! Connections that break off, over a real socket.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt, stream};
use peak_oci::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Kind, Registry, unfinished};

/// How often a condition is looked at before it counts as not coming.
const ATTEMPTS: usize = 1000;

async fn serve(registry: &Registry) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = registry.router();
    // Ends with the test's runtime.
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Sends the head of a request that announces 1,000,000 bytes, half of the body, and hangs up.
async fn send_half(address: SocketAddr, method: &str, path: &str, content: &[u8]) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
        .write_all(&content[..content.len() / 2])
        .await
        .unwrap();
    connection.flush().await.unwrap();
    connection.shutdown().await.unwrap();
    // The server answers or hangs up in its turn; either way it has seen the end.
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
}

async fn until(mut condition: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..ATTEMPTS {
        if condition().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn content() -> Vec<u8> {
    (0..1_000_000_u32)
        .map(|number| u8::try_from(number % 253).unwrap())
        .collect()
}

async fn settles(directory: &Path, count: usize) -> bool {
    until(async || unfinished(directory) == count).await
}

#[tokio::test]
async fn half_a_blob_in_one_request_leaves_nothing() {
    let registry = Registry::new(Kind::Disk);
    let address = serve(&registry).await;
    let content = content();
    let digest = Digest::sha256_of(&content);
    let half = Digest::sha256_of(&content[..content.len() / 2]);
    for digest in [&digest, &half] {
        let path = format!("/v2/a/blobs/uploads/?digest={digest}");
        send_half(address, "POST", &path, &content).await;
    }
    assert!(
        settles(registry.directory(), 0).await,
        "the unfinished files are removed"
    );
    for digest in [&digest, &half] {
        registry
            .get(&format!("/v2/a/blobs/{digest}"))
            .await
            .expect(404);
    }
}

#[tokio::test]
async fn half_a_chunk_is_kept_and_the_upload_goes_on() {
    let registry = Registry::new(Kind::Disk);
    let address = serve(&registry).await;
    let content = content();
    let digest = Digest::sha256_of(&content);
    let half = Digest::sha256_of(&content[..content.len() / 2]);
    let location = registry.start("a").await;
    let finish = format!("{location}?digest={half}");
    // Even with the digest of just what arrives: the body was not complete.
    send_half(address, "PUT", &finish, &content).await;
    assert!(
        until(async || { registry.get(&location).await.expect(204).header("range") == "0-499999" })
            .await,
        "what arrived is kept"
    );
    registry
        .get(&format!("/v2/a/blobs/{half}"))
        .await
        .expect(404);

    let rest = content[500_000..].to_vec();
    let headers = [("content-range", "500000-999999")];
    registry
        .send("PATCH", &location, &headers, rest)
        .await
        .expect(202);
    registry
        .send("PUT", &format!("{location}?digest={digest}"), &[], "")
        .await
        .expect(201);
    let answer = registry
        .get(&format!("/v2/a/blobs/{digest}"))
        .await
        .expect(200);
    assert_eq!(answer.body, content);
    assert_eq!(unfinished(registry.directory()), 0);
}

#[tokio::test]
async fn half_a_manifest_is_none() {
    let registry = Registry::new(Kind::Disk);
    let address = serve(&registry).await;
    send_half(address, "PUT", "/v2/a/manifests/v1", &content()).await;
    registry.get("/v2/a/manifests/v1").await.expect(404);
    assert_eq!(unfinished(registry.directory()), 0);
}

/// Every piece of a body costs memory of its own, however short it is.
#[tokio::test]
async fn a_body_in_tiny_pieces_does_not_wait_in_memory() {
    let registry = Registry::new(Kind::Disk);
    let location = registry.start("a").await;
    let pieces = (0..10_000).map(|_| Ok::<_, std::io::Error>("x"));
    let body = Body::from_stream(stream::iter(pieces).chain(stream::pending()));
    let on_disk = async || {
        let mut files = std::fs::read_dir(registry.directory().join("temporary")).unwrap();
        files.next().unwrap().unwrap().metadata().unwrap().len() > 0
    };
    tokio::select! {
        answer = registry.send("PATCH", &location, &[], body) => panic!("{}", answer.status),
        written = until(on_disk) => assert!(written, "nothing has reached the disk"),
    }
}
