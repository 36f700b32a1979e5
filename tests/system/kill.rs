//! `kill -9` of the embedded registry at random moments, again and again, while clients push and delete.
//!
//! Each client knows what the registry acknowledged to it, and what it was in the middle of when the registry went.
//! After each restart all of it is compared with what the registry has. The clients speak HTTP by hand: it is the
//! server that is tested, and it alone is killed.
//!
//! `PEAK_KILL_ROUNDS` says how many times, `PEAK_KILL_SEED` repeats the random choices of an earlier run; when the
//! signal comes in time does not repeat exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use peak_sdk::oci::content::validate;
use peak_sdk::registry::Registry;
use serde_json::{Value, json};

use crate::http::{Answer, Connection, path_of, with_digest};
use crate::support::{Sandbox, Server, digest, started};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

const DEFAULT_ROUNDS: u64 = 10;
const CLIENTS: u64 = 4;

/// The repository that all clients push into, the same layers at the same time.
const SHARED: &str = "kill/shared";
const SHARED_LAYERS: u64 = 6;

/// Above these a client deletes more than it pushes, so that rounds stay short.
const MANY_MANIFESTS: usize = 8;
const MANY_BLOBS: usize = 16;
/// How long the clients work before the registry goes, at most, in microseconds.
const LONGEST_ROUND: u64 = 100_000;

/// How much of what is gone is looked for.
const REMEMBERED: usize = 8;

/// A generator of numbers that are random enough: splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(from.len()).unwrap();
        let index = self.next().checked_rem(count)?;
        from.get(usize::try_from(index).unwrap())
    }

    /// Content of up to 64 KiB, sometimes of up to 1 MiB.
    fn content(&mut self) -> Vec<u8> {
        let limit = if self.below(8) == 0 { 1 << 20 } else { 1 << 16 };
        let length = usize::try_from(self.below(limit)).unwrap();
        let mut content = Vec::with_capacity(length + 8);
        while content.len() <= length {
            content.extend(self.next().to_le_bytes());
        }
        content
    }
}

/// What a client knows of a thing in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    There,
    Gone,
    /// The registry went in the middle of changing it.
    Either,
}

impl Known {
    /// Compares with what the registry has, which is what the client knows from here on.
    #[track_caller]
    fn check(&mut self, is_there: bool, what: &str) {
        let found = if is_there { Self::There } else { Self::Gone };
        assert!(
            *self == Self::Either || *self == found,
            "{what} is known to be {self:?} and found to be {found:?}"
        );
        *self = found;
    }
}

struct Blob {
    content: Vec<u8>,
    known: Known,
}

struct Manifest {
    bytes: Vec<u8>,
    kind: &'static str,
    /// Blobs and manifests that it points to.
    children: Vec<String>,
    subject: Option<String>,
    known: Known,
}

/// What one client knows of one repository.
struct Repository {
    name: String,
    blobs: BTreeMap<String, Blob>,
    manifests: BTreeMap<String, Manifest>,
    /// Where each tag may point to; several if the registry went in the middle.
    tags: BTreeMap<String, Vec<Option<String>>>,
    /// Where an upload is that was under way, and its content.
    upload: Option<(String, Vec<u8>)>,
}

/// One client, with a repository of its own and its part of the shared one.
struct Client {
    number: u64,
    random: Random,
    own: Repository,
    shared: Repository,
    acknowledged: u64,
}

#[track_caller]
fn expect(answer: &Answer, status: u16, what: &str) {
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{what}: {body}");
}

