//! Downloads over real connections, with servers that do as a script says.

use std::path::Path;

use peak_artifacts::models::Id;
use peak_artifacts::{Artifacts, Error};
use peak_platform::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn artifacts(url: &str) -> Artifacts {
    let session = Session::builder()
        .endpoint(url.parse().unwrap())
        .environment(|name| (name == "PEAK_AUTH_TOKEN").then(|| "t0ken".to_owned()))
        .build()
        .unwrap();
    Artifacts::new(session)
}

/// Gives one answer per connection and closes it; gives the heads of the requests, in lower case.
async fn serve(listener: TcpListener, answers: &[Vec<u8>]) -> Vec<String> {
    let mut heads = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        heads.push(String::from_utf8(read).unwrap().to_ascii_lowercase());
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        // Until the other side has closed, so that nothing sent is lost to a reset.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    heads
}

/// An answer that says it has `length` bytes, and then sends these.
fn answer(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn content() -> Vec<u8> {
    (0..700_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn a_download_follows_to_a_signed_url_without_the_token() {
    let (platform, url) = listen().await;
    let (storage, storage_url) = listen().await;
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("a.zip");
    std::fs::write(&target, "the old one").unwrap();
    let content = content();
    let location = format!("Location: {storage_url}/bucket/a?signature=s3cret\r\n");
    let redirect = [answer("307 Temporary Redirect", &location, 0, b"")];
    let file = [answer("200 OK", "", content.len(), &content)];
    let (artifacts, id) = (artifacts(&url), Id::from("c7"));
    let (saved, asked, fetched) = tokio::join!(
        artifacts.download_artifact(&id, Some(3), &target),
        serve(platform, &redirect),
        serve(storage, &file),
    );
    let saved = saved.unwrap();
    assert_eq!(
        (saved.path.as_path(), saved.size),
        (target.as_path(), content.len() as u64)
    );
    assert!(std::fs::read(&target).unwrap() == content);
    assert_eq!(names(place.path()), ["a.zip"]);
    assert!(asked[0].starts_with("get /artifacts/api/v1/artifacts/c7/3/download http"));
    assert!(asked[0].contains("authorization: t0ken\r\n"));
    assert!(fetched[0].starts_with("get /bucket/a?signature=s3cret "));
    assert!(!fetched[0].contains("authorization") && !fetched[0].contains("range"));
}

/// Downloads from a server that answers so; gives the file, and the ranges that were asked for.
async fn download(answers: &[Vec<u8>]) -> (Result<Vec<u8>, Error>, Vec<Option<String>>) {
    let (platform, url) = listen().await;
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("a.zip");
    let (artifacts, id) = (artifacts(&url), Id::from("c7"));
    let (saved, heads) = tokio::join!(
        artifacts.download_artifact(&id, None, &target),
        serve(platform, answers),
    );
    let ranges = heads.iter().map(|head| {
        let range = head.lines().find_map(|line| line.strip_prefix("range: "));
        range.map(str::to_owned)
    });
    let expected: &[&str] = if saved.is_ok() { &["a.zip"] } else { &[] };
    assert_eq!(names(place.path()), expected);
    let read = saved.map(|saved| {
        let read = std::fs::read(&target).unwrap();
        assert_eq!(saved.size, read.len() as u64);
        read
    });
    (read, ranges.collect())
}

fn rest(start: usize, content: &[u8], until: usize) -> Vec<u8> {
    let (last, total) = (content.len() - 1, content.len());
    let range = format!("Content-Range: bytes {start}-{last}/{total}\r\n");
    answer(
        "206 Partial Content",
        &range,
        total - start,
        content.get(start..until).unwrap(),
    )
}

#[tokio::test]
async fn a_download_that_is_cut_off_goes_on_where_it_stopped() {
    let content = content();
    let length = content.len();
    let (file, ranges) = download(&[
        answer("200 OK", "", length, &content[..1_000_000]),
        rest(1_000_000, &content, 2_000_000),
        rest(2_000_000, &content, length),
    ])
    .await;
    assert!(file.unwrap() == content);
    assert_eq!(
        ranges,
        [
            None,
            Some("bytes=1000000-".to_owned()),
            Some("bytes=2000000-".to_owned())
        ]
    );
}

#[tokio::test]
async fn what_is_not_the_rest_of_the_same_file_is_started_again() {
    let content = content();
    let length = content.len();
    let whole = || answer("200 OK", "", length, &content);
    let cut = || answer("200 OK", "", length, &content[..1_000_000]);
    let longer = [&content[..], b"more"].concat();
    let asked = Some("bytes=1000000-".to_owned());

    // The server does not know ranges.
    let (file, ranges) = download(&[cut(), whole()]).await;
    assert!(file.unwrap() == content);
    assert_eq!(ranges, [None, asked.clone()]);
    for unfit in [
        rest(999_999, &content, length),
        rest(1_000_000, &longer, longer.len()),
        answer("206 Partial Content", "", length, &content),
        answer("416 Range Not Satisfiable", "", 0, b""),
    ] {
        let (file, ranges) = download(&[cut(), unfit, whole()]).await;
        assert!(file.unwrap() == content);
        assert_eq!(ranges, [None, asked.clone(), None]);
    }
}

#[tokio::test]
async fn a_download_without_progress_is_given_up_and_leaves_nothing() {
    let content = content();
    let cut = answer("200 OK", "", content.len(), &content[..1000]);
    let answers: Vec<_> = (0..6).map(|_| cut.clone()).collect();
    let (file, ranges) = download(&answers).await;
    let error = file.unwrap_err();
    assert!(
        matches!(
            error,
            Error::DownloadInterrupted {
                received: 1000,
                source: Some(_)
            }
        ),
        "{error:?}"
    );
    assert_eq!(ranges.len(), 6);
}

#[tokio::test]
async fn a_refusal_and_an_answer_that_is_no_file_leave_nothing() {
    let (file, _) = download(&[answer("404 Not Found", "", 2, b"{}")]).await;
    assert!(file.unwrap_err().is_not_found());
    let (file, _) = download(&[answer("206 Partial Content", "", 2, b"{}")]).await;
    assert!(matches!(file, Err(Error::Http { .. })));
    let content = content();
    let (file, _) = download(&[
        answer("200 OK", "", content.len(), &content[..1000]),
        answer("403 Forbidden", "", 2, b"{}"),
    ])
    .await;
    assert!(file.unwrap_err().is_auth());
}

#[tokio::test]
async fn a_directory_is_no_target() {
    let (_listener, url) = listen().await;
    let place = tempfile::tempdir().unwrap();
    let (artifacts, id) = (artifacts(&url), Id::from("c7"));
    let error = artifacts
        .download_artifact(&id, None, place.path())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TargetIsDirectory { .. }));
    assert!(error.to_string().contains("name the file"), "{error}");
    let missing = place.path().join("missing/a.zip");
    let error = artifacts
        .download_artifact(&id, None, &missing)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::File { path, .. } if path == missing));
    assert!(names(place.path()).is_empty());
}

