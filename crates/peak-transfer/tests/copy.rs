//! Whole transfers: from a layout, from sources that misbehave, and from a registry on loopback.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests may fail them, too"
)]

mod engine;
mod mirror;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use peak_layout::Directory;
use peak_oci::{
    BlobRead, BoxFuture, ContentError, ContentErrorKind, Descriptor, Digest, ImageConfig,
    ImageManifest, Index, MAX_INDEX_DEPTH, Manifest, MediaType, Placement, Platform, Raw,
    Reference, Selector, Sink, Source, validate,
};
use peak_registry::Registry;
use peak_transfer::{CopyOptions, Event, Target, TransferError, copy};

/// An image with uncompressed layers, so that its config can be right about them.
struct Image {
    blobs: Vec<(Descriptor, Bytes)>,
    manifest: Raw<Manifest>,
}

fn image(platform: &str, layers: &[&[u8]]) -> Image {
    let platform: Platform = platform.parse().unwrap();
    let layers: Vec<(Descriptor, Bytes)> = layers
        .iter()
        .map(|content| {
            let content = Bytes::copy_from_slice(content);
            (Descriptor::of(MediaType::OCI_LAYER, &content), content)
        })
        .collect();
    let digests = layers.iter().map(|(layer, _)| layer.digest.clone());
    let config = ImageConfig::new(&platform, digests.collect())
        .to_raw()
        .unwrap();
    let config_descriptor = Descriptor::of(MediaType::OCI_CONFIG, config.bytes());
    let manifest = ImageManifest::new(
        config_descriptor.clone(),
        layers.iter().map(|(layer, _)| layer.clone()).collect(),
    );
    let mut blobs = vec![(config_descriptor, config.bytes().clone())];
    blobs.extend(layers);
    Image {
        blobs,
        manifest: manifest.to_raw().unwrap(),
    }
}

async fn put_blobs(layout: &Directory, image: &Image) {
    for (descriptor, content) in &image.blobs {
        let mut writer = layout.blob_writer(descriptor).await.unwrap();
        writer.write(content.clone()).await.unwrap();
        writer.commit().await.unwrap();
    }
}

/// A layout that holds one image.
async fn layout_of(path: &Path, image: &Image) -> Directory {
    let layout = Directory::create(path).unwrap();
    put_blobs(&layout, image).await;
    layout
        .put_manifest(&image.manifest, &root(None))
        .await
        .unwrap();
    layout
}

fn root(tag: Option<&str>) -> Placement {
    Placement::Root {
        tag: tag.map(|tag| tag.parse().unwrap()),
    }
}

/// Every file below `folder` with its content; locks and unfinished files aside.
fn visible(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(".peak-layout") {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                found.insert(path, content);
            }
        }
    }
    found
}

/// Waits for commits that were already with the disk when their transfer ended: those cannot be called back.
async fn nothing_unfinished(folder: &Path) {
    for _ in 0..500 {
        if partial_files(folder) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(partial_files(folder), 0);
}

fn partial_files(folder: &Path) -> usize {
    // Who writes no more leaves no such folder.
    fs::read_dir(folder.join(".peak-layout/partial")).map_or(0, Iterator::count)
}

/// How a source that is not to be trusted gives its blobs.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Half of each layer, and then nothing for ever.
    Stalls,
    /// The first 3 MiB of each layer, and then an error.
    BreaksOff,
    /// As they are.
    Honest,
}

/// A source over another one that counts and misbehaves.
struct Odd {
    inner: Directory,
    manner: Manner,
    open: Arc<AtomicUsize>,
    most_open: AtomicUsize,
    opened: Mutex<Vec<Digest>>,
}

impl Odd {
    fn new(inner: Directory, manner: Manner) -> Self {
        Self {
            inner,
            manner,
            open: Arc::default(),
            most_open: AtomicUsize::new(0),
            opened: Mutex::default(),
        }
    }
}

