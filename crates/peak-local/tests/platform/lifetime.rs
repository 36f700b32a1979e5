//! Starting, ending, starting again, and who is let in.

use std::path::Path;
use std::time::Duration;

use peak_local::{LocalError, Platform, ServeError};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

#[tokio::test]
async fn a_restart_keeps_everything_but_the_port() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let form = Form::default()
        .text("name", "web")
        .text("type", "api")
        .artifact(&archive([(
            "Dockerfile",
            b"FROM scratch\nCOPY Dockerfile /\n",
        )]));
    let made = submit(&platform, "POST", "/images/", form).await.json();
    let (image, build) = (&made["imageId"], &made["buildId"]);
    let (_, lines) = follow(&platform, image, build).await;
    let mut before = get(&platform, &format!("/images/{image}")).await.json();
    platform.shutdown().await;
    assert_eq!(files_in(&state.path().join("artifacts")), 1);

    let platform = start(state.path()).await;
    let (_, same_lines) = follow(&platform, image, build).await;
    assert_eq!(lines, same_lines);
    let mut after = get(&platform, &format!("/images/{image}")).await.json();
    let url = |image: &mut Value| image["latestVersion"]["pullUrl"].take();
    assert_eq!(url(&mut after), format!("{}/web:0.0.1", platform.address()));
    url(&mut before);
    assert_eq!(before, after);
    let manifest = send(
        platform.address(),
        "GET",
        "/v2/web/manifests/0.0.1",
        &[],
        b"",
    )
    .await;
    assert_eq!(manifest.status, 200);
    platform.shutdown().await;
    assert_eq!(
        files_in(&state.path().join("artifacts")),
        1,
        "the archive of the latest build stays"
    );
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let error = Platform::builder()
        .state_dir(state.path())
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, LocalError::StateInUse { .. }), "{error}");
    let path = std::fs::canonicalize(state.path()).unwrap();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );

    let other = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let listener = std::net::TcpListener::bind(taken).unwrap();
    let start = || Platform::builder().state_dir(other.path().join("state"));
    let error = start().listen(taken).start().await.unwrap_err();
    assert!(
        matches!(
            &error,
            LocalError::Listen(ServeError::AddressInUse { address }) if *address == taken
        ),
        "{error}"
    );
    assert!(error.to_string().contains("in use"));
    drop(listener);
    let error = start()
        .listen("0.0.0.0:0".parse().unwrap())
        .start()
        .await
        .unwrap_err();
    assert!(
        matches!(error, LocalError::NotLoopback { .. }) && error.to_string().contains("loopback"),
        "{error}"
    );
    let error = start().token(Some("".into())).start().await.unwrap_err();
    assert!(matches!(error, LocalError::Token), "{error}");
    let error = Platform::builder().start().await.unwrap_err();
    assert!(matches!(error, LocalError::NoStateDirectory), "{error}");
    assert!(
        !other.path().join("state").exists(),
        "a refused start makes nothing"
    );
    platform.shutdown().await;
}

#[tokio::test]
async fn a_token_is_wanted_where_one_is_set() {
    let state = tempfile::tempdir().unwrap();
    let platform = Platform::builder()
        .state_dir(state.path())
        .token(Some("open-sesame".into()))
        .start()
        .await
        .unwrap();
    let ask = async |target: &str, authorization: Option<&str>| {
        let headers: Vec<_> = authorization
            .map(|value| ("Authorization", value))
            .into_iter()
            .collect();
        send(platform.address(), "GET", target, &headers, b"").await
    };
    let images = format!("{API}/images/");
    assert_eq!(ask(&images, Some("open-sesame")).await.status, 200);
    for wrong in [
        None,
        Some("open-sesam"),
        Some("Bearer open-sesame"),
        Some("Basic YWxpOm9wZW4tc2VzYW1l"),
    ] {
        let detail = ask(&images, wrong).await.refused(401);
        assert!(!detail.contains("sesame"));
    }
    assert_eq!(ask(&format!("{API}/nothing"), None).await.status, 401);
    assert_eq!(ask(ARTIFACTS, None).await.status, 401);
    assert_eq!(ask(ARTIFACTS, Some("open-sesame")).await.status, 200);
    assert_eq!(
        ask("/v2/", Some("Basic YWxpOm9wZW4tc2VzYW1l")).await.status,
        200
    );
    let scope = "/token?service=peak-registry&scope=repository:a:pull";
    assert_eq!(ask(scope, None).await.status, 401);
    let granted = ask(scope, Some("Basic YWxpOm9wZW4tc2VzYW1l")).await;
    let granted = format!("Bearer {}", granted.json()["token"].as_str().unwrap());
    assert_eq!(ask("/v2/a/tags/list", Some(&granted)).await.status, 404);
    assert_eq!(ask("/v2/b/tags/list", Some(&granted)).await.status, 401);
    assert_eq!(ask(&images, Some(&granted)).await.status, 401);
    let refused = ask("/v2/", Some("open-sesame")).await;
    assert_eq!(refused.status, 401);
    assert!(
        refused
            .head
            .to_ascii_lowercase()
            .contains("www-authenticate: basic realm="),
        "{}",
        refused.head
    );
    assert_eq!(refused.json()["errors"][0]["code"], "UNAUTHORIZED");
    assert!(!format!("{platform:?}").contains("sesame"));
    platform.shutdown().await;
}

