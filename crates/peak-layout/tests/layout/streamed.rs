//! Docker archives that stream by: out of an Engine and into it.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use peak_layout::{
    Directory, DockerArchive, DockerArchiveOptions, DockerArchiveSender, DockerArchiveStream,
    OciArchive,
};
use peak_oci::{
    Algorithm, BlobStream, BoxFuture, ContentError, ContentErrorKind, Descriptor, Digest,
    ImageConfig, Placement, Platform, Reference, Sink, Source, validate,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Memory, Tar, Wrap, chain, read_blob, transfer, write_blob};

/// An archive that comes in pieces of this size, and how often it was opened.
fn streamed(bytes: &[u8], piece: usize) -> (DockerArchiveStream, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let (bytes, count) = (Bytes::copy_from_slice(bytes), Arc::clone(&opened));
    let open = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let bytes = bytes.clone();
        async move { Ok(pieces(bytes, piece)) }.boxed()
    };
    (DockerArchiveStream::new("the stream", None, open), opened)
}

fn pieces(bytes: Bytes, size: usize) -> BlobStream {
    let count = bytes.len().div_ceil(size);
    let piece = move |number: usize| {
        let end = bytes.len().min((number + 1) * size);
        Ok(bytes.slice(number * size..end))
    };
    stream::iter((0..count).map(piece)).boxed()
}

fn config(layers: &[&[u8]]) -> (String, Vec<u8>) {
    let diff_ids = layers.iter().map(|layer| Digest::sha256_of(layer));
    let config = ImageConfig::new(&Platform::new("linux", "amd64"), diff_ids.collect());
    let config = config.to_raw().unwrap();
    (config.digest().hex().to_owned(), config.bytes().to_vec())
}

/// What Docker 20.10 saves, by the names that it gives: sorted, so that the config comes before and after layers, and a
/// layer that is there twice is a link.
fn saved(layers: &[Vec<u8>]) -> Vec<u8> {
    let contents: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let (id, config) = config(&contents);
    let mut names = Vec::new();
    let mut tar = Tar::new();
    for (number, layer) in layers.iter().enumerate() {
        let folder = format!("{number}{}", &id[1..]);
        let name = format!("{folder}/layer.tar");
        tar = tar
            .entry(&format!("{folder}/"), b'5', b"")
            .file(&format!("{folder}/VERSION"), b"1.0")
            .file(&format!("{folder}/json"), b"{\"id\":\"x\"}");
        let first = layers.iter().position(|known| known == layer).unwrap();
        tar = if first == number {
            tar.file(&name, layer)
        } else {
            tar.link(&name, &format!("../{first}{}/layer.tar", &id[1..]))
        };
        names.push(name);
    }
    let listed = json!([{"Config": format!("{id}.json"), "RepoTags": null, "Layers": names}]);
    tar.file(&format!("{id}.json"), &config)
        .file("manifest.json", listed.to_string().as_bytes())
        .end()
}

/// The layers of an image, in the order of the manifest.
async fn layers(source: &dyn Source) -> Vec<Descriptor> {
    let manifest = source.manifest(None).await.unwrap();
    manifest.value().as_image().unwrap().layers.clone()
}