impl Repository {
    fn new(name: String) -> Self {
        Self {
            name,
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            upload: None,
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    fn blobs(&self, known: Known) -> Vec<String> {
        let blobs = self.blobs.iter().filter(|(_, blob)| blob.known == known);
        blobs.map(|(digest, _)| digest.clone()).collect()
    }

    fn manifests(&self, known: Known) -> Vec<String> {
        let manifests = self.manifests.iter();
        let manifests = manifests.filter(|(_, manifest)| manifest.known == known);
        manifests.map(|(digest, _)| digest.clone()).collect()
    }

    /// Whether a manifest that is there, or may be, points to it.
    fn is_needed(&self, digest: &String) -> bool {
        let manifests = self.manifests.values();
        manifests
            .filter(|manifest| manifest.known != Known::Gone)
            .any(|manifest| manifest.children.contains(digest))
    }

    fn know_blob(&mut self, digest: &str, content: &[u8], known: Known) {
        let blob = self.blobs.entry(digest.to_owned()).or_insert_with(|| Blob {
            content: content.to_vec(),
            known: Known::Gone,
        });
        // What is there stays there, whatever becomes of sending it once more.
        if known != Known::Either || blob.known != Known::There {
            blob.known = known;
        }
    }

    fn push_blob(
        &mut self,
        connection: &mut Connection,
        random: &mut Random,
        content: &[u8],
    ) -> io::Result<String> {
        let digest = digest(content);
        self.know_blob(&digest, content, Known::Either);
        let start = self.path("blobs/uploads/");
        if random.below(4) == 0 {
            let target = format!("{start}?digest={digest}");
            let done = connection.try_send("POST", &target, "application/octet-stream", content)?;
            expect(&done, 201, "a blob in one request");
        } else {
            let begun = connection.try_send("POST", &start, "text/plain", b"")?;
            expect(&begun, 202, "the start of an upload");
            let mut location = path_of(begun.header("location").unwrap()).to_owned();
            self.upload = Some((location.clone(), content.to_vec()));
            let mut rest = content;
            while random.below(2) == 0 && rest.len() > 1 {
                let (chunk, after) = rest.split_at(rest.len() / 2);
                rest = after;
                let taken =
                    connection.try_send("PATCH", &location, "application/octet-stream", chunk)?;
                expect(&taken, 202, "a chunk");
                path_of(taken.header("location").unwrap()).clone_into(&mut location);
            }
            self.end_upload(connection, &location, &digest, rest)?;
        }
        self.know_blob(&digest, content, Known::There);
        Ok(digest)
    }

    fn end_upload(
        &mut self,
        connection: &mut Connection,
        location: &str,
        digest: &str,
        rest: &[u8],
    ) -> io::Result<()> {
        let target = with_digest(location, digest);
        let done = connection.try_send("PUT", &target, "application/octet-stream", rest)?;
        expect(&done, 201, "the end of an upload");
        self.upload = None;
        Ok(())
    }

    fn mount(&mut self, connection: &mut Connection, from: &Self, digest: &str) -> io::Result<()> {
        let content = &from.blobs[digest].content;
        self.know_blob(digest, content, Known::Either);
        let target = self.path(&format!("blobs/uploads/?mount={digest}&from={}", from.name));
        let done = connection.try_send("POST", &target, "text/plain", b"")?;
        expect(&done, 201, "a mount");
        self.know_blob(digest, content, Known::There);
        Ok(())
    }

    /// Puts a manifest by its digest, under a tag, or both.
    fn put_manifest(
        &mut self,
        connection: &mut Connection,
        digest: &str,
        manifest: Manifest,
        tag: Option<&str>,
        both: bool,
    ) -> io::Result<()> {
        let (bytes, kind) = (manifest.bytes.clone(), manifest.kind);
        let entry = self.manifests.entry(digest.to_owned()).or_insert(manifest);
        if entry.known != Known::There {
            entry.known = Known::Either;
        }
        if let Some(tag) = tag {
            let targets = self.tags.entry(tag.to_owned());
            let targets = targets.or_insert_with(|| vec![None]);
            targets.push(Some(digest.to_owned()));
        }
        let target = match tag {
            Some(tag) if both => self.path(&format!("manifests/{digest}?tag={tag}")),
            Some(tag) => self.path(&format!("manifests/{tag}")),
            None => self.path(&format!("manifests/{digest}")),
        };
        let done = connection.try_send("PUT", &target, kind, &bytes)?;
        expect(&done, 201, "a manifest");
        self.manifests.get_mut(digest).unwrap().known = Known::There;
        if let Some(tag) = tag {
            let target = vec![Some(digest.to_owned())];
            self.tags.insert(tag.to_owned(), target);
        }
        Ok(())
    }

    fn delete_tag(&mut self, connection: &mut Connection, tag: &str) -> io::Result<()> {
        self.tags.get_mut(tag).unwrap().push(None);
        let target = self.path(&format!("manifests/{tag}"));
        let done = connection.try_send("DELETE", &target, "text/plain", b"")?;
        expect(&done, 202, "the deletion of a tag");
        self.tags.insert(tag.to_owned(), vec![None]);
        Ok(())
    }

    fn delete_manifest(&mut self, connection: &mut Connection, digest: &str) -> io::Result<()> {
        self.manifests.get_mut(digest).unwrap().known = Known::Either;
        let pointing = |targets: &&mut Vec<Option<String>>| {
            targets
                .iter()
                .any(|target| target.as_deref() == Some(digest))
        };
        for targets in self.tags.values_mut().filter(pointing) {
            targets.push(None);
        }
        let target = self.path(&format!("manifests/{digest}"));
        let done = connection.try_send("DELETE", &target, "text/plain", b"")?;
        expect(&done, 202, "the deletion of a manifest");
        self.manifests.get_mut(digest).unwrap().known = Known::Gone;
        for targets in self.tags.values_mut().filter(pointing) {
            *targets = vec![None];
        }
        Ok(())
    }

    fn delete_blob(&mut self, connection: &mut Connection, digest: &str) -> io::Result<()> {
        self.blobs.get_mut(digest).unwrap().known = Known::Either;
        let target = self.path(&format!("blobs/{digest}"));
        let done = connection.try_send("DELETE", &target, "text/plain", b"")?;
        expect(&done, 202, "the deletion of a blob");
        self.blobs.get_mut(digest).unwrap().known = Known::Gone;
        Ok(())
    }

    /// Goes on with an upload that was under way, if the registry still knows of it, or gives it up.
    fn resume(&mut self, connection: &mut Connection, random: &mut Random) {
        let Some((location, content)) = self.upload.take() else {
            return;
        };
        let status = connection.send("GET", &location, "", b"");
        if status.status == 404 {
            return;
        }
        expect(&status, 204, "the state of an upload");
        // `0-0` is said of one byte and of none.
        let range = status.header("range").unwrap();
        if range == "0-0" || random.below(2) == 0 {
            let given_up = connection.send("DELETE", &location, "", b"");
            expect(&given_up, 204, "the end of an upload");
            return;
        }
        let last: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
        let received = last + 1;
        let digest = digest(&content);
        if self
            .end_upload(connection, &location, &digest, &content[received..])
            .is_ok()
        {
            self.know_blob(&digest, &content, Known::There);
        }
    }

    /// Compares all that is known with what the registry has. `mine` says which tags are this client's.
    fn check(&mut self, connection: &mut Connection, mine: &str) {
        for (digest, blob) in &mut self.blobs {
            let target = format!("/v2/{}/blobs/{digest}", self.name);
            let answer = connection.send("GET", &target, "", b"");
            blob.known.check(answer.status == 200, &target);
            if answer.status == 200 {
                assert!(answer.body == blob.content, "{target} has other bytes");
            } else {
                expect(&answer, 404, &target);
            }
        }
        for (digest, manifest) in &mut self.manifests {
            let target = format!("/v2/{}/manifests/{digest}", self.name);
            let answer = connection.send("GET", &target, "", b"");
            manifest.known.check(answer.status == 200, &target);
            if answer.status != 200 {
                expect(&answer, 404, &target);
                continue;
            }
            assert!(answer.body == manifest.bytes, "{target} has other bytes");
            assert_eq!(answer.header("content-type"), Some(manifest.kind));
            let kind = if manifest.kind == INDEX {
                "manifests"
            } else {
                "blobs"
            };
            for child in &manifest.children {
                let target = format!("/v2/{}/{kind}/{child}", self.name);
                let answer = connection.send("HEAD", &target, "", b"");
                assert_eq!(answer.status, 200, "{target}, of the manifest {digest}");
            }
        }
        self.check_tags(connection, mine);
        self.check_referrers(connection);
        self.forget();
    }

    fn check_tags(&mut self, connection: &mut Connection, mine: &str) {
        let answer = connection.send("GET", &self.path("tags/list"), "", b"");
        let listed: BTreeSet<String> = match answer.status {
            404 => BTreeSet::new(),
            _ => serde_json::from_value(json_of(&answer)["tags"].take()).unwrap(),
        };
        for tag in listed.iter().filter(|tag| tag.starts_with(mine)) {
            assert!(self.tags.contains_key(tag), "{tag} was never pushed");
        }
        for (tag, targets) in &mut self.tags {
            let answer = connection.send(
                "GET",
                &format!("/v2/{}/manifests/{tag}", self.name),
                "",
                b"",
            );
            assert_eq!(
                listed.contains(tag),
                answer.status == 200,
                "{tag} is in the list but not there, or the other way round"
            );
            let found = (answer.status == 200).then(|| digest(&answer.body));
            assert!(
                targets.contains(&found),
                "{tag} points to {found:?}, and may to {targets:?}"
            );
            if let Some(found) = &found {
                assert_eq!(self.manifests[found].known, Known::There, "{tag}");
            }
            *targets = vec![found];
        }
    }

    fn check_referrers(&mut self, connection: &mut Connection) {
        let subjects: BTreeSet<&String> = self
            .manifests
            .values()
            .filter_map(|manifest| manifest.subject.as_ref())
            .collect();
        for subject in subjects {
            let target = self.path(&format!("referrers/{subject}"));
            let answer = connection.send("GET", &target, "", b"");
            expect(&answer, 200, &target);
            let listed: BTreeSet<String> = json_of(&answer)["manifests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned())
                .collect();
            let referring = self.manifests.iter().filter(|(_, manifest)| {
                manifest.subject.as_ref() == Some(subject) && manifest.known == Known::There
            });
            let referring: BTreeSet<String> = referring.map(|(digest, _)| digest.clone()).collect();
            assert_eq!(listed, referring, "{target}");
        }
    }

    /// Of what is gone only some is remembered.
    fn forget(&mut self) {
        let gone = self.manifests(Known::Gone);
        for digest in gone.iter().skip(REMEMBERED) {
            self.manifests.remove(digest);
        }
        let gone = self.blobs(Known::Gone);
        // What is not in the shared repository may come there by another client.
        let remembered = if self.name == SHARED { 0 } else { REMEMBERED };
        for digest in gone.iter().skip(remembered) {
            self.blobs.remove(digest);
        }
    }
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn descriptor(kind: &str, digest: &str, size: usize) -> Value {
    json!({"mediaType": kind, "digest": digest, "size": size})
}

impl Client {
    fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            random: Random(seed ^ (number << 32)),
            own: Repository::new(format!("kill/client-{number}")),
            shared: Repository::new(SHARED.to_owned()),
            acknowledged: 0,
        }
    }

    /// Works until the registry goes away.
    fn work(&mut self, host: &str, stop: &AtomicBool) {
        let Ok(mut connection) = Connection::try_open(host) else {
            return;
        };
        while !stop.load(Ordering::Relaxed) && self.step(&mut connection).is_ok() {
            self.acknowledged += 1;
        }
    }

    fn step(&mut self, connection: &mut Connection) -> io::Result<()> {
        let Self {
            random,
            own,
            shared,
            ..
        } = self;
        let many = own.manifests(Known::There).len() > MANY_MANIFESTS
            || own.blobs(Known::There).len() > MANY_BLOBS;
        match random.below(if many { 20 } else { 12 }) {
            0..=2 => {
                // Some of what was deleted comes again.
                let again = random.below(4) == 0;
                let gone = own.blobs(Known::Gone);
                let content = match random.pick(&gone).filter(|_| again) {
                    Some(digest) => own.blobs[digest].content.clone(),
                    None => random.content(),
                };
                own.push_blob(connection, random, &content).map(drop)
            }
            3 => {
                let content = Random(random.below(SHARED_LAYERS)).content();
                shared.push_blob(connection, random, &content).map(drop)
            }
            4 => match random.pick(&shared.blobs(Known::There)) {
                Some(digest) => own.mount(connection, shared, digest),
                None => Ok(()),
            },
            5..=7 => self.push_image(connection),
            8 => self.push_index(connection),
            9 => self.tag_again(connection),
            10 => self.delete_tag(connection),
            // The more there is, the more often.
            11..=15 => self.delete_manifest(connection),
            _ => self.delete_blob(connection),
        }
    }

    /// The repository of the next step, and the name of one of this client's few tags.
    fn place(&mut self) -> (&mut Repository, &mut Random, String, u64) {
        let tag = format!("c{}-{}", self.number, self.random.below(5));
        let repository = if self.random.below(3) == 0 {
            &mut self.shared
        } else {
            &mut self.own
        };
        (repository, &mut self.random, tag, self.number)
    }

    /// Pushes an image of layers that are there; some have a subject.
    fn push_image(&mut self, connection: &mut Connection) -> io::Result<()> {
        let (repository, random, tag, number) = self.place();
        let there = repository.blobs(Known::There);
        let layers: Vec<String> = (0..random.below(4))
            .filter_map(|_| random.pick(&there).cloned())
            .collect();
        // What is not the content's digest is of no interest here, as with any compressed layer.
        let config = json!({
            "architecture": "amd64", "os": "linux", "author": format!("{number}/{}", random.next()),
            "rootfs": {"type": "layers", "diff_ids": layers},
        });
        let config = config.to_string().into_bytes();
        let config_digest = repository.push_blob(connection, random, &config)?;
        let mut children = vec![config_digest.clone()];
        children.extend(layers.iter().cloned());
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor(LAYER, layer, repository.blobs[layer].content.len()))
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config_digest, config.len()),
            "layers": layers,
        });
        let refers = random.below(2) == 0;
        let images = repository.manifests(Known::There);
        let subject = random.pick(&images).filter(|_| refers);
        if let Some(subject) = subject {
            let subject = &repository.manifests[subject];
            manifest["subject"] =
                descriptor(subject.kind, &digest(&subject.bytes), subject.bytes.len());
        }
        let subject = subject.cloned();
        push(
            repository, connection, random, &tag, MANIFEST, &manifest, children, subject,
        )
    }

    /// Pushes an index of images that are there.
    fn push_index(&mut self, connection: &mut Connection) -> io::Result<()> {
        let (repository, random, tag, number) = self.place();
        let images: Vec<String> = repository
            .manifests(Known::There)
            .into_iter()
            .filter(|digest| repository.manifests[digest].kind == MANIFEST)
            .collect();
        let children: Vec<String> = (0..random.below(4))
            .filter_map(|_| random.pick(&images).cloned())
            .collect();
        let manifests: Vec<Value> = children
            .iter()
            .map(|child| descriptor(MANIFEST, child, repository.manifests[child].bytes.len()))
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": manifests,
            "annotations": {"client": format!("{number}/{}", random.next())},
        });
        push(
            repository, connection, random, &tag, INDEX, &index, children, None,
        )
    }

    /// Lets a tag point to another manifest that is there.
    fn tag_again(&mut self, connection: &mut Connection) -> io::Result<()> {
        let (repository, random, tag, _) = self.place();
        let there = repository.manifests(Known::There);
        let Some(digest) = random.pick(&there) else {
            return Ok(());
        };
        let known = &repository.manifests[digest];
        let manifest = Manifest {
            bytes: known.bytes.clone(),
            kind: known.kind,
            children: Vec::new(),
            subject: None,
            known: Known::There,
        };
        let both = random.below(2) == 0;
        repository.put_manifest(connection, digest, manifest, Some(&tag), both)
    }

    fn delete_tag(&mut self, connection: &mut Connection) -> io::Result<()> {
        let (repository, random, ..) = self.place();
        let there: Vec<String> = repository
            .tags
            .iter()
            .filter(|(_, targets)| targets.iter().all(Option::is_some))
            .map(|(tag, _)| tag.clone())
            .collect();
        match random.pick(&there) {
            Some(tag) => repository.delete_tag(connection, tag),
            None => Ok(()),
        }
    }

    /// Deletes a manifest that no index needs.
    fn delete_manifest(&mut self, connection: &mut Connection) -> io::Result<()> {
        let (repository, random, ..) = self.place();
        let mut free = repository.manifests(Known::There);
        free.retain(|digest| !repository.is_needed(digest));
        match random.pick(&free) {
            Some(digest) => repository.delete_manifest(connection, digest),
            None => Ok(()),
        }
    }

    /// Deletes a blob that no manifest needs, where nobody else pushes.
    fn delete_blob(&mut self, connection: &mut Connection) -> io::Result<()> {
        let mut free = self.own.blobs(Known::There);
        free.retain(|digest| !self.own.is_needed(digest));
        match self.random.pick(&free) {
            Some(digest) => self.own.delete_blob(connection, digest),
            None => Ok(()),
        }
    }

    /// Compares what the client knows with what the registry has after a restart.
    fn check(&mut self, host: &str) {
        let mut connection = Connection::open(host);
        let mine = format!("c{}-", self.number);
        for repository in [&mut self.own, &mut self.shared] {
            repository.resume(&mut connection, &mut self.random);
            repository.check(&mut connection, &mine);
        }
    }

    /// Whether the registry went in the middle of changing something that this client asked for.
    fn in_the_middle(&self) -> bool {
        [&self.own, &self.shared].into_iter().any(|repository| {
            !repository.blobs(Known::Either).is_empty()
                || !repository.manifests(Known::Either).is_empty()
                || repository.tags.values().any(|targets| targets.len() > 1)
        })
    }

    /// The images and indexes that have a tag, as `HOST/NAME:TAG`.
    fn tagged(&self, host: &str) -> Vec<String> {
        [&self.own, &self.shared]
            .into_iter()
            .flat_map(|repository| {
                let tags = repository.tags.iter();
                let tags = tags.filter(|(_, targets)| targets.iter().all(Option::is_some));
                tags.map(|(tag, _)| format!("{host}/{}:{tag}", repository.name))
            })
            .collect()
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one manifest, and where it goes"
)]
fn push(
    repository: &mut Repository,
    connection: &mut Connection,
    random: &mut Random,
    tag: &str,
    kind: &'static str,
    manifest: &Value,
    children: Vec<String>,
    subject: Option<String>,
) -> io::Result<()> {
    let bytes = manifest.to_string().into_bytes();
    let digest = digest(&bytes);
    let manifest = Manifest {
        bytes,
        kind,
        children,
        subject,
        known: Known::Either,
    };
    let tag = Some(tag).filter(|_| random.below(4) > 0);
    let both = random.below(2) == 0;
    repository.put_manifest(connection, &digest, manifest, tag, both)
}

