//! Peers that are slow, silent, greedy or gone.

use std::time::Duration;

use peak_serve::Limits;
use tokio::io::AsyncWriteExt;

use crate::support::{HANG, SHORT, ask, connect, get_path, read_until, rest, serve, within};

/// Only what a test is about may end its connection.
fn patient() -> Limits {
    Limits::new().header_time(HANG).keep_alive(HANG).idle(HANG)
}

#[tokio::test]
async fn a_request_is_answered_with_what_its_connection_is() {
    let (server, _) = serve(&patient()).await;
    assert!(ask(&server, "GET /", b"").await.ends_with("\r\n\r\nhello"));
    assert!(
        ask(&server, "POST /body", &vec![7; 300_000])
            .await
            .ends_with("300000")
    );
    assert!(
        ask(&server, "GET /about", b"")
            .await
            .ends_with("http 3 127.0.0.1 1")
    );
}

#[tokio::test]
async fn a_header_that_drips_ends_the_connection() {
    let (server, _) = serve(&patient().header_time(SHORT)).await;
    let mut client = connect(&server).await;
    within(async {
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        // A field every few milliseconds: never idle, never done.
        while client.write_all(b"X-Slow: y\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn so_does_one_of_a_later_request() {
    let (server, _) = serve(&patient().header_time(SHORT)).await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/").await;
    read_until(&mut client, "hello").await;
    within(async {
        while client.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(server.open_connections(), 0);
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_dropped() {
    let (server, _) = serve(&patient().header_time(SHORT)).await;
    let mut client = connect(&server).await;
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn a_connection_without_a_further_request_is_closed_after_the_keep_alive_time() {
    let (server, _) = serve(&patient().keep_alive(SHORT)).await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/").await;
    read_until(&mut client, "hello").await;
    get_path(&mut client, "/").await;
    let answer = rest(&mut client).await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_handler_may_take_its_time() {
    let limits = patient().header_time(SHORT).keep_alive(SHORT).idle(SHORT);
    let (server, seen) = serve(&limits).await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/held").await;
    seen.until(&seen.begun, 1).await;
    tokio::time::sleep(SHORT * 4).await;
    seen.release.notify_one();
    read_until(&mut client, "released").await;
}

#[tokio::test]
async fn a_body_that_stands_still_is_an_error_for_the_handler() {
    let (server, seen) = serve(&patient().idle(SHORT)).await;
    let mut client = connect(&server).await;
    let head = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc";
    client.write_all(head).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    seen.until(&seen.broken, 1).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answer_is_cut() {
    let (server, seen) = serve(&patient().idle(SHORT)).await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/endless").await;
    seen.until(&seen.dropped, 1).await;
    let gone = async {
        while server.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(gone).await;
}

#[tokio::test]
async fn a_sending_side_shut_in_the_middle_of_a_body_breaks_it() {
    let (server, seen) = serve(&patient()).await;
    let mut client = connect(&server).await;
    let head = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc";
    client.write_all(head).await.unwrap();
    seen.until(&seen.begun, 1).await;
    client.shutdown().await.unwrap();
    seen.until(&seen.broken, 1).await;
    rest(&mut client).await;
}

#[tokio::test]
async fn a_peer_that_is_gone_takes_its_handler_along() {
    let (server, seen) = serve(&patient()).await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/held").await;
    seen.until(&seen.begun, 1).await;
    drop(client);
    seen.until(&seen.dropped, 1).await;
}

#[tokio::test]
async fn too_many_or_too_large_fields_are_431() {
    let (server, _) = serve(&patient().max_headers(20).max_header_bytes(4096)).await;
    for fields in [
        "X-Many: 1\r\n".repeat(30),
        format!("X-Large: {}\r\n", "x".repeat(8000)),
    ] {
        let mut client = connect(&server).await;
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn the_answer_to_a_body_that_nobody_wants_arrives() {
    let (server, _) = serve(&patient()).await;
    let answer = ask(&server, "POST /unread", &vec![0; 8 * 1024 * 1024]).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn so_does_that_to_one_that_was_let_in_and_then_refused() {
    let (server, _) = serve(&patient()).await;
    let mut client = connect(&server).await;
    let body = vec![0; 8 * 1024 * 1024];
    let head =
        "POST /begun HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n";
    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    client.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
    within(client.write_all(&body)).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_ends() {
    let (server, seen) = serve(&patient().max_connections(2)).await;
    let mut first = connect(&server).await;
    get_path(&mut first, "/held").await;
    let mut second = connect(&server).await;
    get_path(&mut second, "/held").await;
    seen.until(&seen.begun, 2).await;

    let mut third = connect(&server).await;
    get_path(&mut third, "/held").await;
    tokio::time::sleep(SHORT).await;
    assert_eq!(seen.begun.load(std::sync::atomic::Ordering::SeqCst), 2);
    assert_eq!(server.open_connections(), 2);

    // The answer says that the connection ends, so that the one that waits gets its place.
    seen.release.notify_one();
    seen.until(&seen.begun, 3).await;
    seen.release.notify_waiters();
    let answer = rest(&mut first).await;
    assert!(answer.contains("connection: close"), "{answer}");
    rest(&mut second).await;
    assert!(
        read_until(&mut third, "released")
            .await
            .starts_with("HTTP/1.1 200")
    );
}