#[tokio::test]
async fn layers_in_the_order_of_the_archive_cost_one_more_pass_and_others_more() {
    let contents = [
        b"one".repeat(1000),
        b"two".repeat(30_000),
        b"one".repeat(1000),
        Vec::new(),
        b"four".to_vec(),
    ];
    let (source, opened) = streamed(&saved(&contents), 700);
    assert_eq!(source.blob_order(), Some(vec![]));
    let layers = layers(&source).await;
    assert_eq!(layers.len(), 5);
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    let order = source.blob_order().unwrap();
    let expected = [0, 1, 3, 4].map(|number| layers[number].digest.clone());
    assert_eq!(order, expected);
    for number in [0, 1, 3, 4] {
        let content = read_blob(&source, &layers[number], 0).await;
        assert_eq!(content, contents[number]);
    }
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    // It is over, and so everything that is asked for now comes in a pass of its own.
    for (passes, number) in [(3, 4), (4, 1), (5, 0)] {
        assert_eq!(
            read_blob(&source, &layers[number], 2).await,
            contents[number][2..]
        );
        assert_eq!(opened.load(Ordering::SeqCst), passes);
    }
    // What was left out is skipped.
    read_blob(&source, &layers[4], 0).await;
    assert_eq!(opened.load(Ordering::SeqCst), 5);
    // Two at once do not wait for each other, and the one that is given up leaves nothing behind.
    let mut first = source.blob(&layers[1], 0).await.unwrap().stream;
    let begun = first.next().await.unwrap().unwrap();
    let mut second = source.blob(&layers[1], 0).await.unwrap().stream;
    assert_eq!(second.next().await.unwrap().unwrap(), begun);
    drop(first);
    let rest: Vec<Bytes> = second.try_collect().await.unwrap();
    assert_eq!(rest.concat(), contents[1][begun.len()..]);
    validate(&source, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_archive_goes_into_a_layout_in_any_order_and_at_once() {
    let contents = [
        vec![1; 70_000],
        vec![2; 90_000],
        vec![3; 10],
        vec![4; 80_000],
    ];
    let folder = tempfile::tempdir().unwrap();
    let (source, _) = streamed(&saved(&contents), 5000);
    let sink = Directory::create(folder.path().join("layout")).unwrap();
    transfer(&source, &sink, Some("v1")).await.unwrap();
    validate(&sink, None).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    /// Wherever the pieces of the stream begin and end, it is what it is in a file.
    #[test]
    fn pieces_of_any_size_are_the_same_archive(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 1..5),
        piece in prop_oneof![1..20_usize, 500..530_usize, Just(100_000)],
    ) {
        let bytes = saved(&contents);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let whole = DockerArchive::open(file.path(), None).unwrap();
            let (source, _) = streamed(&bytes, piece);
            let manifest = source.manifest(None).await.unwrap();
            assert_eq!(manifest.bytes(), whole.manifest(None).await.unwrap().bytes());
            for (layer, content) in layers(&source).await.iter().zip(&contents) {
                // Unless what is random looks compressed.
                if Digest::sha256_of(content) == layer.digest {
                    assert_eq!(&read_blob(&source, layer, 0).await, content);
                }
            }
        });
    }

    /// Whatever comes, it is read or refused.
    #[test]
    fn what_is_damaged_is_read_or_refused(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = saved(&[b"one".to_vec(), b"two".repeat(300)]);
        bytes[place.index(4096)] = byte;
        bytes.truncate(cut.index(bytes.len()).max(600));
        let (source, _) = streamed(&bytes, 333);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            if let Err(error) = validate(&source, None).await {
                assert!(matches!(
                    error.kind(),
                    ContentErrorKind::Invalid | ContentErrorKind::Integrity | ContentErrorKind::NotFound
                ), "{}", chain(&error));
            }
        });
    }
}

async fn refused(bytes: &[u8]) -> String {
    let (source, _) = streamed(bytes, 512);
    chain(&source.manifest(None).await.unwrap_err())
}

