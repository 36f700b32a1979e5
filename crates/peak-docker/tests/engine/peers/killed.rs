//! Engines that are killed in the middle of what they do.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use peak_docker::{EngineError, EngineEvent};
use peak_oci::Reference;
use peak_test_peers::DockerRegistry;
use tokio::sync::Notify;

use super::archive::Archive;
use super::slow::SlowWay;
use super::{Dockerd, image_at, peers};

/// Long enough on any machine, and far from any limit on silence.
const SECONDS: Duration = Duration::from_secs(20);

const MEGABYTE: usize = 1_000_000;

/// Kills the Engine when `middle` is reached, and gives what becomes of the operation.
async fn killed<T: std::fmt::Debug>(
    dockerd: &mut Dockerd,
    middle: &Notify,
    operation: impl Future<Output = Result<T, EngineError>>,
) -> EngineError {
    let kill = async {
        middle.notified().await;
        dockerd.kill();
    };
    let both = async { tokio::join!(operation, kill).0 };
    let result = tokio::time::timeout(Duration::from_secs(120), both).await;
    let error = result.expect("the operation ends").unwrap_err();
    assert!(error.is_interrupted(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("is the Engine still running?"), "{text}");
    error
}

/// Whether so much of a layer has moved.
fn has_moved(event: &EngineEvent, bytes: u64) -> bool {
    event
        .detail
        .and_then(|detail| detail.current)
        .is_some_and(|current| current >= bytes)
}

#[tokio::test]
async fn an_engine_killed_in_a_push_or_pull_is_an_error_at_once() {
    if !peers() {
        return;
    }
    let registry = DockerRegistry::start();
    let archive = Archive::new("app:v1", 8 * MEGABYTE);
    let slow = SlowWay::to(registry.address(), 3 * MEGABYTE).await;
    let image: Reference = format!("{}/team/app:v1", slow.address()).parse().unwrap();
    let direct = image_at(&registry, "team/app:v1");

    let mut dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    engine.load(archive.stream(), drop).await.unwrap();
    engine.tag("app:v1", &image).await.unwrap();
    engine.tag("app:v1", &direct).await.unwrap();
    let middle = Notify::new();
    let pushing = engine.push(&image, None, |event| {
        if has_moved(&event, 1) {
            middle.notify_one();
        }
    });
    killed(&mut dockerd, &middle, pushing).await;
    // Whoever asks next is told that it is gone.
    let error = engine.ping().await.unwrap_err();
    assert!(error.is_interrupted(), "{error:?}");

    let mut dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    engine.load(archive.stream(), drop).await.unwrap();
    engine.tag("app:v1", &direct).await.unwrap();
    engine.push(&direct, None, drop).await.unwrap();
    let forced = peak_docker::RemoveOptions::new().force(true);
    engine.remove(&archive.id, forced).await.unwrap();
    let slow = SlowWay::to(registry.address(), 3 * MEGABYTE).await;
    let image: Reference = format!("{}/team/app:v1", slow.address()).parse().unwrap();
    let middle = Notify::new();
    let pulling = engine.pull(&image, None, |event| {
        if has_moved(&event, 1) {
            middle.notify_one();
        }
    });
    killed(&mut dockerd, &middle, pulling).await;
}

#[tokio::test]
async fn an_engine_killed_in_a_save_or_load_is_an_error_at_once() {
    if !peers() {
        return;
    }
    let archive = Archive::new("app:v1", 8 * MEGABYTE);
    let mut dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    engine.load(archive.stream(), drop).await.unwrap();
    let mut saved = engine.save(&["app:v1"]).await.unwrap();
    saved.next().await.unwrap().unwrap();
    let middle = Notify::new();
    middle.notify_one();
    let reading = async {
        // So that there is still much to come when it is killed.
        tokio::time::sleep(Duration::from_millis(100)).await;
        while let Some(bytes) = saved.next().await {
            bytes?;
        }
        Ok(())
    };
    killed(&mut dockerd, &middle, reading).await;

    let mut dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    let middle = std::sync::Arc::new(Notify::new());
    let reached = std::sync::Arc::clone(&middle);
    let half = archive.stream().take(30).chain(stream::poll_fn(move |_| {
        reached.notify_one();
        std::task::Poll::Pending
    }));
    let loading = engine.load(half, drop);
    killed(&mut dockerd, &middle, loading).await;
}

#[tokio::test]
async fn an_operation_that_is_given_up_is_given_up_by_the_engine() {
    if !peers() {
        return;
    }
    let dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    let archive = Archive::new("app:v1", 4 * MEGABYTE);
    let middle = std::sync::Arc::new(Notify::new());
    let reached = std::sync::Arc::clone(&middle);
    let half = archive.stream().take(30).chain(stream::poll_fn(move |_| {
        reached.notify_one();
        std::task::Poll::Pending
    }));
    tokio::select! {
        result = engine.load(half, drop) => panic!("{result:?}"),
        () = middle.notified() => {}
    }
    // The same image in a whole archive is taken, and nothing else is there.
    let loaded = tokio::time::timeout(SECONDS, engine.load(archive.stream(), drop)).await;
    loaded.expect("the Engine is free").unwrap();
    assert_eq!(engine.images().await.unwrap().len(), 1);
}
