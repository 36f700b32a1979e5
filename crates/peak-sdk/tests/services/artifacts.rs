//! The life of artifacts.

use futures_util::{StreamExt, TryStreamExt};
use peak_local::faults::Fault;
use peak_sdk::artifacts::operations::{ArtifactsPage, DescribeArtifact};
use peak_sdk::artifacts::{
    Artifacts, CreateArtifact, CreateArtifactVersion, Error, ListArtifacts, UpdateArtifact,
};
use peak_sdk::models::Id;
use peak_sdk::platform::{Operation, Session};
use serde_json::Value;

use crate::support::{Bench, LIMIT, RETRIES, TOKEN, eventually, noise, session, zip};

async fn create(bench: &Bench, name: &str) -> Id {
    let zip = bench.zip(&format!("{name}.zip"), &[("name", name.as_bytes())]);
    let made = bench
        .artifacts
        .create_artifact(&CreateArtifact::new(name, zip))
        .await
        .unwrap();
    made.id.unwrap()
}

/// The answer to an operation, with the fields that the models do not have.
async fn raw(session: &Session, operation: &impl Operation) -> Value {
    let request = operation.request(session.endpoint()).unwrap();
    session.execute(request).await.unwrap()
}

#[tokio::test]
async fn an_artifact_is_created_given_versions_changed_downloaded_and_deleted() {
    let bench = Bench::start().await;
    let artifacts = &bench.artifacts;
    let (one, two) = (
        bench.zip("one.zip", &[("a.txt", b"one")]),
        bench.zip("two.zip", &[("a.txt", b"two")]),
    );
    let create = CreateArtifact::new("Greeting", one)
        .description("first")
        .source("tests")
        .scan(true)
        .validate(false);
    let made = artifacts.create_artifact(&create).await.unwrap();
    assert_eq!(made.version, Some(1));
    let id = made.id.unwrap();
    let version = CreateArtifactVersion::new(two).scan(false).validate(true);
    let made = artifacts
        .create_artifact_version(&id, &version)
        .await
        .unwrap();
    assert_eq!(made.version, Some(2));

    let update = UpdateArtifact::new().name("Hello").description("second");
    artifacts.update_artifact(&id, &update).await.unwrap();
    let page = DescribeArtifact::new(&id).page_size(1).page_number(2);
    let described = artifacts.describe_artifact(&page).await.unwrap();
    assert_eq!(described.id.as_ref(), Some(&id));
    assert_eq!(
        (described.name.as_deref(), described.description.as_deref()),
        (Some("Hello"), Some("second"))
    );
    assert_eq!(
        (described.version_count, described.page_count),
        (Some(2), Some(2))
    );
    assert_eq!(described.versions.unwrap()[0].version, Some(1));

    for (version, text) in [(None, b"two"), (Some(1), b"one"), (Some(2), b"two")] {
        let target = bench.path("got.zip");
        let saved = artifacts
            .download_artifact(&id, version, &target)
            .await
            .unwrap();
        let content = std::fs::read(&saved.path).unwrap();
        assert_eq!(content, zip(&[("a.txt", text)]));
        assert_eq!(saved.size, content.len() as u64);
    }

    artifacts.delete_artifact_version(&id, 2).await.unwrap();
    eventually(async || {
        let described = artifacts
            .describe_artifact(&DescribeArtifact::new(&id))
            .await;
        (described.unwrap().version_count == Some(1)).then_some(())
    })
    .await;
    artifacts.delete_artifact(&id).await.unwrap();
    eventually(async || {
        let described = artifacts
            .describe_artifact(&DescribeArtifact::new(&id))
            .await;
        described
            .is_err_and(|error| error.is_not_found())
            .then_some(())
    })
    .await;
    eventually(async || (bench.kept() == 0).then_some(())).await;
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn the_list_is_walked_over_all_pages_and_ends_beyond_the_last() {
    let bench = Bench::start().await;
    for number in 0..5 {
        create(&bench, &format!("artifact-{number}")).await;
    }
    let list = ListArtifacts::new().page_size(2);
    let all: Vec<_> = bench
        .artifacts
        .list_artifacts(list.clone())
        .map_ok(|artifact| artifact.name.unwrap())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        all,
        [
            "artifact-4",
            "artifact-3",
            "artifact-2",
            "artifact-1",
            "artifact-0"
        ]
    );
    for (number, items) in [(1, 2), (3, 1), (4, 0), (u64::MAX, 0)] {
        let page = bench
            .artifacts
            .list_artifacts_page(&list, Some(number))
            .await
            .unwrap();
        assert_eq!(page.artifacts.len(), items);
        assert_eq!(
            (page.artifact_count, page.page_count, page.page_number),
            (Some(5), Some(3), Some(number))
        );
    }
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn what_goes_is_seen_as_deleting_and_is_refused_until_it_is_gone() {
    let bench = Bench::start().await;
    let artifacts = &bench.artifacts;
    let session = session(&bench.platform, TOKEN, RETRIES);
    let id = create(&bench, "old").await;
    let other = create(&bench, "other").await;
    let again = CreateArtifactVersion::new(bench.zip("more.zip", &[("b", b"b")]));
    artifacts
        .create_artifact_version(&other, &again)
        .await
        .unwrap();

    bench.faults.hold_deletions();
    artifacts.delete_artifact(&id).await.unwrap();
    artifacts.delete_artifact(&id).await.unwrap();
    artifacts.delete_artifact_version(&other, 2).await.unwrap();
    let described = raw(&session, &DescribeArtifact::new(&id)).await;
    assert_eq!(described["status"], "deleting");
    let page = ArtifactsPage {
        list: &ListArtifacts::new(),
        number: None,
    };
    let listed = raw(&session, &page).await;
    assert_eq!(listed["artifactCount"], 2);
    assert_eq!(listed["artifacts"][1]["status"], "deleting");
    let described = raw(&session, &DescribeArtifact::new(&other)).await;
    assert_eq!(described["versions"][0]["status"], "deleting");
    let target = bench.path("got.zip");
    let update = UpdateArtifact::new().name("new");
    let refused = artifacts.update_artifact(&id, &update);
    assert!(matches!(refused.await, Err(Error::UnprocessableEntity(_))));
    let refused = artifacts.create_artifact_version(&id, &again);
    assert!(matches!(refused.await, Err(Error::UnprocessableEntity(_))));
    for (id, version, name) in [
        (&id, None, "name"),
        (&other, Some(2), "b"),
        // The latest is the one that stays.
        (&other, None, "name"),
    ] {
        artifacts
            .download_artifact(id, version, &target)
            .await
            .unwrap();
        let mut zip = zip::ZipArchive::new(std::fs::File::open(&target).unwrap()).unwrap();
        assert_eq!(zip.by_index(0).unwrap().name().unwrap(), name);
    }
    assert_eq!(bench.kept(), 3, "nothing is removed yet");

    bench.faults.release_deletions();
    eventually(async || (bench.kept() == 1).then_some(())).await;
    let list: Vec<_> = artifacts
        .list_artifacts(ListArtifacts::new())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(list.len(), 1);
    assert!(
        artifacts
            .delete_artifact(&id)
            .await
            .unwrap_err()
            .is_not_found()
    );
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_download_that_is_cut_off_goes_on_where_it_stopped() {
    let bench = Bench::start().await;
    let content = noise(3_000_000);
    let zip = bench.zip("large.zip", &[("noise", &content)]);
    let expected = std::fs::read(zip.path()).unwrap();
    let made = bench
        .artifacts
        .create_artifact(&CreateArtifact::new("large", zip))
        .await
        .unwrap();
    let id = made.id.unwrap();
    // In the middle of the body, then before the answer to the request for the rest, then again.
    for fault in [
        Fault::cut_body(1_000_000),
        Fault::disconnect_before(),
        Fault::cut_body(700_000),
        Fault::disconnect_after(),
    ] {
        bench.faults.add(fault.on("GET", "/download"));
    }
    let target = bench.path("got.zip");
    std::fs::write(&target, "the old one").unwrap();
    bench
        .artifacts
        .download_artifact(&id, None, &target)
        .await
        .unwrap();
    assert!(std::fs::read(&target).unwrap() == expected);
    assert!(bench.faults.is_empty(), "all of it happened");
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_download_goes_on_by_range_and_does_not_start_again() {
    let bench = Bench::start().await;
    let content = noise(2_000_000);
    let zip = bench.zip("large.zip", &[("noise", &content)]);
    let expected = std::fs::read(zip.path()).unwrap();
    let create = CreateArtifact::new("large", zip);
    let id = bench
        .artifacts
        .create_artifact(&create)
        .await
        .unwrap()
        .id
        .unwrap();
    // Each answer gives 300 kB: without ranges this would never end.
    for _ in 0..6 {
        bench
            .faults
            .add(Fault::cut_body(300_000).on("GET", "/download"));
    }
    let target = bench.path("got.zip");
    bench
        .artifacts
        .download_artifact(&id, Some(1), &target)
        .await
        .unwrap();
    assert!(std::fs::read(&target).unwrap() == expected);
    assert!(bench.faults.is_empty());

    // And one that never gets anywhere leaves what was there.
    bench
        .faults
        .add(Fault::cut_body(0).on("GET", "/download").always());
    let error = bench
        .artifacts
        .download_artifact(&id, Some(1), &target)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::DownloadInterrupted { .. }),
        "{error:?}"
    );
    assert!(std::fs::read(&target).unwrap() == expected);
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let bench = Bench::start().await;
    let artifacts = &bench.artifacts;
    let id = create(&bench, "here").await;
    let said = |error: &Error| error.status_error().unwrap().message().to_owned();

    let list = ListArtifacts::new().page_size(0);
    let error = artifacts
        .list_artifacts_page(&list, None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::BadRequest(_)) && said(&error).contains("`pageSize`"));

    for token in ["wrong", "Bearer t0ken-of-the-tests"] {
        let stranger = Artifacts::new(session(&bench.platform, token, RETRIES));
        let error = stranger.delete_artifact(&id).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized(_)));
        assert!(!format!("{error} {error:?}").contains(token));
    }

    let unknown = Id::from("c7575459-e265-4944-a539-1fbb3336799e");
    let update = UpdateArtifact::new().name("other");
    assert!(
        artifacts
            .update_artifact(&unknown, &update)
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert!(
        artifacts
            .delete_artifact_version(&id, 9)
            .await
            .unwrap_err()
            .is_not_found()
    );

    let path = bench.path("no.zip");
    std::fs::write(&path, "no zip at all").unwrap();
    let no_zip = peak_sdk::artifacts::Artifact::file(&path).unwrap();
    let error = artifacts
        .create_artifact(&CreateArtifact::new("no zip", no_zip))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::UnprocessableEntity(_)) && said(&error).contains("zip"));

    let large = bench.zip(
        "large.zip",
        &[("noise", &noise(usize::try_from(LIMIT).unwrap() + 1))],
    );
    let error = artifacts
        .create_artifact(&CreateArtifact::new("large", large))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::PayloadTooLarge(_)), "{error:?}");
    assert!(error.to_string().contains("dry run"));

    let names: Vec<_> = artifacts
        .list_artifacts(ListArtifacts::new())
        .map(|artifact| artifact.unwrap().name.unwrap())
        .collect()
        .await;
    assert_eq!(names, ["here"], "what was refused left nothing");
    assert_eq!(bench.kept(), 1);
    bench.platform.shutdown().await;
}
