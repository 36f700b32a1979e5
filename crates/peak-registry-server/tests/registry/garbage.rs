//! Collecting garbage: nothing that is needed goes, nothing that is not stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use peak_oci::{Digest, RepositoryName, Selector};
use peak_registry_server::{
    CheckOptions, GarbageOptions, GarbageReport, Repository, Store, StoreError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::crash::{after_crash, by_tag, name, push, put};
use crate::support::{INDEX, Kind, MANIFEST, Registry, descriptor, image};

/// What is not needed goes at once.
fn at_once() -> GarbageOptions {
    GarbageOptions::new().grace(Duration::ZERO)
}

fn collect(store: &Store) -> GarbageReport {
    let report = store.collect_garbage(&at_once()).unwrap();
    assert_eq!(report.problems, []);
    report
}

fn content(store: &Store, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let directory = store
        .directory()
        .unwrap()
        .join("blobs/sha256")
        .join(&hex[..2]);
    directory.join(hex)
}

fn link(store: &Store, repository: &str, digest: &Digest) -> PathBuf {
    let links = store
        .directory()
        .unwrap()
        .join("repositories")
        .join(repository);
    links.join(format!("blobs/sha256-{}", digest.hex()))
}

/// The digests of all content on the disk.
fn contents(directory: &Path) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    for prefix in fs::read_dir(directory.join("blobs/sha256"))
        .into_iter()
        .flatten()
    {
        for file in fs::read_dir(prefix.unwrap().path()).unwrap() {
            let hex = file.unwrap().file_name().into_string().unwrap();
            found.insert(format!("sha256:{hex}").parse().unwrap());
        }
    }
    found
}

fn index(children: &[&Value]) -> Value {
    let children: Vec<Value> = children
        .iter()
        .map(|child| descriptor(MANIFEST, child.to_string().as_bytes()))
        .collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
}

fn put_by_digest(store: &Store, repository: &str, manifest: &Value) -> Result<Digest, StoreError> {
    let bytes = Bytes::from(manifest.to_string());
    let digest = Digest::sha256_of(&bytes);
    let media_type = manifest["mediaType"].as_str();
    store.repository(&name(repository)).put_manifest(
        &Selector::Digest(digest.clone()),
        media_type,
        bytes,
    )?;
    Ok(digest)
}

fn make_old(file: &Path, by: Duration) {
    File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_modified(SystemTime::now() - by)
        .unwrap();
}

#[test]
fn what_no_manifest_names_goes_and_the_space_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let config = push(&store, "a", b"{}");
    let layer = push(&store, "a", b"layer");
    let stray = push(&store, "a", b"stray blob");
    let manifest = put(&store, "a", "v1", &image(b"{}", &[b"layer"]));

    let planned = store.collect_garbage(&at_once().dry_run(true)).unwrap();
    assert!(planned.dry_run);
    assert!(store.repository(&name("a")).has_blob(&stray).unwrap());

    let report = collect(&store);
    assert_eq!(report.repositories, 1);
    assert_eq!((report.blobs.removed, report.blobs.kept), (1, 2));
    assert_eq!((report.manifests.removed, report.manifests.kept), (0, 1));
    assert_eq!((report.contents.removed, report.contents.kept), (1, 3));
    assert_eq!(report.removed_bytes, 10);
    // The plan said just that.
    let counts = |report: &GarbageReport| {
        let kinds = [report.manifests, report.blobs, report.contents];
        (kinds, report.removed_bytes, report.kept_bytes)
    };
    assert_eq!(counts(&report), counts(&planned));
    assert!(!store.repository(&name("a")).has_blob(&stray).unwrap());
    assert_eq!(
        contents(directory.path()),
        BTreeSet::from([config, layer, manifest.clone()])
    );

    // What is deleted goes with all that only it named, but for what another repository has.
    push(&store, "b", b"{}");
    store
        .repository(&name("a"))
        .delete_manifest(&Selector::Digest(manifest))
        .unwrap();
    put(&store, "b", "v1", &image(b"{}", &[]));
    let report = collect(&store);
    assert_eq!((report.blobs.removed, report.blobs.kept), (2, 1));
    assert_eq!((report.contents.removed, report.contents.kept), (2, 2));
    assert!(!store.repository(&name("a")).exists().unwrap());
    store
        .repository(&name("b"))
        .manifest(&by_tag("v1"))
        .unwrap();
}

