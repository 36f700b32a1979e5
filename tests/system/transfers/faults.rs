//! What goes wrong on the way of a download, at every point: the image arrives whole, or the error says what was wrong
//! with which blob. What is in the layout is right in both cases, and the next run has no trouble.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use peak_sdk::registry::{ParallelRanges, Registry};
use peak_sdk::transfer::{CopyOptions, copy};

use super::image::Image;
use super::proxy::{Fate, Proxy, Request};
use super::{layout_is_valid, target, validated, wait_for};
use crate::kill::{Random, seed};
use crate::support::{Sandbox, Server, eventually, files_under, finish, skipped};

const LAYER: usize = 300_000;
const MIB: u64 = 1 << 20;

/// A registry with an image of two layers, of which the first is the one that suffers.
struct Site {
    sandbox: Sandbox,
    server: Server,
    image: Image,
}

impl Site {
    fn new(layer: usize) -> Self {
        let sandbox = Sandbox::new();
        let server = sandbox.serve();
        let image = Image::large(&[(1, layer), (2, 1000)]);
        image.push(server.host(), "faults/image", "v1");
        Self {
            sandbox,
            server,
            image,
        }
    }

    fn layer(&self) -> &str {
        &self.image.blobs[0].digest
    }

    /// A proxy that lets `fate` decide about the requests for the layer, by their number.
    fn proxy(&self, fate: impl Fn(usize, &Request) -> Fate + Send + Sync + 'static) -> Proxy {
        let layer = self.layer().to_owned();
        let count = AtomicUsize::new(0);
        Proxy::start(self.server.host(), None, move |request| {
            if request.blob() == Some(&layer) {
                fate(count.fetch_add(1, Ordering::Relaxed), request)
            } else {
                Fate::Pass
            }
        })
    }

    /// Pulls the image; the error with its causes where it fails. Whatever comes of it, the layout is valid.
    #[track_caller]
    fn pull(&self, proxy: &Proxy, layout: &str) -> Result<(), String> {
        let registry = Registry::builder()
            .idle_timeout(Duration::from_millis(300))
            .parallel_ranges(
                ParallelRanges::new()
                    .from_size(MIB)
                    .length(MIB / 4)
                    .slower_than(u64::MAX),
            )
            .build()
            .unwrap();
        let folder = self.sandbox.path("");
        let from = target(&format!("{}/faults/image:v1", proxy.host()), &folder);
        let to = target(&format!("oci:{layout}:v1"), &folder);
        let (source, selector) = from.open_source(&registry).unwrap();
        let (sink, placement) = to.open_sink(&registry).unwrap();
        let options = CopyOptions::new();
        let outcome = wait_for(copy(
            source.as_ref(),
            selector.as_ref(),
            sink.as_ref(),
            placement,
            &options,
        ));
        drop(sink);
        let tags = layout_is_valid(&folder.join(layout));
        match outcome {
            Ok(report) => {
                assert_eq!(report.digest.to_string(), self.image.digest());
                assert_eq!(tags, ["v1"]);
                Ok(())
            }
            Err(error) => {
                assert!(tags.is_empty(), "{tags:?}");
                Err(with_causes(&error))
            }
        }
    }

    /// How many bytes of the layer came out of a proxy.
    fn fetched(&self, proxy: &Proxy) -> u64 {
        let exchanges = proxy.exchanges().into_iter();
        let layer = exchanges.filter(|one| one.request.blob() == Some(self.layer()));
        layer.map(|one| one.sent).sum()
    }

