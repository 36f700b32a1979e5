//! How many requests a server gets at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::join_all;
use peak_oci::Reference;
use peak_registry::Registry;

use crate::script::tag;

/// What a server has seen.
#[derive(Default)]
struct Seen {
    all: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[tokio::test]
async fn a_registry_that_complains_gets_fewer_requests_at_once() {
    let seen = Arc::new(Seen::default());
    let counted = Arc::clone(&seen);
    let answer = move || {
        let seen = Arc::clone(&counted);
        async move {
            let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
            seen.most.fetch_max(now, Ordering::SeqCst);
            // Long enough for all that may come at once to be there.
            tokio::time::sleep(Duration::from_millis(50)).await;
            seen.now.fetch_sub(1, Ordering::SeqCst);
            let complains = seen.all.fetch_add(1, Ordering::SeqCst) == 0;
            if complains {
                (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")], "")
            } else {
                let artifact = r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"a/b","blobs":[]}"#;
                (StatusCode::OK, [("x-test", "1")], artifact)
            }
        }
    };
    let router = Router::new().route("/v2/team/app/manifests/{tag}", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let registry = Registry::builder().requests_at_once(8).build().unwrap();
    let reference: Reference = format!("{address}/team/app").parse().unwrap();
    let repository = registry.repository(&reference);

    let first = repository.get_manifest(&tag("first")).await;
    first.unwrap();
    seen.most.store(0, Ordering::SeqCst);
    let tags: Vec<_> = (0..12).map(|number| tag(&format!("t{number}"))).collect();
    for outcome in join_all(tags.iter().map(|tag| repository.get_manifest(tag))).await {
        outcome.unwrap();
    }
    // Half of eight, and one more for each four and then five good answers; never all at once.
    let most = seen.most.load(Ordering::SeqCst);
    assert!((1..=6).contains(&most), "{most}");

    // Another client knows nothing of that, and keeps its own limit.
    seen.most.store(0, Ordering::SeqCst);
    let registry = Registry::builder().requests_at_once(2).build().unwrap();
    let repository = registry.repository(&reference);
    for outcome in join_all(tags.iter().map(|tag| repository.get_manifest(tag))).await {
        outcome.unwrap();
    }
    assert!(seen.most.load(Ordering::SeqCst) <= 2);
    server.abort();
}