#[test]
fn a_store_in_memory_is_collected_too() {
    let store = Store::in_memory();
    push(&store, "a", b"{}");
    let garbage = push(&store, "a", b"garbage");
    put(&store, "a", "v1", &image(b"{}", &[]));
    let report = store.collect_garbage(&GarbageOptions::new()).unwrap();
    assert_eq!((report.blobs.removed, report.blobs.spared), (0, 1));
    assert_eq!(collect(&store).removed_bytes, 7);
    assert!(!store.repository(&name("a")).has_blob(&garbage).unwrap());
    let report = store.check(&CheckOptions::new().contents(true)).unwrap();
    assert_eq!((report.contents, report.findings), (2, vec![]));
    assert!(store.start_report().is_none());
}

#[test]
fn what_is_young_or_was_asked_for_stays_for_the_time_of_grace() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let hour = Duration::from_secs(3600);
    let young = push(&store, "a", b"young");
    let asked = push(&store, "a", b"asked for");
    let mounted = push(&store, "a", b"mounted elsewhere");
    let old = push(&store, "a", b"old");
    for digest in [&asked, &mounted, &old] {
        make_old(&link(&store, "a", digest), 2 * hour);
        make_old(&content(&store, digest), 2 * hour);
    }
    let repository = store.repository(&name("a"));
    assert_eq!(repository.blob_size(&asked).unwrap(), 9);
    let elsewhere = store.repository(&name("b"));
    assert!(
        elsewhere
            .link_blob_from(repository.name(), &mounted)
            .unwrap()
    );
    let report = store
        .collect_garbage(&GarbageOptions::new().grace(hour))
        .unwrap();
    assert_eq!((report.blobs.removed, report.blobs.spared), (1, 4));
    assert_eq!(report.contents.removed, 1);
    assert_eq!(contents(directory.path()), [young, asked, mounted].into());
}

#[tokio::test]
async fn a_head_request_counts_as_asking() {
    let registry = Registry::new(Kind::Disk);
    let store_of = |path: &str| registry.directory().join(path);
    let digest = registry.push_blob("a", b"{}").await;
    let link = store_of(&format!("repositories/a/blobs/sha256-{}", digest.hex()));
    let (_, manifest) = registry.push_image("a", "v1", b"layer").await;
    let record = store_of(&format!(
        "repositories/a/manifests/sha256-{}",
        manifest.hex()
    ));
    let age = |file: &Path| {
        let metadata = fs::metadata(file).unwrap();
        metadata.modified().unwrap().elapsed().unwrap()
    };
    let day = Duration::from_secs(24 * 3600);
    for (file, path) in [
        (&link, format!("/v2/a/blobs/{digest}")),
        (&record, "/v2/a/manifests/v1".to_owned()),
    ] {
        make_old(file, 2 * day);
        assert!(age(file) > day);
        registry.head(&path).await.expect(200);
        assert!(age(file) < day, "{path}");
    }
}

