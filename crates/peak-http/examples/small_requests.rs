//! Many small JSON requests over loopback, through this crate or through bare hyper: what the layers cost.
//!
//! `cargo xtask bench small-requests` runs it. By hand:
//!
//! ```text
//! small_requests serve                          # prints the URL it serves, until standard input ends
//! small_requests peak URL REQUESTS CONCURRENT   # or `hyper-pool`, `hyper-connection`
//! ```

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::client::legacy::Client as PooledClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use peak_http::{RequestBuilderExt as _, RequestExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;

/// About what a described image version is.
const BODY: &str = r#"{"id":4711,"name":"forecast","type":"workflow","version":"1.4.0","status":"ready","createdAt":"2026-01-02T03:04:05Z","tags":[{"name":"team","value":"pricing"}],"build":{"source":"upload","artifact":{"id":"6f1c","version":3},"context":".","dockerfile":"Dockerfile"}}"#;

/// Largest body that is read, in bytes.
const MOST: u64 = 64 * 1024;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match arguments.as_slice() {
        ["serve"] => runtime.block_on(serve()),
        [client, url, requests, concurrent] => {
            let requests: usize = requests.parse()?;
            let concurrent: usize = concurrent.parse()?;
            runtime.block_on(run(client, &url.parse()?, requests, concurrent))
        }
        _ => Err(
            "say `serve`, or a client, a URL and the numbers of requests and of those at a time"
                .into(),
        ),
    }
}

async fn run(client: &str, url: &Uri, requests: usize, concurrent: usize) -> Result<(), Failure> {
    let peak = peak_http::Client::builder().build()?;
    let pooled = PooledClient::builder(TokioExecutor::new()).build_http();
    let lanes = (0..concurrent).map(|lane| {
        let (client, peak, pooled) = (client, &peak, &pooled);
        // The remainder goes to the first ones.
        let share = requests / concurrent + usize::from(lane < requests % concurrent);
        async move {
            match client {
                "peak" => through_peak(peak, url, share).await,
                "hyper-pool" => through_pool(pooled, url, share).await,
                "hyper-connection" => through_connection(url, share).await,
                other => Err(format!("`{other}` is no client").into()),
            }
        }
    });
    try_join_all(lanes).await?;
    Ok(())
}

async fn through_peak(
    client: &peak_http::Client,
    url: &Uri,
    requests: usize,
) -> Result<(), Failure> {
    for _ in 0..requests {
        let request = Request::get(url)
            .operation("describe_version")
            .without_body()?;
        let response = client.send(request).await?;
        check(&response.json::<serde_json::Value>(MOST).await?)?;
    }
    Ok(())
}

async fn through_pool(
    client: &PooledClient<HttpConnector, Empty<Bytes>>,
    url: &Uri,
    requests: usize,
) -> Result<(), Failure> {
    for _ in 0..requests {
        let request = Request::get(url).body(Empty::new())?;
        read(client.request(request).await?).await?;
    }
    Ok(())
}

async fn through_connection(url: &Uri, requests: usize) -> Result<(), Failure> {
    let authority = url.authority().ok_or("the URL has no host")?;
    let stream = TcpStream::connect(authority.as_str()).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let requests = async move {
        for _ in 0..requests {
            let request = Request::get(url.path())
                .header(http::header::HOST, authority.as_str())
                .body(Empty::<Bytes>::new())?;
            sender.ready().await?;
            read(sender.send_request(request).await?).await?;
        }
        // Dropping the sender ends the connection.
        Ok::<(), Failure>(())
    };
    let connection = async { connection.await.map_err(Failure::from) };
    futures_util::future::try_join(requests, connection).await?;
    Ok(())
}

async fn read(response: Response<Incoming>) -> Result<(), Failure> {
    let body = response.into_body();
    if body.size_hint().lower() > MOST {
        return Err("the body is too large".into());
    }
    let bytes = body.collect().await?.to_bytes();
    check(&serde_json::from_slice(&bytes)?)
}

fn check(value: &serde_json::Value) -> Result<(), Failure> {
    if value.get("id").and_then(serde_json::Value::as_u64) != Some(4711) {
        return Err(format!("not the answer expected: {value}").into());
    }
    Ok(())
}

/// Answers every request with the same JSON, as little work as that can be.
async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(
        std::io::stdout(),
        "http://{}/image-management/api/v2/images/1",
        listener.local_addr()?
    )?;
    std::io::stdout().flush()?;
    // Whoever started this ends it by going away.
    let (gone, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An error ends it as well.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = gone.send(());
    });
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await?;
            // A client that breaks off is no reason to end.
            tokio::spawn(async move { answer(stream).await.ok() });
        }
    };
    let accept: Pin<Box<dyn Future<Output = Result<(), Failure>>>> = Box::pin(accept);
    tokio::select! {
        result = accept => result,
        _ = ended => Ok(()),
    }
}

async fn answer(mut stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await? > 0 {
        // No client here sends a body, or a request before it has the answer to the last one.
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            stream.write_all(response.as_bytes()).await?;
        }
    }
    Ok(())
}
