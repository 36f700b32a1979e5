//! A layout directory seen from outside: what is on disk, what a reader sees, what a broken run leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::TryStreamExt;
use peak_layout::{Directory, LayoutError};
use peak_oci::{
    ContentErrorKind, Descriptor, Digest, ImageManifest, Manifest, MediaType, Placement, Raw,
    Selector, Sink, Source,
};

const CONFIG: &str =
    r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

fn describe(media_type: MediaType, content: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::sha256_of(content), content.len() as u64)
}

async fn put_blob(layout: &Directory, descriptor: &Descriptor, content: &[u8]) {
    let mut writer = layout.blob_writer(descriptor).await.unwrap();
    for part in content.chunks(4099) {
        writer.write(Bytes::copy_from_slice(part)).await.unwrap();
    }
    assert_eq!(writer.offset(), content.len() as u64);
    writer.commit().await.unwrap();
}

/// An image without layers; `comment` makes it differ from others.
async fn put_image(layout: &Directory, comment: &str, tag: Option<&str>) -> Raw<Manifest> {
    let config = CONFIG.replace("amd64", comment);
    let descriptor = describe(MediaType::OCI_CONFIG, config.as_bytes());
    put_blob(layout, &descriptor, config.as_bytes()).await;
    let manifest = ImageManifest::new(descriptor, Vec::new()).to_raw().unwrap();
    let tag = tag.map(|tag| tag.parse().unwrap());
    layout
        .put_manifest(&manifest, &Placement::Root { tag })
        .await
        .unwrap();
    manifest
}

/// Every file below `root` with its content, so that "nothing changed" can be said exactly.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
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

fn partial_files(root: &Path) -> usize {
    // Who writes no more leaves no such folder.
    fs::read_dir(root.join(".peak-layout/partial")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_begun_layout_is_not_one_until_its_first_image_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/layout");
    let layout = Directory::create(&path).unwrap();
    let descriptor = describe(MediaType::OCI_CONFIG, CONFIG.as_bytes());
    put_blob(&layout, &descriptor, CONFIG.as_bytes()).await;
    assert!(!path.join("oci-layout").exists());
    assert!(!path.join("index.json").exists());
    assert!(matches!(
        Directory::open(&path),
        Err(LayoutError::Unfinished { .. })
    ));
    drop(layout);

    // The next run finds the finished blob.
    let layout = Directory::create(&path).unwrap();
    assert!(layout.has_blob(&descriptor).await.unwrap());
    let manifest = put_image(&layout, "amd64", Some("v1")).await;
    assert_eq!(
        fs::read_to_string(path.join("oci-layout")).unwrap(),
        r#"{"imageLayoutVersion":"1.0.0"}"#
    );
    let opened = Directory::open(&path).unwrap();
    assert_eq!(
        opened.manifest(None).await.unwrap().digest(),
        manifest.digest()
    );
    assert_eq!(opened.images().await.unwrap(), ["v1"]);
    peak_oci::validate(&opened, None).await.unwrap();
}

#[test]
fn what_cannot_become_a_layout_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let site = folder.path().join("site");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.json"), "[1]").unwrap();
    let odd = folder.path().join("odd");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("oci-layout"), r#"{"imageLayoutVersion":"9.0"}"#).unwrap();
    let before = snapshot(folder.path());

    let refused = |path: &Path| Directory::create(path).unwrap_err();
    assert!(matches!(refused(&file), LayoutError::NotADirectory { .. }));
    let below = refused(&file.join("below"));
    assert!(
        matches!(below, LayoutError::NotADirectory { .. }),
        "{below}"
    );
    assert!(matches!(refused(&site), LayoutError::NotALayout { .. }));
    assert!(matches!(refused(&odd), LayoutError::Version { .. }));
    assert_eq!(snapshot(folder.path()), before);

    let absent = Directory::open(folder.path().join("absent")).unwrap_err();
    assert!(matches!(absent, LayoutError::NotFound { .. }));
    assert!(!folder.path().join("absent").exists());
}