#[test]
fn manifests_without_a_tag_stay_unless_they_are_asked_to_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    push(&store, "a", b"{}");
    push(&store, "a", b"one");
    push(&store, "a", b"two");
    push(&store, "a", b"three");
    let (one, two, three) = (
        image(b"{}", &[b"one"]),
        image(b"{}", &[b"two"]),
        image(b"{}", &[b"three"]),
    );
    let signature_of = |subject: &Value| {
        let mut signature = image(b"{}", &[]);
        signature["subject"] = descriptor(MANIFEST, subject.to_string().as_bytes());
        signature
    };
    let listed = put_by_digest(&store, "a", &one).unwrap();
    let list = index(&[&one]).to_string();
    store
        .repository(&name("a"))
        .put_manifest(&by_tag("all"), Some(INDEX), list.into())
        .unwrap();
    let signature = put_by_digest(&store, "a", &signature_of(&one)).unwrap();
    let lone = put_by_digest(&store, "a", &two).unwrap();
    let lone_signature = put_by_digest(&store, "a", &signature_of(&two)).unwrap();
    let lone_list = put_by_digest(&store, "a", &index(&[&two])).unwrap();
    let young = put_by_digest(&store, "a", &three).unwrap();

    let repository = store.repository(&name("a"));
    assert_eq!(collect(&store).manifests.removed, 0);
    for digest in [&listed, &signature, &lone, &lone_signature, &lone_list] {
        let file = format!("repositories/a/manifests/sha256-{}", digest.hex());
        make_old(&directory.path().join(file), Duration::from_secs(7200));
    }
    let options = GarbageOptions::new().untagged(true);
    let planned = store
        .collect_garbage(&options.clone().dry_run(true))
        .unwrap();
    let report = store.collect_garbage(&options).unwrap();
    assert_eq!(planned.manifests, report.manifests);
    assert_eq!(
        (
            report.manifests.removed,
            report.manifests.kept,
            report.manifests.spared
        ),
        (3, 3, 1)
    );
    for gone in [&lone, &lone_signature, &lone_list] {
        assert!(!repository.has_manifest(gone).unwrap());
    }
    for there in [&listed, &signature, &young] {
        repository
            .manifest(&Selector::Digest(there.clone()))
            .unwrap();
    }
    let referrers = |subject| repository.referrers_page(subject, None, 9).unwrap().items;
    assert_eq!(referrers(&listed), [signature]);
    assert_eq!(referrers(&lone), []);
    assert_eq!(
        store.check(&CheckOptions::new()).unwrap().findings,
        [],
        "nothing is left half-removed"
    );
}

#[test]
fn a_repository_with_a_damaged_manifest_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    push(&store, "broken", b"{}");
    let kept = push(&store, "broken", b"whatever the manifest named");
    let manifest = put(&store, "broken", "v1", &image(b"{}", &[]));
    let other = push(&store, "whole", b"not named");
    fs::write(content(&store, &manifest), "{}").unwrap();

    let report = store.collect_garbage(&at_once()).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].repository, Some(name("broken")));
    assert!(report.problems[0].reason.contains("its digest is"));
    assert_eq!((report.blobs.removed, report.contents.removed), (1, 1));
    assert!(contents(directory.path()).contains(&kept));
    assert!(!contents(directory.path()).contains(&other));

    // Where not even the record can be read, it is not known which file is the manifest's.
    push(&store, "whole", b"not named");
    let record = format!("repositories/broken/manifests/sha256-{}", manifest.hex());
    fs::write(directory.path().join(record), "{").unwrap();
    let report = store.collect_garbage(&at_once()).unwrap();
    assert_eq!(report.problems.len(), 2);
    assert_eq!(report.problems[1].repository, None);
    assert_eq!((report.blobs.removed, report.contents.removed), (1, 0));
}

#[test]
fn a_reader_that_has_a_blob_open_reads_it_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let digest = push(&store, "a", b"still being read");
    let mut blob = store.repository(&name("a")).blob(&digest).unwrap();
    assert_eq!(collect(&store).contents.removed, 1);
    let mut read = String::new();
    blob.content.read_to_string(&mut read).unwrap();
    assert_eq!(read, "still being read");
    assert!(matches!(
        store.repository(&name("a")).blob(&digest),
        Err(StoreError::BlobUnknown { .. })
    ));
}

