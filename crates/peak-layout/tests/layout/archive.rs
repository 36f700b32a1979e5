//! OCI archives.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use peak_layout::{ArchiveError, LayoutError, OciArchive, OciArchiveWriter};
use peak_oci::{
    Algorithm, ContentErrorKind, Descriptor, Digest, MediaType, Placement, Selector, Sink, Source,
};

use crate::support::{Memory, Wrap, chain, read_blob, transfer, write_blob};

fn image() -> Memory {
    let mut memory = Memory::default();
    let layers = [
        (vec![1; 700_001], Wrap::Plain),
        (Vec::new(), Wrap::Plain),
        (b"three".to_vec(), Wrap::Gzip),
    ];
    memory.image(&layers, Algorithm::Sha256, false);
    memory
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_and_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/image.tar");
    let memory = image();
    let writer = OciArchiveWriter::create(&path).unwrap();
    let root = transfer(&memory, &writer, Some("v1")).await.unwrap();
    assert_eq!(names(path.parent().unwrap()), ["image.tar"]);

    let archive = OciArchive::open(&path).unwrap();
    assert_eq!(archive.images(), ["v1"]);
    let tag = Selector::Tag("v1".parse().unwrap());
    let read = archive.manifest(Some(&tag)).await.unwrap();
    assert_eq!(read.bytes(), root.bytes());
    let report = peak_oci::validate(&archive, None).await.unwrap();
    assert_eq!(report, peak_oci::validate(&memory, None).await.unwrap());

    let layer = &root.value().as_image().unwrap().layers[0];
    assert_eq!(read_blob(&archive, layer, 500_000).await, vec![1; 200_001]);
    assert_eq!(read_blob(&archive, layer, 700_001).await, b"");
    let behind = archive.blob(layer, 700_002).await.err().unwrap();
    assert_eq!(behind.kind(), ContentErrorKind::Invalid);
    assert_eq!(archive.blob_size(&layer.digest).await.unwrap(), 700_001);
    let other = Digest::sha256_of(b"other");
    let missing = archive.blob_size(&other).await.unwrap_err();
    assert_eq!(missing.kind(), ContentErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_image_gives_the_same_bytes_whatever_arrives_first() {
    let folder = tempfile::tempdir().unwrap();
    let memory = image();
    let mut written = Vec::new();
    for number in 0..4 {
        let path = folder.path().join(format!("{number}.tar"));
        let writer = OciArchiveWriter::create(&path).unwrap();
        transfer(&memory, &writer, None).await.unwrap();
        written.push(fs::read(&path).unwrap());
    }
    assert!(written.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn until_it_is_complete_the_archive_before_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    fs::write(&path, "before").unwrap();
    let memory = image();
    let root = memory.manifest(None).await.unwrap();
    let image = root.value().as_image().unwrap();
    let placement = Placement::Root { tag: None };

    let writer = OciArchiveWriter::create(&path).unwrap();
    assert_eq!(names(folder.path()), ["image.tar"]);
    let blobs: Vec<Descriptor> = std::iter::once(&image.config)
        .chain(&image.layers)
        .cloned()
        .collect();
    writer.prepare(&root, &blobs).await.unwrap();
    assert_eq!(names(folder.path()).len(), 2);
    write_blob(&memory, &writer, &image.config).await.unwrap();
    assert!(writer.has_blob(&image.config).await.unwrap());

    // Wrong bytes, and too many, are refused; the blob can come again.
    let layer = &image.layers[0];
    let mut wrong = writer.blob_writer(layer).await.unwrap();
    for _ in 0..7 {
        wrong.write(Bytes::from(vec![2; 100_000])).await.unwrap();
    }
    wrong.write(Bytes::from_static(b"2")).await.unwrap();
    let error = wrong.commit().await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    let mut long = writer.blob_writer(layer).await.unwrap();
    let error = long.write(Bytes::from(vec![1; 700_002])).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    drop(long);
    let open = writer.blob_writer(layer).await.unwrap();
    let second = writer.blob_writer(layer).await.err().unwrap();
    assert!(
        chain(&second).contains("is being written"),
        "{}",
        chain(&second)
    );
    drop(open);
    let mut other_size = layer.clone();
    other_size.size += 1;
    let error = writer.blob_writer(&other_size).await.err().unwrap();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);

    let early = writer.put_manifest(&root, &placement).await.unwrap_err();
    assert!(
        chain(&early).contains("have not arrived"),
        "{}",
        chain(&early)
    );
    assert_eq!(fs::read(&path).unwrap(), b"before");
    for layer in &image.layers {
        write_blob(&memory, &writer, layer).await.unwrap();
    }
    writer.put_manifest(&root, &placement).await.unwrap();
    let archive = OciArchive::open(&path).unwrap();
    peak_oci::validate(&archive, None).await.unwrap();

    let late = writer.put_manifest(&root, &placement).await.unwrap_err();
    assert!(chain(&late).contains("takes one image"), "{}", chain(&late));
    assert_eq!(names(folder.path()), ["image.tar"]);
}

#[tokio::test]
async fn an_archive_given_up_leaves_nothing_and_one_killed_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let layer = Descriptor::of(MediaType::OCI_LAYER, b"layer");
    let writer = OciArchiveWriter::create(&path).unwrap();
    let mut blob = writer.blob_writer(&layer).await.unwrap();
    blob.write(Bytes::from_static(b"lay")).await.unwrap();
    assert_eq!(names(folder.path()).len(), 1);

    // Somebody else begins the same archive: what is still written stays, what nobody holds goes.
    let killed = folder.path().join(".image.tar.unfinished-killed");
    fs::write(&killed, "x").unwrap();
    let second = OciArchiveWriter::create(&path).unwrap();
    let other = second.blob_writer(&layer).await.unwrap();
    assert!(!killed.exists());
    assert_eq!(names(folder.path()).len(), 2);

    drop((blob, writer, other, second));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn what_cannot_be_an_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = OciArchiveWriter::create(folder.path()).unwrap_err();
    assert!(matches!(directory, LayoutError::NotAFile { .. }));
    let directory = OciArchive::open(folder.path()).unwrap_err();
    assert!(matches!(directory, LayoutError::NotAFile { .. }));
    let absent = OciArchive::open(folder.path().join("absent")).unwrap_err();
    assert!(matches!(absent, LayoutError::NoArchive { .. }));

    for (name, bytes, how) in [
        ("gz", crate::support::wrap(b"x", Wrap::Gzip), "gzip"),
        ("zst", crate::support::wrap(b"x", Wrap::Zstd), "zstd"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = OciArchive::open(&path).unwrap_err();
        let LayoutError::Archive { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(matches!(source, ArchiveError::Compressed { .. }));
        assert!(chain(&error).contains(how), "{}", chain(&error));
    }
}

/// What a link leads to is replaced, not the link.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_an_archive_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real.tar");
    let link = folder.path().join("link.tar");
    fs::write(&real, "before").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let writer = OciArchiveWriter::create(&link).unwrap();
    transfer(&image(), &writer, None).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    OciArchive::open(&real).unwrap();
}