#[tokio::test]
async fn hostile_streams_are_refused() {
    let whole = saved(&[b"one".to_vec(), b"two".repeat(3000)]);
    for length in (512..whole.len() - 1024).step_by(512) {
        let said = refused(&whole[..length]).await;
        assert!(said.contains("cut off"), "{length}: {said}");
    }
    // One empty block is an end as well.
    let (source, _) = streamed(&whole[..whole.len() - 512], 512);
    source.manifest(None).await.unwrap();
    for (bytes, expected) in [
        (b"{\"message\":\"no\"}".to_vec(), "not a tar archive"),
        (vec![b'x'; 600], "not a tar archive"),
        (b"\x1f\x8b".repeat(600), "compressed with gzip"),
        (Tar::new().file("../x", b"").end(), "leads out"),
        (
            Tar::new().file("a", b"x").file("./a", b"x").end(),
            "two different entries",
        ),
        (Tar::new().entry("a", b'3', b"").end(), "is a device"),
        (Tar::new().file("x", b"").end(), "no file \"manifest.json\""),
        (
            Tar::new()
                .link("manifest.json", "b")
                .link("b", "manifest.json")
                .end(),
            "cannot be followed",
        ),
        (
            Tar::new().file("manifest.json", &vec![b'['; 5 << 20]).end(),
            "larger than 4194304 bytes",
        ),
        (
            Tar::new().file("manifest.json", b"not JSON").end(),
            "no document",
        ),
    ] {
        let said = refused(&bytes).await;
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(said.contains("the stream"), "{said}");
    }
    // An Engine that fails in the middle says so in the place of the next entry.
    let mut bytes = whole[..1536].to_vec();
    bytes.extend_from_slice(b"{\"errorDetail\":{\"message\":\"disk full\"}}");
    bytes.resize(4096, b' ');
    let said = refused(&bytes).await;
    assert!(said.contains("no valid header"), "{said}");
}

#[tokio::test]
async fn small_files_without_number_are_not_all_kept() {
    let document = |byte: u8| [b"{".repeat(1 << 20), vec![byte]].concat();
    let mut tar = Tar::new();
    for number in 0..20 {
        tar = tar.file(&format!("{number}.json"), &document(number));
    }
    let said = refused(&tar.file("manifest.json", b"[]").end()).await;
    // The last one did fit, as it is small.
    assert!(said.contains("there is no image"), "{said}");
    let mut tar = Tar::new();
    for number in 0..16 {
        tar = tar.file(&format!("{number}.json"), &document(number));
    }
    let listed = [b"[".repeat(1 << 20), b" ".to_vec()].concat();
    let said = refused(&tar.file("manifest.json", &listed).end()).await;
    assert!(said.contains("there are too many"), "{said}");
}

#[tokio::test]
async fn an_archive_that_is_another_one_the_second_time_is_refused() {
    let one = saved(&[b"one".to_vec(), b"two".to_vec()]);
    let other = saved(&[b"one".to_vec(), b"other".to_vec()]);
    let opened = AtomicUsize::new(0);
    let open = move || {
        let first = opened.fetch_add(1, Ordering::SeqCst) == 0;
        let bytes = if first { one.clone() } else { other.clone() };
        async move { Ok(pieces(bytes.into(), 1000)) }.boxed()
    };
    let source = DockerArchiveStream::new("the stream", None, open);
    let layers = layers(&source).await;
    let error = source.blob(&layers[1], 0).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Invalid);
    assert!(error.to_string().contains("another archive"), "{error}");
}

#[tokio::test]
async fn what_the_stream_fails_with_is_what_the_source_fails_with() {
    let bytes = Bytes::from(saved(&[b"two".repeat(3000)]));
    let opened = AtomicUsize::new(0);
    let open = move || {
        let cut = [bytes.len(), 5000, 0][opened.fetch_add(1, Ordering::SeqCst)];
        let bytes = bytes.slice(..cut);
        async move {
            let gone = ContentError::new(ContentErrorKind::Network, "it is gone");
            if bytes.is_empty() {
                return Err(gone);
            }
            Ok(pieces(bytes, 1000).chain(stream::iter([Err(gone)])).boxed())
        }
        .boxed()
    };
    let source = DockerArchiveStream::new("the stream", None, open);
    let layers = layers(&source).await;
    let read = source.blob(&layers[0], 0).await.unwrap();
    let error = read.stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Network);
    let error = source.blob(&layers[0], 0).await.unwrap_err();
    assert_eq!(error.to_string(), "it is gone");
}

