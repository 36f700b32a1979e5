//! `kill -9` of the client at random moments, again and again: what it leaves is never half an image, and the next run
//! moves only what is missing.
//!
//! `PEAK_CLIENT_KILL_ROUNDS` says how many times, `PEAK_KILL_SEED` repeats the random choices of an earlier run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use super::image::Image;
use super::proxy::{Exchange, Fate, Proxy, UNREAD};
use super::{layout_is_valid, validated};
use crate::http::Connection;
use crate::kill::{Random, number, seed};
use crate::support::{Sandbox, files_under, finish};

const MIB: u64 = 1 << 20;
const DEFAULT_ROUNDS: u64 = 10;

/// How many bytes a second a connection carries: the largest layer takes a quarter of a second.
const RATE: u64 = 24 * MIB;
/// When the client goes at the latest, in milliseconds: a little after it would have been done.
const LATEST: u64 = 400;
/// The same where the layers come one after the other.
const LATEST_IN_ORDER: u64 = 900;
/// Less than this of a blob is not kept.
const WORTH_KEEPING: u64 = MIB;
/// What may be on its way from the socket to the disk when the client goes, for each blob: where the disk is slow, up to
/// five batches of a quarter of a MiB and what the connection has read.
const UNDER_WAY: u64 = 2 * MIB;
/// How many images go into one layout.
const IMAGES: usize = 3;

/// An image of which one layer is in all others, too.
fn image(number: usize) -> Image {
    let seed = number as u64 * 10;
    Image::large(&[
        (1_000_000, 3 << 20),
        (seed + 1, 6 << 20),
        (seed + 2, 2 << 20),
        (seed + 3, 300_000),
    ])
}

/// Lets it work for a while. Whether it came to its end, which has to be a good one, before it was killed.
fn killed_after(mut child: Child, random: &mut Random, latest: u64) -> bool {
    std::thread::sleep(Duration::from_millis(random.below(latest)));
    let is_over = child.try_wait().unwrap().is_some();
    if !is_over {
        child.kill().unwrap();
    }
    let finished = finish(child);
    if is_over {
        finished.assert_code(0);
    }
    is_over
}

fn rounds() -> u64 {
    number("PEAK_CLIENT_KILL_ROUNDS").unwrap_or(DEFAULT_ROUNDS)
}

fn random() -> Random {
    let seed = seed();
    // Shown if the test fails.
    println!("PEAK_KILL_SEED={seed}");
    Random(seed)
}

/// How much of each blob a layout has: finished ones, and the beginnings of others.
#[derive(Default)]
struct OnDisk {
    finished: BTreeMap<String, u64>,
    begun: BTreeMap<String, u64>,
}

fn on_disk(layout: &Path) -> OnDisk {
    let sizes = |folder: PathBuf, separator: char| {
        files_under(&folder)
            .into_iter()
            .map(|name| {
                let size = std::fs::metadata(folder.join(&name)).unwrap().len();
                (name.replacen(separator, ":", 1), size)
            })
            .collect()
    };
    OnDisk {
        finished: sizes(layout.join("blobs"), '/'),
        begun: sizes(layout.join(".peak-layout/partial"), '-'),
    }
}

/// Nothing was fetched that was there, and little was lost.
#[track_caller]
fn only_the_missing_was_fetched(before: &OnDisk, after: &OnDisk, exchanges: &[Exchange]) -> u64 {
    let mut fetched = 0;
    for exchange in exchanges {
        let Some(digest) = exchange.request.blob() else {
            continue;
        };
        assert!(!before.finished.contains_key(digest), "{digest} was there");
        let begun = before.begun.get(digest).copied().unwrap_or_default();
        let start = exchange.request.start();
        assert!(
            start == begun || (start == 0 && begun < WORTH_KEEPING),
            "{digest}: there were {begun} bytes, and it was fetched from {start} on"
        );
        let arrived = after.finished.get(digest).or(after.begun.get(digest));
        let lost = (start + exchange.sent).saturating_sub(arrived.copied().unwrap_or_default());
        assert!(
            lost <= UNDER_WAY + UNREAD,
            "{digest}: {lost} bytes are lost"
        );
        fetched += exchange.sent;
    }
    fetched
}

/// The status of an answer of the registry.
fn status(host: &str, method: &str, path: &str) -> u16 {
    Connection::open(host).send(method, path, "", b"").status
}

#[test]
fn a_pull_that_is_killed_leaves_a_valid_layout_and_the_next_one_fetches_the_rest() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let mut random = random();
    let (mut killed, mut pulled, mut fetched, mut resumed) = (0, 0, 0, 0);
    image(0).push(server.host(), "kill/pulled", "v0");
    // The last one is let through.
    for round in 0..=rounds() {
        let first = pulled / IMAGES * IMAGES;
        let layout = format!("layout-{first}");
        let folder = sandbox.path(&layout);
        let before = on_disk(&folder);
        let proxy = Proxy::start(server.host(), Some(RATE), |_| Fate::Pass);
        let name = format!("{}/kill/pulled:v{pulled}", proxy.host());
        let pull = [
            "registry",
            "pull",
            &name,
            &format!("oci:{layout}:v{pulled}"),
        ];
        let child = sandbox.command(pull).spawn().unwrap();
        let is_over = if round < rounds() {
            killed_after(child, &mut random, LATEST)
        } else {
            finish(child).assert_code(0);
            true
        };
        let after = on_disk(&folder);
        let exchanges = proxy.exchanges();
        fetched += only_the_missing_was_fetched(&before, &after, &exchanges);
        resumed += exchanges
            .iter()
            .filter(|one| one.request.start() > 0)
            .count();
        killed += u64::from(!is_over);
        // Those of before are there, whole; this one is too, or is not to be seen.
        let tags = layout_is_valid(&folder);
        if is_over || tags.len() > pulled - first {
            pulled += 1;
            image(pulled).push(server.host(), "kill/pulled", &format!("v{pulled}"));
        }
        let mut expected: Vec<_> = (first..pulled).map(|one| format!("v{one}")).collect();
        expected.sort();
        assert_eq!(tags, expected);
        if pulled == first + IMAGES {
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }
    println!(
        "{killed} pulls killed, {pulled} images pulled, {fetched} bytes, {resumed} blobs resumed"
    );
    assert!(killed > 0 && pulled > 0, "{killed} killed, {pulled} pulled");
    sandbox.assert_no_leftovers();
}