/// Something that cannot be removed as a file stands in the way, and ends the collection there.
#[test]
fn a_collection_that_ends_in_the_middle_leaves_a_valid_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    push(&store, "a", b"{}");
    put(&store, "a", "v1", &image(b"{}", &[]));
    let garbage: Vec<Digest> = (0..40_u8).map(|n| push(&store, "a", &[n; 9])).collect();
    for obstacle in [
        content(&store, &garbage[20]),
        link(&store, "a", &garbage[20]),
    ] {
        for digest in &garbage {
            push(&store, "a", &[0; 9]);
            assert_eq!(digest.algorithm(), peak_oci::Algorithm::Sha256);
        }
        for n in 0..40_u8 {
            push(&store, "a", &[n; 9]);
        }
        fs::remove_file(&obstacle).unwrap();
        fs::create_dir_all(obstacle.join("in the way")).unwrap();
        assert!(matches!(
            store.collect_garbage(&at_once()),
            Err(StoreError::Io { .. })
        ));
        let (crashed, reopened) = after_crash(&store);
        reopened
            .repository(&name("a"))
            .manifest(&by_tag("v1"))
            .unwrap();
        // Each blob that the repository has left has its content.
        for digest in &garbage {
            match reopened.repository(&name("a")).blob(digest) {
                Ok(blob) => assert!(blob.size > 0),
                Err(StoreError::BlobUnknown { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        drop((reopened, crashed));

        // The next collection ends what this one began.
        fs::remove_dir_all(&obstacle).unwrap();
        collect(&store);
        assert_eq!(contents(directory.path()).len(), 2);
    }
}

#[test]
fn there_is_one_collection_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for n in 0..200_u8 {
        push(&store, "a", &[n; 3]);
    }
    let ended = AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut refused = 0;
            while !ended.load(Ordering::Relaxed) {
                match store.collect_garbage(&at_once().dry_run(true)) {
                    Ok(_) => {}
                    Err(StoreError::CollectionUnderWay) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            refused
        });
        let mut refused = 0;
        for _ in 0..2000 {
            match store.collect_garbage(&at_once().dry_run(true)) {
                Ok(report) => assert_eq!(report.blobs.removed, 200),
                Err(StoreError::CollectionUnderWay) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            if refused > 0 {
                break;
            }
        }
        ended.store(true, Ordering::Relaxed);
        refused + other.join().unwrap()
    });
    assert!(refused > 0);
    // The one that was refused has not ended the other's.
    assert_eq!(collect(&store).blobs.removed, 200);
}

#[test]
fn a_collection_that_is_stopped_ends_and_the_next_one_runs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    push(&store, "a", b"garbage");
    let flag = Arc::new(AtomicBool::new(true));
    let options = at_once().stop_when(Arc::clone(&flag));
    assert!(matches!(
        store.collect_garbage(&options),
        Err(StoreError::Stopped)
    ));
    flag.store(false, Ordering::Relaxed);
    assert_eq!(store.collect_garbage(&options).unwrap().blobs.removed, 1);
}