/// What somebody got who was sent an archive: its bytes, and whether it ended well.
type Received = Arc<Mutex<(Vec<u8>, bool)>>;

/// A sink whose archive is collected.
fn collected(name: &str) -> (DockerArchiveSender, Received) {
    let received = Received::default();
    let note = Arc::clone(&received);
    let send = move |mut archive: BlobStream| -> BoxFuture<'static, Result<(), ContentError>> {
        async move {
            while let Some(piece) = archive.try_next().await? {
                note.lock().unwrap().0.extend_from_slice(&piece);
            }
            note.lock().unwrap().1 = true;
            Ok(())
        }
        .boxed()
    };
    let options = DockerArchiveOptions::new().name(Reference::parse(name).unwrap());
    let sender = DockerArchiveSender::new("the archive", options, send).unwrap();
    (sender, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_an_archive_that_all_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let large = b"large".repeat(100_000);
    for (number, (wraps, is_docker, is_layout)) in [
        ([Wrap::Gzip, Wrap::Plain, Wrap::Gzip], false, true),
        ([Wrap::Gzip, Wrap::Plain, Wrap::Gzip], true, false),
        ([Wrap::Zstd, Wrap::Gzip, Wrap::Zstd], false, false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut memory = Memory::default();
        let contents = [large.clone(), b"ab".to_vec(), large.clone()];
        let layers: Vec<_> = contents.into_iter().zip(wraps).collect();
        memory.image(&layers, Algorithm::Sha256, is_docker);
        let (sender, received) = collected("app:v1");
        let root = transfer(&memory, &sender, None).await.unwrap();
        let (bytes, is_whole) = received.lock().unwrap().clone();
        assert!(is_whole);
        let path = folder.path().join(number.to_string());
        fs::write(&path, &bytes).unwrap();

        let name = Reference::parse("app:v1").unwrap();
        let archive = DockerArchive::open(&path, Some(&name)).unwrap();
        let seen = validate(&archive, None).await.unwrap();
        // Where no layer was changed, the manifest that is made of it is that of Docker's schema 2 again.
        assert_eq!(seen.root.digest == *root.digest(), is_layout || is_docker);
        let manifest = archive.manifest(None).await.unwrap();
        let (ours, theirs) = (manifest.value(), root.value());
        assert_eq!(
            ours.as_image().unwrap().config.digest,
            theirs.as_image().unwrap().config.digest
        );
        let (source, _) = streamed(&bytes, 10_000);
        assert_eq!(
            *source.manifest(None).await.unwrap().digest(),
            seen.root.digest
        );
        validate(&source, None).await.unwrap();
        let layout = OciArchive::open(&path);
        assert_eq!(layout.is_ok(), is_layout);
        if let Ok(layout) = layout {
            assert_eq!(layout.images(), ["v1"]);
            assert_eq!(
                validate(&layout, None).await.unwrap().root.digest,
                *root.digest()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_or_given_up_does_not_end_well() {
    let mut memory = Memory::default();
    let layers = [
        (b"one".repeat(50_000), Wrap::Plain),
        (b"two".to_vec(), Wrap::Zstd),
    ];
    memory.image(&layers, Algorithm::Sha256, false);
    let root = memory.manifest(None).await.unwrap();
    let image = root.value().as_image().unwrap().clone();
    let is_whole = |received: &Received| received.lock().unwrap().1;

    // Other bytes under the digest of a layer, and too few.
    for content in [b"One".repeat(50_000), b"one".to_vec()] {
        let mut wrong = memory.clone();
        wrong
            .blobs
            .insert(image.layers[0].digest.clone(), content.into());
        let (sender, received) = collected("app:v1");
        sender.prepare(&root, &[]).await.unwrap();
        let error = write_blob(&wrong, &sender, &image.layers[0])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ContentErrorKind::Integrity);
        // What went out cannot be taken back, so nothing more goes there.
        let error = write_blob(&memory, &sender, &image.layers[1]).await;
        assert!(error.is_err() && !is_whole(&received));
    }
    // A layer that is given up.
    let (sender, received) = collected("app:v1");
    let mut writer = sender.blob_writer(&image.layers[0]).await.unwrap();
    writer.write(Bytes::from_static(b"oneone")).await.unwrap();
    drop(writer);
    assert!(
        write_blob(&memory, &sender, &image.layers[0])
            .await
            .is_err()
    );
    assert!(!is_whole(&received));
    // One that had not begun to go out may come again.
    let (sender, received) = collected("app:v1");
    drop(sender.blob_writer(&image.layers[0]).await.unwrap());
    transfer(&memory, &sender, None).await.unwrap();
    assert!(is_whole(&received));
    // A second image has no place.
    let placement = Placement::Root { tag: None };
    let error = sender.put_manifest(&root, &placement).await.unwrap_err();
    assert!(chain(&error).contains("complete"), "{}", chain(&error));

    // An image without all of its layers, and one whose config speaks of other layers.
    let (sender, received) = collected("app:v1");
    sender.prepare(&root, &[]).await.unwrap();
    for blob in [&image.layers[0], &image.config] {
        write_blob(&memory, &sender, blob).await.unwrap();
    }
    let error = sender.put_manifest(&root, &placement).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::NotFound);
    drop(sender);
    assert!(!is_whole(&received));
    for wrap in [Wrap::Plain, Wrap::Zstd] {
        let mut other = Memory::default();
        other.image(&[(b"three".to_vec(), wrap)], Algorithm::Sha256, false);
        let mut lying = other
            .manifest(None)
            .await
            .unwrap()
            .value()
            .as_image()
            .unwrap()
            .clone();
        let (_, config) = config(&[b"four"]);
        lying.config = other.add(lying.config.media_type.clone(), &config, Algorithm::Sha256);
        other.put(lying.to_raw().unwrap(), Algorithm::Sha256);
        let (sender, received) = collected("app:v1");
        let error = transfer(&other, &sender, None).await.unwrap_err();
        assert_eq!(
            error.kind(),
            ContentErrorKind::Integrity,
            "{}",
            chain(&error)
        );
        assert!(!is_whole(&received));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_the_archive_may_fail_at_any_time() {
    let mut memory = Memory::default();
    memory.image(&[(vec![7; 900_000], Wrap::Plain)], Algorithm::Sha256, false);
    for after in [0, 1, 5, 1000] {
        let send = move |mut archive: BlobStream| -> BoxFuture<'static, Result<(), ContentError>> {
            async move {
                for _ in 0..after {
                    archive.try_next().await?;
                }
                Err(ContentError::new(ContentErrorKind::Network, "it is gone"))
            }
            .boxed()
        };
        let options = DockerArchiveOptions::new();
        let sender = DockerArchiveSender::new("the archive", options, send).unwrap();
        let error = transfer(&memory, &sender, None).await.unwrap_err();
        assert_eq!(error.to_string(), "it is gone", "{after}");
    }
    // Who says that it was all before it was sent is not believed.
    let send = |_| -> BoxFuture<'static, Result<(), ContentError>> { async { Ok(()) }.boxed() };
    let options = DockerArchiveOptions::new();
    let sender = DockerArchiveSender::new("the archive", options, send).unwrap();
    let error = transfer(&memory, &sender, None).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Network);
}

#[test]
fn an_archive_that_is_sent_holds_complete_images_only_as_a_file_does() {
    let send = |_| -> BoxFuture<'static, Result<(), ContentError>> { async { Ok(()) }.boxed() };
    let options = DockerArchiveOptions::new();
    let sender = DockerArchiveSender::new("the archive", options, send).unwrap();
    assert!(!sender.holds_images_without_foreign_layers());
    assert!(!sender.holds_referrers());
}