    /// Pushes the image to a repository through a proxy that lets `fate` decide about the requests that carry bytes of the
    /// layer up, by their number and length. Gives what came of it, and how many bytes of blobs came to the proxy.
    fn push(
        &self,
        repository: &str,
        fate: impl Fn(usize, u64) -> Fate + Send + Sync + 'static,
    ) -> (Result<(), String>, u64) {
        let count = AtomicUsize::new(0);
        let proxy = Proxy::start(self.server.host(), None, move |request| {
            if request.line().contains("/blobs/uploads/") && request.length() > 1000 {
                return fate(count.fetch_add(1, Ordering::Relaxed), request.length());
            }
            Fate::Pass
        });
        let registry = Registry::builder().build().unwrap();
        let folder = self.sandbox.path("");
        self.image.write_layout(&self.sandbox.path("from"), "v1");
        let from = target("oci:from:v1", &folder);
        let to = target(&format!("{}/{repository}:v1", proxy.host()), &folder);
        let (source, selector) = from.open_source(&registry).unwrap();
        let (sink, placement) = to.open_sink(&registry).unwrap();
        let options = CopyOptions::new();
        let outcome = wait_for(copy(
            source.as_ref(),
            selector.as_ref(),
            sink.as_ref(),
            placement,
            &options,
        ));
        let uploads = proxy.exchanges().into_iter();
        let uploads = uploads.filter(|one| one.request.line().contains("/blobs/uploads/"));
        let received = uploads.map(|one| one.received).sum();
        let outcome = outcome.map(|_| ()).map_err(|error| with_causes(&error));
        (outcome, received)
    }

    /// Whether something of the layer waits for the next run.
    fn is_begun(&self, layout: &str) -> bool {
        let partial = self.sandbox.path(layout).join(".peak-layout/partial");
        let name = self.layer().replace(':', "-");
        files_under(&partial)
            .iter()
            .any(|file| file.starts_with(&name))
    }

    /// It fails for this reason, which is said together with the blob; nothing wrong is kept, and the next run works.
    #[track_caller]
    fn fails(&self, reason: &str, fate: impl Fn(usize, &Request) -> Fate + Send + Sync + 'static) {
        let layout = reason.replace(' ', "-");
        let proxy = self.proxy(fate);
        let error = self.pull(&proxy, &layout).unwrap_err();
        assert!(
            error.contains(reason) && error.contains(self.layer()),
            "{reason:?} and {} are not in: {error}",
            self.layer()
        );
        assert!(!self.is_begun(&layout), "{error}");
        let honest = self.proxy(|_, _| Fate::Pass);
        self.pull(&honest, &layout).unwrap();
    }

    /// The image arrives all the same.
    #[track_caller]
    fn arrives(
        &self,
        layout: &str,
        fate: impl Fn(usize, &Request) -> Fate + Send + Sync + 'static,
    ) {
        self.fetched_when(layout, fate);
    }

    /// The same; how many bytes of the layer that took.
    #[track_caller]
    fn fetched_when(
        &self,
        layout: &str,
        fate: impl Fn(usize, &Request) -> Fate + Send + Sync + 'static,
    ) -> u64 {
        let proxy = self.proxy(fate);
        if let Err(error) = self.pull(&proxy, layout) {
            panic!("{layout}: {error}");
        }
        self.fetched(&proxy)
    }
}

/// What an error says, with its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The first and the last bytes, those around what is read at once, and many between.
fn offsets() -> Vec<u64> {
    let size = LAYER as u64;
    let mut offsets = vec![0, 1, 2, size - 2, size - 1, size];
    for around in [4096, 8192, 16_384, 65_536, 131_072, 262_144] {
        offsets.extend([around - 1, around, around + 1]);
    }
    offsets.extend((1..20).map(|part| part * size / 20 + part));
    offsets
}

#[test]
fn a_connection_that_breaks_after_any_byte_does_no_harm() {
    let site = Site::new(LAYER);
    for offset in offsets() {
        let fetched = site.fetched_when(&format!("cut-{offset}"), move |number, _| match number {
            0 => Fate::Cut(offset),
            _ => Fate::Pass,
        });
        assert_eq!(fetched, LAYER as u64, "cut after {offset}");
    }
}

