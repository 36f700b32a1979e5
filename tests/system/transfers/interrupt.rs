//! Ctrl-C in the middle of a transfer, and two transfers in one place at once.

use std::process::Child;
use std::time::{Duration, Instant};

use super::image::Image;
use super::proxy::{Fate, Proxy};
use super::{layout_is_valid, validated};
use crate::http::{Connection, path_of};
use crate::support::{Finished, Sandbox, eventually, files_under, finish, signal};

const MIB: u64 = 1 << 20;

/// Slow enough to be in the middle of the largest layer for seconds.
const SLOW: u64 = 2 * MIB;

/// It is there for a machine that has much else to do; a person waits a second at most.
const SOON: Duration = Duration::from_secs(10);

fn image() -> Image {
    Image::large(&[(1, 12 << 20), (2, 8 << 20), (3, 1000)])
}

/// Presses Ctrl-C and waits for the end, which has to come soon.
#[track_caller]
fn interrupt(child: Child) -> Finished {
    let begun = Instant::now();
    signal(&child, "INT");
    let finished = finish(child);
    let took = begun.elapsed();
    println!("it took {took:?}");
    assert!(took < SOON, "{took:?}");
    finished.assert_code(130).assert_stderr("interrupted");
    finished
}

#[test]
fn ctrl_c_during_a_push_cancels_the_uploads_and_the_next_push_works() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let image = image();
    image.write_layout(&sandbox.path("from"), "v1");
    let proxy = Proxy::start(server.host(), Some(SLOW), |_| Fate::Pass);
    let push = |host: &str| {
        let name = format!("{host}/interrupt/image:v1");
        sandbox
            .command(["registry", "push", "oci:from:v1", &name])
            .spawn()
            .unwrap()
    };
    let child = push(&proxy.host());
    eventually("two layers are on their way", || {
        let large = proxy
            .exchanges()
            .into_iter()
            .filter(|one| one.received > MIB / 2);
        (large.count() == 2).then_some(())
    });
    interrupt(child);
    // Every upload that was not finished is cancelled. The registry does so when it has got what was still on its way
    // through the proxy.
    let cancelled = eventually("both uploads are cancelled", || {
        let exchanges = proxy.exchanges().into_iter();
        let cancelled: Vec<_> = exchanges
            .filter(|one| one.request.line().starts_with("DELETE") && one.status == 204)
            .collect();
        (cancelled.len() == 2).then_some(cancelled)
    });
    let mut connection = Connection::open(server.host());
    for exchange in cancelled {
        let (_, location) = exchange.request.line().split_once(' ').unwrap();
        let asked = connection.send("GET", path_of(location), "", b"");
        assert_eq!(asked.status, 404);
    }
    let manifest = "/v2/interrupt/image/manifests/v1";
    assert_eq!(connection.send("GET", manifest, "", b"").status, 404);
    let left = files_under(&sandbox.path("state/peak/registry/uploads"));
    assert!(left.is_empty(), "{left:?}");
    sandbox.assert_no_leftovers();

    finish(push(server.host())).assert_code(0);
    validated(
        &format!("{}/interrupt/image:v1", server.host()),
        &sandbox.path(""),
    );
}

#[test]
fn ctrl_c_during_a_pull_leaves_a_valid_layout_and_the_next_pull_fetches_the_rest() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let (first, second) = (Image::large(&[(9, 1000)]), image());
    first.push(server.host(), "interrupt/image", "v1");
    second.push(server.host(), "interrupt/image", "v2");
    let pull = |host: &str, tag: &str| {
        let name = format!("{host}/interrupt/image:{tag}");
        let to = format!("oci:layout:{tag}");
        sandbox
            .command(["registry", "pull", &name, &to])
            .spawn()
            .unwrap()
    };
    finish(pull(server.host(), "v1")).assert_code(0);
    let proxy = Proxy::start(server.host(), Some(SLOW), |_| Fate::Pass);
    let child = pull(&proxy.host(), "v2");
    eventually("two layers are on their way", || {
        let large = proxy
            .exchanges()
            .into_iter()
            .filter(|one| one.sent > 2 * MIB);
        (large.count() == 2).then_some(())
    });
    interrupt(child);
    assert_eq!(layout_is_valid(&sandbox.path("layout")), ["v1"]);
    let total = |proxy: &Proxy| proxy.exchanges().iter().map(|one| one.sent).sum::<u64>();
    let before = total(&proxy);
    let proxy = Proxy::start(server.host(), None, |_| Fate::Pass);
    finish(pull(&proxy.host(), "v2")).assert_code(0);
    assert_eq!(layout_is_valid(&sandbox.path("layout")), ["v1", "v2"]);
    // What was on its way to the disk may come twice.
    let whole = 20 * MIB + 10_000;
    assert!(
        before + total(&proxy) < whole + MIB,
        "{before} and {}",
        total(&proxy)
    );
}

