//! Bodies over the wire, both ways.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Request;
use http::header::CONTENT_TYPE;
use peak_http::multipart::Form;
use peak_http::{
    Body, BoxError, ErrorKind, Idempotency, RequestBuilderExt as _, RequestExt as _, RetryPolicy,
};

use crate::server::{Server, Step, quick};

#[tokio::test]
async fn a_file_is_sent_whole_on_every_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &content).unwrap();
    let server = Server::play([
        Step::HangUpInBody(100_000),
        Step::status(502, &[], "later"),
        Step::HangUpAfterRequest,
        Step::ok("done"),
    ])
    .await;

    let request = Request::put(server.url("/blob"))
        .with_body(Body::file(&path, content.len() as u64))
        .unwrap();
    let response = quick().build().unwrap().send(request).await.unwrap();

    assert_eq!(response.text(100).await.unwrap(), "done");
    let recorded = server.recorded();
    assert_eq!(recorded.len(), 4);
    for (index, request) in recorded.iter().enumerate() {
        let length = request.header("content-length").unwrap();
        assert_eq!(length, content.len().to_string(), "attempt {index}");
        assert_eq!(request.header("transfer-encoding"), None);
        let got = &request.body;
        let whole = if index == 0 { 100_000 } else { content.len() };
        assert!(got[..] == content[..whole], "attempt {index}");
    }
}

#[tokio::test]
async fn a_file_that_changed_its_size_never_becomes_a_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, "hello").unwrap();
    let server = Server::play([Step::ok("")]).await;
    let client = quick().build().unwrap();
    for length in [0, 4, 6] {
        let request = Request::put(server.url("/"))
            .with_body(Body::file(&path, length))
            .unwrap();
        let error = client.send(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Body, "{length}: {error}");
    }
    assert!(server.recorded().is_empty());
}

#[tokio::test]
async fn a_form_has_its_length_and_is_the_same_on_every_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("artifact.zip");
    std::fs::write(&path, vec![7_u8; 200_000]).unwrap();
    let server = Server::play([Step::status(503, &["Retry-After: 0"], ""), Step::ok("{}")]).await;

    let (content_type, body) = Form::new()
        .text("name", "hello")
        .file(
            "artifact",
            "artifact.zip",
            "application/zip",
            Body::file(&path, 200_000),
        )
        .into_body();
    let length = body.len().unwrap();
    let request = Request::post(server.url("/images/"))
        .header(CONTENT_TYPE, content_type.clone())
        .with_body(body)
        .unwrap();
    let response = quick().build().unwrap().send(request).await.unwrap();

    assert_eq!(response.status(), 200);
    let recorded = server.recorded();
    assert_eq!(recorded.len(), 2);
    for request in &recorded {
        assert_eq!(request.body.len() as u64, length);
        assert_eq!(request.header("content-length"), Some(&*length.to_string()));
        assert_eq!(
            request.header("content-type"),
            Some(content_type.to_str().unwrap())
        );
    }
    assert!(recorded[0].body == recorded[1].body);
}

#[tokio::test]
async fn a_stream_is_sent_chunked_and_once() {
    let server = Server::play([Step::status(500, &[], ""), Step::ok("")]).await;
    let chunks = ["a", "b"].map(|part| Ok::<_, BoxError>(Bytes::from(part)));
    let request = Request::put(server.url("/"))
        .idempotency(Idempotency::Idempotent)
        .with_body(Body::stream(stream::iter(chunks)))
        .unwrap();
    let response = quick().build().unwrap().send(request).await.unwrap();
    assert_eq!(response.status(), 500);
    let recorded = server.recorded();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].header("transfer-encoding"), Some("chunked"));
    assert_eq!(recorded[0].body, b"ab");
}

