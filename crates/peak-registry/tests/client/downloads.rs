//! Blobs over connections that do not last.

use bytes::Bytes;
use futures_util::TryStreamExt;
use peak_oci::{ContentError, ContentErrorKind, Descriptor, MediaType};
use peak_registry::{RegistryError, Repository};

use crate::script::{Request, Script, answer, with_headers};

const SIZE: usize = 300_000;

fn content() -> Vec<u8> {
    (0..=250).cycle().take(SIZE).collect()
}

fn descriptor() -> Descriptor {
    Descriptor::of(MediaType::OCI_LAYER, &content())
}

async fn download(repository: &Repository, offset: u64) -> Result<Vec<u8>, ContentError> {
    let read = repository.open_blob(&descriptor(), offset).await?;
    assert_eq!(read.size, Some(SIZE as u64));
    let frames: Vec<Bytes> = read.stream.try_collect().await?;
    Ok(frames.concat())
}

/// The rest of the blob as asked for, promised whole and cut off after `length` bytes.
fn cut_off(request: &Request, length: usize) -> Vec<u8> {
    let start = request.range_start();
    let rest = content().split_off(start);
    let (sent, _) = rest.split_at(length.min(rest.len()));
    let promised = rest.len().to_string();
    if start == 0 {
        return with_headers("200 OK", &[("content-length", &promised)], sent);
    }
    let range = format!("bytes {start}-{}/{SIZE}", SIZE - 1);
    with_headers(
        "206 Partial Content",
        &[("content-length", &promised), ("content-range", &range)],
        sent,
    )
}

#[tokio::test]
async fn a_download_that_is_cut_off_goes_on_from_there() {
    // 300,000 bytes in pieces of 70,000: more pieces than there is patience without progress.
    let server = Script::start(|_, request| cut_off(request, 70_000)).await;
    assert_eq!(download(&server.repository(), 0).await.unwrap(), content());
    let starts: Vec<usize> = server.requests().iter().map(Request::range_start).collect();
    assert_eq!(starts, [0, 70_000, 140_000, 210_000, 280_000]);
    assert_eq!(
        server.requests()[0].line(),
        format!("GET /v2/team/app/blobs/{}", descriptor().digest)
    );
}

#[tokio::test]
async fn an_early_end_in_good_form_is_an_interruption_too() {
    let server = Script::start(|number, request| {
        let rest = &content()[request.range_start()..];
        if number == 0 {
            // No length: the end of the connection is the end of the body.
            return with_headers("200 OK", &[], &rest[..1000]);
        }
        cut_off(request, SIZE)
    })
    .await;
    assert_eq!(download(&server.repository(), 0).await.unwrap(), content());
}

#[tokio::test]
async fn a_blob_that_is_all_there_needs_no_end_in_good_form() {
    // Every byte comes, but not the last, empty chunk.
    let server = Script::start(|number, _| {
        if number > 0 {
            return answer("416 Range Not Satisfiable", &[], b"");
        }
        let mut body = format!("{SIZE:x}\r\n").into_bytes();
        body.extend_from_slice(&content());
        body.extend_from_slice(b"\r\n");
        with_headers("200 OK", &[("transfer-encoding", "chunked")], &body)
    })
    .await;
    assert_eq!(download(&server.repository(), 0).await.unwrap(), content());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_without_ranges_begins_anew_and_what_is_known_is_stepped_over() {
    let server = Script::start(|number, _| {
        let length = if number == 0 { 100_000 } else { SIZE };
        let promised = SIZE.to_string();
        with_headers(
            "200 OK",
            &[("content-length", &promised)],
            &content()[..length],
        )
    })
    .await;
    assert_eq!(download(&server.repository(), 0).await.unwrap(), content());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_blob_asked_for_from_the_middle_says_where_it_starts() {
    let server = Script::start(|_, request| cut_off(request, SIZE)).await;
    let read = server
        .repository()
        .open_blob(&descriptor(), 1000)
        .await
        .unwrap();
    assert_eq!(read.offset, 1000);
    let frames: Vec<Bytes> = read.stream.try_collect().await.unwrap();
    assert_eq!(frames.concat(), content()[1000..]);

    let server = Script::start(|_, _| answer("200 OK", &[], &content())).await;
    let read = server
        .repository()
        .open_blob(&descriptor(), 1000)
        .await
        .unwrap();
    assert_eq!(read.offset, 0);

    let read = server
        .repository()
        .open_blob(&descriptor(), SIZE as u64)
        .await
        .unwrap();
    let frames: Vec<Bytes> = read.stream.try_collect().await.unwrap();
    assert!(frames.is_empty());
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_refused() {
    for range in [
        "bytes 999-299999/300000",
        "bytes 0-299999/300000",
        "nonsense",
    ] {
        let server = Script::start(move |_, _| {
            answer(
                "206 Partial Content",
                &[("content-range", range)],
                &content(),
            )
        })
        .await;
        let error = server
            .repository()
            .open_blob(&descriptor(), 1000)
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error, RegistryError::InvalidResponse { .. }),
            "{range}: {error}"
        );
    }
    // Nor a part where the whole was asked for.
    let server = Script::start(|_, _| {
        let range = ("content-range", "bytes 0-299999/300000");
        answer("206 Partial Content", &[range], &content())
    })
    .await;
    let error = server.repository().open_blob(&descriptor(), 0).await;
    assert!(matches!(error, Err(RegistryError::InvalidResponse { .. })));
}

#[tokio::test]
async fn another_size_than_the_manifest_says_is_an_integrity_error() {
    let server = Script::start(|_, _| answer("200 OK", &[], b"other")).await;
    let error = download(&server.repository(), 0).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);

    let server = Script::start(|_, _| {
        let range = ("content-range", "bytes 1000-299999/300001");
        answer("206 Partial Content", &[range], &content()[1000..])
    })
    .await;
    let error = download(&server.repository(), 1000).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
}

#[tokio::test]
async fn a_download_without_progress_ends() {
    let server =
        Script::start(|number, request| cut_off(request, if number == 0 { 1000 } else { 0 })).await;
    let error = download(&server.repository(), 0).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Interrupted);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("byte 1000"), "{source}");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_blob_that_is_gone_in_the_middle_is_not_asked_for_again() {
    let server = Script::start(|number, request| {
        if number == 0 {
            return cut_off(request, 1000);
        }
        let body = br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"collected"}]}"#;
        answer("404 Not Found", &[], body)
    })
    .await;
    let error = download(&server.repository(), 0).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::NotFound);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.ends_with("BLOB_UNKNOWN (collected)"), "{source}");
    assert_eq!(server.requests().len(), 2);
}