/// Counts a stream as open until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source for Odd {
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
        use futures_util::StreamExt as _;
        Box::pin(async move {
            self.opened.lock().unwrap().push(descriptor.digest.clone());
            let now = self.open.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_open.fetch_max(now, Ordering::SeqCst);
            let open = Open(Arc::clone(&self.open));
            let read = self.inner.blob(descriptor, offset).await?;
            let stalls =
                self.manner == Manner::Stalls && descriptor.media_type == MediaType::OCI_LAYER;
            let frames = read.stream.map(move |frame| {
                let _counted = &open;
                let frame = frame?;
                Ok(if stalls {
                    frame.slice(..frame.len() / 2)
                } else {
                    frame
                })
            });
            let breaks_off =
                self.manner == Manner::BreaksOff && descriptor.media_type == MediaType::OCI_LAYER;
            let frames = if stalls {
                frames.chain(stream::pending()).boxed()
            } else if breaks_off {
                let error = ContentError::new(ContentErrorKind::Interrupted, "broken off");
                frames
                    .take(12)
                    .chain(stream::once(async { Err(error) }))
                    .boxed()
            } else {
                // Gives way once, so that others get their turn even where nothing has to be waited for.
                stream::once(async {
                    tokio::task::yield_now().await;
                    Ok(Bytes::new())
                })
                .chain(frames)
                .boxed()
            };
            Ok(BlobRead::new(read.offset, read.size, frames))
        })
    }
}

#[tokio::test]
async fn an_image_arrives_whole_and_the_second_time_nothing_moves() {
    let folder = tempfile::tempdir().unwrap();
    let image = image("linux/amd64", &[b"one", b"two", b"one"]);
    let source = layout_of(&folder.path().join("from"), &image).await;
    let to = folder.path().join("to");
    let sink = Directory::create(&to).unwrap();

    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = Arc::clone(&events);
    let options = CopyOptions::new().progress(move |event| heard.lock().unwrap().push(event));
    let first = copy(&source, None, &sink, root(Some("v1")), &options)
        .await
        .unwrap();
    assert_eq!(first.digest, *image.manifest.digest());
    // The layer that is there twice is moved once.
    assert_eq!((first.blobs_copied, first.blobs_skipped), (3, 0));
    validate(&sink, None).await.unwrap();
    let before = visible(&to);

    let told = std::mem::take(&mut *events.lock().unwrap());
    assert!(matches!(
        told[0],
        Event::Planned {
            manifests: 1,
            blobs: 3,
            ..
        }
    ));
    let moved: u64 = told
        .iter()
        .map(|event| match event {
            Event::Bytes { count, .. } => *count,
            _ => 0,
        })
        .sum();
    assert_eq!(moved, first.bytes_copied);

    let second = copy(&source, None, &sink, root(Some("v1")), &options)
        .await
        .unwrap();
    assert_eq!((second.blobs_copied, second.blobs_skipped), (0, 3));
    assert_eq!((second.bytes_copied, second.size), (0, first.size));
    assert_eq!(visible(&to), before);
}

#[tokio::test]
async fn an_index_is_copied_with_all_its_platforms() {
    let folder = tempfile::tempdir().unwrap();
    let source = Directory::create(folder.path().join("from")).unwrap();
    let images = [
        image("linux/amd64", &[b"shared", b"amd64"]),
        image("linux/arm64", &[b"shared", b"arm64"]),
    ];
    let mut entries = Vec::new();
    for (image, platform) in images.iter().zip(["linux/amd64", "linux/arm64"]) {
        put_blobs(&source, image).await;
        source
            .put_manifest(&image.manifest, &Placement::Child)
            .await
            .unwrap();
        let entry = image.manifest.descriptor();
        entries.push(entry.with_platform(platform.parse().unwrap()));
    }
    let inner = Index::new(entries).to_raw().unwrap();
    source
        .put_manifest(&inner, &Placement::Child)
        .await
        .unwrap();
    // One index within another, and one image in both.
    let outer = Index::new(vec![images[0].manifest.descriptor(), inner.descriptor()]);
    let outer = outer.to_raw().unwrap();
    source.put_manifest(&outer, &root(None)).await.unwrap();

    let sink = Directory::create(folder.path().join("to")).unwrap();
    let odd = Odd::new(source, Manner::Honest);
    let options = CopyOptions::new().concurrency(2);
    let report = copy(&odd, None, &sink, root(Some("all")), &options)
        .await
        .unwrap();
    assert_eq!(report.digest, *outer.digest());
    assert_eq!(report.media_type, MediaType::OCI_INDEX);
    assert_eq!(report.blobs_copied, 5);
    assert_eq!(odd.most_open.load(Ordering::SeqCst), 2);
    assert_eq!(odd.open.load(Ordering::SeqCst), 0);
    validate(&sink, Some(&Selector::Tag("all".parse().unwrap())))
        .await
        .unwrap();
    let copied = sink.manifest(None).await.unwrap();
    assert_eq!(copied.bytes(), outer.bytes());
}