/// A server whose words nobody reads.
fn serve(sandbox: &Sandbox) -> std::process::Child {
    sandbox
        .command(["local", "serve", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets our client and its validator read what is tagged.
fn validate_all(images: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let registry = Registry::builder().build().unwrap();
        for image in images {
            let repository = registry.repository(&image.parse().unwrap());
            if let Err(error) = validate(&repository, None).await {
                panic!("{image}: {error}");
            }
        }
    });
}

/// Lets all clients work at the same time and kills the registry after a while.
fn kill_at_work(clients: &mut [Client], server: Server, after: Duration) {
    let host = server.host().to_owned();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in clients {
            let (host, stop) = (&host, &stop);
            scope.spawn(move || client.work(host, stop));
        }
        std::thread::sleep(after);
        server.kill();
        stop.store(true, Ordering::Relaxed);
    });
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// What the random choices begin with.
pub(crate) fn seed() -> u64 {
    number("PEAK_KILL_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        u64::from(now.subsec_nanos())
    })
}

/// Starts the registry again and compares what it has with what the clients know.
fn restart(sandbox: &Sandbox, clients: &mut [Client]) -> (Server, Vec<String>) {
    let server = started(serve(sandbox));
    std::thread::scope(|scope| {
        for client in &mut *clients {
            let host = server.host();
            scope.spawn(move || client.check(host));
        }
    });
    let tagged = clients
        .iter()
        .flat_map(|client| client.tagged(server.host()))
        .collect();
    (server, tagged)
}

