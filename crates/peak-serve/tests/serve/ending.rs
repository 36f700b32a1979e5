//! How a server and its connections end.

use std::sync::atomic::Ordering;

use peak_serve::{Limits, Listener, ServeError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{HANG, SHORT, connect, get_path, read_until, rest, serve, within};

#[tokio::test]
async fn a_running_request_ends_before_the_server_does() {
    let (server, seen) = serve(&Limits::new().drain(HANG)).await;
    let address = server.address();
    let mut idle = connect(&server).await;
    get_path(&mut idle, "/").await;
    read_until(&mut idle, "hello").await;
    let mut silent = connect(&server).await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/held").await;
    seen.until(&seen.begun, 1).await;

    let shutdown = tokio::spawn(server.shutdown());
    // Those without a request do not hold it up.
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(rest(&mut silent).await, "");
    within(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert!(!shutdown.is_finished());
    seen.release.notify_one();
    let answer = rest(&mut client).await;
    assert!(answer.ends_with("released"), "{answer}");
    within(shutdown).await.unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_after_the_drain_time() {
    let (server, seen) = serve(&Limits::new().drain(SHORT)).await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/held").await;
    seen.until(&seen.begun, 1).await;
    within(server.shutdown()).await;
    assert_eq!(seen.dropped.load(Ordering::SeqCst), 1);
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn dropping_the_server_cuts_everything() {
    let (server, seen) = serve(&Limits::new()).await;
    let mut reading = connect(&server).await;
    get_path(&mut reading, "/endless").await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/held").await;
    seen.until(&seen.begun, 2).await;
    let address = server.address();
    drop(server);
    seen.until(&seen.dropped, 2).await;
    assert_eq!(rest(&mut client).await, "");
    let mut sink = vec![0; 1024 * 1024];
    within(async { while reading.read(&mut sink).await.is_ok_and(|read| read > 0) {} }).await;
    within(async { while TcpStream::connect(address).await.is_ok() {} }).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_sends_nothing_more() {
    let (server, _) = serve(&Limits::new()).await;
    let mut client = connect(&server).await;
    get_path(&mut client, "/cut").await;
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let (server, _) = serve(&Limits::new()).await;
    let error = Listener::bind(server.address()).await.unwrap_err();
    assert!(matches!(error, ServeError::AddressInUse { .. }), "{error}");
    assert!(error.to_string().contains(&server.address().to_string()));
}