/// Begins an upload that never goes on, and gives its connection once the server receives it.
async fn stalled_upload(platform: &Platform, state: &Path) -> TcpStream {
    let mut stream = TcpStream::connect(platform.address()).await.unwrap();
    let begun = from_text("web", "FROM scratch\n").artifact(&[7; 512]).0;
    let head = format!(
        "POST {API}/images/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&begun).await.unwrap();
    let artifacts = state.join("artifacts");
    eventually(async || (files_in(&artifacts) == 1).then_some(())).await;
    stream
}

#[tokio::test]
async fn shutdown_cuts_what_does_not_end_and_frees_everything() {
    let state = tempfile::tempdir().unwrap();
    let builder = Platform::builder()
        .state_dir(state.path())
        .drain_timeout(Duration::from_millis(50));
    let platform = builder.start().await.unwrap();
    let address = platform.address();
    let idle = TcpStream::connect(address).await.unwrap();
    let stalled = stalled_upload(&platform, state.path()).await;
    platform.shutdown().await;
    assert_eq!(
        files_in(&state.path().join("artifacts")),
        0,
        "the half of an archive is gone"
    );
    assert!(TcpStream::connect(address).await.is_err());
    drop((idle, stalled));
    let platform = Platform::builder()
        .state_dir(state.path())
        .listen(address)
        .start()
        .await
        .unwrap();
    assert_eq!(platform.address(), address);
    platform.shutdown().await;
}

#[tokio::test]
async fn dropping_the_platform_ends_it_too() {
    let state = tempfile::tempdir().unwrap();
    let platform = start(state.path()).await;
    let address = platform.address();
    let stalled = stalled_upload(&platform, state.path()).await;
    drop(platform);
    eventually(async || TcpStream::connect(address).await.is_err().then_some(())).await;
    let artifacts = state.path().join("artifacts");
    eventually(async || (files_in(&artifacts) == 0).then_some(())).await;
    drop(stalled);
    let again = eventually(async || {
        Platform::builder()
            .state_dir(state.path())
            .start()
            .await
            .ok()
    })
    .await;
    again.shutdown().await;
}

/// Uploads are written to the disk on threads that the end of their connection does not stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_state_directory_is_free_as_soon_as_the_platform_has_ended() {
    let state = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let builder = Platform::builder()
            .state_dir(state.path())
            .drain_timeout(Duration::ZERO);
        let platform = builder.start().await.unwrap();
        let unfinished = state.path().join("registry/temporary");
        let pushes: Vec<_> = (0..8)
            .map(|_| {
                let address = platform.address();
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    let digest = "0".repeat(64);
                    let head = format!(
                        "POST /v2/a/blobs/uploads/?digest=sha256:{digest} HTTP/1.1\r\nHost: localhost\r\n\
                         Content-Length: 100000000000\r\n\r\n"
                    );
                    stream.write_all(head.as_bytes()).await.unwrap();
                    let bytes = vec![7; 1024 * 1024];
                    while stream.write_all(&bytes).await.is_ok() {}
                })
            })
            .collect();
        eventually(async || (files_in(&unfinished) == pushes.len()).then_some(())).await;
        platform.shutdown().await;
        for push in pushes {
            push.abort();
        }
        assert_eq!(files_in(&unfinished), 0, "no upload is left");
    }
}
