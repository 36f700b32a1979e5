//! The check of the store: at the start after an end that was not clean, and when it is asked for.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use peak_oci::{Digest, Selector};
use peak_registry_server::{CheckOptions, CheckReport, FindingKind, Store, StoreError};
use serde_json::Value;

use crate::crash::{after_crash, by_tag, name, push, put};
use crate::support::{MANIFEST, descriptor, image};

fn check(store: &Store) -> CheckReport {
    store.check(&CheckOptions::new()).unwrap()
}

/// Kinds and paths of what was found.
fn found(report: &CheckReport) -> Vec<(FindingKind, &str)> {
    report
        .findings
        .iter()
        .map(|finding| (finding.kind, finding.path.as_str()))
        .collect()
}

fn content_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}/{}", &digest.hex()[..2], digest.hex())
}

struct Pushed {
    config: Digest,
    layer: Digest,
    manifest: Digest,
    document: Value,
}

fn pushed(store: &Store) -> Pushed {
    let document = image(b"{}", &[b"layer"]);
    Pushed {
        config: push(store, "a", b"{}"),
        layer: push(store, "a", b"layer"),
        manifest: put(store, "a", "v1", &document),
        document,
    }
}

/// A manifest that refers to the pushed one, and its entry among the referrers.
fn refer(store: &Store, pushed: &Pushed) -> (Digest, PathBuf) {
    let mut signature = image(b"{}", &[]);
    signature["subject"] = descriptor(MANIFEST, pushed.document.to_string().as_bytes());
    let digest = put(store, "a", "signature", &signature);
    let entry = format!(
        "repositories/a/referrers/sha256-{}/sha256-{}",
        pushed.manifest.hex(),
        digest.hex()
    );
    (digest, store.directory().unwrap().join(entry))
}

#[test]
fn a_store_that_was_closed_is_not_checked_and_one_that_was_not_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    pushed(&store);
    let (_crashed, reopened) = after_crash(&store);
    let report = reopened.start_report().unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(
        (
            report.repositories,
            report.manifests,
            report.tags,
            report.blobs,
            report.contents
        ),
        (1, 1, 1, 2, 3)
    );
    store.close();
    let store = Store::open(directory.path()).unwrap();
    assert!(store.start_report().is_none());
    // From its start on it counts as not closed.
    let (_crashed, reopened) = after_crash(&store);
    assert!(reopened.start_report().is_some());
}

#[test]
fn a_start_that_was_refused_says_nothing_about_the_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    Store::open(directory.path()).unwrap_err();
    assert!(!directory.path().join("clean").exists());
}

#[test]
fn entries_of_referrers_are_put_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = pushed(&store);
    let (signature, entry) = refer(&store, &image);
    // The crash came before the record was there.
    let stray = entry.with_file_name(format!("sha256-{}", image.layer.hex()));
    fs::write(&stray, "").unwrap();
    fs::remove_file(&entry).unwrap();

    let (crashed, reopened) = after_crash(&store);
    let report = reopened.start_report().unwrap();
    assert_eq!(report.repaired, 2);
    assert!(report.is_sound());
    let relative = |path: &PathBuf| path.strip_prefix(directory.path()).unwrap().to_owned();
    assert!(!crashed.path().join(relative(&stray)).exists());
    let referrers = reopened
        .repository(&name("a"))
        .referrers_page(&image.manifest, None, 9)
        .unwrap();
    assert_eq!(referrers.items, [signature]);
    assert_eq!(check(&reopened).findings, []);
}

#[test]
fn an_entry_under_another_subject_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = pushed(&store);
    let (_, entry) = refer(&store, &image);
    let wrong = entry.with_file_name(format!("sha256-{}", image.manifest.hex()));
    fs::write(&wrong, "").unwrap();
    let report = check(&store);
    assert_eq!(report.repaired, 1);
    assert!(!wrong.exists());
    assert!(entry.exists());
}

#[test]
fn content_that_is_missing_or_of_another_size_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = pushed(&store);
    fs::remove_file(directory.path().join(content_path(&image.config))).unwrap();
    fs::write(directory.path().join(content_path(&image.layer)), "lay").unwrap();
    let report = check(&store);
    assert!(!report.is_sound());
    assert_eq!(report.damaged, 2);
    assert_eq!(
        found(&report),
        [
            (FindingKind::Damaged, content_path(&image.layer).as_str()),
            (FindingKind::Damaged, content_path(&image.config).as_str()),
        ]
    );
    // The same is told at a start after a crash, which serves what is whole.
    let (_crashed, reopened) = after_crash(&store);
    assert_eq!(reopened.start_report().unwrap().damaged, 2);
    reopened
        .repository(&name("a"))
        .manifest(&by_tag("v1"))
        .unwrap();
    // Pushing it again mends it.
    pushed(&store);
    assert_eq!(check(&store).findings, []);
}