#[test]
fn a_connection_that_breaks_again_and_again_is_gone_on_with_as_long_as_something_comes() {
    let site = Site::new(LAYER);
    let proxy = site.proxy(|_, _| Fate::Cut(70_000));
    site.pull(&proxy, "cut").unwrap();
    let exchanges = proxy.exchanges();
    let layer = exchanges
        .iter()
        .filter(|one| one.request.blob() == Some(site.layer()));
    assert_eq!(layer.map(|one| one.sent).sum::<u64>(), LAYER as u64);
    site.fails("was cut off at byte", |_, _| Fate::Cut(0));
}

#[test]
fn a_manifest_or_config_that_is_cut_off_does_no_harm() {
    let site = Site::new(1000);
    for what in ["/manifests/", "/blobs/"] {
        for offset in [0, 1, 50, 200] {
            let cut: Mutex<Vec<String>> = Mutex::default();
            let proxy = Proxy::start(site.server.host(), None, move |request| {
                let line = request.line().to_owned();
                let mut cut = cut.lock().unwrap();
                if line.starts_with("GET") && line.contains(what) && !cut.contains(&line) {
                    cut.push(line);
                    return Fate::Cut(offset);
                }
                Fate::Pass
            });
            let layout = format!("cut-{offset}{}", what.replace('/', "-"));
            if let Err(error) = site.pull(&proxy, &layout) {
                panic!("{layout}: {error}");
            }
        }
    }
}

#[test]
fn a_connection_that_is_silent_after_any_byte_is_left_for_another_one() {
    let site = Site::new(LAYER);
    for offset in [0, 1, 16_384, 100_001, LAYER as u64 - 1] {
        let layout = format!("stalled-{offset}");
        let fetched = site.fetched_when(&layout, move |number, _| match number {
            0 => Fate::Stall(offset),
            _ => Fate::Pass,
        });
        assert_eq!(fetched, LAYER as u64, "silent after {offset}");
    }
    site.fails("was cut off at byte", |_, _| Fate::Stall(0));
}

#[test]
fn wrong_bytes_are_named_and_not_kept() {
    let site = Site::new(3 << 20);
    for place in [0, 1, MIB, 2 * MIB + 77, 3 * MIB - 1] {
        site.fails("is not what its digest or size says", move |_, _| {
            Fate::Changed(place)
        });
        std::fs::remove_dir_all(site.sandbox.path("is-not-what-its-digest-or-size-says")).unwrap();
    }
    // Nor where they come after an interruption.
    site.fails(
        "is not what its digest or size says",
        |number, _| match number {
            0 => Fate::Cut(2 * MIB),
            _ => Fate::Changed(0),
        },
    );
}

#[test]
fn a_body_of_another_length_is_named_and_not_kept() {
    let site = Site::new(LAYER);
    for length in [0, 1, LAYER as u64 - 1, LAYER as u64 + 1, 2 * LAYER as u64] {
        site.fails("is not what its digest or size says", move |_, _| {
            Fate::Resized(length)
        });
        std::fs::remove_dir_all(site.sandbox.path("is-not-what-its-digest-or-size-says")).unwrap();
    }
    // A part that is shorter than it was asked for is one more interruption.
    site.arrives("short-part", |number, _| match number {
        0 => Fate::Cut(100_000),
        1 => Fate::Resized(50_000),
        _ => Fate::Pass,
    });
}

#[test]
fn a_whole_blob_in_place_of_its_rest_is_taken_from_there() {
    let site = Site::new(3 << 20);
    site.arrives("whole", |number, _| match number {
        0 => Fate::Cut(100_000),
        _ => Fate::Whole,
    });
    // The same in the next run.
    let proxy = site.proxy(|number, _| match number {
        0 => Fate::Cut(2 * MIB),
        _ => Fate::Cut(0),
    });
    let error = site.pull(&proxy, "next").unwrap_err();
    assert!(error.contains("was cut off at byte"), "{error}");
    assert!(site.is_begun("next"));
    let proxy = site.proxy(|_, _| Fate::Whole);
    site.pull(&proxy, "next").unwrap();
    assert!(!site.is_begun("next"));
}

