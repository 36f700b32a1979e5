//! Through real proxies on loopback, to servers whose names only they know.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use peak_http::{
    Client, ClientBuilder, Error, ErrorKind, HttpVersions, Proxies, Proxy, RequestBuilderExt as _,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::secure::{Secure, Speaks, trusting};
use crate::server::{Server, Step, quick};

/// What a proxy does with a request.
#[derive(Debug, Clone)]
enum Does {
    /// Leads every tunnel to this address.
    LeadTo(SocketAddr),
    /// Writes this.
    Say(&'static str),
    /// Reads and never answers.
    Stall,
}

struct TestProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl TestProxy {
    async fn start(does: Does) -> Self {
        Self::bind(does, false).await
    }

    async fn bind(does: Does, over_tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (does, heads) = (does.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    if over_tls {
                        // It would be shown a certificate if it asked; it may not ask for one here.
                        let speaks = Speaks {
                            protocols: &["http/1.1"],
                            asks_for_certificate: false,
                        };
                        let stream = speaks.acceptor().accept(stream).await.unwrap();
                        serve(stream, does, heads).await;
                    } else {
                        serve(stream, does, heads).await;
                    }
                });
            }
        });
        Self {
            address,
            heads,
            task,
        }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn proxies(&self, credentials: &str) -> Proxies {
        let address = format!("http://{credentials}{}", self.address);
        Proxies::all(Proxy::new(&address).unwrap())
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    does: Does,
    heads: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    // Either side may go away when it has what it wants.
    match does {
        Does::LeadTo(address) => {
            let mut server = TcpStream::connect(address).await.unwrap();
            let answer = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
        }
        Does::Say(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Does::Stall => std::future::pending().await,
    }
}

async fn get(builder: ClientBuilder, url: &str) -> Result<String, Error> {
    let client: Client = builder.build().unwrap();
    let request = Request::get(url)
        .header("authorization", "Bearer t0ken")
        .without_body()?;
    client.send(request).await?.text(100).await
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[tokio::test]
async fn an_https_request_goes_through_a_tunnel_that_shows_the_proxy_nothing() {
    for versions in [HttpVersions::Http1, HttpVersions::Any] {
        let server = Secure::start(Speaks::both()).await;
        let proxy = TestProxy::start(Does::LeadTo(server.address())).await;
        let builder = trusting()
            .http_versions(versions)
            .proxies(proxy.proxies("user:s3cret@"));
        let text = get(builder, "https://origin.test/path").await.unwrap();
        assert_eq!(text, "secret");
        let heads = proxy.heads();
        let head = &heads[0];
        assert!(
            head.starts_with("CONNECT origin.test:443 HTTP/1.1\r\n"),
            "{head}"
        );
        assert_eq!(header(head, "host"), Some("origin.test:443"));
        // `user:s3cret`
        assert_eq!(
            header(head, "proxy-authorization"),
            Some("Basic dXNlcjpzM2NyZXQ=")
        );
        assert!(!head.contains("t0ken") && !head.contains("path"), "{head}");
        let seen = &server.seen()[0];
        assert_eq!(seen.headers["authorization"], "Bearer t0ken");
        assert_eq!(seen.headers.get("proxy-authorization"), None);
    }
}

#[tokio::test]
async fn a_tunnel_is_kept_for_further_requests() {
    let server = Secure::start(Speaks::both()).await;
    let proxy = TestProxy::start(Does::LeadTo(server.address())).await;
    let client = trusting().proxies(proxy.proxies("")).build().unwrap();
    for _ in 0..3 {
        let request = Request::get("https://origin.test:8443/").without_body();
        let response = client.send(request.unwrap()).await.unwrap();
        assert_eq!(response.text(100).await.unwrap(), "secret");
    }
    assert_eq!(server.seen().len(), 3);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("CONNECT origin.test:8443 "));
    assert_eq!(header(&heads[0], "proxy-authorization"), None);
}

#[tokio::test]
async fn a_proxy_may_itself_be_reached_over_tls() {
    let server = Secure::start(Speaks::both()).await;
    let proxy = TestProxy::bind(Does::LeadTo(server.address()), true).await;
    let proxies = |host: &str| {
        let address = format!("https://{host}:{}", proxy.address.port());
        Proxies::all(Proxy::new(&address).unwrap())
    };
    let builder = trusting().proxies(proxies("localhost"));
    let text = get(builder, "https://origin.test/").await.unwrap();
    assert_eq!(text, "secret");
    assert!(proxy.heads()[0].starts_with("CONNECT origin.test:443 "));
    // Its certificate is looked at as any other.
    let stranger = quick().proxies(proxies("localhost"));
    let error = get(stranger, "https://origin.test/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    assert!(error.to_string().contains("the proxy https://localhost:"));
}

#[tokio::test]
async fn a_proxy_whose_tls_connection_breaks_is_tried_again() {
    let proxy = Server::play([Step::HangUp, Step::HangUp, Step::HangUp, Step::HangUp]).await;
    let address = proxy.url("").replace("http:", "https:");
    let proxies = Proxies::all(Proxy::new(&address).unwrap());
    let error = get(trusting().proxies(proxies), "https://origin.test/").await;
    let error = error.unwrap_err();
    assert!(error.is_connect() && error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_plain_request_is_given_to_the_proxy_whole() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nfrom the proxy";
    let proxy = TestProxy::start(Does::Say(answer)).await;
    let builder = quick().proxies(proxy.proxies("user:s3cret@"));
    let text = get(builder, "http://origin.test:81/path?n=1")
        .await
        .unwrap();
    assert_eq!(text, "from the proxy");
    let heads = proxy.heads();
    let line = "GET http://origin.test:81/path?n=1 HTTP/1.1\r\n";
    assert!(heads[0].starts_with(line), "{heads:?}");
    assert_eq!(header(&heads[0], "host"), Some("origin.test:81"));
    assert_eq!(
        header(&heads[0], "proxy-authorization"),
        Some("Basic dXNlcjpzM2NyZXQ=")
    );
}

#[tokio::test]
async fn this_machine_and_the_exceptions_are_reached_directly() {
    let proxy = TestProxy::start(Does::Say("HTTP/1.1 500 No\r\n\r\n")).await;
    let server = Secure::start(Speaks::both()).await;
    let builder = trusting().proxies(proxy.proxies("s3cret@"));
    assert_eq!(get(builder, &server.url()).await.unwrap(), "secret");
    assert_eq!(server.seen()[0].headers.get("proxy-authorization"), None);

    let exceptions = proxy.proxies("s3cret@").no_proxy("does-not-exist.invalid");
    let builder = quick().proxies(exceptions);
    let error = get(builder, "http://does-not-exist.invalid/")
        .await
        .unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(proxy.heads(), [""; 0]);
}

#[tokio::test]
async fn a_proxy_that_wants_credentials_is_an_error_that_says_what_to_do() {
    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
    for (credentials, says) in [
        ("", "wants a user and password"),
        ("u:s3cret@", "check them"),
    ] {
        for url in ["http://origin.test/", "https://origin.test/"] {
            let proxy = TestProxy::start(Does::Say(answer)).await;
            let builder = trusting().proxies(proxy.proxies(credentials));
            let error = get(builder, url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Proxy, "{error:?}");
            assert!(!error.is_transient() && !error.may_have_been_sent());
            assert!(error.to_string().contains(says), "{error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
            assert_eq!(proxy.heads().len(), 1);
        }
    }
}

#[tokio::test]
async fn what_proxies_answer_in_the_place_of_a_tunnel() {
    let endless: &'static str = Box::leak(
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into_boxed_str(),
    );
    for (answer, kind, attempts) in [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n",
            ErrorKind::Proxy,
            1,
        ),
        (
            "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            ErrorKind::Connect,
            4,
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK",
            ErrorKind::Proxy,
            1,
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", ErrorKind::Proxy, 1),
        (endless, ErrorKind::Proxy, 1),
        ("", ErrorKind::Connect, 4),
    ] {
        let proxy = TestProxy::start(Does::Say(answer)).await;
        let builder = trusting().proxies(proxy.proxies("u:s3cret@"));
        let error = get(builder, "https://origin.test/").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(!error.may_have_been_sent());
        assert!(
            error.to_string().contains("the proxy http://127.0.0.1:"),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("s3cret"));
        assert_eq!(proxy.heads().len(), attempts, "{error:?}");
    }
}

#[tokio::test]
async fn the_time_to_connect_covers_the_proxy() {
    let proxy = TestProxy::start(Does::Stall).await;
    let builder = trusting()
        .retry(peak_http::RetryPolicy::never())
        .connect_timeout(Duration::from_millis(50))
        .proxies(proxy.proxies(""));
    let error = get(builder, "https://origin.test/").await.unwrap_err();
    assert!(error.is_connect() && error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let proxies = Proxies::all(Proxy::new(&format!("u:s3cret@{address}")).unwrap());
    for url in ["http://origin.test/", "https://origin.test/"] {
        let error = get(quick().proxies(proxies.clone()), url)
            .await
            .unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert!(
            error
                .to_string()
                .contains(&format!("the proxy http://{address}/")),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn a_proxy_of_the_environment_that_cannot_be_used_is_an_error_of_the_request() {
    let proxies = Proxies::from_variables(|name| {
        (name == "all_proxy").then(|| "socks5://u:s3cret@127.0.0.1:1".to_owned())
    });
    for url in ["http://origin.test/", "https://origin.test/"] {
        let error = get(quick().proxies(proxies.clone()), url)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("all_proxy") && shown.contains("SOCKS"),
            "{shown}"
        );
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