#[test]
fn only_reading_it_shows_content_of_the_same_size_that_is_another() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = pushed(&store);
    fs::write(directory.path().join(content_path(&image.layer)), "liar!").unwrap();
    assert!(check(&store).is_sound());
    let report = store.check(&CheckOptions::new().contents(true)).unwrap();
    assert_eq!(
        found(&report),
        [(FindingKind::Damaged, content_path(&image.layer).as_str())]
    );
    let all = 2 + 5 + image.document.to_string().len();
    assert_eq!(report.read_bytes, all as u64);
}

#[test]
fn a_check_that_is_stopped_ends() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    pushed(&store);
    let options = CheckOptions::new().stop_when(Arc::new(AtomicBool::new(true)));
    assert!(matches!(store.check(&options), Err(StoreError::Stopped)));
}

#[test]
fn manifests_and_records_that_cannot_be_read_are_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = pushed(&store);
    fs::write(directory.path().join(content_path(&image.manifest)), "{}").unwrap();
    let report = check(&store);
    assert_eq!(
        found(&report),
        [(FindingKind::Damaged, content_path(&image.manifest).as_str())]
    );
    let record = format!("repositories/a/manifests/sha256-{}", image.manifest.hex());
    fs::write(directory.path().join(&record), "{").unwrap();
    assert_eq!(
        found(&check(&store)),
        [(FindingKind::Damaged, record.as_str())]
    );
}

#[test]
fn a_tag_without_its_manifest_is_told_and_left() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = pushed(&store);
    let record = format!("repositories/a/manifests/sha256-{}", image.manifest.hex());
    fs::remove_file(directory.path().join(record)).unwrap();
    fs::write(directory.path().join("repositories/a/tags/v2"), "nonsense").unwrap();
    let report = check(&store);
    let mut kinds = found(&report);
    kinds.sort_by_key(|(_, path)| *path);
    assert_eq!(
        kinds,
        [
            (FindingKind::DanglingTag, "repositories/a/tags/v1"),
            (FindingKind::Damaged, "repositories/a/tags/v2"),
        ]
    );
    assert_eq!(report.damaged, 2);
    let repository = store.repository(&name("a"));
    assert!(matches!(
        repository.manifest(&by_tag("v1")),
        Err(StoreError::ManifestUnknown { .. })
    ));
    // The manifest comes back, and with it the tag.
    let bytes = image.document.to_string();
    repository
        .put_manifest(
            &Selector::Digest(image.manifest),
            Some(MANIFEST),
            bytes.into(),
        )
        .unwrap();
    repository.manifest(&by_tag("v1")).unwrap();
}

#[test]
fn what_a_user_deleted_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = pushed(&store);
    store
        .repository(&name("a"))
        .delete_blob(&image.layer)
        .unwrap();
    let report = check(&store);
    assert!(report.is_sound());
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].kind, FindingKind::Incomplete);
    assert!(report.findings[0].reason.contains(image.layer.as_str()));
}

#[test]
fn foreign_files_are_told_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = pushed(&store);
    let prefix = &image.layer.hex()[..2];
    let foreign = [
        "notes.txt".to_owned(),
        "blobs/md5".to_owned(),
        "blobs/sha256/README".to_owned(),
        format!("blobs/sha256/{prefix}/{}", image.config.hex()),
        "repositories/Not A Name".to_owned(),
        "repositories/a/more".to_owned(),
        "repositories/a/blobs/.DS_Store".to_owned(),
        "repositories/a/manifests/x".to_owned(),
        "repositories/a/tags/-x".to_owned(),
    ];
    for file in &foreign {
        fs::write(directory.path().join(file), "mine").unwrap();
    }
    // A file where a repository could be is one without anything in it.
    fs::write(directory.path().join("repositories/file"), "mine").unwrap();
    let report = check(&store);
    assert!(report.is_sound());
    let mut paths: Vec<&str> = report.findings.iter().map(|f| f.path.as_str()).collect();
    paths.sort_unstable();
    let mut expected: Vec<&str> = foreign.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(paths, expected);
    assert!(
        report
            .findings
            .iter()
            .all(|f| f.kind == FindingKind::Foreign)
    );
    for file in &foreign {
        assert_eq!(fs::read(directory.path().join(file)).unwrap(), b"mine");
    }
    assert_eq!(store.repositories().unwrap(), [name("a")]);
}

#[test]
fn a_deletion_that_cannot_be_read_is_no_reason_not_to_start() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    pushed(&store);
    fs::write(directory.path().join("deleting/decided"), "{").unwrap();
    let (_crashed, reopened) = after_crash(&store);
    reopened
        .repository(&name("a"))
        .manifest(&by_tag("v1"))
        .unwrap();
    let report = reopened.start_report().unwrap();
    assert_eq!(found(report), [(FindingKind::Damaged, "deleting/decided")]);
}