#[test]
fn a_push_that_is_killed_leaves_no_half_an_image_and_the_next_one_sends_the_rest() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let host = server.host();
    let mut random = random();
    let (mut killed, mut pushed, mut sent) = (0, 0, 0);
    let mut image = image(0);
    image.write_layout(&sandbox.path("from"), "v1");
    for round in 0..=rounds() {
        let missing: usize = image
            .blobs
            .iter()
            .filter(|blob| {
                status(
                    host,
                    "HEAD",
                    &format!("/v2/kill/pushed/blobs/{}", blob.digest),
                ) == 404
            })
            .map(|blob| blob.content.len())
            .sum();
        let proxy = Proxy::start(host, Some(RATE), |_| Fate::Pass);
        let push = [
            "registry",
            "push",
            "oci:from:v1",
            &format!("{}/kill/pushed:v{pushed}", proxy.host()),
        ];
        let child = sandbox.command(push).spawn().unwrap();
        let is_over = if round < rounds() {
            killed_after(child, &mut random, LATEST)
        } else {
            finish(child).assert_code(0);
            true
        };
        let uploads = proxy.exchanges().into_iter();
        let uploads = uploads.filter(|one| one.request.line().contains("/blobs/uploads/"));
        let uploaded: u64 = uploads.map(|one| one.received).sum();
        assert!(
            uploaded <= missing as u64,
            "{uploaded} bytes were sent, and {missing} were missing"
        );
        sent += uploaded;
        killed += u64::from(!is_over);
        let tag = format!("v{pushed}");
        let found = status(host, "HEAD", &format!("/v2/kill/pushed/manifests/{tag}"));
        assert!(found == 200 || (found == 404 && !is_over), "{tag}: {found}");
        if found == 200 {
            let seen = validated(&format!("{host}/kill/pushed:{tag}"), Path::new(""));
            assert_eq!(seen.root.digest.to_string(), image.digest());
            pushed += 1;
            image = self::image(pushed);
            std::fs::remove_dir_all(sandbox.path("from")).unwrap();
            image.write_layout(&sandbox.path("from"), "v1");
        }
    }
    println!("{killed} pushes killed, {pushed} images pushed, {sent} bytes");
    assert!(killed > 0 && pushed > 0, "{killed} killed, {pushed} pushed");
    sandbox.assert_no_leftovers();
}

/// Copies one image and the other into the same archive, and kills some of that.
fn killed_copies_into(transport: &str, latest: u64) {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let mut random = random();
    let (mut killed, mut copied) = (0, 0);
    let digest_at = |file: &str| {
        let seen = validated(&format!("{transport}:{file}"), &sandbox.path(""));
        seen.root.digest.to_string()
    };
    // What an archive has that nobody disturbed. A Docker archive holds no manifest, so it is not that of the image.
    let digests = [0, 1].map(|number| {
        image(number).push(server.host(), "kill/archived", &format!("v{number}"));
        let name = format!("{}/kill/archived:v{number}", server.host());
        let file = format!("whole-{number}.tar");
        let copy = ["registry", "copy", &name, &format!("{transport}:{file}")];
        sandbox.peak(copy).assert_code(0);
        digest_at(&file)
    });
    std::fs::create_dir(sandbox.path("archives")).unwrap();
    let to = format!("{transport}:archives/a.tar");
    for round in 0..=rounds() {
        let proxy = Proxy::start(server.host(), Some(RATE), |_| Fate::Pass);
        let name = format!("{}/kill/archived:v{}", proxy.host(), copied % 2);
        let child = sandbox
            .command(["registry", "copy", &name, &to])
            .spawn()
            .unwrap();
        let is_over = if round < rounds() {
            killed_after(child, &mut random, latest)
        } else {
            finish(child).assert_code(0);
            true
        };
        killed += u64::from(!is_over);
        if sandbox.path("archives/a.tar").exists() {
            let found = digest_at("archives/a.tar");
            if found == digests[copied % 2] {
                copied += 1;
            } else {
                assert!(!is_over, "the copy is over, and the archive as it was");
                assert_eq!(found, digests[(copied + 1) % 2]);
            }
        } else {
            assert!(!is_over && copied == 0, "there is no archive any more");
        }
    }
    println!("{killed} copies killed, {copied} archives made");
    assert!(killed > 0 && copied > 0, "{killed} killed, {copied} made");
    // What those left that were killed is gone after one that was not.
    assert_eq!(files_under(&sandbox.path("archives")), ["a.tar"]);
    sandbox.assert_no_leftovers();
}

#[test]
fn a_copy_into_an_archive_that_is_killed_leaves_the_archive_that_was_there() {
    killed_copies_into("oci-archive", LATEST);
}

#[test]
fn a_copy_into_a_docker_archive_that_is_killed_leaves_the_archive_that_was_there() {
    killed_copies_into("docker-archive", LATEST_IN_ORDER);
}