#[tokio::test]
async fn wrong_content_is_an_integrity_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Directory::create(folder.path()).unwrap();
    let descriptor = describe(MediaType::OCI_LAYER, b"expected");

    // Same length, other bytes: known at the end.
    let mut writer = layout.blob_writer(&descriptor).await.unwrap();
    writer.write(Bytes::from_static(b"EXPECTED")).await.unwrap();
    let error = writer.commit().await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);

    // Too long: known at once, and the writer is of no further use.
    let mut writer = layout.blob_writer(&descriptor).await.unwrap();
    let error = writer
        .write(Bytes::from_static(b"expected and more"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains(descriptor.digest.hex()), "{source}");
    assert!(writer.commit().await.is_err());

    // Too short.
    let mut writer = layout.blob_writer(&descriptor).await.unwrap();
    writer.write(Bytes::from_static(b"exp")).await.unwrap();
    let error = writer.commit().await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);

    // Wrong, and larger than what is taken in at once.
    let large = vec![1; 1024 * 1024];
    let other = describe(MediaType::OCI_LAYER, &large);
    let mut writer = layout.blob_writer(&other).await.unwrap();
    for _ in 0..4 {
        let part = Bytes::from(vec![2; 256 * 1024]);
        writer.write(part).await.unwrap();
    }
    let error = writer.commit().await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    put_blob(&layout, &other, &large).await;
    assert!(layout.has_blob(&other).await.unwrap());

    // Given up.
    let given_up = describe(MediaType::OCI_LAYER, &vec![3; 1024 * 1024]);
    let mut writer = layout.blob_writer(&given_up).await.unwrap();
    writer.write(Bytes::from_static(b"exp")).await.unwrap();
    assert_eq!(partial_files(folder.path()), 1);
    drop(writer);

    assert_eq!(partial_files(folder.path()), 0);
    assert!(!layout.has_blob(&given_up).await.unwrap());
}

#[tokio::test]
async fn leftovers_of_a_crash_go_but_not_those_of_a_living_writer() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Directory::create(folder.path()).unwrap();
    // The file of a smaller one is not there before its bytes.
    let slow = vec![4; 1024 * 1024];
    let descriptor = describe(MediaType::OCI_LAYER, &slow);
    let mut writer = layout.blob_writer(&descriptor).await.unwrap();
    drop(layout);
    fs::write(folder.path().join(".peak-layout/partial/crashed"), "x").unwrap();

    let second = Directory::create(folder.path()).unwrap();
    assert_eq!(partial_files(folder.path()), 2);
    writer.write(Bytes::from(slow)).await.unwrap();
    writer.commit().await.unwrap();
    assert!(second.has_blob(&descriptor).await.unwrap());
    drop(second);

    let third = Directory::create(folder.path()).unwrap();
    assert_eq!(partial_files(folder.path()), 0);
    drop(third);
}

#[tokio::test]
async fn nothing_but_the_layout_is_left_when_the_last_writer_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layout");
    let layout = Directory::create(&path).unwrap();
    put_image(&layout, "only", None).await;
    let second = Directory::create(&path).unwrap();
    drop(layout);
    assert!(
        path.join(".peak-layout").exists(),
        "the second still writes"
    );
    drop(second);
    let mut names: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
}

#[tokio::test]
async fn a_directory_made_for_an_image_that_never_came_goes_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layout");
    let descriptor = describe(MediaType::OCI_LAYER, b"content");
    drop(Directory::create(&path).unwrap());
    assert!(!path.exists());

    let layout = Directory::create(&path).unwrap();
    let mut writer = layout.blob_writer(&descriptor).await.unwrap();
    writer.write(Bytes::from_static(b"cont")).await.unwrap();
    drop(writer);
    drop(layout);
    assert!(!path.exists());

    // What was there before stays, and so does a blob that is complete.
    fs::create_dir(&path).unwrap();
    drop(Directory::create(&path).unwrap());
    assert!(path.exists());
    let layout = Directory::create(&path).unwrap();
    let mut writer = layout.blob_writer(&descriptor).await.unwrap();
    writer.write(Bytes::from_static(b"content")).await.unwrap();
    writer.commit().await.unwrap();
    drop(layout);
    let layout = Directory::create(&path).unwrap();
    assert!(layout.has_blob(&descriptor).await.unwrap());
}

/// Nothing that a link in a layout from elsewhere leads to is made, changed or removed.
#[cfg(unix)]
#[tokio::test]
async fn links_in_a_begun_layout_do_not_lead_the_writer_out() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir_all(outside.join("empty")).unwrap();
    let names = |path: &Path| -> Vec<_> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };

    let root = folder.path().join("area");
    fs::create_dir(&root).unwrap();
    symlink(&outside, root.join(".peak-layout")).unwrap();
    let error = Directory::create(&root).unwrap_err();
    assert!(
        matches!(error, LayoutError::NotADirectory { .. }),
        "{error}"
    );
    assert_eq!(names(&outside), ["empty"]);

    let root = folder.path().join("blobs");
    fs::create_dir_all(root.join(".peak-layout")).unwrap();
    symlink(&outside, root.join("blobs")).unwrap();
    let layout = Directory::create(&root).unwrap();
    let small = describe(MediaType::OCI_LAYER, b"content");
    let mut writer = layout.blob_writer(&small).await.unwrap();
    writer.write(Bytes::from_static(b"content")).await.unwrap();
    let error = writer.commit().await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Invalid);
    let large = describe(MediaType::OCI_LAYER, &vec![5; 1024 * 1024]);
    let error = layout.blob_writer(&large).await.err().unwrap();
    assert_eq!(error.kind(), ContentErrorKind::Invalid);
    drop(layout);
    assert_eq!(names(&outside), ["empty"]);
}

