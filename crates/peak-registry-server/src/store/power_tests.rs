//! The power fails at every step of a sequence of changes, and the store comes back right.
//!
//! After each failure the store is opened again, and checked against what was acknowledged: what a
//! finished change made is there with the right bytes, of the one that was cut off each part is
//! there or not there and nothing is half made, and whatever is listed can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use peak_oci::{Algorithm, Digest, RepositoryName, Selector, Tag};
use serde_json::json;

use crate::store::files::power::{FailingDisk, Failure};
use crate::store::layout::Layout;
use crate::store::{CheckOptions, GarbageOptions, Repository, Store, StoreError};

const ROOT: &str = "/registry";

/// A change of the store.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// A blob, as a builder of images writes it.
    Push(&'static str, &'static str),
    /// A blob, as clients send it over several requests.
    PushInParts(&'static str, &'static str),
    Mount(&'static str, &'static str, &'static str),
    /// A manifest that says this of itself, maybe about another one, under a tag.
    Put(
        &'static str,
        &'static str,
        Option<&'static str>,
        &'static str,
    ),
    Tag(&'static str, &'static str, &'static str),
    Untag(&'static str, &'static str),
    Delete(&'static str, &'static str),
    DeleteBlob(&'static str, &'static str),
    /// Of garbage; with manifests that have no tag, if so said.
    Collect(bool),
}

use Change::{Collect, Delete, DeleteBlob, Mount, Push, PushInParts, Put, Tag as SetTag, Untag};

const CHANGES: &[Change] = &[
    Push("a", "{}"),
    Push("a", "layer"),
    Put("a", "one", None, "v1"),
    PushInParts("b/c", "a layer in parts"),
    Put("a", "two", None, "v1"),
    SetTag("a", "one", "old"),
    Mount("b/c", "a", "{}"),
    Put("b/c", "one", None, "v1"),
    Put("a", "about one", Some("one"), "sig"),
    Untag("a", "old"),
    SetTag("a", "one", "again"),
    SetTag("a", "one", "again2"),
    // The same once more, over what is there.
    Push("a", "layer"),
    Put("a", "one", None, "v1"),
    Delete("a", "one"),
    Delete("a", "about one"),
    PushInParts("a", "layer"),
    Put("a", "one", None, "v1"),
    DeleteBlob("b/c", "a layer in parts"),
    Delete("b/c", "one"),
    Collect(false),
    Push("a", "layer"),
    Put("a", "about one", Some("one"), "sig"),
    Untag("a", "sig"),
    Put("a", "about two", Some("two"), "sig"),
    Untag("a", "sig"),
    Collect(true),
    Push("b/c", "{}"),
];

/// What a store has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Content {
    blobs: BTreeSet<(String, String)>,
    manifests: BTreeSet<(String, String)>,
    tags: BTreeMap<(String, String), String>,
}

impl Content {
    fn after(&self, change: Change) -> Self {
        let mut content = self.clone();
        let key = |one: &str, two: &str| (one.to_owned(), two.to_owned());
        match change {
            Push(name, blob) | PushInParts(name, blob) | Mount(name, _, blob) => {
                content.blobs.insert(key(name, blob));
            }
            Put(name, text, _, tag) => {
                content.manifests.insert(key(name, text));
                content.tags.insert(key(name, tag), text.to_owned());
            }
            SetTag(name, text, tag) => {
                content.tags.insert(key(name, tag), text.to_owned());
            }
            Untag(name, tag) => {
                content.tags.remove(&key(name, tag));
            }
            Delete(name, text) => {
                content.manifests.remove(&key(name, text));
                content
                    .tags
                    .retain(|(of, _), target| of != name || target != text);
            }
            DeleteBlob(name, blob) => {
                content.blobs.remove(&key(name, blob));
            }
            Collect(untagged) => content.collect(untagged),
        }
        content
    }

