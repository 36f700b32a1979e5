//! Many operations at once through one client, while one request in twenty of each method goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use http::HeaderValue;
use http::header::RETRY_AFTER;
use peak_local::faults::Fault;
use peak_sdk::artifacts::operations::DescribeArtifact;
use peak_sdk::artifacts::{Artifacts, CreateArtifact, CreateArtifactVersion, Error, ListArtifacts};
use peak_sdk::models::Id;

use crate::support::{Bench, TOKEN, session};

/// Artifacts that are there before, of which no listing may miss one.
const BEFORE: usize = 12;
const UPLOADS: usize = 100;
const VERSIONS: usize = 60;
const LISTINGS: usize = 40;

/// One request in so many goes wrong.
const EVERY: u64 = 20;

/// What goes wrong with the requests of one method: each in its turn, so that in every run all of it happens to
/// uploads, and what would make them twice happens first.
fn fault(turn: u64) -> Fault {
    let later = |status| Fault::status(status).header(RETRY_AFTER, HeaderValue::from_static("0"));
    match turn % 6 {
        0 => Fault::disconnect_after(),
        1 => later(503),
        2 => Fault::cut_body(5),
        3 => Fault::disconnect_before(),
        4 => later(429),
        _ => Fault::status(500),
    }
}

/// What became of something that may be done only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Yes,
    Maybe,
    No,
}

fn done<T>(result: &Result<T, Error>) -> Done {
    match result {
        Ok(_) => Done::Yes,
        Err(error) if error.may_have_been_acted_upon() => Done::Maybe,
        Err(_) => Done::No,
    }
}

async fn names(artifacts: &Artifacts) -> Result<Vec<String>, Error> {
    artifacts
        .list_artifacts(ListArtifacts::new().page_size(10))
        .map_ok(|artifact| artifact.name.unwrap())
        .try_collect()
        .await
}

async fn create(artifacts: &Artifacts, create: &CreateArtifact) -> Result<Id, Error> {
    let made = artifacts.create_artifact(create).await?;
    Ok(made.id.unwrap())
}

/// Checks that what was done is there once, what may have been at most once, and what was not not at all.
fn check(what: &str, done: Done, count: usize) {
    let right = match done {
        Done::Yes => count == 1,
        Done::Maybe => count <= 1,
        Done::No => count == 0,
    };
    assert!(right, "{what}: {done:?}, and there are {count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_uploads_and_listings_lose_nothing_and_create_nothing_twice() {
    let bench = Bench::start().await;
    let zip = |name: &str| bench.zip(&format!("{name}.zip"), &[("name", name.as_bytes())]);
    let artifacts = Artifacts::new(session(&bench.platform, TOKEN, 8));
    let mut before = BTreeSet::new();
    for number in 0..BEFORE {
        let name = format!("before-{number}");
        create(&artifacts, &CreateArtifact::new(&name, zip(&name)))
            .await
            .unwrap();
        before.insert(name);
    }
    let target = create(&artifacts, &CreateArtifact::new("target", zip("target")))
        .await
        .unwrap();
    before.insert("target".to_owned());

    // Of each method, how many requests came and how many went wrong.
    let counts: Arc<Mutex<BTreeMap<String, (u64, u64)>>> = Arc::default();
    let counted = Arc::clone(&counts);
    bench.faults.choose_with(move |request| {
        let mut counts = counted.lock().unwrap();
        let (came, wrong) = counts.entry(request.method.to_owned()).or_default();
        *came += 1;
        if *came % EVERY != EVERY / 2 {
            return None;
        }
        *wrong += 1;
        Some(fault(*wrong - 1))
    });
    let uploads = join_all((0..UPLOADS).map(|number| {
        let (artifacts, name) = (artifacts.clone(), format!("upload-{number}"));
        let new = CreateArtifact::new(&name, zip(&name));
        async move { (name, create(&artifacts, &new).await) }
    }));
    let versions = join_all((0..VERSIONS).map(|number| {
        let (artifacts, target) = (artifacts.clone(), target.clone());
        let version = CreateArtifactVersion::new(zip(&format!("version-{number}")));
        async move { artifacts.create_artifact_version(&target, &version).await }
    }));
    let listings = join_all((0..LISTINGS).map(|_| names(&artifacts)));
    let (uploads, versions, listings) =
        futures_util::future::join3(uploads, versions, listings).await;
    bench.faults.clear();

    let counts = counts.lock().unwrap().clone();
    assert!(counts["POST"].1 >= 5 && counts["PUT"].1 >= 3, "{counts:?}");
    let wrong: u64 = counts.values().map(|(_, wrong)| wrong).sum();
    for listing in listings {
        // Whatever goes wrong with a listing, it is asked for again.
        let listed: BTreeSet<_> = listing.unwrap().into_iter().collect();
        assert!(before.is_subset(&listed), "a listing lost something");
    }

    let mut there: BTreeMap<String, usize> = BTreeMap::new();
    for name in names(&artifacts).await.unwrap() {
        *there.entry(name).or_default() += 1;
    }
    let mut ids = BTreeSet::new();
    for (name, result) in &uploads {
        check(name, done(result), there.remove(name).unwrap_or_default());
        if let Ok(id) = result {
            assert!(ids.insert(id.clone()), "{id} was given out twice");
            let described = artifacts
                .describe_artifact(&DescribeArtifact::new(id))
                .await
                .unwrap();
            assert_eq!(described.name.as_ref(), Some(name));
            assert_eq!(described.version_count, Some(1));
        }
    }
    assert_eq!(there.into_keys().collect::<BTreeSet<_>>(), before);

    let described = artifacts
        .describe_artifact(&DescribeArtifact::new(&target).page_size(100))
        .await
        .unwrap();
    // The first one was there before.
    let made = described.version_count.unwrap() - 1;
    let numbers: BTreeSet<_> = versions.iter().flatten().map(|made| made.version).collect();
    let succeeded = versions.iter().flatten().count();
    assert_eq!(numbers.len(), succeeded, "a number was given out twice");
    let maybe = versions
        .iter()
        .filter(|made| done(made) == Done::Maybe)
        .count();
    let least = u64::try_from(succeeded).unwrap();
    let most = u64::try_from(succeeded + maybe).unwrap();
    assert!(
        (least..=most).contains(&made),
        "{made} versions, not {least} to {most}"
    );
    // Nearly everything goes through: only what may not be sent again is lost to its caller.
    let failed = uploads.iter().filter(|(_, result)| result.is_err()).count();
    assert!(failed + VERSIONS - succeeded <= usize::try_from(wrong).unwrap());
    bench.platform.shutdown().await;
}