#[test]
fn of_a_range_that_was_not_asked_for_nothing_is_taken_and_the_whole_is_asked_for() {
    let site = Site::new(LAYER);
    site.arrives("other-range", |number, _| match number {
        0 => Fate::Cut(100_000),
        _ => Fate::OtherRange,
    });
}

const LATER: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn a_storm_of_429_is_waited_out_or_named() {
    let site = Site::new(LAYER);
    // Every other request, of all kinds.
    let count = AtomicUsize::new(0);
    let proxy = Proxy::start(site.server.host(), None, move |_| {
        match count.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Fate::Answer(LATER.into()),
            _ => Fate::Pass,
        }
    });
    site.pull(&proxy, "every-other").unwrap();
    // In the middle of the layer.
    site.arrives("middle", |number, _| match number {
        0 => Fate::Cut(100_000),
        1..3 => Fate::Answer(LATER.into()),
        _ => Fate::Pass,
    });
    site.fails("limits how often it may be asked", |_, _| {
        Fate::Answer(LATER.into())
    });
}

/// What a registry says of itself that takes `MOST` requests a second and refuses all others until the next one, in both
/// forms of `Retry-After` by turns.
struct Limiter {
    begun: Instant,
    taken: HashMap<u64, usize>,
    refused: usize,
}

impl Limiter {
    const MOST: usize = 6;

    fn new() -> Self {
        Self {
            begun: Instant::now(),
            taken: HashMap::new(),
            refused: 0,
        }
    }

    fn decide(&mut self) -> Fate {
        let taken = self
            .taken
            .entry(self.begun.elapsed().as_secs())
            .or_default();
        if *taken < Self::MOST {
            *taken += 1;
            return Fate::Pass;
        }
        self.refused += 1;
        let until = if self.refused.is_multiple_of(2) {
            "1".to_owned()
        } else {
            httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1))
        };
        Fate::Answer(
            LATER
                .replace("Retry-After: 0", &format!("Retry-After: {until}"))
                .into(),
        )
    }
}

#[test]
fn many_requests_at_once_get_through_a_registry_that_refuses_most_of_them_again_and_again() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let layers: Vec<(u64, usize)> = (0..30).map(|seed| (seed, 5000)).collect();
    let image = Image::large(&layers);
    image.write_layout(&sandbox.path("from"), "v1");
    let limiter = Arc::new(Mutex::new(Limiter::new()));
    let decide = Arc::clone(&limiter);
    let proxy = Proxy::start(server.host(), None, move |_| {
        decide.lock().unwrap().decide()
    });
    let name = format!("{}/storm/image:v1", proxy.host());
    let at_once = ["--concurrency", "16"];
    for way in [
        ["registry", "push", "oci:from:v1", &name],
        ["registry", "pull", &name, "oci:to:v1"],
    ] {
        let before = proxy.exchanges().len();
        let refused_before = limiter.lock().unwrap().refused;
        sandbox.peak(way.iter().chain(&at_once)).assert_code(0);
        let asked = proxy.exchanges().len() - before;
        let refused = limiter.lock().unwrap().refused - refused_before;
        println!("{refused} of {asked} requests were refused");
        // It did happen, and did not grow: of those that come back at the same time some get through each time.
        assert!(refused > 3, "{refused} of {asked}");
        assert!(refused < 4 * (asked - refused), "{refused} of {asked}");
    }
    assert_eq!(layout_is_valid(&sandbox.path("to")), ["v1"]);
    let seen = validated(
        &format!("{}/storm/image:v1", server.host()),
        &sandbox.path(""),
    );
    assert_eq!(seen.root.digest.to_string(), image.digest());
}