#[tokio::test]
async fn indexes_nested_without_end_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = Directory::create(folder.path().join("from")).unwrap();
    let mut inner = Index::new(Vec::new()).to_raw().unwrap();
    for _ in 0..=MAX_INDEX_DEPTH {
        source
            .put_manifest(&inner, &Placement::Child)
            .await
            .unwrap();
        inner = Index::new(vec![inner.descriptor()]).to_raw().unwrap();
    }
    source.put_manifest(&inner, &root(None)).await.unwrap();
    let to = folder.path().join("to");
    let sink = Directory::create(&to).unwrap();
    let error = copy(&source, None, &sink, root(None), &CopyOptions::new())
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::TooDeep { .. }), "{error}");
    assert!(visible(&to).is_empty());
}

/// A layer of 6 MiB that is not the same everywhere.
fn large_layer() -> Vec<u8> {
    (0..6 * 1024 * 1024_u32)
        .map(|number| (number % 251).to_le_bytes()[0])
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_broke_off_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let layer = large_layer();
    let image = image("linux/amd64", &[&layer]);
    let source = layout_of(&folder.path().join("from"), &image).await;
    let to = folder.path().join("to");
    let odd = Odd::new(source.clone(), Manner::BreaksOff);
    let sink = Directory::create(&to).unwrap();
    let error = copy(&odd, None, &sink, root(None), &CopyOptions::new())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Some(ContentErrorKind::Interrupted));
    drop(sink);
    // Its last bytes are written by a thread that nobody waits for.
    let digest = Digest::sha256_of(&layer);
    let partial = to.join(format!(".peak-layout/partial/sha256-{}", digest.hex()));
    let mut is_free = false;
    for _ in 0..500 {
        is_free = is_free || fs::File::open(&partial).unwrap().try_lock().is_ok();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(is_free);

    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = Arc::clone(&events);
    let options = CopyOptions::new().progress(move |event| heard.lock().unwrap().push(event));
    let sink = Directory::create(&to).unwrap();
    copy(&source, None, &sink, root(None), &options)
        .await
        .unwrap();
    validate(&sink, None).await.unwrap();
    let (mut offset, mut moved) = (0, 0);
    for event in &*events.lock().unwrap() {
        match event {
            Event::Started {
                digest: blob,
                offset: at,
                ..
            } if *blob == digest => offset = *at,
            Event::Bytes {
                digest: blob,
                count,
            } if *blob == digest => moved += *count,
            _ => {}
        }
    }
    assert_eq!(offset, 3 * 1024 * 1024);
    assert_eq!(offset + moved, layer.len() as u64);
    drop(sink);
    assert!(!to.join(".peak-layout").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_on_disk_takes_what_any_other_has() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::builder().build().unwrap();
    let layer = large_layer();
    let image = image("linux/amd64", &[b"one", &layer, b""]);
    layout_of(&folder.path().join("from"), &image).await;
    let at = |transport: &str, name: &str| -> Target {
        let path = folder.path().join(name);
        format!("{transport}:{}", path.display()).parse().unwrap()
    };
    let config = &image.manifest.value().as_image().unwrap().config.digest;
    let mut from = at("oci", "from");
    for (number, transport) in [
        "oci",
        "oci-archive",
        "oci-archive",
        "oci",
        "docker-archive",
        "docker-archive",
        "oci-archive",
        "docker-archive",
        "oci",
    ]
    .into_iter()
    .enumerate()
    {
        let to = at(transport, &number.to_string());
        let (source, selector) = from.open_source(&registry).unwrap();
        let (sink, placement) = to.open_sink(&registry).unwrap();
        let selector = selector.as_ref();
        let options = CopyOptions::new();
        let report = copy(
            source.as_ref(),
            selector,
            sink.as_ref(),
            placement,
            &options,
        )
        .await
        .unwrap();
        let (source, selector) = to.open_source(&registry).unwrap();
        let validated = validate(source.as_ref(), selector.as_ref()).await.unwrap();
        if to.keeps_digests() {
            assert_eq!(validated.root.digest, report.digest);
        }
        if number < 4 {
            assert_eq!(report.digest, *image.manifest.digest());
        }
        let manifest = source.manifest(None).await.unwrap();
        assert_eq!(manifest.value().as_image().unwrap().config.digest, *config);
        from = to;
    }
}

#[tokio::test]
async fn what_a_docker_archive_cannot_hold_is_refused_before_a_blob_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let image = image("linux/amd64", &[b"one"]);
    let source = Directory::create(folder.path().join("from")).unwrap();
    put_blobs(&source, &image).await;
    let child = Placement::Child;
    source.put_manifest(&image.manifest, &child).await.unwrap();
    let index = Index::new(vec![image.manifest.descriptor()]);
    let index = index.to_raw().unwrap();
    source.put_manifest(&index, &root(None)).await.unwrap();
    let to = folder.path().join("to/image.tar");
    let to: Target = format!("docker-archive:{}", to.display()).parse().unwrap();
    let registry = Registry::builder().build().unwrap();
    let (sink, placement) = to.open_sink(&registry).unwrap();
    let odd = Odd::new(source, Manner::Honest);
    let error = copy(&odd, None, sink.as_ref(), placement, &CopyOptions::new())
        .await
        .unwrap_err();
    assert!(error.is_destination(), "{error}");
    assert_eq!(error.kind(), Some(ContentErrorKind::Unsupported));
    assert!(odd.opened.lock().unwrap().is_empty());
    assert!(visible(&folder.path().join("to")).is_empty());
}