    fn collect(&mut self, untagged: bool) {
        let tagged: BTreeSet<_> = self
            .tags
            .iter()
            .map(|((name, _), text)| (name.clone(), text.clone()))
            .collect();
        self.manifests.retain(|(name, text)| {
            let subject = MANIFESTS[text.as_str()].subject.unwrap_or(text);
            let reached = [text.as_str(), subject]
                .iter()
                .any(|text| tagged.contains(&(name.clone(), (*text).to_owned())));
            reached || !untagged
        });
        // It is all that the manifests name.
        let named: BTreeSet<_> = self
            .manifests
            .iter()
            .map(|(name, _)| (name.clone(), "{}".to_owned()))
            .collect();
        self.blobs.retain(|blob| named.contains(blob));
    }
}

fn manifest(text: &str, subject: Option<&str>) -> Bytes {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "artifactType": "application/x",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": Digest::sha256_of(b"{}").to_string(),
            "size": 2,
        },
        "layers": [],
        "annotations": { "text": text },
    });
    if let Some(subject) = subject {
        let bytes = self::manifest(subject, None);
        manifest["subject"] = json!({
            "mediaType": kind,
            "digest": Digest::sha256_of(&bytes).to_string(),
            "size": bytes.len(),
        });
    }
    Bytes::from(manifest.to_string())
}

/// A manifest that is put at some time.
struct Known {
    subject: Option<&'static str>,
    bytes: Bytes,
    digest: Digest,
}

static MANIFESTS: LazyLock<BTreeMap<&str, Known>> = LazyLock::new(|| {
    let put = CHANGES.iter().filter_map(|change| match change {
        Put(_, text, subject, _) => Some((*text, *subject)),
        _ => None,
    });
    put.map(|(text, subject)| {
        let bytes = manifest(text, subject);
        let known = Known {
            subject,
            digest: Digest::sha256_of(&bytes),
            bytes,
        };
        (text, known)
    })
    .collect()
});

/// Every blob that is pushed at some time.
static BLOBS: LazyLock<BTreeMap<&str, Digest>> = LazyLock::new(|| {
    let pushed = CHANGES.iter().filter_map(|change| match change {
        Push(_, blob) | PushInParts(_, blob) => Some(*blob),
        _ => None,
    });
    pushed
        .map(|blob| (blob, Digest::sha256_of(blob.as_bytes())))
        .collect()
});

fn digest_of(text: &str) -> Digest {
    MANIFESTS[text].digest.clone()
}