#[test]
fn what_was_acknowledged_survives_kill_9_and_nothing_is_half_there() {
    let rounds = number("PEAK_KILL_ROUNDS").unwrap_or(DEFAULT_ROUNDS);
    let seed = seed();
    let sandbox = Sandbox::new();
    let mut random = Random(seed);
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| Client::new(number, seed))
        .collect();
    let mut interrupted = 0;
    // Shown if the test fails.
    println!("PEAK_KILL_SEED={seed}");
    for _ in 0..rounds {
        let (server, tagged) = restart(&sandbox, &mut clients);
        let some = random.pick(&tagged);
        validate_all(some.map(std::slice::from_ref).unwrap_or_default());
        let after = Duration::from_micros(random.below(LONGEST_ROUND));
        kill_at_work(&mut clients, server, after);
        interrupted += clients
            .iter()
            .filter(|client| client.in_the_middle())
            .count();
        if random.below(4) == 0 {
            // The repair at the start of a server is no safer a moment than others.
            let mut child = serve(&sandbox);
            std::thread::sleep(Duration::from_micros(random.below(12_000)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    let (_server, tagged) = restart(&sandbox, &mut clients);
    validate_all(&tagged);
    for image in &tagged {
        sandbox.peak(["registry", "inspect", image]).assert_code(0);
    }
    let acknowledged: u64 = clients.iter().map(|client| client.acknowledged).sum();
    println!("{rounds} rounds, {acknowledged} steps acknowledged, {interrupted} interrupted");
    assert!(acknowledged > rounds, "hardly anything was done");
    assert!(interrupted > 0, "nothing was interrupted");
}