#[test]
fn a_registry_that_is_restarted_in_the_middle_does_no_harm() {
    let mut site = Site::new(6 << 20);
    let proxy = Proxy::start(site.server.host(), Some(6 * MIB), |_| Fate::Pass);
    let name = format!("{}/faults/image:v1", proxy.host());
    let child = site
        .sandbox
        .command(["registry", "pull", &name, "oci:layout:v1"])
        .spawn()
        .unwrap();
    eventually("the layer is on its way", || {
        let exchanges = proxy.exchanges();
        exchanges.iter().any(|one| one.sent > MIB).then_some(())
    });
    // The state belongs to one server at a time.
    site.server.child.kill().unwrap();
    site.server.child.wait().unwrap();
    site.server = site.sandbox.serve();
    proxy.lead_to(site.server.host());
    finish(child).assert_code(0);
    assert_eq!(layout_is_valid(&site.sandbox.path("layout")), ["v1"]);
    let fetched: u64 = proxy
        .exchanges()
        .iter()
        .filter(|one| one.request.blob() == Some(site.layer()))
        .map(|one| one.sent)
        .sum();
    // What was on its way when it broke off may come twice.
    assert!((6 * MIB..7 * MIB).contains(&fetched), "{fetched}");
}

#[test]
fn a_registry_that_is_restarted_in_the_middle_of_a_push_does_no_harm() {
    let mut site = Site::new(1000);
    let image = Image::large(&[(7, 6 << 20), (8, 1000)]);
    image.write_layout(&site.sandbox.path("from"), "v1");
    let proxy = Proxy::start(site.server.host(), Some(6 * MIB), |_| Fate::Pass);
    let name = format!("{}/faults/pushed:v1", proxy.host());
    let push = ["registry", "push", "oci:from:v1", &name];
    let child = site.sandbox.command(push).spawn().unwrap();
    eventually("the layer is on its way", || {
        let exchanges = proxy.exchanges();
        let mut exchanges = exchanges.iter();
        exchanges.any(|one| one.received > 2 * MIB).then_some(())
    });
    site.server.child.kill().unwrap();
    site.server.child.wait().unwrap();
    site.server = site.sandbox.serve();
    proxy.lead_to(site.server.host());
    finish(child).assert_code(0);
    let name = format!("{}/faults/pushed:v1", site.server.host());
    let seen = validated(&name, &site.sandbox.path(""));
    assert_eq!(seen.root.digest.to_string(), image.digest());
}

#[test]
fn wrong_bytes_on_their_way_up_are_refused_and_the_next_push_works() {
    let site = Site::new(LAYER);
    let (pushed, _) = site.push("faults/wrong", |_, _| Fate::ChangedBody(200_000));
    let error = pushed.unwrap_err();
    assert!(
        error.contains("DIGEST_INVALID") && error.contains(site.layer()),
        "{error}"
    );
    let mut connection = crate::http::Connection::open(site.server.host());
    let manifest = "/v2/faults/wrong/manifests/v1";
    assert_eq!(connection.send("GET", manifest, "", b"").status, 404);
    let (pushed, _) = site.push("faults/wrong", |_, _| Fate::Pass);
    pushed.unwrap();
    let name = format!("{}/faults/wrong:v1", site.server.host());
    validated(&name, &site.sandbox.path(""));
}

/// What may become of a request for a blob of so many bytes.
fn any_fate(random: &mut Random, size: u64) -> Fate {
    // Often early, often late.
    let place = match random.below(3) {
        0 => random.below(size),
        1 => random.below(100_000),
        _ => size - 1 - random.below(1000),
    };
    match random.below(16) {
        0..3 => Fate::Cut(place),
        3 => Fate::Stall(place),
        4 => Fate::Resized(place),
        5 => Fate::Whole,
        6 => Fate::OtherRange,
        7 | 8 => Fate::Answer(LATER.into()),
        9 => Fate::Changed(place),
        _ => Fate::Pass,
    }
}