fn repository(store: &Store, name: &str) -> Repository {
    store.repository(&name.parse().unwrap())
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn open(disk: &FailingDisk) -> Result<Store, StoreError> {
    Store::recovered(Layout::new(Path::new(ROOT)), Box::new(disk.clone()))
}

fn make(store: &Store, change: Change) -> Result<(), StoreError> {
    match change {
        Push(name, blob) => {
            let mut upload = repository(store, name).new_upload()?;
            upload.write(blob.as_bytes())?;
            upload.finish(&Digest::sha256_of(blob.as_bytes())).map(drop)
        }
        PushInParts(name, blob) => {
            let mut upload = repository(store, name).new_lasting_upload(Algorithm::Sha512)?;
            upload.keep();
            for part in blob.as_bytes().chunks(4) {
                upload.write(part)?;
                upload.pause();
            }
            upload.finish(&Digest::sha256_of(blob.as_bytes())).map(drop)
        }
        Mount(name, from, blob) => {
            let digest = Digest::sha256_of(blob.as_bytes());
            let done = repository(store, name).link_blob_from(&from.parse().unwrap(), &digest)?;
            assert!(done);
            Ok(())
        }
        Put(name, text, subject, at) => repository(store, name)
            .put_manifest(&Selector::Tag(tag(at)), None, manifest(text, subject))
            .map(drop),
        SetTag(name, text, at) => repository(store, name).put_tag(&tag(at), &digest_of(text)),
        Untag(name, at) => repository(store, name).delete_manifest(&Selector::Tag(tag(at))),
        Delete(name, text) => {
            repository(store, name).delete_manifest(&Selector::Digest(digest_of(text)))
        }
        DeleteBlob(name, blob) => {
            repository(store, name).delete_blob(&Digest::sha256_of(blob.as_bytes()))
        }
        Collect(untagged) => {
            let options = GarbageOptions::new().grace(Duration::ZERO);
            let report = store.collect_garbage(&options.untagged(untagged))?;
            assert_eq!(report.problems, []);
            Ok(())
        }
    }
}

/// What the store has; fails if any of it cannot be read or is not what it should be.
fn read(store: &Store) -> Content {
    let mut content = Content::default();
    let mut names: Vec<RepositoryName> = ["a", "b/c"].map(|name| name.parse().unwrap()).into();
    // All that are listed, and those that should be: an entry that leads nowhere is found too.
    names.extend(store.repositories().unwrap());
    names.sort();
    names.dedup();
    for name in &names {
        let repository = store.repository(name);
        for (blob, digest) in &*BLOBS {
            if repository.has_blob(digest).unwrap() {
                let mut found = repository.blob(digest).unwrap().content;
                let bytes = found.read_bytes(1024).unwrap();
                assert_eq!(bytes, blob.as_bytes(), "the bytes of a blob");
                content.blobs.insert((name.to_string(), (*blob).to_owned()));
            }
        }
        for (text, known) in &*MANIFESTS {
            let listed = known.subject.is_some_and(|subject| {
                let page = repository.referrers_page(&digest_of(subject), None, 10);
                page.unwrap().items.contains(&known.digest)
            });
            match repository.manifest_bytes(&Selector::Digest(known.digest.clone())) {
                Ok((_, bytes)) => {
                    assert_eq!(bytes, known.bytes, "the bytes of a manifest");
                    assert_eq!(listed, known.subject.is_some(), "the referrer {text}");
                    content
                        .manifests
                        .insert((name.to_string(), (*text).to_owned()));
                }
                Err(StoreError::ManifestUnknown { .. }) => assert!(!listed, "{text} is gone"),
                Err(error) => panic!("{error}"),
            }
        }
        for tag in repository.tags().unwrap() {
            let selector = Selector::Tag(tag.clone());
            let (entry, _) = repository.manifest_bytes(&selector).unwrap();
            let mut known = MANIFESTS.iter();
            let (text, _) = known
                .find(|(_, known)| known.digest == entry.digest)
                .unwrap();
            content
                .tags
                .insert((name.to_string(), tag.to_string()), (*text).to_owned());
        }
    }
    content
}

/// Every part is as it was before the change that was cut off, or as it is after it.
fn assert_between(actual: &Content, before: &Content, change: Option<Change>, context: &str) {
    let after = change.map_or_else(|| before.clone(), |change| before.after(change));
    let common = |one: &BTreeSet<_>, other: &BTreeSet<_>| one & other;
    assert!(
        actual
            .blobs
            .is_superset(&common(&before.blobs, &after.blobs))
            && actual.blobs.is_subset(&(&before.blobs | &after.blobs)),
        "{context}: {actual:#?}\nbetween {before:#?}"
    );
    assert!(
        actual
            .manifests
            .is_superset(&common(&before.manifests, &after.manifests))
            && actual
                .manifests
                .is_subset(&(&before.manifests | &after.manifests)),
        "{context}: {actual:#?}\nbetween {before:#?}"
    );
    let tags: BTreeSet<_> = before.tags.keys().chain(after.tags.keys()).collect();
    for tag in tags.into_iter().chain(actual.tags.keys()) {
        let now = actual.tags.get(tag);
        assert!(
            now == before.tags.get(tag) || now == after.tags.get(tag),
            "{context}: the tag {tag:?} points to {now:?}\nbetween {before:#?}"
        );
    }
    if let Some(Delete(..)) = change {
        assert!(
            actual == before || *actual == after,
            "{context}: half deleted: {actual:#?}\nbetween {before:#?}"
        );
    }
}

/// Makes the changes until the power fails. Returns what was acknowledged and what was cut off.
fn run(disk: &FailingDisk) -> (Content, Option<Change>) {
    let mut content = Content::default();
    let Ok(store) = open(disk) else {
        return (content, None);
    };
    for change in CHANGES {
        if make(&store, *change).is_err() {
            return (content, Some(*change));
        }
        content = content.after(*change);
    }
    (content, None)
}

/// Of the steps of a recovery every so many fail, others after each failure before: failures at steps beside
/// each other leave nearly the same to recover from.
const STRIDE: usize = 8;

/// How what was not synced may be lost at a step: all of it, or a part by chance, another one at each step.
fn power_failure(step: usize) -> Failure {
    match step % 3 {
        0 => Failure::LoseAll,
        _ => Failure::LoseSome(step as u64),
    }
}

fn steps_of_all() -> usize {
    let disk = FailingDisk::new(Path::new(ROOT));
    let (content, cut_off) = run(&disk);
    assert!(cut_off.is_none(), "{cut_off:?} does not work");
    assert_eq!(read(&open(&disk).unwrap()), content);
    disk.steps()
}

#[test]
fn the_store_is_right_after_a_failure_at_any_step() {
    let steps = steps_of_all();
    assert!(steps > 150, "only {steps} steps");
    for step in 0..=steps {
        let disk = FailingDisk::new(Path::new(ROOT));
        disk.fail_at(step);
        let (before, cut_off) = run(&disk);
        for failure in [Failure::Kill, power_failure(step)] {
            let context = format!("step {step} in {cut_off:?}, {failure:?}");
            let disk = disk.after(failure);
            let store = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_between(&read(&store), &before, cut_off, &context);
            let report = store.check(&CheckOptions::new().contents(true)).unwrap();
            assert!(report.is_sound(), "{context}: {report:?}");
            // What there was to put in order was put in order when it was opened.
            assert_eq!(report.repaired, 0, "{context}: {report:?}");

            // Uploads of clients that come back, and one of a client that does not know where it is.
            let kept = store.take_left_uploads().unwrap();
            assert!(failure != Failure::Kill || kept.len() <= 1, "{context}");
            let were_kept = !kept.is_empty();
            for (mut upload, _) in kept {
                let Some(PushInParts(_, blob)) = cut_off else {
                    // What was acknowledged as finished is no upload any more.
                    assert!(failure != Failure::Kill, "{context}");
                    upload.write(b"?").unwrap();
                    upload.cancel().unwrap();
                    continue;
                };
                let received = usize::try_from(upload.received()).unwrap();
                let rest = blob.as_bytes().get(received..).unwrap();
                upload
                    .write(if rest.is_empty() { b"?" } else { rest })
                    .unwrap();
                match upload.finish(&Digest::sha256_of(blob.as_bytes())) {
                    Ok(_) => {}
                    Err(StoreError::DigestMismatch { .. }) => {
                        assert!(failure != Failure::Kill || rest.is_empty(), "{context}");
                    }
                    Err(error) => panic!("{context}: {error}"),
                }
            }
            if were_kept {
                assert_between(&read(&store), &before, cut_off, &context);
            }

            // The client repeats what was not acknowledged.
            if let Some(change) = cut_off {
                match make(&store, change) {
                    Ok(()) => {}
                    // It was done, but for the acknowledgement.
                    Err(StoreError::ManifestUnknown { .. } | StoreError::BlobUnknown { .. })
                        if matches!(change, Untag(..) | Delete(..) | DeleteBlob(..)) => {}
                    Err(error) => panic!("{context}: {error}"),
                }
                assert_eq!(read(&store), before.after(change), "{context}");
            }
        }
    }
}

/// The start that cleans up after a failure may fail too.
#[test]
fn a_failure_while_the_store_recovers_does_no_harm() {
    let steps = steps_of_all();
    for (number, step) in (0..=steps).step_by(2).enumerate() {
        let first = FailingDisk::new(Path::new(ROOT));
        first.fail_at(step);
        let (before, cut_off) = run(&first);
        let first = first.after(match number % 2 {
            0 => Failure::Kill,
            _ => power_failure(number),
        });
        for second in (number % STRIDE..).step_by(STRIDE) {
            let disk = first.after(Failure::Kill);
            disk.fail_at(second);
            let opened = open(&disk).is_ok();
            let failure = match (number / STRIDE + second / STRIDE) % 2 {
                0 => Failure::Kill,
                _ => power_failure(step + second),
            };
            let context = format!("step {step} in {cut_off:?}, then {second}, {failure:?}");
            let store = open(&disk.after(failure));
            let store = store.unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_between(&read(&store), &before, cut_off, &context);
            if opened {
                break;
            }
        }
    }
}
