//! Large blobs in several ranges at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use peak_oci::{ContentError, ContentErrorKind, Descriptor, MediaType};
use peak_registry::{ParallelRanges, Registry, Repository};

use crate::script::{Request, Script, with_headers};

/// Behind the 32 MiB that come in one piece before a registry is known to know ranges.
const SIZE: usize = 33 * MIB;
const MIB: usize = 1024 * 1024;

fn content() -> Bytes {
    (0..=250_u8).cycle().take(SIZE).collect()
}

fn descriptor(content: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER, content)
}

fn repository(server: &Script, ranges: ParallelRanges) -> Repository {
    let registry = Registry::builder()
        .idle_timeout(Duration::from_secs(5))
        .parallel_ranges(ranges)
        .build()
        .unwrap();
    registry.repository(&server.reference())
}

/// Ranges of 100 KiB, for blobs of more than a MiB however fast they come.
fn ranges() -> ParallelRanges {
    ParallelRanges::new()
        .from_size(1 << 20)
        .length(100 * 1024)
        .slower_than(u64::MAX)
}

/// First and last byte of what is asked for.
fn asked(request: &Request) -> Option<(usize, usize)> {
    let (first, last) = request
        .header("range")?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let last = if last.is_empty() {
        SIZE - 1
    } else {
        last.parse().unwrap()
    };
    Some((first.parse().unwrap(), last))
}

/// What is asked for, of which `length` bytes are sent.
fn partial(content: &Bytes, request: &Request, length: usize) -> Vec<u8> {
    let (first, last) = asked(request).unwrap();
    let part = &content[first..=last];
    with_headers(
        "206 Partial Content",
        &[
            ("content-length", &part.len().to_string()),
            ("content-range", &format!("bytes {first}-{last}/{SIZE}")),
        ],
        &part[..length.min(part.len())],
    )
}

async fn download(repository: &Repository, content: &[u8]) -> Result<Vec<u8>, ContentError> {
    let read = repository.open_blob(&descriptor(content), 0).await?;
    assert_eq!(read.offset, 0);
    let frames: Vec<Bytes> = read.stream.try_collect().await?;
    Ok(frames.concat())
}

/// The ranges that were asked for, in order, without those asked for again.
fn covered(server: &Script) -> Vec<(usize, usize)> {
    let mut ranges: Vec<_> = server.requests().iter().filter_map(asked).collect();
    ranges.sort_unstable();
    ranges
}

#[tokio::test]
async fn the_ranges_together_are_the_blob_and_each_byte_is_asked_for_once() {
    let content = content();
    let served = content.clone();
    let server = Script::start(move |_, request| partial(&served, request, SIZE)).await;
    let got = download(&repository(&server, ranges()), &content).await;
    assert!(got.unwrap() == content);
    let covered = covered(&server);
    assert_eq!(covered[0], (0, 32 * MIB - 1));
    assert_eq!(covered.last().unwrap().1, SIZE - 1);
    for pair in covered.windows(2) {
        assert_eq!(pair[0].1 + 1, pair[1].0);
    }
    assert!(covered.len() > 10, "{covered:?}");
}