#[tokio::test]
async fn the_framing_is_that_of_the_body_whatever_headers_say() {
    let server = Server::play([Step::ok(""), Step::ok("")]).await;
    let client = quick().build().unwrap();
    let request = Request::put(server.url("/"))
        .header("content-length", "2")
        .header("transfer-encoding", "chunked")
        .with_body("hello")
        .unwrap();
    client.send(request).await.unwrap();
    let request = Request::post(server.url("/")).without_body().unwrap();
    client.send(request).await.unwrap();
    let recorded = server.recorded();
    assert_eq!(recorded[0].header("content-length"), Some("5"));
    assert_eq!(recorded[0].header("transfer-encoding"), None);
    assert_eq!(recorded[0].body, b"hello");
    assert_eq!(recorded[1].header("content-length"), Some("0"));
}

#[tokio::test]
async fn the_users_cause_is_in_the_error_when_a_body_fails() {
    let server = Server::play([Step::ok("")]).await;
    let body = Body::replayable(Some(10), |_| {
        Box::pin(stream::iter([
            Ok(Bytes::from("12345")),
            Err("the tape broke".into()),
        ]))
    });
    let request = Request::put(server.url("/")).with_body(body).unwrap();
    let error = quick().build().unwrap().send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body);
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "the tape broke");
}

#[tokio::test]
async fn a_truncated_response_is_an_error_after_what_came() {
    let server = Server::play([
        Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".into()),
        Step::Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".into()),
    ])
    .await;
    let client = quick().build().unwrap();
    for _ in 0..2 {
        let request = Request::get(server.url("/?token=secret"))
            .without_body()
            .unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        assert_eq!(body.next().await.unwrap().unwrap(), "hello");
        let error = body.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport);
        assert!(error.is_transient() && error.may_have_been_sent());
        assert!(error.url().unwrap().ends_with("/?token=REDACTED"));
        assert!(body.next().await.is_none());
    }
}

#[tokio::test]
async fn values_are_bounded_whether_the_length_is_told_or_not() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let server = Server::play([
        Step::ok("hello"),
        Step::Answer(chunked.into()),
        Step::ok("hello"),
        Step::Answer(chunked.into()),
        Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n".into()),
    ])
    .await;
    let client = quick().build().unwrap();
    let get = async || {
        let request = Request::get(server.url("/")).without_body().unwrap();
        client.send(request).await.unwrap()
    };
    for _ in 0..2 {
        assert_eq!(get().await.text(5).await.unwrap(), "hello");
    }
    for _ in 0..3 {
        let error = get().await.bytes(4).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

#[tokio::test]
async fn json_and_text_say_so_when_they_are_neither() {
    let server = Server::play([
        Step::ok("{\"a\": 1}"),
        Step::ok("<html>"),
        Step::Answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\u{e9}".into()),
        Step::ok(&"[".repeat(100_000)),
    ])
    .await;
    let client = quick().build().unwrap();
    let get = async || {
        let request = Request::get(server.url("/")).without_body().unwrap();
        client.send(request).await.unwrap()
    };
    let value: std::collections::BTreeMap<String, u32> = get().await.json(100).await.unwrap();
    assert_eq!(value["a"], 1);
    let error = get().await.json::<String>(100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(
        get().await.text(100).await.unwrap_err().kind(),
        ErrorKind::Decode
    );
    let nested = get().await.json::<serde_json::Value>(1_000_000).await;
    assert_eq!(nested.unwrap_err().kind(), ErrorKind::Decode);
}

/// A server that refuses an upload need not read all of it to be heard.
#[tokio::test]
async fn an_answer_in_the_middle_of_an_upload_is_the_answer() {
    let refusal =
        "HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 8\r\n\r\ntoo much";
    for _ in 0..20 {
        let server = Server::play([Step::AnswerInBody(10, refusal.to_owned())]).await;
        let request = Request::put(server.url("/"))
            .with_body(vec![0_u8; 16 * 1024 * 1024])
            .unwrap();
        let client = quick().retry(RetryPolicy::never()).build().unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(response.text(100).await.unwrap(), "too much");
    }
}
