//! Large blobs in several ranges at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use peak_oci::{ContentError, Descriptor, MediaType};
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

/// What a registry sends in the place of a range.
#[derive(Clone, Copy, Debug)]
enum Instead {
    Whole,
    OtherStart,
    OtherTotal,
    OtherVersion,
    NoRange,
    Refusal,
}

/// The range that is asked for, with what else the registry says of it.
fn described(
    content: &Bytes,
    first: usize,
    last: usize,
    start: usize,
    total: usize,
    tag: &str,
) -> Vec<u8> {
    let part = &content[first..=last];
    with_headers(
        "206 Partial Content",
        &[
            ("content-length", &part.len().to_string()),
            ("content-range", &format!("bytes {start}-{last}/{total}")),
            ("etag", tag),
        ],
        part,
    )
}

/// A registry that sends ranges up to a place in the blob, and something else instead of those behind it.
fn changing(served: &Bytes, request: &Request, from: usize, instead: Instead) -> Vec<u8> {
    let whole = || with_headers("200 OK", &[("content-length", &SIZE.to_string())], served);
    let Some((first, last)) = asked(request) else {
        return whole();
    };
    if first < from {
        return described(served, first, last, first, SIZE, "\"a\"");
    }
    match instead {
        Instead::Whole => whole(),
        Instead::OtherStart => described(served, first, last, first - 1, SIZE, "\"a\""),
        Instead::OtherTotal => described(served, first, last, first, SIZE + 1, "\"a\""),
        Instead::OtherVersion => described(served, first, last, first, SIZE, "\"b\""),
        Instead::NoRange => with_headers("206 Partial Content", &[], &served[first..=last]),
        Instead::Refusal => {
            with_headers("416 Range Not Satisfiable", &[("content-length", "0")], b"")
        }
    }
}

const ALL: [Instead; 6] = [
    Instead::Whole,
    Instead::OtherStart,
    Instead::OtherTotal,
    Instead::OtherVersion,
    Instead::NoRange,
    Instead::Refusal,
];

#[tokio::test]
async fn something_else_in_place_of_a_later_range_makes_the_rest_come_in_one_piece() {
    let content = content();
    for (number, instead) in ALL.into_iter().enumerate() {
        // Behind the first stretch, or behind some of the ranges as well.
        let from = 32 * MIB + number % 2 * 500_000;
        let served = content.clone();
        let server =
            Script::start(move |_, request| changing(&served, request, from, instead)).await;
        let got = download(&repository(&server, ranges()), &content).await;
        assert!(got.unwrap() == content, "{instead:?}");
        let requests = server.requests();
        let is_rest = |request: &&Request| match asked(request) {
            Some((first, last)) => last == SIZE - 1 && first < from + 300_000,
            None => true,
        };
        assert!(requests.iter().any(|one| is_rest(&one)), "{instead:?}");
        let wholes = requests.iter().filter(|one| asked(one).is_none());
        assert!(wholes.count() <= 1, "{instead:?}");
    }
}

#[tokio::test]
async fn what_a_range_is_cut_off_and_goes_on_with_may_be_something_else_too() {
    let content = content();
    for instead in ALL {
        let served = content.clone();
        let server = Script::start(move |_, request| match asked(request) {
            Some((first, _)) if first < 32 * MIB => partial(&served, request, SIZE),
            // Each of the later ones is cut off, and its rest is something else.
            Some((first, _)) if first % 1024 == 0 => partial(&served, request, 70_001),
            _ => changing(&served, request, 0, instead),
        })
        .await;
        let got = download(&repository(&server, ranges()), &content).await;
        assert!(got.unwrap() == content, "{instead:?}");
    }
}

#[tokio::test]
async fn other_bytes_in_one_piece_are_no_more_believed_than_in_ranges() {
    let content = content();
    let mut other = content.to_vec();
    other[SIZE - 1] ^= 1;
    let other = Bytes::from(other);
    let server =
        Script::start(move |_, request| changing(&other, request, 32 * MIB, Instead::Whole)).await;
    let whole = repository(&server, ranges())
        .read_blob(&descriptor(&content), u64::MAX)
        .await;
    assert!(whole.unwrap_err().is_integrity());
}

/// A registry whose tokens are worth nothing any more once a range behind `from` is asked for, until there is a new one.
fn expiring(
    served: &Bytes,
    request: &Request,
    given: &AtomicUsize,
    from: usize,
    length: usize,
) -> Vec<u8> {
    if request.line().starts_with("GET /token") {
        let number = given.fetch_add(1, Ordering::SeqCst) + 1;
        let body = format!(r#"{{"token":"t{number}","expires_in":300}}"#);
        return crate::script::answer("200 OK", &[], body.as_bytes());
    }
    let (first, _) = asked(request).unwrap();
    let wanted = if first < from { 1 } else { 2 };
    let number = request
        .header("authorization")
        .and_then(|header| header.strip_prefix("Bearer t"));
    if number.is_none_or(|number| number.parse::<usize>().unwrap() < wanted) {
        let challenge = (
            "www-authenticate",
            r#"Bearer realm="/token",service="x",scope="repository:team/app:pull",error="invalid_token""#,
        );
        return crate::script::answer("401 Unauthorized", &[challenge], b"");
    }
    partial(served, request, length)
}

#[tokio::test]
async fn a_token_that_runs_out_before_a_later_range_is_renewed_once_for_all_of_them() {
    let content = content();
    let (served, given) = (content.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&given);
    let server =
        Script::start(move |_, request| expiring(&served, request, &given, 32 * MIB, SIZE)).await;
    let got = download(&repository(&server, ranges()), &content).await;
    assert!(got.unwrap() == content);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    // They came in ranges before, and do so still.
    assert!(covered(&server).len() > 10);
}

#[tokio::test]
async fn a_token_that_runs_out_before_a_cut_off_blob_goes_on_is_renewed() {
    let content = content();
    let (served, given) = (content.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&given);
    let server = Script::start(move |_, request| {
        // In one piece; cut off in the middle.
        let length = if asked(request).is_none_or(|(first, _)| first == 0) {
            20 * MIB
        } else {
            SIZE
        };
        if request.header("range").is_none() && !request.line().starts_with("GET /token") {
            if request.header("authorization").is_none() {
                return crate::script::answer(
                    "401 Unauthorized",
                    &[("www-authenticate", r#"Bearer realm="/token",service="x""#)],
                    b"",
                );
            }
            return with_headers(
                "200 OK",
                &[("content-length", &SIZE.to_string())],
                &served[..length],
            );
        }
        expiring(&served, request, &given, 1, SIZE)
    })
    .await;
    let got = download(&repository(&server, ParallelRanges::none()), &content).await;
    assert!(got.unwrap() == content);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    assert_eq!(covered(&server).last().unwrap(), &(20 * MIB, SIZE - 1));
}