#[test]
fn a_leftover_that_cannot_be_removed_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join(".peak-layout/partial/stuck")).unwrap();
    Directory::create(folder.path()).unwrap();
}

#[test]
fn who_comes_while_the_last_writer_goes_finds_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layout");
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..500 {
                    drop(Directory::create(&path).unwrap());
                }
            });
        }
    });
}

#[tokio::test]
async fn the_index_keeps_what_it_does_not_know_and_other_images() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Directory::create(folder.path()).unwrap();
    let first = put_image(&layout, "first", Some("v1")).await;
    let path = folder.path().join("index.json");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen('{', r#"{"x-other":{"kept":[1,2]},"#, 1);
    fs::write(&path, text).unwrap();

    let second = put_image(&layout, "second", Some("v2")).await;
    let third = put_image(&layout, "third", Some("v2")).await;
    let index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(index["x-other"]["kept"], serde_json::json!([1, 2]));
    let digests: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap())
        .collect();
    assert_eq!(
        digests,
        [first.digest().to_string(), third.digest().to_string()]
    );

    let reader = Directory::open(folder.path()).unwrap();
    let error = reader.manifest(None).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Invalid);
    let by_tag = Selector::Tag("v1".parse().unwrap());
    assert_eq!(
        reader.manifest(Some(&by_tag)).await.unwrap().digest(),
        first.digest()
    );
    // Replaced, but still there by its digest.
    let by_digest = Selector::Digest(second.digest().clone());
    assert_eq!(
        reader.manifest(Some(&by_digest)).await.unwrap().bytes(),
        second.bytes()
    );
}

#[tokio::test]
async fn two_writers_at_once_lose_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = Vec::new();
    for number in 0..8 {
        let layout = Directory::create(folder.path()).unwrap();
        tasks.push(tokio::spawn(async move {
            put_image(&layout, "same", Some(&format!("v{number}"))).await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let images = Directory::open(folder.path()).unwrap().images().await;
    assert_eq!(images.unwrap().len(), 8);
}

#[tokio::test]
async fn a_blob_is_read_from_an_offset_and_links_out_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("layout");
    let layout = Directory::create(&root).unwrap();
    let content: Vec<u8> = (0..700_000_u32)
        .map(|number| number.to_le_bytes()[0])
        .collect();
    let descriptor = describe(MediaType::OCI_LAYER, &content);
    put_blob(&layout, &descriptor, &content).await;

    let read = layout.blob(&descriptor, 300_001).await.unwrap();
    assert_eq!((read.offset, read.size), (300_001, Some(700_000)));
    let bytes: Vec<Bytes> = read.stream.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), content[300_001..]);
    let behind = layout.blob(&descriptor, 700_001).await.err().unwrap();
    assert_eq!(behind.kind(), ContentErrorKind::Invalid);

    #[cfg(unix)]
    {
        let secret = folder.path().join("secret");
        fs::write(&secret, "private").unwrap();
        let linked = describe(MediaType::OCI_LAYER, b"private");
        std::os::unix::fs::symlink(&secret, root.join("blobs/sha256").join(linked.digest.hex()))
            .unwrap();
        let error = layout.blob(&linked, 0).await.err().unwrap();
        assert_eq!(error.kind(), ContentErrorKind::Invalid);
        assert!(!layout.has_blob(&linked).await.unwrap());
    }
}

#[tokio::test]
async fn a_signed_manifest_is_refused_because_it_has_not_the_digest_of_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layout");
    let layout = Directory::create(&path).unwrap();
    let signed = r#"{"schemaVersion":1,"fsLayers":[],"history":[],"signatures":[{"protected":"eyJmb3JtYXRMZW5ndGgiOjQ1LCJmb3JtYXRUYWlsIjoiZlEifQ","signature":"c2ln"}]}"#;
    let signed = Manifest::parse(Bytes::from_static(signed.as_bytes()), None).unwrap();
    let error = layout
        .put_manifest(&signed, &Placement::Root { tag: None })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Unsupported);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains(signed.digest().hex()), "{cause}");
    assert!(!path.join("index.json").exists());

    put_image(&layout, "amd64", None).await;
    let config = Digest::sha256_of(CONFIG.as_bytes());
    assert_eq!(
        layout.blob_size(&config).await.unwrap(),
        CONFIG.len() as u64
    );
    let missing = layout.blob_size(&Digest::sha256_of(b"none")).await;
    assert_eq!(missing.unwrap_err().kind(), ContentErrorKind::NotFound);
}
