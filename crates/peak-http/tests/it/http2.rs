//! HTTP/2: when it is spoken, what is sent, and what its errors say about sending again.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Request, Version};
use peak_http::{Body, Client, Error, ErrorKind, HttpVersions, RequestBuilderExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::secure::{Secure, Speaks, trusting};

async fn get(client: &Client, url: &str) -> String {
    let request = Request::get(url).without_body().unwrap();
    let response = client.send(request).await.unwrap();
    response.text(100).await.unwrap()
}

#[tokio::test]
async fn the_version_is_the_best_that_both_sides_speak() {
    for (client, server, expected) in [
        (HttpVersions::Any, &["h2", "http/1.1"][..], Version::HTTP_2),
        (HttpVersions::Any, &["http/1.1"], Version::HTTP_11),
        (HttpVersions::Any, &[], Version::HTTP_11),
        (HttpVersions::Http1, &["h2", "http/1.1"], Version::HTTP_11),
        (HttpVersions::Http1, &[], Version::HTTP_11),
    ] {
        let speaks = Speaks {
            protocols: server,
            ..Speaks::both()
        };
        let server = Secure::start(speaks).await;
        let client = trusting().http_versions(client).build().unwrap();
        assert_eq!(get(&client, &server.url()).await, "secret");
        assert_eq!(server.seen()[0].version, expected);
    }
}

#[tokio::test]
async fn headers_of_the_connection_are_never_sent() {
    let server = Secure::start(Speaks::both()).await;
    for versions in [HttpVersions::Any, HttpVersions::Http1] {
        let client = trusting().http_versions(versions).build().unwrap();
        let mut request = Request::post(server.url()).with_body("content").unwrap();
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
            "content-length",
        ] {
            let value = HeaderValue::from_static("chunked");
            request.headers_mut().insert(name, value);
        }
        client.send(request).await.unwrap();
    }
    for seen in server.seen() {
        let mut names: Vec<_> = seen.headers.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        let expected: &[&str] = match seen.version {
            Version::HTTP_2 => &["content-length", "user-agent"],
            _ => &["content-length", "host", "user-agent"],
        };
        assert_eq!(names, expected, "{:?}", seen.version);
        assert_eq!(seen.headers["content-length"], "7");
        assert_eq!(seen.body, "content");
    }
}

#[tokio::test]
async fn many_exchanges_at_once_come_through() {
    let server = Secure::start(Speaks::both()).await;
    let client = trusting().build().unwrap();
    let url = server.url();
    let answers = join_all((0..300).map(|_| get(&client, &url))).await;
    assert!(answers.iter().all(|answer| answer == "secret"));
    assert_eq!(server.seen().len(), 300);
}

/// What becomes of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Reset(h2::Reason),
    /// The connection is closed, the last stream that was looked at being the one before.
    GoAway,
    Answered,
    /// An answer of which half the body comes.
    CutOff,
}

/// Plays a script, one step for each stream; a new connection is taken where one ends.
pub(crate) async fn play(fates: Vec<Fate>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut fates = fates.into_iter();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = Speaks::both().acceptor().accept(stream).await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                match fates.next().expect("no more streams than fates") {
                    Fate::Reset(reason) => respond.send_reset(reason),
                    Fate::GoAway => {
                        connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                    }
                    Fate::Answered => {
                        let mut body = respond
                            .send_response(http::Response::new(()), false)
                            .unwrap();
                        body.send_data(Bytes::from_static(b"ok"), true).unwrap();
                    }
                    Fate::CutOff => {
                        let head = http::Response::builder().header("content-length", "4");
                        let mut body = respond
                            .send_response(head.body(()).unwrap(), false)
                            .unwrap();
                        body.send_data(Bytes::from_static(b"ok"), false).unwrap();
                        body.send_reset(h2::Reason::REFUSED_STREAM);
                    }
                }
            }
        }
    });
    (url, task)
}

async fn post(url: &str) -> Result<String, Error> {
    let request = Request::post(url).with_body("x").unwrap();
    let response = trusting().build().unwrap().send(request).await?;
    response.text(100).await
}

#[tokio::test]
async fn a_refused_stream_was_not_acted_upon_and_is_sent_again() {
    let refused = Fate::Reset(h2::Reason::REFUSED_STREAM);
    let (url, server) = play(vec![refused, refused, Fate::Answered]).await;
    assert_eq!(post(&url).await.unwrap(), "ok");
    server.abort();
}

#[tokio::test]
async fn every_other_reset_may_have_been_acted_upon() {
    for reason in [
        h2::Reason::CANCEL,
        h2::Reason::INTERNAL_ERROR,
        h2::Reason::ENHANCE_YOUR_CALM,
    ] {
        let (url, server) = play(vec![Fate::Reset(reason), Fate::Answered]).await;
        let error = post(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}");
        assert!(error.is_transient() && error.may_have_been_sent());
        server.abort();
    }
}

#[tokio::test]
async fn a_connection_that_is_given_up_is_replaced_for_what_may_be_repeated() {
    let (url, server) = play(vec![Fate::GoAway, Fate::Answered]).await;
    let client = trusting().build().unwrap();
    assert_eq!(get(&client, &url).await, "ok");
    server.abort();

    let (url, server) = play(vec![Fate::GoAway, Fate::Answered]).await;
    let error = post(&url).await.unwrap_err();
    assert!(
        error.is_transient() && error.may_have_been_sent(),
        "{error:?}"
    );
    server.abort();
}

#[tokio::test]
async fn an_answer_in_the_middle_of_an_upload_is_the_answer() {
    let (url, server) = play(vec![Fate::Answered]).await;
    // More than the server's window takes before it reads.
    let request = Request::post(url).with_body(vec![7; 1_000_000]).unwrap();
    let client = trusting().build().unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.text(100).await.unwrap(), "ok");
    server.abort();
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error_and_says_nothing_of_being_unseen() {
    let (url, server) = play(vec![Fate::CutOff]).await;
    let error = post(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}");
    assert!(error.may_have_been_sent());
    server.abort();
}

/// The server takes the request, begins its answer and is never heard of again.
#[tokio::test]
async fn a_connection_that_died_is_noticed_by_its_silence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = Speaks::both().acceptor().accept(stream).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let body = respond.send_response(http::Response::new(()), false);
        // Until the head of the answer is out; after that nobody answers pings.
        let moment = std::time::Duration::from_millis(200);
        let _ = tokio::time::timeout(moment, connection.accept()).await;
        std::future::pending::<()>().await;
        drop(body);
    });
    let client = trusting().idle_timeout(std::time::Duration::from_secs(3600));
    let request = Request::get(url).without_body().unwrap();
    let response = client.build().unwrap().send(request).await.unwrap();
    tokio::time::pause();
    let error = response.bytes(10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_go_both_ways() {
    let server = Secure::start(Speaks::both()).await;
    let content: Vec<u8> = (0..20_000_000_u32)
        .map(|index| index.to_le_bytes()[1])
        .collect();
    let content = Bytes::from(content);
    let request = Request::put(server.url()).with_body(Body::from(content.clone()));
    let client = trusting().build().unwrap();
    client.send(request.unwrap()).await.unwrap();
    assert!(server.seen()[0].body == content);
}
