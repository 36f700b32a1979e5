//! Builds and their logs.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use peak_local::faults::Fault;
use peak_sdk::images::{
    BuildLogEvent, CreateImage, CreateVersion, Dockerfile, FollowOptions, ListImageBuilds,
    UpdateVersion,
};
use peak_sdk::models::{BuildStatus, Id, ImageType, Timestamp};

use crate::support::Bench;

/// A new image by this Dockerfile: its id, and those of its version and build.
async fn create(bench: &Bench, dockerfile: &str) -> (Id, Id, Id) {
    let image = CreateImage::new("web", ImageType::Workflow, Dockerfile::new(dockerfile));
    let made = bench.images.create_image(&image).await.unwrap();
    (
        made.image_id.unwrap(),
        made.version_id.unwrap(),
        made.build_id.unwrap(),
    )
}

fn soon() -> FollowOptions {
    FollowOptions::new().poll_interval(Duration::from_millis(2))
}

/// A log that has more lines than one page of it.
fn long() -> String {
    format!("FROM scratch\n{}", "ENV A=b\n".repeat(600))
}

/// The lines of a log, page by page.
async fn pages(bench: &Bench, image: &Id, build: &Id) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = None;
    loop {
        let page = bench
            .images
            .get_build_logs_page(image, build, token.as_deref())
            .await
            .unwrap();
        let lines = page.logs.into_iter().map(|line| {
            assert!(line.timestamp.is_some() && line.ingestion_time.is_some());
            line.message.unwrap()
        });
        let lines: Vec<_> = lines.collect();
        // There is always a token; the end is where nothing comes any more.
        token = Some(page.next_token.unwrap());
        if lines.is_empty() {
            return pages;
        }
        pages.push(lines);
    }
}

