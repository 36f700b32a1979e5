//! Connections that break off, over a real socket.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt, stream};
use peak_oci::{Algorithm, Digest};
use peak_registry_server::{RouterOptions, Store, router};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Kind, Registry, copy, unfinished, unfinished_files};

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
        let files = unfinished_files(registry.directory());
        files.first().unwrap().metadata().unwrap().len() > 0
    };
    tokio::select! {
        answer = registry.send("PATCH", &location, &[], body) => panic!("{}", answer.status),
        written = until(on_disk) => assert!(written, "nothing has reached the disk"),
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_the_server_was_killed() {
    let content = content();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let killed = Registry::new(Kind::Disk);
        let location = killed.start("team/app").await;
        killed
            .send("PATCH", &location, &[], content[..600_000].to_vec())
            .await
            .expect(202);

        let registry = killed.after_crash();
        let status = registry.get(&location).await.expect(204);
        assert_eq!(status.header("range"), "0-599999");
        assert_eq!(status.header("location"), location);
        let other = location.replace("team/app", "team/other");
        registry
            .get(&other)
            .await
            .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        let catalog = registry.get("/v2/_catalog").await.expect(200).json();
        assert_eq!(catalog["repositories"], serde_json::json!([]));

        // Another crash, now with nothing done in between, and one after a further chunk.
        let registry = registry.after_crash();
        let headers = [("content-range", "600000-699999")];
        let chunk = content[600_000..700_000].to_vec();
        registry
            .send("PATCH", &location, &headers, chunk.clone())
            .await
            .expect(202);
        let registry = registry.after_crash();
        let again = registry.send("PATCH", &location, &headers, chunk).await;
        assert_eq!(again.expect(416).header("range"), "0-699999");

        let digest = Digest::of(algorithm, &content);
        let path = format!("{location}?digest={digest}");
        registry
            .send("PUT", &path, &[], content[700_000..].to_vec())
            .await
            .expect(201);
        let answer = registry.get(&format!("/v2/team/app/blobs/{digest}")).await;
        assert_eq!(answer.expect(200).body, content);
        registry.get(&location).await.expect(404);
        registry.assert_unfinished(0);
        registry.after_crash().get(&location).await.expect(404);
    }
}

#[tokio::test]
async fn a_server_that_is_killed_in_a_body_leaves_what_arrived() {
    let content = content();
    let killed = Registry::new(Kind::Disk);
    let location = killed.start("a").await;
    let digest = Digest::sha256_of(&content);
    let once = format!("/v2/a/blobs/uploads/?digest={digest}");
    let first = bytes::Bytes::copy_from_slice(&content[..700_000]);
    let half = || {
        let frame = Ok::<_, std::io::Error>(first.clone());
        Body::from_stream(stream::iter([frame]).chain(stream::pending()))
    };
    let on_disk = async || {
        let files = unfinished_files(killed.directory());
        let sizes = files.iter().map(|file| file.metadata().unwrap().len());
        sizes.filter(|size| *size == 700_000).count() == 2
    };
    let registry = tokio::select! {
        answer = killed.send("PATCH", &location, &[], half()) => panic!("{}", answer.status),
        answer = killed.send("POST", &once, &[], half()) => panic!("{}", answer.status),
        written = until(on_disk) => {
            assert!(written, "not all has reached the disk");
            killed.after_crash()
        }
    };
    // Of the blob in a single request nobody knows.
    registry.assert_unfinished(1);
    let status = registry.get(&location).await.expect(204);
    assert_eq!(status.header("range"), "0-699999");
    let path = format!("{location}?digest={digest}");
    registry
        .send("PUT", &path, &[], content[700_000..].to_vec())
        .await
        .expect(201);
    registry.assert_unfinished(0);
}

#[tokio::test]
async fn a_wrong_digest_ends_an_upload_of_an_earlier_process_too() {
    let killed = Registry::new(Kind::Disk);
    let location = killed.start("a").await;
    killed
        .send("PATCH", &location, &[], "some")
        .await
        .expect(202);
    let registry = killed.after_crash();
    let path = format!("{location}?digest={}", Digest::sha256_of(b"other"));
    registry
        .send("PUT", &path, &[], "thing")
        .await
        .expect_error(400, "DIGEST_INVALID");
    registry.get(&location).await.expect(404);
    registry.assert_unfinished(0);
}

#[tokio::test]
async fn uploads_that_stood_idle_before_the_start_are_removed_by_it() {
    let killed = Registry::new(Kind::Disk);
    let stale = killed.start("a").await;
    let young = killed.start("b").await;
    for location in [&stale, &young] {
        killed
            .send("PATCH", location, &[], "some")
            .await
            .expect(202);
    }
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    let number = stale.rsplit('/').next().unwrap();
    let path = format!("uploads/a/sha256-{number}");
    let file = std::fs::File::options()
        .append(true)
        .open(killed.directory().join(path))
        .unwrap();
    file.set_modified(long_ago).unwrap();

    let registry = killed.after_crash();
    registry.assert_unfinished(1);
    registry.get(&stale).await.expect(404);
    registry.get(&young).await.expect(204);
    // The first new upload after the time looks after what an earlier process left, too.
    let options = RouterOptions::new().upload_idle(Duration::from_millis(50));
    let registry = killed.after_crash_with(&options);
    tokio::time::sleep(Duration::from_millis(60)).await;
    registry.start("c").await;
    registry.assert_unfinished(1);
    registry.get(&young).await.expect(404);
    // Directories of repositories without any upload go at the next start.
    let registry = registry.after_crash();
    assert!(!registry.directory().join("uploads/a").exists());
    assert!(registry.directory().join("uploads/c").exists());
}

