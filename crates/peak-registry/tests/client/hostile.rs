//! Registries, and servers that registries name, that are after our credentials, our memory or our time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use peak_oci::{Descriptor, ImageManifest, Manifest, MediaType, Raw, Tag};
use peak_registry::{Credentials, Registry, RegistryError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::script::{Request, Script, answer, tag, with_headers};

/// What is in the header of `robot` with `secret`.
const BASIC: &str = "Basic cm9ib3Q6c2VjcmV0";

const CHALLENGE: (&str, &str) = ("www-authenticate", "Basic realm=\"give me\"");

fn manifest() -> Raw<Manifest> {
    let config = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
    ImageManifest::new(config, Vec::new()).to_raw().unwrap()
}

fn blob() -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER, b"content")
}

/// A registry that wants `robot`'s credentials and then sends everybody to the same path elsewhere.
fn sends_to(elsewhere: String) -> impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static {
    move |_, request| {
        if request.header("authorization") != Some(BASIC) {
            return answer("401 Unauthorized", &[CHALLENGE], b"");
        }
        let path = request.line().split(' ').nth(1).unwrap();
        let location = format!("{elsewhere}{path}?X-Amz-Signature=signed");
        answer("307 Temporary Redirect", &[("location", &location)], b"")
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let other = Script::start(|_, request| match request.line() {
        line if line.contains("/manifests/") => answer("200 OK", &[], manifest().bytes()),
        _ => answer("200 OK", &[], b"content"),
    })
    .await;
    let server = Script::start(sends_to(format!("http://{}", other.address))).await;
    let repository = server.repository_as("robot", "secret");
    let found = repository.get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(found.bytes(), manifest().bytes());
    let read = repository.open_blob(&blob(), 0).await.unwrap();
    let frames: Vec<Bytes> = read.stream.try_collect().await.unwrap();
    assert_eq!(frames.concat(), b"content");
    let requests = other.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("cookie"), None);
        assert!(
            request.line().ends_with("?X-Amz-Signature=signed"),
            "{}",
            request.line()
        );
    }
}

#[tokio::test]
async fn a_host_that_asks_for_credentials_after_a_redirect_gets_none() {
    let other = Script::start(|_, request| match request.header("authorization") {
        None => answer("401 Unauthorized", &[CHALLENGE], b""),
        Some(_) => answer("200 OK", &[], b"content"),
    })
    .await;
    let server = Script::start(sends_to(format!("http://{}", other.address))).await;
    let repository = server.repository_as("robot", "secret");
    assert!(repository.get_manifest(&tag("v1")).await.is_err());
    assert!(repository.open_blob(&blob(), 0).await.is_err());
    assert!(!other.requests().is_empty());
    for request in other.requests() {
        assert_eq!(request.header("authorization"), None);
    }
}

#[tokio::test]
async fn nobody_is_sent_from_https_to_http() {
    let other = Script::start(|_, _| answer("200 OK", &[], manifest().bytes())).await;
    for elsewhere in [
        format!("http://{}", other.address),
        "http://origin.test".to_owned(),
    ] {
        let server = Script::start_secure(sends_to(elsewhere)).await;
        let repository = server.secure_repository_as("robot", "secret");
        let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
        assert!(matches!(error, RegistryError::Transport { .. }), "{error}");
        // The one without and the one with credentials, both under TLS; nothing else came in the clear.
        assert_eq!(server.requests().len(), 2);
    }
    assert!(other.requests().is_empty());

    // The same by other ways to be led on: the place of an upload, the next page of a list.
    let plain = format!("http://{}/x", other.address);
    let server = Script::start_secure(move |_, request| match request.line() {
        line if line.starts_with("HEAD") => answer("404 Not Found", &[], b""),
        line if line.starts_with("POST") => answer("202 Accepted", &[("location", &plain)], b""),
        _ => {
            let link = format!("<{plain}>; rel=next");
            answer("200 OK", &[("link", &link)], br#"{"tags":["a"]}"#)
        }
    })
    .await;
    let repository = server.secure_repository_as("robot", "secret");
    let error = repository
        .put_blob(Bytes::from_static(b"content"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, RegistryError::InvalidResponse { .. }),
        "{error}"
    );
    let tags: Result<Vec<Tag>, _> = repository.get_repository_tags().try_collect().await;
    assert!(
        matches!(tags, Err(RegistryError::InvalidResponse { .. })),
        "{tags:?}"
    );
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn credentials_are_never_offered_in_the_clear_beyond_loopback() {
    // A proxy is everybody on the way. The registry is not marked insecure, so it is spoken to through a tunnel only.
    let proxy = Script::start(|_, _| answer("401 Unauthorized", &[CHALLENGE], b"")).await;
    let address = format!("http://{}", proxy.address);
    let registry = Registry::builder()
        .credentials("registry.test", Credentials::new("robot", "secret".into()))
        .proxies(peak_http::Proxies::all(
            peak_http::Proxy::new(&address).unwrap(),
        ))
        .build()
        .unwrap();
    let repository = registry.repository(&"registry.test/app:v1".parse().unwrap());
    assert!(repository.get_manifest(&tag("v1")).await.is_err());
    assert!(!proxy.requests().is_empty());
    for request in proxy.requests() {
        assert!(
            request.line().starts_with("CONNECT registry.test:443"),
            "{}",
            request.line()
        );
        assert_eq!(request.header("authorization"), None);
    }
}

/// Ten gigabytes, more than anybody has patience or memory for.
const HUGE: u64 = 10_000_000_000;

#[tokio::test]
async fn a_huge_manifest_is_refused_by_the_length_it_promises() {
    let server = Script::start(|_, _| {
        with_headers("200 OK", &[("content-length", &HUGE.to_string())], b"{")
    })
    .await;
    let error = server.manifest_error().await;
    let RegistryError::Transport { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), peak_http::ErrorKind::TooLarge, "{source}");
}

#[tokio::test]
async fn a_huge_manifest_without_a_length_is_read_no_further_than_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let server = tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && !head.starts_with(&[22]) {
                head.push(connection.read_u8().await.unwrap());
            }
            if head.starts_with(&[22]) {
                continue; // the greeting of TLS
            }
            let begin = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
            connection.write_all(begin).await.unwrap();
            let piece = vec![b' '; 64 * 1024];
            // Until nobody listens any more.
            while count.load(Ordering::Relaxed) < HUGE && connection.write_all(&piece).await.is_ok()
            {
                count.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
    });
    let registry = Registry::builder().build().unwrap();
    let reference = format!("{address}/team/app:v1").parse().unwrap();
    let error = registry
        .repository(&reference)
        .get_manifest(&tag("v1"))
        .await
        .unwrap_err();
    let RegistryError::Transport { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), peak_http::ErrorKind::TooLarge, "{source}");
    // The limit is 4 MiB; the rest is what the kernel's buffers take.
    assert!(sent.load(Ordering::Relaxed) < 64 * 1024 * 1024);
    server.abort();
}
