//! Connecting, and what breaks afterwards.

use std::net::TcpListener;

use http::Request;
use peak_http::{Body, Client, Error, ErrorKind, RequestBuilderExt as _};

use crate::server::{Server, Step, quick};

async fn fails(client: &Client, request: Request<Body>) -> Error {
    client.send(request).await.unwrap_err()
}

#[tokio::test]
async fn every_request_names_the_sdk_unless_told_otherwise() {
    let server = Server::play([Step::ok(""), Step::ok(""), Step::ok("")]).await;
    let named = quick().user_agent("other/1").build().unwrap();
    for (client, own) in [
        (&quick().build().unwrap(), None),
        (&named, None),
        (&named, Some("mine/2")),
    ] {
        let mut request = Request::get(server.url("/a?b=c")).without_body().unwrap();
        if let Some(own) = own {
            request
                .headers_mut()
                .insert("user-agent", own.parse().unwrap());
        }
        client.send(request).await.unwrap();
    }
    let recorded = server.recorded();
    let agents: Vec<_> = recorded
        .iter()
        .map(|request| request.header("user-agent").unwrap())
        .collect();
    let default = concat!("peak-sdk-rust/", env!("CARGO_PKG_VERSION"));
    assert_eq!(agents, [default, "other/1", "mine/2"]);
    assert_eq!(recorded[0].line(), "GET /a?b=c HTTP/1.1");
    assert_eq!(recorded[0].header("content-length"), None);

    let error = Client::builder().user_agent("a\nb").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn a_refused_connection_says_that_nothing_was_sent() {
    // Bound and let go, so that nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let request = Request::post(format!("http://{address}/?key=secret"))
        .with_body("x")
        .unwrap();
    let error = fails(&quick().build().unwrap(), request).await;
    assert!(error.is_connect() && error.is_transient() && !error.may_have_been_sent());
    assert!(!error.is_timeout());
    assert_eq!(
        error.url(),
        Some(&*format!("http://{address}/?key=REDACTED"))
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_connect_error() {
    let request = Request::get("http://does-not-exist.invalid/")
        .without_body()
        .unwrap();
    let error = fails(&quick().build().unwrap(), request).await;
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again_only_if_that_does_no_harm() {
    for step in [
        Step::HangUpAfterRequest,
        Step::Answer("HTTP/1.1 200 ".into()),
    ] {
        let server = Server::play([step.clone(), Step::ok("second")]).await;
        let client = quick().build().unwrap();
        let request = Request::post(server.url("/")).with_body("x").unwrap();
        let error = fails(&client, request).await;
        assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}");
        assert!(error.is_transient() && error.may_have_been_sent());
        assert_eq!(server.recorded().len(), 1);

        let server = Server::play([step, Step::ok("second")]).await;
        let request = Request::get(server.url("/")).without_body().unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.text(10).await.unwrap(), "second");
    }
}

#[tokio::test]
async fn a_get_survives_a_server_that_closes_before_reading() {
    let server = Server::play([Step::HangUp, Step::HangUp, Step::ok("third")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let response = quick().build().unwrap().send(request).await.unwrap();
    assert_eq!(response.text(10).await.unwrap(), "third");
}

#[tokio::test]
async fn what_is_not_http_is_an_error_and_not_asked_again() {
    let banner = Step::Answer("SSH-2.0-OpenSSH_9.2\r\n".into());
    let server = Server::play([banner.clone(), banner]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let error = fails(&quick().build().unwrap(), request).await;
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(server.recorded().len(), 1);
}

#[tokio::test]
async fn connections_are_kept_and_shared_by_clones() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // One connection is all there is: a second one would get another answer.
    let keep = Step::AnswerAll(vec![answer.into(); 3]);
    let server = Server::play([keep, Step::status(404, &[], "")]).await;
    let client = quick().build().unwrap();
    for client in [client.clone(), client.clone(), client] {
        let request = Request::put(server.url("/")).with_body("x").unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.text(10).await.unwrap(), "ok");
    }
    assert_eq!(server.recorded().len(), 3);
}

#[tokio::test]
async fn any_status_is_a_response() {
    let server = Server::play([Step::status(404, &["X-Request-Id: 7"], "{}")]).await;
    let request = Request::get(server.url("/")).without_body().unwrap();
    let response = quick().build().unwrap().send(request).await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["x-request-id"], "7");
    assert_eq!(response.url().as_str(), server.url("/"));
    assert_eq!(response.content_length(), Some(2));
}

#[tokio::test]
async fn only_http_urls_are_requested() {
    let client = quick().build().unwrap();
    for url in ["ftp://127.0.0.1/", "/path", "http://user:word@127.0.0.1/"] {
        let request = Request::get(url).without_body().unwrap();
        let error = fails(&client, request).await;
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{url}");
        assert!(!error.may_have_been_sent());
    }
}

#[cfg(unix)]
mod sockets {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use http::Request;
    use peak_http::{Client, Proxies, Proxy, RequestBuilderExt as _};

    use crate::server::quick;

    /// Answers one request on a socket, and gives its head.
    fn answer_once(listener: UnixListener) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
                .unwrap();
            String::from_utf8(head).unwrap()
        })
    }

    async fn ask(client: &Client) -> Result<String, peak_http::Error> {
        let request = Request::get("http://localhost/a?b=c").without_body()?;
        client.send(request).await?.text(100).await
    }

    #[tokio::test]
    async fn requests_go_to_the_socket_whatever_the_url_and_the_proxies_say() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.sock");
        let server = answer_once(UnixListener::bind(&path).unwrap());
        let proxy = Proxy::new("http://127.0.0.1:9").unwrap();
        let client = quick()
            .proxies(Proxies::all(proxy))
            .unix_socket(&path)
            .build()
            .unwrap();
        assert_eq!(ask(&client).await.unwrap(), "done");
        let head = server.join().unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /a?b=c http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nhost: localhost\r\n"), "{head}");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_named_in_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.sock");
        let client = quick().unix_socket(&path).build().unwrap();
        for _ in 0..2 {
            let error = ask(&client).await.unwrap_err();
            assert!(error.is_connect() && !error.may_have_been_sent());
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
            // At first there is no file, then one that is left over.
            let _ = UnixListener::bind(&path);
        }
    }
}
