//! What is left by a process that died, and how the store comes back from it.
//!
//! A copy of the directory, taken while the store is at work, is what a crash would have left at
//! that moment.

use std::fs;

use bytes::Bytes;
use peak_oci::{Digest, RepositoryName, Selector, Tag};
use peak_registry_server::{Store, StoreError};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{MANIFEST, copy, descriptor, image, unfinished};

/// The store as it would come back if the process died now.
pub(crate) fn after_crash(store: &Store) -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    copy(store.directory().unwrap(), directory.path());
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

pub(crate) fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

pub(crate) fn by_tag(text: &str) -> Selector {
    Selector::Tag(text.parse().unwrap())
}

pub(crate) fn push(store: &Store, repository: &str, content: &[u8]) -> Digest {
    let mut upload = store.repository(&name(repository)).new_upload().unwrap();
    upload.write(content).unwrap();
    let digest = Digest::sha256_of(content);
    upload.finish(&digest).unwrap();
    digest
}

pub(crate) fn put(
    store: &Store,
    repository: &str,
    tag: &str,
    manifest: &serde_json::Value,
) -> Digest {
    let bytes = Bytes::from(manifest.to_string());
    let repository = store.repository(&name(repository));
    repository
        .put_manifest(&by_tag(tag), Some(MANIFEST), bytes)
        .unwrap()
        .digest()
        .clone()
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(&error, StoreError::InUse { directory: named } if named == directory.path()));
    assert!(
        error
            .to_string()
            .contains(directory.path().to_str().unwrap())
    );

    // An upload keeps it open: its file is in there.
    let upload = store.repository(&name("a")).new_upload().unwrap();
    drop(store);
    assert!(matches!(
        Store::open(directory.path()),
        Err(StoreError::InUse { .. })
    ));
    drop(upload);
    Store::open(directory.path()).unwrap();
}

#[test]
fn a_closed_store_is_free() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        let store = Store::open(directory.path()).unwrap();
        let upload = store.repository(&name("a")).new_upload().unwrap();
        let writer = std::thread::spawn(move || {
            let mut upload = upload;
            upload.write(b"half").unwrap();
        });
        store.close();
        Store::open(directory.path()).unwrap().close();
        writer.join().unwrap();
    }
}

#[test]
fn somebody_elses_directory_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }));
    assert!(error.to_string().contains("thesis.txt"));

    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    fs::write(
        directory.path().join("registry.json"),
        r#"{"layoutVersion":99}"#,
    )
    .unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains("99"), "{error}");
}

#[test]
fn directories_above_the_store_are_created() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("state/of/registry")).unwrap();
    push(&store, "a", b"works");
    assert_eq!(store.repositories().unwrap(), [name("a")]);
}

#[test]
fn a_crash_during_the_first_start_is_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("lock"), "").unwrap();
    fs::create_dir(directory.path().join("temporary")).unwrap();
    fs::write(directory.path().join("temporary/half"), "{\"lay").unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(unfinished(directory.path()), 0);
    push(&store, "a", b"works");
}

#[test]
fn what_was_acknowledged_is_there_and_the_rest_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let config = push(&store, "a", b"{}");

    let mut upload = store.repository(&name("a")).new_upload().unwrap();
    upload.write(b"half a la").unwrap();
    let (crashed, reopened) = after_crash(&store);
    let repository = reopened.repository(&name("a"));
    assert!(repository.has_blob(&config).unwrap());
    assert!(
        !repository
            .has_blob(&Digest::sha256_of(b"half a la"))
            .unwrap()
    );
    assert_eq!(unfinished(crashed.path()), 0);
    assert_eq!(repository.tags().unwrap(), Vec::<Tag>::new());

    upload.write(b"yer").unwrap();
    let layer = Digest::sha256_of(b"half a layer");
    assert_eq!(upload.finish(&layer).unwrap(), 12);
    let (_crashed, reopened) = after_crash(&store);
    assert_eq!(
        reopened.repository(&name("a")).blob(&layer).unwrap().size,
        12
    );
    assert!(matches!(
        reopened.repository(&name("a")).manifest(&by_tag("v1")),
        Err(StoreError::ManifestUnknown { .. })
    ));

    let digest = put(&store, "a", "v1", &image(b"{}", &[b"half a layer"]));
    let (_crashed, reopened) = after_crash(&store);
    let manifest = reopened
        .repository(&name("a"))
        .manifest(&by_tag("v1"))
        .unwrap();
    assert_eq!(*manifest.digest(), digest);
    assert_eq!(reopened.repositories().unwrap(), [name("a")]);
}

#[test]
fn content_without_its_entry_in_a_repository_is_not_visible() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    // The crash came between the content's rename and the repository's entry.
    let digest = push(&store, "a", b"content");
    let file = format!("repositories/a/blobs/sha256-{}", digest.hex());
    fs::remove_file(directory.path().join(file)).unwrap();
    let (_crashed, reopened) = after_crash(&store);
    assert!(!reopened.repository(&name("a")).has_blob(&digest).unwrap());
    assert!(reopened.repositories().unwrap().is_empty());
    // The push is repeated.
    assert_eq!(push(&reopened, "a", b"content"), digest);
    assert!(reopened.repository(&name("a")).has_blob(&digest).unwrap());
}