/// Its layers have no sizes, so that a copy would be the manifest alone.
#[tokio::test]
async fn images_of_schema_1_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let old = r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#;
    let old = Manifest::parse(Bytes::from_static(old.as_bytes()), None).unwrap();
    for manifest in [
        old.clone(),
        Index::new(vec![old.descriptor()]).to_raw().unwrap(),
    ] {
        let source = Directory::create(folder.path().join("from")).unwrap();
        source.put_manifest(&old, &Placement::Child).await.unwrap();
        let tag = root(Some("it"));
        source.put_manifest(&manifest, &tag).await.unwrap();
        let to = folder.path().join("to");
        let sink = Directory::create(&to).unwrap();
        let selector = Selector::Tag("it".parse().unwrap());
        let error = copy(
            &source,
            Some(&selector),
            &sink,
            root(None),
            &CopyOptions::new(),
        )
        .await
        .unwrap_err();
        assert!(
            matches!(&error, TransferError::Destination { source, .. } if source.kind() == ContentErrorKind::Unsupported),
            "{error}"
        );
        assert!(visible(&to).is_empty());
    }
}

#[tokio::test]
async fn a_corrupted_blob_is_named_and_nothing_becomes_visible() {
    let folder = tempfile::tempdir().unwrap();
    let image = image("linux/amd64", &[b"good", b"evil"]);
    let from = folder.path().join("from");
    let source = layout_of(&from, &image).await;
    let bad = Digest::sha256_of(b"evil");
    fs::write(from.join("blobs/sha256").join(bad.hex()), "EVIL").unwrap();

    let to = folder.path().join("to");
    let sink = Directory::create(&to).unwrap();
    let error = copy(&source, None, &sink, root(None), &CopyOptions::new())
        .await
        .unwrap_err();
    assert!(error.is_integrity() && !error.is_destination());
    assert!(error.to_string().contains(bad.hex()), "{error}");
    assert!(!to.join("index.json").exists() && !to.join("oci-layout").exists());
    nothing_unfinished(&to).await;
    assert!(!to.join("blobs/sha256").join(bad.hex()).exists());

    // Repaired, the next run goes on with what is good.
    fs::write(from.join("blobs/sha256").join(bad.hex()), "evil").unwrap();
    copy(&source, None, &sink, root(None), &CopyOptions::new())
        .await
        .unwrap();
    validate(&sink, None).await.unwrap();
}