/// Pushes an image as a client does: asks for each blob first, and pushes again what the registry says is missing.
fn push_like_a_client(repository: &Repository, tag: &str, config: &[u8], layers: &[&[u8]]) {
    let manifest = image(config, layers).to_string();
    for _ in 0..1000 {
        for bytes in layers.iter().copied().chain([config]) {
            let digest = Digest::sha256_of(bytes);
            if !repository.has_blob(&digest).unwrap() {
                let mut upload = repository.new_upload().unwrap();
                upload.write(bytes).unwrap();
                upload.finish(&digest).unwrap();
            }
        }
        match repository.put_manifest(&by_tag(tag), Some(MANIFEST), manifest.clone().into()) {
            Ok(_) => return,
            Err(StoreError::ManifestBlobUnknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the blobs were collected each time");
}

/// An index whose images have no tags, pushed as a client does.
fn push_index_like_a_client(store: &Store, repository: &Repository, tag: &str, parts: &[&[u8]]) {
    let images: Vec<Value> = parts.iter().map(|part| image(b"{}", &[part])).collect();
    let list = index(&images.iter().collect::<Vec<_>>()).to_string();
    for _ in 0..1000 {
        let pushed = images.iter().zip(parts).try_for_each(|(image, part)| {
            for bytes in [*part, b"{}"] {
                push(store, repository.name().as_str(), bytes);
            }
            put_by_digest(store, repository.name().as_str(), image).map(drop)
        });
        let pushed = pushed.and_then(|()| {
            let bytes = Bytes::from(list.clone());
            repository.put_manifest(&by_tag(tag), Some(INDEX), bytes)
        });
        match pushed {
            Ok(_) => return,
            Err(StoreError::ManifestBlobUnknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the images were collected each time");
}

/// Everything below a tag is there, with the right digests.
fn read_whole(repository: &Repository, selector: &Selector) {
    let manifest = repository.manifest(selector).unwrap();
    for child in manifest.value().children() {
        if manifest.value().as_index().is_some() {
            read_whole(repository, &Selector::Digest(child.digest.clone()));
            continue;
        }
        let mut bytes = Vec::new();
        let mut blob = repository.blob(&child.digest).unwrap();
        blob.content.read_to_end(&mut bytes).unwrap();
        assert_eq!(Digest::sha256_of(&bytes), child.digest);
    }
}

#[test]
fn no_acknowledged_image_is_damaged_by_collections_beside_pushes() {
    const ROUNDS: u8 = 25;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let pushing = AtomicBool::new(true);
    let collections = std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut removed = 0;
            while pushing.load(Ordering::Relaxed) {
                let report = store.collect_garbage(&at_once().untagged(true)).unwrap();
                assert_eq!(report.problems, []);
                removed += report.contents.removed + report.manifests.removed;
            }
            removed
        });
        let pushers: Vec<_> = (0..3_usize)
            .map(|number| {
                let store = &store;
                scope.spawn(move || {
                    // Two of them share a repository, all share blobs, and what one deletes another needs.
                    let repository = store.repository(&name(["a", "a", "b"][number]));
                    for round in 0..ROUNDS {
                        let layers: [&[u8]; 2] = [&[round % 3; 64], &[round % 5 + 9; 64]];
                        let tag = format!("t{number}-{round}");
                        if round % 4 == 3 {
                            push_index_like_a_client(store, &repository, &tag, &layers);
                        } else {
                            push_like_a_client(&repository, &tag, b"{}", &layers);
                        }
                        read_whole(&repository, &by_tag(&tag));
                        if round % 3 != 0 {
                            repository.delete_manifest(&by_tag(&tag)).unwrap();
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = pushers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        pushing.store(false, Ordering::Relaxed);
        let removed = collector.join().unwrap();
        results.into_iter().for_each(Result::unwrap);
        removed
    });
    assert!(collections > 0, "nothing was ever collected");

    let mut tags = 0;
    for repository in store.repositories().unwrap() {
        let repository = store.repository(&repository);
        for tag in repository.tags().unwrap() {
            read_whole(&repository, &Selector::Tag(tag));
            tags += 1;
        }
    }
    assert_eq!(tags, 3 * usize::from(ROUNDS.div_ceil(3)));
    let report = store.check(&CheckOptions::new().contents(true)).unwrap();
    assert_eq!(report.findings, []);
}

/// A step of a random history. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    PushBlob(usize, u8),
    Mount(usize, u8),
    PutImage {
        repository: usize,
        blobs: Vec<u8>,
        subject: Option<usize>,
        tag: Option<u8>,
    },
    PutIndex {
        repository: usize,
        children: Vec<usize>,
        tag: Option<u8>,
    },
    Tag(usize, u8, usize),
    DeleteTag(usize, u8),
    DeleteManifest(usize, usize),
    DeleteBlob(usize, u8),
    Collect {
        untagged: bool,
        dry_run: bool,
    },
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let blob = || 0..5_u8;
    let manifest = || 0..12_usize;
    let tag = || proptest::option::of(0..3_u8);
    prop_oneof![
        4 => (0..2_usize, blob()).prop_map(|(repository, blob)| Step::PushBlob(repository, blob)),
        1 => (0..2_usize, blob()).prop_map(|(to, blob)| Step::Mount(to, blob)),
        4 => (0..2_usize, proptest::collection::vec(blob(), 1..4), proptest::option::of(manifest()), tag())
            .prop_map(|(repository, blobs, subject, tag)| Step::PutImage { repository, blobs, subject, tag }),
        2 => (0..2_usize, proptest::collection::vec(manifest(), 1..4), tag())
            .prop_map(|(repository, children, tag)| Step::PutIndex { repository, children, tag }),
        1 => (0..2_usize, 0..3_u8, manifest()).prop_map(|(repository, tag, manifest)| Step::Tag(repository, tag, manifest)),
        1 => (0..2_usize, 0..3_u8).prop_map(|(repository, tag)| Step::DeleteTag(repository, tag)),
        1 => (0..2_usize, manifest()).prop_map(|(repository, manifest)| Step::DeleteManifest(repository, manifest)),
        1 => (0..2_usize, blob()).prop_map(|(repository, blob)| Step::DeleteBlob(repository, blob)),
        3 => (any::<bool>(), proptest::bool::weighted(0.2))
            .prop_map(|(untagged, dry_run)| Step::Collect { untagged, dry_run }),
        1 => Just(Step::Crash),
    ]
}

/// What one repository should have.
#[derive(Debug, Default, Clone)]
struct Model {
    blobs: BTreeSet<Digest>,
    manifests: BTreeMap<Digest, Known>,
    tags: BTreeMap<u8, Digest>,
}

#[derive(Debug, Clone)]
struct Known {
    bytes: String,
    children: Vec<Digest>,
    subject: Option<Digest>,
}

impl Model {
    fn pick(&self, number: usize) -> Option<Digest> {
        let count = self.manifests.len();
        (count > 0).then(|| self.manifests.keys().nth(number % count).unwrap().clone())
    }

    fn has(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest) || self.manifests.contains_key(digest)
    }

    fn collect(&mut self, untagged: bool) {
        if untagged {
            let mut reached: BTreeSet<Digest> = self.tags.values().cloned().collect();
            loop {
                let more: Vec<Digest> =
                    self.manifests
                        .iter()
                        .flat_map(|(digest, known)| {
                            let children = known.children.iter().cloned();
                            let children = children.filter(|_| reached.contains(digest));
                            let refers = known.subject.as_ref().is_some_and(|s| {
                                reached.contains(s) && self.manifests.contains_key(s)
                            });
                            children
                                .chain(refers.then(|| digest.clone()))
                                .collect::<Vec<_>>()
                        })
                        .filter(|digest| !reached.contains(digest))
                        .collect();
                if more.is_empty() {
                    break;
                }
                reached.extend(more);
            }
            self.manifests.retain(|digest, _| reached.contains(digest));
        }
        let named: BTreeSet<&Digest> = self
            .manifests
            .values()
            .flat_map(|known| &known.children)
            .collect();
        self.blobs.retain(|digest| named.contains(digest));
    }
}

const REPOSITORIES: [&str; 2] = ["one", "two/deep"];

fn blob_bytes(number: u8) -> Vec<u8> {
    vec![number; usize::from(number) + 1]
}

fn selector(tag: Option<u8>, digest: &Digest) -> Selector {
    tag.map_or_else(
        || Selector::Digest(digest.clone()),
        |tag| by_tag(&format!("t{tag}")),
    )
}

/// Puts a manifest, and expects that it is taken exactly when everything in it is there.
fn put_known(
    store: &Store,
    repository: &RepositoryName,
    model: &mut Model,
    tag: Option<u8>,
    known: Known,
) {
    let digest = Digest::sha256_of(known.bytes.as_bytes());
    let result = store.repository(repository).put_manifest(
        &selector(tag, &digest),
        None,
        known.bytes.clone().into(),
    );
    if known.children.iter().all(|child| model.has(child)) {
        result.unwrap();
        model.manifests.insert(digest.clone(), known);
        if let Some(tag) = tag {
            model.tags.insert(tag, digest);
        }
    } else {
        assert!(
            matches!(result, Err(StoreError::ManifestBlobUnknown { .. })),
            "{result:?}"
        );
    }
}

/// The image of these blobs, the first as its config, about one that the model has.
fn known_image(model: &Model, blobs: &[u8], subject: Option<usize>) -> Known {
    let contents: Vec<Vec<u8>> = blobs.iter().map(|blob| blob_bytes(*blob)).collect();
    let layers: Vec<&[u8]> = contents.iter().skip(1).map(Vec::as_slice).collect();
    let mut manifest = image(&contents[0], &layers);
    let subject = subject.and_then(|number| model.pick(number));
    if let Some(subject) = &subject {
        let bytes = &model.manifests[subject].bytes;
        manifest["subject"] = descriptor(MANIFEST, bytes.as_bytes());
    }
    Known {
        bytes: manifest.to_string(),
        children: contents
            .iter()
            .map(|bytes| Digest::sha256_of(bytes))
            .collect(),
        subject,
    }
}

/// An index of manifests that the model has.
fn known_index(model: &Model, children: &[usize]) -> Known {
    let children: Vec<Digest> = children
        .iter()
        .filter_map(|number| model.pick(*number))
        .collect();
    let listed: Vec<Value> = children
        .iter()
        .map(|child| {
            let bytes = &model.manifests[child].bytes;
            let document: Value = serde_json::from_str(bytes).unwrap();
            descriptor(document["mediaType"].as_str().unwrap(), bytes.as_bytes())
        })
        .collect();
    Known {
        bytes: json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).to_string(),
        children,
        subject: None,
    }
}

/// Collects garbage in the store and in the models, and compares what is left on the disk.
fn collect_both(store: &Store, models: &mut [Model; 2], untagged: bool, dry_run: bool) {
    let before = contents(store.directory().unwrap());
    let options = at_once().untagged(untagged).dry_run(dry_run);
    let report = store.collect_garbage(&options).unwrap();
    assert_eq!(report.problems, []);
    let mut after = models.clone();
    for model in &mut after {
        model.collect(untagged);
    }
    let needed: BTreeSet<Digest> = after
        .iter()
        .flat_map(|model| model.blobs.iter().chain(model.manifests.keys()))
        .cloned()
        .collect();
    let gone = (before.len() - needed.len()) as u64;
    assert_eq!(report.contents.removed, gone);
    if dry_run {
        assert_eq!(contents(store.directory().unwrap()), before);
    } else {
        assert_eq!(contents(store.directory().unwrap()), needed);
        *models = after;
    }
}

fn play(
    store: &mut Store,
    directories: &mut Vec<tempfile::TempDir>,
    models: &mut [Model; 2],
    step: Step,
) {
    let names = REPOSITORIES.map(name);
    match step {
        Step::PushBlob(repository, blob) => {
            let digest = push(store, REPOSITORIES[repository], &blob_bytes(blob));
            models[repository].blobs.insert(digest);
        }
        Step::Mount(to, blob) => {
            let digest = Digest::sha256_of(&blob_bytes(blob));
            let from = 1 - to;
            let mounted = store
                .repository(&names[to])
                .link_blob_from(&names[from], &digest)
                .unwrap();
            assert_eq!(mounted, models[from].blobs.contains(&digest));
            if mounted {
                models[to].blobs.insert(digest);
            }
        }
        Step::PutImage {
            repository,
            blobs,
            subject,
            tag,
        } => {
            let known = known_image(&models[repository], &blobs, subject);
            put_known(
                store,
                &names[repository],
                &mut models[repository],
                tag,
                known,
            );
        }
        Step::PutIndex {
            repository,
            children,
            tag,
        } => {
            let known = known_index(&models[repository], &children);
            put_known(
                store,
                &names[repository],
                &mut models[repository],
                tag,
                known,
            );
        }
        Step::Tag(repository, tag, number) => {
            if let Some(digest) = models[repository].pick(number) {
                store
                    .repository(&names[repository])
                    .put_tag(&format!("t{tag}").parse().unwrap(), &digest)
                    .unwrap();
                models[repository].tags.insert(tag, digest);
            }
        }
        Step::DeleteTag(repository, tag) => {
            let there = models[repository].tags.remove(&tag).is_some();
            let result = store
                .repository(&names[repository])
                .delete_manifest(&by_tag(&format!("t{tag}")));
            assert_eq!(result.is_ok(), there);
        }
        Step::DeleteManifest(repository, number) => {
            if let Some(digest) = models[repository].pick(number) {
                store
                    .repository(&names[repository])
                    .delete_manifest(&Selector::Digest(digest.clone()))
                    .unwrap();
                models[repository].manifests.remove(&digest);
                models[repository]
                    .tags
                    .retain(|_, target| *target != digest);
            }
        }
        Step::DeleteBlob(repository, blob) => {
            let digest = Digest::sha256_of(&blob_bytes(blob));
            let result = store.repository(&names[repository]).delete_blob(&digest);
            assert_eq!(result.is_ok(), models[repository].blobs.remove(&digest));
        }
        Step::Collect { untagged, dry_run } => {
            collect_both(store, models, untagged, dry_run);
        }
        Step::Crash => {
            let (directory, reopened) = after_crash(store);
            directories.push(directory);
            *store = reopened;
        }
    }
}

/// Everything that the model has is readable, and nothing else is there.
fn compare(store: &Store, models: &[Model; 2]) {
    for (repository, model) in REPOSITORIES.iter().zip(models) {
        let handle = store.repository(&name(repository));
        for blob in 0..5 {
            let bytes = blob_bytes(blob);
            let digest = Digest::sha256_of(&bytes);
            match handle.blob(&digest) {
                Ok(mut blob) => {
                    assert!(model.blobs.contains(&digest));
                    let mut read = Vec::new();
                    blob.content.read_to_end(&mut read).unwrap();
                    assert_eq!(read, bytes);
                }
                Err(StoreError::BlobUnknown { .. }) => assert!(!model.blobs.contains(&digest)),
                Err(error) => panic!("{error}"),
            }
        }
        for (digest, known) in &model.manifests {
            let (_, bytes) = handle
                .manifest_bytes(&Selector::Digest(digest.clone()))
                .unwrap();
            assert_eq!(bytes, known.bytes);
            if let Some(subject) = &known.subject {
                assert!(
                    handle
                        .referrers_page(subject, None, 99)
                        .unwrap()
                        .items
                        .contains(digest)
                );
            }
        }
        let tags: Vec<String> = handle
            .tags()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            tags,
            model
                .tags
                .keys()
                .map(|tag| format!("t{tag}"))
                .collect::<Vec<_>>()
        );
        for (tag, target) in &model.tags {
            let entry = handle.manifest_entry(&by_tag(&format!("t{tag}"))).unwrap();
            assert_eq!(entry.digest, *target);
        }
    }
    let report = store.check(&CheckOptions::new().contents(true)).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.repaired, 0, "{report:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_is_reached_and_nothing_else(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let mut directories = vec![directory];
        let mut models = [Model::default(), Model::default()];
        for step in steps {
            play(&mut store, &mut directories, &mut models, step);
        }
        play(&mut store, &mut directories, &mut models, Step::Collect { untagged: false, dry_run: false });
        compare(&store, &models);
    }
}