#[tokio::test]
async fn a_log_is_followed_to_the_end_of_the_build_and_is_the_same_in_pages() {
    let bench = Bench::start().await;
    bench.faults.hold_builds();
    let (image, _, build) = create(&bench, &long()).await;
    // Faults on the way lose no line and repeat none.
    for fault in [
        Fault::status(503),
        Fault::disconnect_before(),
        Fault::disconnect_after(),
        Fault::cut_body(20),
        Fault::status(429),
    ] {
        bench.faults.add(fault.on("GET", "/logs").skip(1));
    }
    let mut events = Box::pin(bench.images.follow_build_logs(&image, &build, soon()));
    let mut lines = Vec::new();
    let mut finished = None;
    bench.faults.release_builds();
    while let Some(event) = events.next().await {
        match event.unwrap() {
            BuildLogEvent::Line(line) => lines.push(line.message.unwrap()),
            BuildLogEvent::Finished(build) => finished = Some(build),
            other => panic!("{other:?}"),
        }
    }
    let finished = finished.unwrap();
    assert!(finished.is_success());
    let milliseconds = |time: &Option<Timestamp>| time.as_ref().unwrap().as_millisecond().unwrap();
    assert!(milliseconds(&finished.start_time) <= milliseconds(&finished.finish_time));
    let pages = pages(&bench, &image, &build).await;
    assert!(pages.len() > 1);
    assert_eq!(lines, pages.concat());
    assert!(lines.len() > 600);
    let waited = bench
        .images
        .wait_for_build(&image, &build, soon())
        .await
        .unwrap();
    assert_eq!(waited, finished);
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_build_that_fails_says_why() {
    let bench = Bench::start().await;
    let (image, _, build) = create(&bench, "FROM scratch\nFETCH things\n").await;
    bench.built(&image, Some(&build), BuildStatus::Failed).await;
    let lines = pages(&bench, &image, &build).await.concat();
    assert!(lines.last().unwrap().contains("FETCH"), "{lines:?}");
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_log_is_saved_through_its_signed_url() {
    let bench = Bench::start().await;
    let (image, _, build) = create(&bench, &long()).await;
    bench
        .built(&image, Some(&build), BuildStatus::Success)
        .await;
    let target = bench.path("build.log");
    let saved = bench
        .images
        .save_build_logs(&image, &build, Some(&target))
        .await
        .unwrap();
    let lines = pages(&bench, &image, &build).await.concat();
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    assert_eq!(std::fs::read_to_string(&saved.path).unwrap(), text);
    assert_eq!(saved.size, text.len() as u64);

    // A signature that is not good any more is an error that does not show it, and leaves the file as it was.
    bench.faults.add(Fault::status(403).on("GET", "/signed/"));
    let error = bench
        .images
        .save_build_logs(&image, &build, Some(&target))
        .await
        .unwrap_err();
    let error = error.platform().unwrap();
    assert!(error.is_auth(), "{error:?}");
    assert!(error.to_string().contains("signature=REDACTED"), "{error}");
    assert_eq!(std::fs::read_to_string(&saved.path).unwrap(), text);
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn the_log_of_a_build_that_runs_is_saved_as_far_as_it_is_written() {
    let bench = Bench::start().await;
    bench.faults.hold_builds();
    let (image, _, build) = create(&bench, "FROM scratch\n").await;
    let target = bench.path("build.log");
    let saved = bench
        .images
        .save_build_logs(&image, &build, Some(&target))
        .await
        .unwrap();
    assert_eq!(saved.size, 0);
    let page = bench
        .images
        .get_build_logs_page(&image, &build, None)
        .await
        .unwrap();
    assert_eq!(page.build_status, Some(BuildStatus::Building));
    assert!(page.next_token.is_some() && page.finish_time.is_none());
    bench.faults.release_builds();
    bench
        .built(&image, Some(&build), BuildStatus::Success)
        .await;
    let saved = bench
        .images
        .save_build_logs(&image, &build, Some(&target))
        .await
        .unwrap();
    assert!(saved.size > 0);
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn builds_are_listed_by_time_version_and_status() {
    let bench = Bench::start().await;
    let (image, first, build) = create(&bench, "FROM scratch\n").await;
    bench
        .built(&image, Some(&build), BuildStatus::Success)
        .await;
    let broken = UpdateVersion::new().build(Dockerfile::new("FETCH\n"));
    let made = bench
        .images
        .update_version(&image, &first, &broken)
        .await
        .unwrap();
    let failed = made.build_id.unwrap();
    bench
        .built(&image, Some(&failed), BuildStatus::Failed)
        .await;
    let before = Timestamp::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let version = CreateVersion::new(Dockerfile::new("FROM scratch\n"));
    let made = bench.images.create_version(&image, &version).await.unwrap();
    let (second, last) = (made.version_id.unwrap(), made.build_id.unwrap());
    bench.built(&image, Some(&last), BuildStatus::Success).await;

    let builds = async |list: ListImageBuilds| -> Vec<Id> {
        bench
            .images
            .list_image_builds(&image, list.page_size(1))
            .map_ok(|build| build.build_id.unwrap())
            .try_collect()
            .await
            .unwrap()
    };
    let all = ListImageBuilds::new;
    let either = all()
        .build_status(BuildStatus::Failed)
        .build_status(BuildStatus::Success);
    for (list, expected) in [
        (all(), vec![&last, &failed, &build]),
        (all().date_from(before.clone()), vec![&last]),
        (all().date_to(before), vec![&failed, &build]),
        (all().version(&first), vec![&failed, &build]),
        (all().version(&second), vec![&last]),
        (all().build_status(BuildStatus::Failed), vec![&failed]),
        (either, vec![&last, &failed, &build]),
        (all().count(2), vec![&last, &failed]),
        (all().count(2).version(&first), vec![&failed, &build]),
    ] {
        let found = builds(list.clone()).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{list:?}");
    }

    let page = bench
        .images
        .list_image_builds_page(&image, &all().page_size(2), Some(2))
        .await
        .unwrap();
    assert_eq!((page.build_count, page.page_count), (Some(3), Some(2)));
    let oldest = &page.builds[0];
    assert_eq!(oldest.version_id.as_ref(), Some(&first));
    assert_eq!(oldest.version.as_deref(), Some("0.0.1"));
    assert_eq!(oldest.use_cache, Some(true));
    assert!(oldest.started_at.is_some() && oldest.finished_at.is_some());
    bench.platform.shutdown().await;
}