#[tokio::test]
async fn a_dropped_transfer_leaves_the_layout_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let old = image("linux/amd64", &[b"old layer"]);
    // Small enough that no beginning is kept, and large enough that their halves are written.
    let layers = [vec![1; 700_000], vec![2; 700_000]];
    let new = image("linux/amd64", &[&layers[0], &layers[1]]);
    let to = folder.path().join("to");
    let sink = layout_of(&to, &old).await;
    let index = fs::read(to.join("index.json")).unwrap();
    let source = layout_of(&folder.path().join("from"), &new).await;
    let odd = Odd::new(source, Manner::Stalls);

    let steps = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&steps);
    let options = CopyOptions::new().progress(move |event| {
        if matches!(event, Event::Bytes { .. } | Event::Finished { .. }) {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    {
        let mut transfer = pin!(copy(&odd, None, &sink, root(None), &options));
        // The config is there and one half of each layer has come, and then it hangs. Writing goes on beside it.
        while steps.load(Ordering::SeqCst) < 4 || partial_files(&to) != 2 {
            let mut context = Context::from_waker(Waker::noop());
            assert!(transfer.as_mut().poll(&mut context).is_pending());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(partial_files(&to), 2);
    }
    assert_eq!(odd.open.load(Ordering::SeqCst), 0);
    nothing_unfinished(&to).await;
    assert_eq!(fs::read(to.join("index.json")).unwrap(), index);
    validate(&sink, None).await.unwrap();

    // The next run finds what was complete.
    let honest = Odd::new(odd.inner, Manner::Honest);
    let report = copy(&honest, None, &sink, root(None), &options)
        .await
        .unwrap();
    assert_eq!(report.digest, *new.manifest.digest());
    let opened = honest.opened.lock().unwrap().len();
    assert_eq!(report.blobs_copied, opened);
    assert_eq!(report.blobs_copied + report.blobs_skipped, 3);
    validate(&sink, None).await.unwrap();
}

#[tokio::test]
async fn each_end_is_blamed_for_its_own_failures() {
    let folder = tempfile::tempdir().unwrap();
    let image = image("linux/amd64", &[b"layer"]);
    let from = folder.path().join("from");
    let source = layout_of(&from, &image).await;
    let to = folder.path().join("to");
    let sink = Directory::create(&to).unwrap();
    let options = CopyOptions::new();

    // A file where the folder of blobs should be.
    fs::write(to.join("blobs"), "in the way").unwrap();
    let error = copy(&source, None, &sink, root(None), &options)
        .await
        .unwrap_err();
    assert!(error.is_destination(), "{error}");
    assert_eq!(error.kind(), Some(ContentErrorKind::Storage));

    fs::remove_file(to.join("blobs")).unwrap();
    let layer = Digest::sha256_of(b"layer");
    fs::remove_file(from.join("blobs/sha256").join(layer.hex())).unwrap();
    let error = copy(&source, None, &sink, root(None), &options)
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::Source { .. }), "{error}");
    assert_eq!(error.kind(), Some(ContentErrorKind::NotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_pulled_from_a_registry_by_the_names_of_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = peak_registry_server::Store::open(&folder.path().join("store")).unwrap();
    let large = vec![7; 3 * 1024 * 1024];
    let image = image("linux/amd64", &[b"small", &large]);
    let repository = store.repository(&"team/app".parse().unwrap());
    for (descriptor, content) in &image.blobs {
        let mut upload = repository.new_upload().unwrap();
        upload.write(content).unwrap();
        upload.finish(&descriptor.digest).unwrap();
    }
    let tag = Selector::Tag("v1".parse().unwrap());
    repository
        .put_manifest(&tag, None, image.manifest.bytes().clone())
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = peak_registry_server::router(store);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let registry = Registry::builder().build().unwrap();
    let from: Target = format!("docker://{address}/team/app:v1").parse().unwrap();
    let to = folder.path().join("to");
    let to: Target = format!("oci:{}:v1", to.display()).parse().unwrap();
    let (sink, placement) = to.open_sink(&registry).unwrap();
    let (source, selector) = from.open_source(&registry).unwrap();
    let report = copy(
        source.as_ref(),
        selector.as_ref(),
        sink.as_ref(),
        placement,
        &CopyOptions::new(),
    )
    .await
    .unwrap();
    assert_eq!(report.digest, *image.manifest.digest());

    let (reopened, selector) = to.open_source(&registry).unwrap();
    validate(reopened.as_ref(), selector.as_ref())
        .await
        .unwrap();
    // The registry as a source by itself.
    let reference: Reference = format!("{address}/team/app:v1").parse().unwrap();
    validate(&registry.repository(&reference), None)
        .await
        .unwrap();
    server.abort();
}

/// A registry on loopback that keeps what it is sent, and the reference of something in it.
async fn registry_at(
    folder: &Path,
) -> (tokio::task::JoinHandle<()>, impl Fn(&str) -> Target + use<>) {
    let store = peak_registry_server::Store::open(folder).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = peak_registry_server::router(store);
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let place = move |name: &str| format!("docker://{address}/{name}").parse().unwrap();
    (server, place)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_goes_from_a_layout_through_two_registries_and_back_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let images = [
        image("linux/amd64", &[b"shared", &large]),
        image("linux/arm64", &[b"shared", b"own", b""]),
    ];
    let layout = Directory::create(folder.path().join("from")).unwrap();
    let mut entries = Vec::new();
    for image in &images {
        put_blobs(&layout, image).await;
        layout
            .put_manifest(&image.manifest, &Placement::Child)
            .await
            .unwrap();
        entries.push(image.manifest.descriptor());
    }
    let index = Index::new(entries).to_raw().unwrap();
    layout
        .put_manifest(&index, &root(Some("v1")))
        .await
        .unwrap();

    let (one, at_one) = registry_at(&folder.path().join("one")).await;
    let (two, at_two) = registry_at(&folder.path().join("two")).await;
    let layout_at = |name: &str| -> Target {
        let path = folder.path().join(name);
        format!("oci:{}:v1", path.display()).parse().unwrap()
    };
    let registry = Registry::builder().build().unwrap();
    let mut reports = Vec::new();
    for (from, to) in [
        (layout_at("from"), at_one("team/app:v1")),
        // Again, and into another repository of the same registry.
        (layout_at("from"), at_one("team/app:v1")),
        (at_one("team/app:v1"), at_one("team/other:v1")),
        (at_one("team/other:v1"), at_two("app:v2")),
        (at_two("app:v2"), layout_at("to")),
    ] {
        let (source, selector) = from.open_source(&registry).unwrap();
        let (sink, placement) = to.open_sink(&registry).unwrap();
        let moved = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&moved);
        let options = CopyOptions::new().progress(move |event| {
            if let Event::Bytes { count, .. } = event {
                counted.fetch_add(usize::try_from(count).unwrap(), Ordering::Relaxed);
            }
        });
        let report = copy(
            source.as_ref(),
            selector.as_ref(),
            sink.as_ref(),
            placement,
            &options,
        )
        .await
        .unwrap();
        assert_eq!(report.digest, *index.digest());
        assert_eq!(report.bytes_copied, moved.load(Ordering::Relaxed) as u64);
        let (there, selector) = to.open_source(&registry).unwrap();
        let found = validate(there.as_ref(), selector.as_ref()).await.unwrap();
        assert_eq!(found.root.digest, *index.digest());
        reports.push((
            report.blobs_copied,
            report.blobs_skipped,
            report.blobs_mounted,
        ));
    }
    assert_eq!(
        reports,
        [(6, 0, 0), (0, 6, 0), (0, 0, 6), (6, 0, 0), (6, 0, 0)]
    );
    one.abort();
    two.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_content_does_not_get_into_a_registry() {
    let folder = tempfile::tempdir().unwrap();
    let image = image("linux/amd64", &[b"layer"]);
    let from = folder.path().join("from");
    let source = layout_of(&from, &image).await;
    let layer = Digest::sha256_of(b"layer");
    fs::write(from.join("blobs/sha256").join(layer.hex()), "LAYER").unwrap();
    let (server, place) = registry_at(&folder.path().join("store")).await;
    let registry = Registry::builder().build().unwrap();
    let (sink, placement) = place("team/app:v1").open_sink(&registry).unwrap();
    let error = copy(&source, None, sink.as_ref(), placement, &CopyOptions::new())
        .await
        .unwrap_err();
    assert!(error.is_integrity(), "{error}");
    assert!(error.to_string().contains(layer.as_ref()), "{error}");
    assert!(
        !sink
            .has_blob(&Descriptor::of(MediaType::OCI_LAYER, b"layer"))
            .await
            .unwrap()
    );
    let (there, selector) = place("team/app:v1").open_source(&registry).unwrap();
    let error = there.manifest(selector.as_ref()).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::NotFound);
    server.abort();
}
