//! Mirrors between ends in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use peak_oci::{BoxFuture, ContentError, Reference, Source, Tag, validate};
use peak_transfer::{
    Destination, MirrorOptions, MirrorPlan, MirrorReport, Repositories, TransferError, mirror,
    mirror_until,
};

use crate::engine::by_tag;
use crate::support::Memory;

impl Destination for Memory {
    fn delete_tag<'a>(&'a self, tag: &'a Tag) -> BoxFuture<'a, Result<(), ContentError>> {
        Box::pin(async move { self.delete(tag) })
    }
}

/// Repositories by their names; each is made when it is first asked for.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<BTreeMap<String, Memory>>>);

impl Network {
    fn at(&self, name: &str) -> Memory {
        let mut all = self.0.lock().unwrap();
        all.entry(name.to_owned()).or_default().clone()
    }

    fn forget(&self) {
        self.0.lock().unwrap().values().for_each(Memory::forget);
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl Repositories for Network {
    fn source(&self, name: &Reference) -> Box<dyn Source> {
        Box::new(self.at(&name.to_string()))
    }

    fn destination(&self, name: &Reference) -> Box<dyn Destination> {
        Box::new(self.at(&name.to_string()))
    }
}

fn plan(text: &str) -> MirrorPlan {
    serde_json::from_str(text).unwrap()
}

/// `a.example/app` to `b.example`, with these members more in the repository and the destination.
fn simple(repository: &str, destination: &str) -> MirrorPlan {
    plan(&format!(
        "{{\"destinations\":[{{\"to\":\"b.example/m\"{destination}}}],\"repositories\":[{{\"from\":\"a.example/app\"{repository}}}]}}"
    ))
}

/// A source with six tags, and an empty destination.
fn network() -> (Network, Memory, Memory) {
    let network = Network::default();
    let (from, to) = (network.at("a.example/app"), network.at("b.example/m/app"));
    for name in ["1.0.0", "1.1.0", "1.2.0", "2.0.0", "edge", "edge-debug"] {
        let image = from.image("linux/amd64", &[b"shared", name.as_bytes()]);
        from.tag(name, &image);
    }
    (network, from, to)
}

async fn run(network: &Network, plan: &MirrorPlan, options: &MirrorOptions) -> MirrorReport {
    mirror(plan, network, options).await
}

fn first_error(report: &MirrorReport) -> &TransferError {
    &report.failures().next().unwrap().error
}

#[tokio::test]
async fn tags_that_are_meant_are_copied_and_nothing_else() {
    let (network, _, to) = network();
    let plan = simple(
        r#","tags":{"names":["edge"],"versions":[">=1, <2"],"latest":2}"#,
        "",
    );
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!(report.failures().count(), 0);
    assert_eq!(to.tag_names(), ["1.1.0", "1.2.0", "edge"]);
    assert_eq!(
        (report.copied(), report.unchanged(), report.deleted()),
        (3, 0, 0)
    );
    for tag in to.tag_names() {
        validate(&to, Some(&by_tag(&tag))).await.unwrap();
    }
    assert_eq!(report.repositories[0].tags, 3);
    assert!(report.bytes() > 0);
}

#[tokio::test]
async fn where_nothing_changed_a_tag_costs_one_question_at_either_end() {
    let (network, from, to) = network();
    let plan = simple("", "");
    run(&network, &plan, &MirrorOptions::new()).await;
    network.forget();
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!((report.copied(), report.unchanged()), (0, 6));
    assert_eq!(report.bytes(), 0);
    for end in [&from, &to] {
        assert_eq!(end.state().digests_asked, 6);
        assert_eq!(end.state().manifests_asked, 0);
    }
    assert_eq!((from.state().tags_listed, to.state().tags_listed), (1, 0));
    assert!(to.log().is_empty());

    // Tags that are named need no list.
    network.forget();
    let named = simple(r#","tags":{"names":["edge"]}"#, "");
    run(&network, &named, &MirrorOptions::new()).await;
    assert_eq!(from.state().tags_listed, 0);
    assert_eq!(from.state().digests_asked, 1);
}

#[tokio::test]
async fn only_the_tag_that_moved_on_is_copied_again() {
    let (network, from, to) = network();
    let plan = simple("", "");
    run(&network, &plan, &MirrorOptions::new()).await;
    network.forget();
    let new = from.image("linux/amd64", &[b"shared", b"newer"]);
    from.tag("edge", &new);
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!((report.copied(), report.unchanged()), (1, 5));
    assert_eq!(
        report.repositories[0].destinations[0].copied[0]
            .tag
            .as_str(),
        "edge"
    );
    assert_eq!(to.log(), ["tag edge"]);
    assert_eq!(to.tagged("edge").as_ref(), Some(new.digest()));
}

#[tokio::test]
async fn deletions_stay_within_what_the_plan_is_about() {
    let (network, from, to) = network();
    let signature = format!(
        "{}.sig",
        from.tagged("edge").unwrap().to_string().replace(':', "-")
    );
    for name in ["1.9.9", "0.9.0", "stable", &signature] {
        to.tag(name, &to.image("linux/amd64", &[name.as_bytes()]));
    }
    let tags = r#","tags":{"globs":["[0-9]*","sha*"],"latest":3}"#;
    let before = to.tag_names();

    // Off by default.
    let report = run(&network, &simple(tags, ""), &MirrorOptions::new()).await;
    assert_eq!((report.copied(), report.deleted()), (3, 0));
    assert_eq!(to.tag_names().len(), before.len() + 3);

    let plan = simple(tags, r#","delete":true"#);
    to.tag("1.0.0", &to.image("linux/amd64", &[b"too old"]));
    let would = run(&network, &plan, &MirrorOptions::new().dry_run(true)).await;
    let names = |report: &MirrorReport| -> Vec<String> {
        let deleted = &report.repositories[0].destinations[0].deleted;
        deleted.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&would), ["0.9.0", "1.0.0", "1.9.9"]);
    assert_eq!(to.tag_names().len(), before.len() + 4);
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!(names(&report), names(&would));
    assert_eq!(
        to.tag_names(),
        ["1.1.0", "1.2.0", "2.0.0", &signature, "stable"]
    );
}

#[tokio::test]
async fn nothing_is_deleted_for_want_of_a_source() {
    let (network, from, to) = network();
    let plan = simple("", r#","delete":true"#);
    run(&network, &plan, &MirrorOptions::new()).await;
    to.tag("old", &to.image("linux/amd64", &[b"old"]));
    // The list of the source cannot be read.
    from.state().broken.insert("tags".to_owned());
    let report = run(&network, &plan, &MirrorOptions::new().keep_going(true)).await;
    assert!(matches!(first_error(&report), TransferError::Source { .. }));
    assert_eq!((to.tag_names().len(), report.deleted()), (7, 0));
    // It is empty, for whatever reason.
    from.state().broken.clear();
    let tags = std::mem::take(&mut from.state().tags);
    let report = run(&network, &plan, &MirrorOptions::new().keep_going(true)).await;
    assert!(matches!(first_error(&report), TransferError::NothingToKeep));
    assert_eq!((to.tag_names().len(), report.deleted()), (7, 0));
    // Something could not be copied.
    from.state().tags = tags;
    let new = from.image("linux/amd64", &[b"new"]);
    from.tag("edge", &new);
    from.state().broken.insert(new.digest().to_string());
    let report = run(&network, &plan, &MirrorOptions::new().keep_going(true)).await;
    assert_eq!(report.failures().count(), 1);
    assert_eq!((to.tag_names().len(), report.deleted()), (7, 0));
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (network, from, to) = network();
    let plan = simple("", "");
    let would = run(&network, &plan, &MirrorOptions::new().dry_run(true)).await;
    assert_eq!(would.copied(), 6);
    assert!(to.log().is_empty() && to.state().blobs.is_empty());
    assert_eq!(from.state().bytes_read, 0);
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!(
        (report.copied(), report.bytes()),
        (would.copied(), would.bytes())
    );
}

#[tokio::test]
async fn an_image_has_its_chosen_platforms_and_the_next_run_knows_them() {
    let (network, from, to) = network();
    let mut entries = Vec::new();
    for platform in ["linux/amd64", "linux/arm64", "linux/s390x"] {
        let image = from.image(platform, &[platform.as_bytes()]);
        entries.push(image.descriptor().with_platform(platform.parse().unwrap()));
    }
    from.tag("edge", &from.index(entries));
    let plan = simple(
        r#","tags":{"names":["edge","1.0.0"]},"platforms":["linux/amd64","linux/arm64"]"#,
        "",
    );
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!((report.failures().count(), report.copied()), (0, 2));
    let digest = to.tagged("edge").unwrap();
    let index = to.state().manifests[&digest].clone();
    assert_eq!(index.value().as_index().unwrap().manifests.len(), 2);
    assert_ne!(Some(digest), from.tagged("edge"));
    let again = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!((again.copied(), again.unchanged()), (0, 2));
}

#[tokio::test]
async fn a_signature_that_comes_later_is_taken_along_later() {
    let (network, from, to) = network();
    let plan = simple(r#","tags":{"names":["edge"]},"referrers":true"#, "");
    run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!(
        run(&network, &plan, &MirrorOptions::new())
            .await
            .unchanged(),
        1
    );
    let digest = from.tagged("edge").unwrap();
    let image = from.state().manifests[&digest].clone();
    let signature = from.statement(Some(&image), "signed");
    let cosign = format!("{}.sig", digest.to_string().replace(':', "-"));
    from.tag(&cosign, &from.statement(None, "signed, too"));
    network.forget();
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!((report.copied(), report.unchanged()), (1, 0));
    assert!(to.state().manifests.contains_key(signature.digest()));
    assert_eq!(to.tagged(&cosign), from.tagged(&cosign));
    // The image itself did not move again.
    assert_eq!(to.state().opened.len(), 0);
    assert!(to.state().bytes_written < 30);
    assert_eq!(
        run(&network, &plan, &MirrorOptions::new())
            .await
            .unchanged(),
        1
    );
}

#[tokio::test]
async fn a_failure_ends_the_run_unless_it_is_to_go_on() {
    let network = Network::default();
    let mut repositories = Vec::new();
    for number in 0..12 {
        let from = network.at(&format!("a.example/app{number}"));
        from.tag("v1", &from.image("linux/amd64", &[b"layer"]));
        repositories.push(format!("{{\"from\":\"a.example/app{number}\"}}"));
    }
    let broken = network.at("a.example/app2");
    let bad = broken.tagged("v1").unwrap();
    broken.state().broken.insert(bad.to_string());
    let plan = plan(&format!(
        "{{\"destinations\":[{{\"to\":\"b.example\"}},{{\"to\":\"c.example\"}}],\"repositories\":[{}]}}",
        repositories.join(",")
    ));
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert!(report.is_stopped);
    assert_eq!(report.failures().count(), 1);
    assert!(report.copied() < 22, "{}", report.copied());
    // What was done is reported, also of repositories that were not finished.
    let there = |host: &str| {
        let names = network.names();
        let filled = names
            .iter()
            .filter(|name| name.starts_with(host) && network.at(name).tagged("v1").is_some());
        filled.count()
    };
    assert_eq!(there("b.example") + there("c.example"), report.copied());

    let report = run(&network, &plan, &MirrorOptions::new().keep_going(true)).await;
    assert!(!report.is_stopped);
    assert_eq!(report.failures().count(), 1);
    assert_eq!(report.copied() + report.unchanged(), 22);
    assert_eq!((there("b.example"), there("c.example")), (11, 11));

    broken.state().broken.clear();
    let report = run(&network, &plan, &MirrorOptions::new()).await;
    assert_eq!((report.copied(), report.unchanged()), (2, 22));
}

#[tokio::test]
async fn shards_together_do_the_whole_and_no_part_twice() {
    let network = Network::default();
    let mut repositories = Vec::new();
    for number in 0..20 {
        let from = network.at(&format!("a.example/app{number}"));
        from.tag("v1", &from.image("linux/amd64", &[b"layer"]));
        repositories.push(format!("{{\"from\":\"a.example/app{number}\"}}"));
    }
    let plan = plan(&format!(
        "{{\"destinations\":[{{\"to\":\"b.example\"}}],\"repositories\":[{}]}}",
        repositories.join(",")
    ));
    let mut copied = 0;
    for shard in ["1/3", "2/3", "3/3"] {
        let options = MirrorOptions::new().shard(Some(shard.parse().unwrap()));
        let report = run(&network, &plan, &options).await;
        assert_eq!(report.unchanged(), 0);
        assert!(report.copied() < 20);
        copied += report.copied();
    }
    assert_eq!(copied, 20);
    assert_eq!(
        run(&network, &plan, &MirrorOptions::new())
            .await
            .unchanged(),
        20
    );
}

#[tokio::test]
async fn a_destination_that_denies_what_is_not_there_is_copied_to() {
    let (network, from, to) = network();
    to.state().denies = true;
    let report = run(&network, &simple("", ""), &MirrorOptions::new()).await;
    assert_eq!((report.failures().count(), report.copied()), (0, 6));
    assert_eq!(to.tag_names(), from.tag_names());
}

#[tokio::test]
async fn a_tag_that_is_named_has_to_be_there() {
    let (network, _, _) = network();
    let plan = simple(r#","tags":{"names":["edge","gone"]}"#, "");
    let report = run(&network, &plan, &MirrorOptions::new().keep_going(true)).await;
    assert_eq!(
        first_error(&report).to_string(),
        "the source has no tag `gone`"
    );
    assert_eq!(report.copied(), 1);
}

#[tokio::test]
async fn a_run_that_was_cut_off_is_begun_again_and_does_the_rest() {
    for polls in [2, 8, 20, 60] {
        let (network, from, to) = network();
        let plan = simple("", "");
        {
            let options = MirrorOptions::new();
            let mut work = Box::pin(mirror(&plan, &network, &options));
            for _ in 0..polls {
                if (&mut work).now_or_never().is_some() {
                    break;
                }
            }
        }
        for tag in to.tag_names() {
            validate(&to, Some(&by_tag(&tag))).await.unwrap();
        }
        let done = to.tag_names().len();
        let report = run(&network, &plan, &MirrorOptions::new()).await;
        assert_eq!((report.copied(), report.unchanged()), (6 - done, done));
        assert_eq!(to.tag_names(), from.tag_names());
    }
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_says_what_it_did() {
    let network = Network::default();
    let from = network.at("a.example/app");
    for number in 0..40 {
        let layer = format!("layer {number}").repeat(500);
        let image = from.image("linux/amd64", &[layer.as_bytes()]);
        from.tag(&format!("v{number:02}"), &image);
    }
    let to = network.at("b.example/m/app");
    let done = to.clone();
    let stop = async move {
        while done.tag_names().len() < 5 {
            tokio::task::yield_now().await;
        }
    };
    let plan = simple("", ",\"delete\":true");
    to.tag("gone", &to.image("linux/amd64", &[b"gone"]));
    let report = mirror_until(&plan, &network, &MirrorOptions::new(), stop).await;
    assert!(report.is_interrupted && !report.is_stopped);
    let copied = report.copied();
    assert!((4..40).contains(&copied), "{copied}");
    assert_eq!((report.failures().count(), report.deleted()), (0, 0));
    for tag in &report.repositories[0].destinations[0].copied {
        validate(&to, Some(&by_tag(tag.tag.as_str())))
            .await
            .unwrap();
    }
    // The next run does the rest.
    let report = mirror(&plan, &network, &MirrorOptions::new()).await;
    assert!(!report.is_interrupted);
    assert_eq!((report.copied() + copied, report.deleted()), (40, 1));
}
