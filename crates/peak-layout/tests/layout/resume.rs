//! What an interrupted run has left of a blob, and the next one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use peak_layout::Directory;
use peak_oci::{
    Algorithm, BlobEvent, BlobOutcome, BlobWriter, ContentErrorKind, Descriptor, MediaType, Sink,
    TakeError,
};

use crate::support::{Memory, Wrap, read_blob, transfer};

const MIB: usize = 1024 * 1024;

fn content() -> Vec<u8> {
    (0..6 * MIB)
        .map(|number| u8::try_from(number % 251).unwrap())
        .collect()
}

fn layer() -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER, &content())
}

fn partial(root: &Path, layer: &Descriptor) -> PathBuf {
    root.join(format!(
        ".peak-layout/partial/sha256-{}",
        layer.digest.hex()
    ))
}

fn partials(root: &Path) -> usize {
    fs::read_dir(root.join(".peak-layout/partial")).map_or(0, Iterator::count)
}

async fn write(writer: &mut Box<dyn BlobWriter>, bytes: &[u8]) {
    for piece in bytes.chunks(128 * 1024) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
}

/// Writes `count` MiB of the blob and breaks off.
async fn interrupt(root: &Path, count: usize) {
    let layout = Directory::create(root).unwrap();
    let mut writer = layout.blob_writer(&layer()).await.unwrap();
    assert_eq!(writer.offset(), 0);
    write(&mut writer, &content()[..count * MIB]).await;
    drop(writer);
    drop(layout);
    // The last batch is written by a thread that nobody waits for.
    let expected = (count * MIB) as u64;
    for _ in 0..1000 {
        let length = fs::metadata(partial(root, &layer())).map_or(0, |metadata| metadata.len());
        if length == expected
            && File::open(partial(root, &layer()))
                .unwrap()
                .try_lock()
                .is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the beginning of the blob was not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_goes_on_where_the_last_one_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("layout");
    interrupt(&root, 4).await;
    assert!(Directory::open(&root).is_err(), "it is no layout yet");

    let layout = Directory::create(&root).unwrap();
    let mut writer = layout.blob_writer(&layer()).await.unwrap();
    assert_eq!(writer.offset(), 4 * MIB as u64);
    write(&mut writer, &content()[4 * MIB..]).await;
    writer.commit().await.unwrap();
    assert_eq!(read_blob(&layout, &layer(), 0).await, content());
    assert_eq!(partials(&root), 0);

    // With its image it is a layout like any other.
    let mut memory = Memory::default();
    memory.image(&[(content(), Wrap::Plain)], Algorithm::Sha256, false);
    transfer(&memory, &layout, None).await.unwrap();
    drop(layout);
    assert!(!root.join(".peak-layout").exists());
    let layout = Directory::open(&root).unwrap();
    peak_oci::validate(&layout, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_in_a_finished_layout_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("layout");
    let layout = Directory::create(&root).unwrap();
    let mut memory = Memory::default();
    memory.image(&[(b"other".to_vec(), Wrap::Gzip)], Algorithm::Sha256, false);
    transfer(&memory, &layout, Some("v1")).await.unwrap();
    drop(layout);
    interrupt(&root, 2).await;
    let layout = Directory::open(&root).unwrap();
    peak_oci::validate(&layout, None).await.unwrap();
    assert_eq!(fs::read_dir(root.join("blobs/sha256")).unwrap().count(), 3);
    assert!(!layout.has_blob(&layer()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_beginning_that_is_complete_is_there_already() {
    let folder = tempfile::tempdir().unwrap();
    interrupt(folder.path(), 6).await;
    let layout = Directory::create(folder.path()).unwrap();
    assert!(!layout.has_blob(&layer()).await.unwrap());
    let writer = layout.blob_writer(&layer()).await.unwrap();
    assert_eq!(writer.offset(), layer().size);
    writer.commit().await.unwrap();
    assert!(layout.has_blob(&layer()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_beginning_is_wrong_is_taken_once_more_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    interrupt(root, 4).await;
    let mut bytes = fs::read(partial(root, &layer())).unwrap();
    bytes[MIB] ^= 1;
    fs::write(partial(root, &layer()), bytes).unwrap();

    let layout = Directory::create(root).unwrap();
    let mut memory = Memory::default();
    memory.image(&[(content(), Wrap::Plain)], Algorithm::Sha256, false);
    let events = Mutex::new(Vec::new());
    let note = |event| events.lock().unwrap().push(event);
    let outcome = layout.take_blob(&layer(), &memory, &note).await.unwrap();
    assert_eq!(outcome, BlobOutcome::Copied);
    assert_eq!(read_blob(&layout, &layer(), 0).await, content());
    assert_eq!(partials(root), 0);

    // Each byte counts once, and it is said that something went wrong.
    let events = events.into_inner().unwrap();
    let offset = 4 * MIB as u64;
    assert_eq!(events.first(), Some(&BlobEvent::Started { offset }));
    assert!(events.contains(&BlobEvent::Retried { offset: 0 }));
    let counted: u64 = events
        .iter()
        .map(|event| match event {
            BlobEvent::Bytes { count } => *count,
            _ => 0,
        })
        .sum();
    assert_eq!(offset + counted, layer().size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_wrong_is_not_asked_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    interrupt(root, 4).await;
    let layout = Directory::create(root).unwrap();
    let mut wrong = content();
    wrong[5 * MIB] ^= 1;
    let mut memory = Memory::default();
    memory.blobs.insert(layer().digest, wrong.into());
    let error = layout
        .take_blob(&layer(), &memory, &|_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, TakeError::Sink(error) if error.kind() == ContentErrorKind::Integrity));
    assert!(!layout.has_blob(&layer()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_is_wrong_costs_one_run_and_not_two() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    interrupt(root, 4).await;
    let mut bytes = fs::read(partial(root, &layer())).unwrap();
    bytes[MIB] ^= 1;
    fs::write(partial(root, &layer()), bytes).unwrap();

    let layout = Directory::create(root).unwrap();
    let mut writer = layout.blob_writer(&layer()).await.unwrap();
    assert_eq!(writer.offset(), 4 * MIB as u64);
    write(&mut writer, &content()[4 * MIB..]).await;
    let error = writer.commit().await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    assert!(!layout.has_blob(&layer()).await.unwrap());

    let mut writer = layout.blob_writer(&layer()).await.unwrap();
    assert_eq!(writer.offset(), 0);
    write(&mut writer, &content()).await;
    writer.commit().await.unwrap();
    assert_eq!(read_blob(&layout, &layer(), 0).await, content());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_is_longer_than_the_blob_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    interrupt(root, 4).await;
    let file = File::options()
        .write(true)
        .open(partial(root, &layer()))
        .unwrap();
    file.set_len(7 * MIB as u64).unwrap();
    drop(file);
    let layout = Directory::create(root).unwrap();
    assert_eq!(layout.blob_writer(&layer()).await.unwrap().offset(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_blob_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (one, other) = (
        Directory::create(root).unwrap(),
        Directory::create(root).unwrap(),
    );
    let mut first = one.blob_writer(&layer()).await.unwrap();
    write(&mut first, &content()[..3 * MIB]).await;
    let mut second = other.blob_writer(&layer()).await.unwrap();
    assert_eq!(second.offset(), 0);
    write(&mut second, &content()).await;
    assert_eq!(partials(root), 2);
    second.commit().await.unwrap();
    assert_eq!(read_blob(&other, &layer(), 0).await, content());
    write(&mut first, &content()[3 * MIB..]).await;
    first.commit().await.unwrap();
    assert_eq!(read_blob(&one, &layer(), 0).await, content());
    drop((one, other));
    assert!(!root.join(".peak-layout/partial").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_goes_when_its_blob_has_come_otherwise_or_it_is_old_or_small() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("layout");
    let layout = Directory::create(&root).unwrap();
    let mut first = layout.blob_writer(&layer()).await.unwrap();
    write(&mut first, &content()[..2 * MIB]).await;
    let mut second = layout.blob_writer(&layer()).await.unwrap();
    write(&mut second, &content()).await;
    second.commit().await.unwrap();
    drop(first);
    drop(layout);
    // Whoever writes last, be it a thread, takes the area away or the next run does.
    drop(Directory::create(&root).unwrap());
    assert_eq!(partials(&root), 0);

    let old = folder.path().join("old");
    interrupt(&old, 2).await;
    let file = File::options()
        .write(true)
        .open(partial(&old, &layer()))
        .unwrap();
    let week_ago = SystemTime::now() - Duration::from_secs(8 * 24 * 60 * 60);
    file.set_modified(week_ago).unwrap();
    drop(file);
    drop(Directory::create(&old).unwrap());
    assert_eq!(partials(&old), 0);

    let small = folder.path().join("small");
    let layout = Directory::create(&small).unwrap();
    let mut writer = layout.blob_writer(&layer()).await.unwrap();
    write(&mut writer, b"too little to keep").await;
    drop(writer);
    drop(layout);
    assert!(!small.exists());
}

/// A layout from elsewhere may have anything where a beginning would be.
#[cfg(unix)]
#[tokio::test]
async fn links_in_place_of_a_beginning_are_not_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("layout");
    let outside = folder.path().join("outside");
    fs::write(&outside, vec![7; 2 * MIB]).unwrap();
    for hard in [false, true] {
        fs::create_dir_all(root.join(".peak-layout/partial")).unwrap();
        // Somebody writes, so that nobody clears away.
        let layout = Directory::create(&root).unwrap();
        let path = partial(&root, &layer());
        if hard {
            fs::hard_link(&outside, &path).unwrap();
        } else {
            std::os::unix::fs::symlink(&outside, &path).unwrap();
        }
        let mut writer = layout.blob_writer(&layer()).await.unwrap();
        assert_eq!(writer.offset(), 0);
        write(&mut writer, &content()).await;
        writer.commit().await.unwrap();
        assert_eq!(fs::read(&outside).unwrap(), vec![7; 2 * MIB]);
        drop(layout);
        fs::remove_dir_all(&root).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_leave_both_images() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("layout");
    let mut runs = Vec::new();
    for number in 0..4 {
        let layout = Directory::create(&root).unwrap();
        runs.push(tokio::spawn(async move {
            let mut memory = Memory::default();
            let own = vec![number; 2 * MIB];
            let layers = [(content(), Wrap::Plain), (own, Wrap::Gzip)];
            memory.image(&layers, Algorithm::Sha256, false);
            let tag = format!("v{number}");
            transfer(&memory, &layout, Some(&tag)).await.unwrap();
        }));
    }
    for run in runs {
        run.await.unwrap();
    }
    let layout = Directory::open(&root).unwrap();
    assert_eq!(layout.images().await.unwrap().len(), 4);
    for number in 0..4 {
        let tag = peak_oci::Selector::Tag(format!("v{number}").parse().unwrap());
        peak_oci::validate(&layout, Some(&tag)).await.unwrap();
    }
    assert!(!root.join(".peak-layout").exists());
}
