//! Following a build's log, on a clock that a test moves.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use peak_images::models::{BuildStatus, Id};
use peak_images::{BuildLogEvent, Error, FollowOptions, Images};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::mock::{Log, platform};

/// A platform that gives these pages one after the other, and the last one again and again.
fn pages(pages: Vec<Value>) -> (Images, Log) {
    let pages = Mutex::new(pages.into_iter());
    let last = Mutex::new(Value::Null);
    platform(move |_| {
        let mut last = last.lock().unwrap();
        if let Some(page) = pages.lock().unwrap().next() {
            *last = page;
        }
        (200, last.clone())
    })
}

fn page(status: &str, lines: &[&str], next_token: Option<&str>) -> Value {
    let logs: Vec<_> = lines
        .iter()
        .map(|text| json!({ "message": text }))
        .collect();
    json!({ "buildStatus": status, "logs": logs, "nextToken": next_token })
}

fn text(event: BuildLogEvent) -> String {
    match event {
        BuildLogEvent::Line(line) => line.message.unwrap(),
        BuildLogEvent::Finished(build) => format!("<{}>", build.status),
        other => format!("{other:?}"),
    }
}

async fn follow(images: &Images, options: FollowOptions) -> Vec<String> {
    let events = images.follow_build_logs(&Id::from(17), &Id::from("b:1"), options);
    let texts = events.map_ok(text).try_collect();
    // A test's clock jumps: this is no wait, but an end to a stream that has none.
    tokio::time::timeout(Duration::from_secs(100_000), texts)
        .await
        .unwrap()
        .unwrap()
}

fn tokens(log: &Log) -> Vec<Option<String>> {
    let asked = log.take();
    let tokens = asked
        .iter()
        .map(|asked| asked.parameter("nextToken").map(str::to_owned));
    tokens.collect()
}

#[tokio::test(start_paused = true)]
async fn lines_come_once_and_in_order_and_the_status_last() {
    let (images, log) = pages(vec![
        page("building", &["a", "b"], Some("1")),
        page("building", &[], Some("1")),
        page("building", &["c"], Some("1")),
        page("building", &["c", "d"], Some("2")),
        page("success", &["e"], Some("3")),
        page("success", &["f"], Some("3")),
        page("success", &["f"], Some("3")),
    ]);
    let events = follow(&images, FollowOptions::new()).await;
    assert_eq!(events, ["a", "b", "c", "d", "e", "f", "<success>"]);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        tokens(&log),
        [
            None,
            some("1"),
            some("1"),
            some("1"),
            some("2"),
            some("3"),
            some("3")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_build_that_is_over_is_read_without_waiting() {
    let (images, log) = pages(vec![
        page("failed", &["a"], Some("1")),
        page("failed", &["b"], None),
    ]);
    let start = Instant::now();
    assert_eq!(
        follow(&images, FollowOptions::new()).await,
        ["a", "b", "<failed>"]
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(log.take().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_always_lead_on_do_not_keep_a_build_from_ending() {
    let count = Mutex::new(0);
    let (images, _) = platform(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        (200, page("stopped", &[], Some(&count.to_string())))
    });
    assert_eq!(follow(&images, FollowOptions::new()).await, ["<stopped>"]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_build_is_not_cut_short_at_its_end() {
    let (images, _) = pages(vec![
        page("building", &["a"], Some("1")),
        page("building", &[], Some("2")),
        page("building", &[], Some("3")),
        page("building", &[], Some("4")),
        // Over, but its last line is not in the log yet.
        page("success", &[], Some("5")),
        page("success", &["b"], Some("6")),
        page("success", &[], None),
    ]);
    let events = follow(&images, FollowOptions::new()).await;
    assert_eq!(events, ["a", "b", "<success>"]);
}

#[tokio::test(start_paused = true)]
async fn looks_are_quick_at_first_and_then_as_far_apart_as_asked_for() {
    let mut script = vec![page("building", &[], None); 9];
    script.push(page("success", &[], None));
    let (images, log) = pages(script.clone());
    let start = Instant::now();
    assert_eq!(follow(&images, FollowOptions::new()).await, ["<success>"]);
    // 0.1 + 0.2 + 0.4 + 0.8 and then 1 each: the clock is the test's, so this is exact.
    assert_eq!(start.elapsed(), Duration::from_millis(1500 + 5 * 1000));
    assert_eq!(log.take().len(), 10);

    let (images, _) = pages(script);
    let start = Instant::now();
    let often = FollowOptions::new().poll_interval(Duration::from_millis(10));
    follow(&images, often).await;
    assert_eq!(start.elapsed(), Duration::from_millis(90));
}

#[tokio::test(start_paused = true)]
async fn giving_up_a_step_loses_nothing() {
    let (images, _) = pages(vec![
        page("building", &["a"], Some("1")),
        page("building", &["b", "c"], Some("2")),
        page("building", &["d"], Some("2")),
        page("success", &["d", "e"], None),
    ]);
    let options = FollowOptions::new().poll_interval(Duration::from_secs(7));
    let events = images.follow_build_logs(&Id::from(17), &Id::from(1), options);
    let mut events = std::pin::pin!(events);
    let mut texts = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(3), events.try_next()).await {
            Ok(Ok(Some(event))) => texts.push(text(event)),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }
    assert_eq!(texts, ["a", "b", "c", "d", "e", "<success>"]);
}

#[tokio::test(start_paused = true)]
async fn following_can_go_on_from_a_token() {
    let (images, log) = pages(vec![page("success", &["z"], None)]);
    let events = follow(&images, FollowOptions::new().next_token("7")).await;
    assert_eq!(events, ["z", "<success>"]);
    assert_eq!(tokens(&log), [Some("7".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_error_ends_the_stream() {
    let (images, _) = platform(|asked| match asked.parameter("nextToken") {
        None => (200, page("building", &["a"], Some("1"))),
        Some(_) => (403, json!({ "detail": "no" })),
    });
    let events = images.follow_build_logs(&Id::from(17), &Id::from(1), FollowOptions::new());
    let events: Vec<_> = events.collect().await;
    assert!(
        matches!(
            events.as_slice(),
            [Ok(BuildLogEvent::Line(_)), Err(Error::Platform(_))]
        ),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_gives_the_end() {
    let (images, _) = pages(vec![
        page("building", &["a"], Some("1")),
        json!({ "buildStatus": "FAILED", "finishTime": "2026-11-21T08:30:42.500Z", "nextToken": "1" }),
    ]);
    let build = images
        .wait_for_build(&Id::from(17), &Id::from(1), FollowOptions::new())
        .await
        .unwrap();
    assert_eq!(build.status, BuildStatus::Failed);
    assert!(!build.is_success());
    assert_eq!(
        build.finish_time.unwrap().to_string(),
        "2026-11-21T08:30:42.500Z"
    );
}
