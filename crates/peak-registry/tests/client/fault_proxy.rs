//! A proxy before a real registry that lets each request through, or does not.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What becomes of a request.
pub(crate) enum Fate {
    Pass,
    /// Its body is too large.
    TooLarge,
    /// The connection breaks after so many bytes of its body.
    CutAfter(u64),
    /// It is answered, and the answer is lost.
    AnswerLost,
}

/// A running proxy. It stops when this is dropped.
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    _running: JoinSet<()>,
}

impl FaultProxy {
    /// Asks `decide` for each request, by its first line and how long its body is.
    pub(crate) async fn start(
        upstream: &str,
        decide: impl Fn(&str, u64) -> Fate + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = upstream.to_owned();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (upstream, decide) = (upstream.clone(), decide.clone());
                // Who has gone has gone: errors of one connection are no errors of the proxy.
                connections.spawn(async move {
                    let _ = pass(client, &upstream, decide).await;
                });
            }
        });
        Self {
            address,
            _running: running,
        }
    }
}

/// One connection, with one request.
async fn pass(
    mut client: TcpStream,
    upstream: &str,
    decide: impl Fn(&str, u64) -> Fate,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned))
        .map_or(0, |length| length.parse().unwrap());
    let line = head.lines().next().unwrap();
    let fate = decide(line, length);
    if let Fate::TooLarge = fate {
        // As nginx: it answers before it has read, and closes.
        let refusal = "HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return client.write_all(refusal.as_bytes()).await;
    }
    let mut server = TcpStream::connect(upstream).await?;
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    server.write_all(head.as_bytes()).await?;
    let (mut from, mut to) = client.split();
    let (mut answer, mut request) = server.split();
    let sent = match fate {
        Fate::CutAfter(bytes) => bytes.min(length),
        _ => length,
    };
    let copied = tokio::io::copy(&mut (&mut from).take(sent), &mut request).await?;
    if let Fate::CutAfter(_) = fate {
        return Ok(());
    }
    if copied == length {
        let mut all = Vec::new();
        answer.read_to_end(&mut all).await?;
        if !matches!(fate, Fate::AnswerLost) {
            to.write_all(&all).await?;
        }
    }
    Ok(())
}