#[test]
fn a_deletion_that_was_decided_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    push(&store, "a/b", b"{}");
    let subject = image(b"{}", &[]);
    let kept = put(&store, "a/b", "kept", &subject);
    let mut manifest = image(b"{}", &[]);
    manifest["subject"] = descriptor(MANIFEST, subject.to_string().as_bytes());
    manifest["artifactType"] = json!("application/x");
    let digest = put(&store, "a/b", "v1", &manifest);
    put(&store, "a/b", "v2", &manifest);

    // The crash came right after the rename that decides.
    let record = format!("repositories/a+b/manifests/sha256-{}", digest.hex());
    let decided = directory.path().join("deleting/decided");
    fs::rename(directory.path().join(record), decided).unwrap();
    let (crashed, reopened) = after_crash(&store);
    let repository = reopened.repository(&name("a/b"));
    assert_eq!(repository.tags().unwrap(), ["kept".parse::<Tag>().unwrap()]);
    assert!(
        repository
            .referrers_page(&kept, None, 10)
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(
        fs::read_dir(crashed.path().join("deleting"))
            .unwrap()
            .count(),
        0
    );
    let entries = crashed
        .path()
        .join(format!("repositories/a+b/referrers/sha256-{}", kept.hex()));
    assert_eq!(fs::read_dir(entries).unwrap().count(), 0);
}

#[test]
fn damage_is_told_and_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    push(&store, "a", b"{}");
    let digest = put(&store, "a", "v1", &image(b"{}", &[]));
    let repository = store.repository(&name("a"));
    let content = directory.path().join(format!(
        "blobs/sha256/{}/{}",
        &digest.hex()[..2],
        digest.hex()
    ));
    let original = fs::read(&content).unwrap();
    fs::write(&content, "something else").unwrap();
    let error = repository.manifest(&by_tag("v1")).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { path, .. } if *path == content),
        "{error}"
    );
    fs::remove_file(&content).unwrap();
    assert!(matches!(
        repository.manifest(&by_tag("v1")),
        Err(StoreError::Damaged { .. })
    ));
    // Pushing it again mends it.
    let selector = Selector::Digest(digest);
    repository
        .put_manifest(&selector, Some(MANIFEST), original.into())
        .unwrap();
    repository.manifest(&by_tag("v1")).unwrap();

    fs::write(directory.path().join("repositories/a/tags/v1"), "nonsense").unwrap();
    assert!(matches!(
        repository.manifest(&by_tag("v1")),
        Err(StoreError::Damaged { .. })
    ));
}

#[cfg(unix)]
#[test]
fn symbolic_links_among_the_leftovers_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let outside = tempfile::tempdir().unwrap();
    let precious = outside.path().join("precious");
    fs::write(&precious, "keep me").unwrap();
    let link = directory.path().join("temporary/link");
    std::os::unix::fs::symlink(&precious, &link).unwrap();
    drop(Store::open(directory.path()).unwrap());
    assert!(!link.exists());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "keep me");
}

#[test]
fn an_upload_that_is_dropped_or_cancelled_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let repository = store.repository(&name("a"));
    let mut upload = repository.new_upload().unwrap();
    upload.write(b"x").unwrap();
    assert_eq!(unfinished(directory.path()), 1);
    drop(upload);
    repository.new_upload().unwrap().cancel().unwrap();
    let error = repository
        .new_upload()
        .unwrap()
        .finish(&Digest::sha256_of(b"x"))
        .unwrap_err();
    assert!(matches!(error, StoreError::DigestMismatch { .. }));
    assert_eq!(unfinished(directory.path()), 0);
    assert!(!repository.exists().unwrap());
}

#[test]
fn an_encoder_can_write_into_an_upload() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let repository = store.repository(&name("a"));
    let mut upload = repository.new_upload().unwrap();
    let content = vec![7; 300_000];
    std::io::copy(&mut content.as_slice(), &mut upload).unwrap();
    assert_eq!(upload.received(), 300_000);
    let digest = Digest::sha256_of(&content);
    upload.finish(&digest).unwrap();

    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut repository.blob(&digest).unwrap().content, &mut read).unwrap();
    assert_eq!(read, content);
    assert!(
        store
            .repository(&name("b"))
            .link_blob_from(&name("a"), &digest)
            .unwrap()
    );
    assert!(
        !store
            .repository(&name("b"))
            .link_blob_from(&name("c"), &digest)
            .unwrap()
    );
    assert_eq!(
        store.repository(&name("b")).blob_size(&digest).unwrap(),
        300_000
    );
}

#[test]
fn a_path_that_cannot_be_used_is_named_in_the_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("registry")).unwrap_err();
    assert!(
        matches!(&error, StoreError::Io { path, .. } if path.starts_with(&file)),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());
}
