//! Uploads to Debian's `docker-registry` and to the embedded registry, over connections that break.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use peak_oci::{
    BlobEvent, BlobOutcome, BlobRead, BoxFuture, ContentError, Descriptor, Manifest, Raw, Selector,
    Sink as _, Source,
};
use peak_registry::{Registry, UploadOptions};
use peak_test_peers::has;
use tokio::sync::Notify;

use crate::fault_proxy::{Fate, FaultProxy};
use crate::peers::Site;
use crate::uploads::{Memory, content, layer};

const MIB: u64 = 1024 * 1024;
const SIZE: usize = 9 * 1024 * 1024;

/// Uploads through a proxy, and sees that the registry has it. Gives the number of requests.
async fn uploaded(
    site: &Site,
    decide: impl Fn(usize, &str, u64) -> Fate + Send + Sync + 'static,
) -> usize {
    let requests = Arc::new(AtomicUsize::new(0));
    let (count, decide) = (Arc::clone(&requests), Arc::new(decide));
    let proxy = FaultProxy::start(&site.host, move |line, length| {
        // Waits in between are the registry's client's; nothing here depends on the time.
        let number = count.fetch_add(1, Ordering::Relaxed);
        decide(number, line, length)
    })
    .await;
    let registry = Registry::builder().build().unwrap();
    let repository = registry.repository(&format!("{}/team/app", proxy.address).parse().unwrap());
    let content = content(SIZE);
    let outcome = repository
        .upload_blob(
            &layer(&content),
            &Memory::new(content.clone()),
            &UploadOptions::new(),
        )
        .await
        .unwrap();
    assert_eq!(outcome, BlobOutcome::Copied);
    let there = site.repository("team/app");
    let digest = layer(&content).digest;
    assert_eq!(there.get_blob(&digest, SIZE as u64).await.unwrap(), content);
    there.delete_blob(&digest).await.unwrap();
    requests.load(Ordering::Relaxed)
}

/// Everything that can happen on the way.
async fn faults_are_overcome(site: &Site) {
    let plain = uploaded(site, |_, _, _| Fate::Pass).await;
    assert_eq!(plain, 3);
    // Once, after so much of the whole.
    for cut in [0, 1, 1000, MIB, 4 * MIB, SIZE as u64 - 1, SIZE as u64] {
        let once = Mutex::new(Some(cut));
        uploaded(site, move |_, line, _| {
            let is_first = line.starts_with("PUT");
            let cut = once.lock().unwrap().take_if(|_| is_first);
            cut.map_or(Fate::Pass, Fate::CutAfter)
        })
        .await;
    }
    // Each answer once.
    for number in 0..3 {
        uploaded(site, move |request, _, _| {
            if request == number {
                Fate::AnswerLost
            } else {
                Fate::Pass
            }
        })
        .await;
    }
    // Only chunks, and two of them break off in their middle. (After that `docker-registry` 2.8 does not know the
    // session any more.)
    let chunks = AtomicUsize::new(0);
    uploaded(site, move |_, line, length| {
        if length > 2 * MIB {
            return Fate::TooLarge;
        }
        let is_chunk = line.starts_with("PATCH");
        if is_chunk && matches!(chunks.fetch_add(1, Ordering::Relaxed), 1 | 4) {
            return Fate::CutAfter(length / 2);
        }
        Fate::Pass
    })
    .await;
}

#[tokio::test]
async fn uploads_to_docker_registry_survive_what_happens_on_the_way() {
    if has("docker-registry") {
        faults_are_overcome(&Site::docker()).await;
    }
}

#[tokio::test]
async fn uploads_to_the_embedded_registry_survive_what_happens_on_the_way() {
    faults_are_overcome(&Site::embedded().await).await;
}

/// A source that waits in the middle of its first reading until it is told to go on.
struct Waiting {
    inner: Memory,
    go_on: Arc<Notify>,
}

impl Source for Waiting {
    fn manifest<'a>(
        &'a self,
        selector: Option<&'a Selector>,
    ) -> BoxFuture<'a, Result<Raw<Manifest>, ContentError>> {
        self.inner.manifest(selector)
    }

    fn blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        offset: u64,
    ) -> BoxFuture<'a, Result<BlobRead, ContentError>> {
        Box::pin(async move {
            let read = self.inner.blob(descriptor, offset).await?;
            if offset > 0 || self.inner.opened.lock().unwrap().len() > 1 {
                return Ok(read);
            }
            let go_on = Arc::clone(&self.go_on);
            let pieces: Vec<Result<Bytes, ContentError>> = read.stream.collect().await;
            let middle = pieces.len() / 2;
            let pieces = stream::iter(pieces)
                .enumerate()
                .then(move |(number, piece)| {
                    let go_on = Arc::clone(&go_on);
                    async move {
                        if number == middle {
                            go_on.notified().await;
                        }
                        piece
                    }
                });
            Ok(BlobRead::new(0, read.size, Box::pin(pieces)))
        })
    }
}

#[tokio::test]
async fn an_upload_survives_that_docker_registry_is_restarted() {
    if !has("docker-registry") {
        return;
    }
    let mut site = Site::docker();
    let blob = content(SIZE);
    let (descriptor, go_on) = (layer(&blob), Arc::new(Notify::new()));
    let source = Waiting {
        inner: Memory::new(blob.clone()),
        go_on: Arc::clone(&go_on),
    };
    let sent = Mutex::new(0);
    let arrived = Notify::new();
    let listener = |event| {
        if let BlobEvent::Bytes { count } = event {
            let mut sent = sent.lock().unwrap();
            *sent += count;
            if *sent > 4 * MIB {
                arrived.notify_one();
            }
        }
    };
    let repository = site.repository("team/app");
    let options = UploadOptions::new().progress(&listener);
    let uploading = repository.upload_blob(&descriptor, &source, &options);
    let restarting = async {
        arrived.notified().await;
        site.restart();
        go_on.notify_one();
    };
    let (outcome, ()) = tokio::join!(uploading, restarting);
    assert_eq!(outcome.unwrap(), BlobOutcome::Copied);
    let found = repository.get_blob(&descriptor.digest, SIZE as u64).await;
    assert_eq!(found.unwrap(), blob);
}

#[tokio::test]
async fn a_blob_is_mounted_in_docker_registry_without_being_sent() {
    if !has("docker-registry") {
        return;
    }
    let site = Site::docker();
    let registry = Registry::builder().build().unwrap();
    let place = |name: &str| registry.repository(&format!("{}/{name}", site.host).parse().unwrap());
    let (from, to) = (place("from"), place("to"));
    let blob = content(100_000);
    from.put_blob(blob.clone()).await.unwrap();
    let outcome = to.take_blob(&layer(&blob), &from, &|_| {}).await.unwrap();
    assert_eq!(outcome, BlobOutcome::Mounted);
    let found = to.get_blob(&layer(&blob).digest, 100_000).await;
    assert_eq!(found.unwrap(), blob);
}