/// Anything may happen to one in `one_in` requests for the layer; then nothing happens any more.
fn anything(size: usize, rounds: u64, one_in: u64) {
    let site = Site::new(size);
    let seed = seed();
    // Shown if the test fails.
    println!("PEAK_KILL_SEED={seed}");
    let (mut arrived, mut failed) = (0, 0);
    for round in 0..rounds {
        let layout = format!("anything-{round}");
        let random = Mutex::new(Random(seed.wrapping_add(round)));
        let proxy = site.proxy(move |_, _| {
            let mut random = random.lock().unwrap();
            match random.below(one_in) {
                0 => any_fate(&mut random, size as u64),
                _ => Fate::Pass,
            }
        });
        match site.pull(&proxy, &layout) {
            Ok(()) => arrived += 1,
            Err(error) => {
                failed += 1;
                assert!(error.contains(site.layer()), "{error}");
                let honest = site.proxy(|_, _| Fate::Pass);
                if let Err(after) = site.pull(&honest, &layout) {
                    panic!("after {error}: {after}");
                }
            }
        }
        std::fs::remove_dir_all(site.sandbox.path(&layout)).unwrap();
    }
    println!("{arrived} of {rounds} arrived in spite of all, {failed} after that");
}

#[test]
fn whatever_happens_to_a_layer_it_arrives_whole_or_not_at_all() {
    anything(3 << 20, 40, 1);
}

#[test]
fn whatever_happens_to_a_layer_that_comes_in_many_ranges_it_arrives_whole_or_not_at_all() {
    // More than comes in one piece before it is known that the registry knows ranges.
    anything(36 << 20, 8, 3);
}

/// Pulls from a shell that has made room for `limit` bytes only.
#[cfg(unix)]
fn pull_within(site: &Site, shell: &str) -> crate::support::Finished {
    let name = format!("{}/faults/image:v1", site.server.host());
    let ours = site
        .sandbox
        .command(["registry", "pull", &name, "oci:full/layout:v1"]);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", shell])
        .arg(ours.get_program())
        .args(ours.get_args());
    command
        .env_clear()
        .envs(
            ours.get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .current_dir(site.sandbox.path(""))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    finish(command.spawn().unwrap())
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_is_named_and_the_next_run_goes_on() {
    let site = Site::new(3 << 20);
    std::fs::create_dir(site.sandbox.path("full")).unwrap();
    // 25 is SIGXFSZ, which would end it without a word. In blocks of 512 bytes.
    let full = pull_within(&site, "trap '' 25; ulimit -f 4096; exec \"$0\" \"$@\"");
    full.assert_code(1).assert_stderr("File too large");
    full.assert_stderr(site.layer());
    let folder = site.sandbox.path("full/layout");
    assert!(layout_is_valid(&folder).is_empty());
    pull_within(&site, "exec \"$0\" \"$@\"").assert_code(0);
    assert_eq!(layout_is_valid(&folder), ["v1"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_is_named_and_the_layout_stays_valid() {
    let sandbox = Sandbox::new();
    let can = std::process::Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none"])
        .arg(sandbox.path("tmp"))
        .output();
    if !can.is_ok_and(|output| output.status.success()) {
        skipped("no mount can be made here; with one, a full disk would be tested");
        return;
    }
    let site = Site::new(3 << 20);
    std::fs::create_dir(site.sandbox.path("full")).unwrap();
    let script = "mount -t tmpfs -o size=2m none full && \"$0\" \"$@\"; code=$?; cp -a full/. seen; exit $code";
    let full = pull_within(
        &site,
        &format!("exec unshare -rm sh -c '{script}' \"$0\" \"$@\""),
    );
    full.assert_code(1).assert_stderr("No space left");
    full.assert_stderr(site.layer());
    assert!(site.sandbox.path("seen/layout").exists());
    assert!(layout_is_valid(&site.sandbox.path("seen/layout")).is_empty());
    // With room it goes on there.
    std::fs::remove_dir(site.sandbox.path("full")).unwrap();
    std::fs::rename(site.sandbox.path("seen"), site.sandbox.path("full")).unwrap();
    pull_within(&site, "exec \"$0\" \"$@\"").assert_code(0);
    assert_eq!(layout_is_valid(&site.sandbox.path("full/layout")), ["v1"]);
}