#[test]
fn two_pulls_into_one_layout_at_once_both_succeed() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let host = server.host();
    // The first layer is in both.
    let images = [
        Image::large(&[(1, 4 << 20), (2, 2 << 20), (3, 1000)]),
        Image::large(&[(1, 4 << 20), (4, 2 << 20), (5, 1000)]),
    ];
    for (image, tag) in images.iter().zip(["v1", "v2"]) {
        image.push(host, "together/image", tag);
    }
    for round in 0..5 {
        let layout = format!("layout-{round}");
        // Two images, and one of them twice.
        let pulls: Vec<_> = [("v1", "v1"), ("v2", "v2"), ("v1", "v3"), ("v1", "v1")]
            .into_iter()
            .map(|(from, to)| {
                let name = format!("{host}/together/image:{from}");
                let to = format!("oci:{layout}:{to}");
                sandbox
                    .command(["registry", "pull", &name, &to])
                    .spawn()
                    .unwrap()
            })
            .collect();
        for pull in pulls {
            finish(pull).assert_code(0);
        }
        assert_eq!(layout_is_valid(&sandbox.path(&layout)), ["v1", "v2", "v3"]);
        for (image, tag) in images.iter().zip(["v1", "v2"]) {
            let seen = validated(&format!("oci:{layout}:{tag}"), &sandbox.path(""));
            assert_eq!(seen.root.digest.to_string(), image.digest());
        }
    }
    sandbox.assert_no_leftovers();
}

#[test]
fn two_pushes_of_one_image_at_once_both_succeed() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let image = Image::large(&[(1, 4 << 20), (2, 2 << 20), (3, 1000)]);
    image.write_layout(&sandbox.path("from"), "v1");
    for round in 0..3 {
        let names =
            ["one", "two"].map(|tag| format!("{}/together/pushed-{round}:{tag}", server.host()));
        let pushes = names.each_ref().map(|name| {
            sandbox
                .command(["registry", "push", "oci:from:v1", name])
                .spawn()
                .unwrap()
        });
        for push in pushes {
            finish(push).assert_code(0);
        }
        for name in names {
            let seen = validated(&name, &sandbox.path(""));
            assert_eq!(seen.root.digest.to_string(), image.digest());
        }
    }
}

#[test]
fn ctrl_c_during_a_mirror_tells_what_was_done() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    Image::large(&[(9, 1000)]).push(server.host(), "from/app", "v1");
    image().push(server.host(), "from/app", "v2");
    let proxy = Proxy::start(server.host(), Some(SLOW), |_| Fate::Pass);
    let plan = format!(
        "destinations:\n  - to: {}/mirror\nrepositories:\n  - from: {}/from/app\n",
        proxy.host(),
        server.host()
    );
    sandbox.files("", [("plan.yaml", plan.as_bytes())]);
    let mirror = ["registry", "mirror", "plan.yaml", "-o", "json"];
    let child = sandbox.command(mirror).spawn().unwrap();
    eventually("the small image is there and the other on its way", || {
        let all = proxy.exchanges();
        let large = all.iter().filter(|one| one.received > MIB / 2).count();
        (large == 2 && all.iter().any(is_manifest_put)).then_some(())
    });
    // The answer has passed the proxy, and is not yet read: what comes behind it shows that it is.
    let received = || {
        proxy
            .exchanges()
            .iter()
            .map(|one| one.received)
            .sum::<u64>()
    };
    let seen = received();
    eventually("the mirror has gone on", || {
        (received() > seen + MIB).then_some(())
    });
    let finished = interrupt(child);
    let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(
        (&report["interrupted"], &report["stopped"]),
        (&true.into(), &false.into())
    );
    assert_eq!(report["copied"], 1);
    let copied = &report["repositories"][0]["destinations"][0]["copied"];
    assert_eq!(copied[0]["tag"], "v1");

    let done = sandbox.peak_json(mirror);
    assert_eq!(
        (&done["interrupted"], &done["copied"]),
        (&false.into(), &1.into())
    );
}

fn is_manifest_put(exchange: &super::proxy::Exchange) -> bool {
    exchange.request.line().starts_with("PUT")
        && exchange.request.line().contains("/manifests/v1")
        && exchange.status == 201
}