#[tokio::test]
async fn a_download_that_is_dropped_leaves_nothing() {
    let (platform, url) = listen().await;
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("a.zip");
    let (artifacts, id) = (artifacts(&url), Id::from("c7"));
    let serve = async {
        let (mut stream, _) = platform.accept().await.unwrap();
        assert_ne!(stream.read_buf(&mut Vec::new()).await.unwrap(), 0);
        let half = answer("200 OK", "", 10, b"half");
        stream.write_all(&half).await.unwrap();
        assert_eq!(names(place.path()).len(), 1);
        assert!(!target.exists());
    };
    tokio::select! {
        saved = artifacts.download_artifact(&id, None, &target) => panic!("{saved:?}"),
        () = serve => {}
    }
    assert!(names(place.path()).is_empty());
}

#[tokio::test]
async fn what_a_proxy_says_is_not_saved_as_the_file() {
    let page = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    let html = "Content-Type: text/html; charset=utf-8\r\n";
    let chunked = format!(
        "HTTP/1.1 200 OK\r\n{html}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
    );
    for (answer, expected) in [
        (
            answer("200 OK", html, page.len(), page),
            "a web page: Sign in",
        ),
        // Its title is lost on the way.
        (
            answer("200 OK", html, 4000, &page[..20]),
            "a web page without a title",
        ),
        (chunked.into_bytes(), "a web page without a title"),
        (answer("200 OK", "", 0, b""), "empty"),
        (
            answer("200 OK", "Content-Type: application/zip\r\n", 0, b""),
            "empty",
        ),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(),
            "empty",
        ),
    ] {
        let (file, ranges) = download(&[answer]).await;
        let error = file.unwrap_err();
        let Error::UnexpectedContent { url, what } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(what, expected);
        assert!(
            url.ends_with("/artifacts/api/v1/artifacts/c7/download"),
            "{url}"
        );
        assert_eq!(ranges.len(), 1);
    }
}

#[tokio::test]
async fn a_page_in_the_place_of_the_rest_leaves_nothing() {
    let content = content();
    let html = "Content-Type: text/html\r\n";
    let (file, ranges) = download(&[
        answer("200 OK", "", content.len(), &content[..1_000_000]),
        answer("200 OK", html, 6, b"<html>"),
    ])
    .await;
    let error = file.unwrap_err();
    assert!(
        matches!(error, Error::UnexpectedContent { .. }),
        "{error:?}"
    );
    assert_eq!(ranges[1].as_deref(), Some("bytes=1000000-"));
}