#[tokio::test]
async fn what_is_behind_comes_while_the_front_is_still_on_its_way() {
    let content = content();
    let served = content.clone();
    let others = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&others);
    // The front sends nothing but its first half until three others were asked for.
    let server = Script::start(move |_, request| {
        let (first, _) = asked(request).unwrap();
        if first == 0 {
            return partial(&served, request, MIB);
        }
        if first > MIB {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        partial(&served, request, SIZE)
    })
    .await;
    let repository = repository(&server, ranges());
    let read = repository
        .open_blob(&descriptor(&content), 0)
        .await
        .unwrap();
    let mut stream = read.stream;
    let mut got = Vec::new();
    while got.len() < MIB {
        got.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    got.extend_from_slice(&stream.next().await.unwrap().unwrap());
    assert!(
        (1..=3).contains(&others.load(Ordering::SeqCst)),
        "three more than the front, and no more before it moves on"
    );
    let rest: Vec<Bytes> = stream.try_collect().await.unwrap();
    got.extend_from_slice(&rest.concat());
    assert!(got == content);
}

#[tokio::test]
async fn a_range_that_is_cut_off_goes_on_where_it_stopped() {
    let content = content();
    let served = content.clone();
    let server = Script::start(move |_, request| {
        let (first, _) = asked(request).unwrap();
        // Each of the later ranges is cut off once.
        let whole = first == 0 || !first.is_multiple_of(1024);
        partial(&served, request, if whole { SIZE } else { 70_001 })
    })
    .await;
    let got = download(&repository(&server, ranges()), &content).await;
    assert!(got.unwrap() == content);
    let again = covered(&server)
        .iter()
        .filter(|(first, _)| first % 1024 != 0)
        .count();
    assert!(again >= 10, "{again}");
}

#[tokio::test]
async fn a_server_without_ranges_sends_the_whole_once() {
    let content = content();
    let served = content.clone();
    let server = Script::start(move |_, _| {
        with_headers("200 OK", &[("content-length", &SIZE.to_string())], &served)
    })
    .await;
    let got = download(&repository(&server, ranges()), &content).await;
    assert!(got.unwrap() == content);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn as_many_blobs_as_ranges_come_in_one_piece_each() {
    let content = content();
    let served = content.clone();
    let server = Script::start(move |_, request| partial(&served, request, SIZE)).await;
    let repository = repository(&server, ranges().at_once(2));
    let descriptor = descriptor(&content);
    let first = repository.open_blob(&descriptor, 0).await.unwrap();
    let second = repository.open_blob(&descriptor, 0).await.unwrap();
    let got: Vec<Bytes> = first.stream.try_collect().await.unwrap();
    assert!(got.concat() == content);
    let asked: HashSet<_> = covered(&server).into_iter().collect();
    assert_eq!(
        asked,
        HashSet::from([(0, 32 * MIB - 1), (32 * MIB, SIZE - 1)])
    );
    drop(second);
    // Now there is a lane.
    download(&repository, &content).await.unwrap();
    assert!(covered(&server).len() > 10);
}

#[tokio::test]
async fn what_comes_fast_comes_in_long_stretches() {
    let content = content();
    let served = content.clone();
    let server = Script::start(move |_, request| partial(&served, request, SIZE)).await;
    let repository = repository(&server, ranges().slower_than(1));
    let got = download(&repository, &content).await;
    assert!(got.unwrap() == content);
    assert_eq!(covered(&server), [(0, 32 * MIB - 1), (32 * MIB, SIZE - 1)]);
}

#[tokio::test]
async fn no_ranges_are_asked_for_where_they_are_switched_off() {
    let content = content();
    let served = content.clone();
    let server = Script::start(move |_, request| {
        assert!(request.header("range").is_none());
        with_headers("200 OK", &[("content-length", &SIZE.to_string())], &served)
    })
    .await;
    let got = download(&repository(&server, ParallelRanges::none()), &content).await;
    assert!(got.unwrap() == content);
}

#[tokio::test]
async fn another_range_than_asked_for_is_an_error() {
    let content = content();
    let served = content.clone();
    for wrong in ["start", "total", "whole"] {
        let served = served.clone();
        let server = Script::start(move |_, request| {
            let (first, last) = asked(request).unwrap();
            if first == 0 {
                return partial(&served, request, SIZE);
            }
            let (status, range) = match wrong {
                "start" => (
                    "206 Partial Content",
                    format!("bytes {}-{last}/{SIZE}", first - 1),
                ),
                "total" => (
                    "206 Partial Content",
                    format!("bytes {first}-{last}/{}", SIZE + 1),
                ),
                _ => ("200 OK", String::from("none")),
            };
            let body = &served[first..=last];
            let length = body.len().to_string();
            let headers = [
                ("content-length", length.as_str()),
                ("content-range", range.as_str()),
            ];
            let headers = if wrong == "whole" {
                &headers[..0]
            } else {
                &headers[..]
            };
            with_headers(status, headers, body)
        })
        .await;
        let error = download(&repository(&server, ranges()), &content).await;
        let kind = error.unwrap_err().kind();
        assert!(
            matches!(
                kind,
                ContentErrorKind::Invalid | ContentErrorKind::Integrity
            ),
            "{wrong}: {kind:?}"
        );
    }
}