#[tokio::test]
async fn hundreds_of_uploads_are_open_without_an_open_file() {
    let registry = Registry::new(Kind::Disk);
    let mut locations = Vec::new();
    for _ in 0..300 {
        let location = registry.start("a").await;
        registry
            .send("PATCH", &location, &[], "x")
            .await
            .expect(202);
        locations.push(location);
    }
    registry.assert_unfinished(300);
    if cfg!(target_os = "linux") {
        let uploads = registry.directory().join("uploads");
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        assert_eq!(open.filter(|file| file.starts_with(&uploads)).count(), 0);
    }
    let digest = Digest::sha256_of(b"xy");
    for location in locations {
        let path = format!("{location}?digest={digest}");
        registry.send("PUT", &path, &[], "y").await.expect(201);
    }
}

#[tokio::test]
async fn an_upload_is_that_of_one_router_alone() {
    let killed = Registry::new(Kind::Disk);
    let old = killed.start("a").await;
    let copied = tempfile::tempdir().unwrap();
    copy(killed.directory(), copied.path());
    let store = Store::open(copied.path()).unwrap();
    let first = Registry::of(router(store.clone()));
    let new = first.start("a").await;
    let second = Registry::of(router(store));
    for location in [&old, &new] {
        first.get(location).await.expect(204);
        second
            .get(location)
            .await
            .expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

/// What a client does next with an upload.
#[derive(Debug, Clone)]
enum Step {
    /// The next bytes, with or without saying where they belong.
    Chunk(usize, bool),
    /// Bytes that do not belong where the upload is.
    Misplaced(u64),
    /// The server is killed and comes back.
    Crash,
    Status,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..200_000, any::<bool>()).prop_map(|(length, said)| Step::Chunk(length, said)),
        1 => any::<u64>().prop_map(Step::Misplaced),
        2 => Just(Step::Crash),
        1 => Just(Step::Status),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_blob_arrives_whole_in_any_chunks_and_over_any_restarts(
        steps in proptest::collection::vec(steps(), 0..12),
        sha512 in any::<bool>(),
        last_in_put in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut registry = Registry::new(Kind::Disk);
            let location = registry.start("team/app").await;
            let mut sent: Vec<u8> = Vec::new();
            for step in &steps {
                let said = format!("0-{}", sent.len().saturating_sub(1));
                match step {
                    Step::Chunk(length, with_range) => {
                        let next: Vec<u8> = (0..*length)
                            .map(|at| u8::try_from((at + sent.len()) % 249).unwrap())
                            .collect();
                        let last = (sent.len() + length).saturating_sub(1);
                        let range = format!("{}-{last}", sent.len());
                        let headers: &[_] = if *with_range && *length > 0 {
                            &[("content-range", range.as_str())]
                        } else {
                            &[]
                        };
                        sent.extend(&next);
                        let answer = registry.send("PATCH", &location, headers, next).await;
                        let now = format!("0-{}", sent.len().saturating_sub(1));
                        assert_eq!(answer.expect(202).header("range"), now);
                    }
                    Step::Misplaced(start) if *start == sent.len() as u64 => {}
                    Step::Misplaced(start) => {
                        let range = format!("{start}-{}", start.saturating_add(2));
                        let headers = [("content-range", range.as_str())];
                        let answer = registry.send("PATCH", &location, &headers, "xxx").await;
                        let answer = answer.expect_error(416, "BLOB_UPLOAD_INVALID");
                        assert_eq!(answer.header("range"), said);
                    }
                    Step::Crash => registry = registry.after_crash(),
                    Step::Status => {
                        let answer = registry.get(&location).await.expect(204);
                        assert_eq!(answer.header("range"), said);
                    }
                }
            }
            let rest = if last_in_put { "the end" } else { "" };
            sent.extend(rest.as_bytes());
            let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Digest::of(algorithm, &sent);
            let path = format!("{location}?digest={digest}");
            registry.send("PUT", &path, &[], rest).await.expect(201);
            let registry = registry.after_crash();
            let answer = registry.get(&format!("/v2/team/app/blobs/{digest}")).await;
            assert!(answer.expect(200).body == sent);
            registry.assert_unfinished(0);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uploads_start_while_others_to_the_same_repository_are_given_up() {
    let registry = std::sync::Arc::new(Registry::new(Kind::Disk));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let registry = std::sync::Arc::clone(&registry);
            tokio::spawn(async move {
                for _ in 0..50 {
                    let location = registry.start("a").await;
                    registry.delete(&location).await.expect(204);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert!(!registry.directory().join("uploads/a").exists());
}
