//! A loopback server that plays a script, one connection per step, and writes down what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use peak_http::{Client, ClientBuilder, RetryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens on one connection.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Read a request, write these bytes, close.
    Answer(String),
    /// Read a request and write an answer for each of these, then close.
    AnswerAll(Vec<String>),
    /// Read a request, write these bytes, and leave the connection open.
    Stall(String),
    /// Close without reading anything.
    HangUp,
    /// Read a request, then close without an answer.
    HangUpAfterRequest,
    /// Read the head of the request and this many bytes of its body, then close.
    HangUpInBody(usize),
    /// The same, with these bytes written before it closes.
    AnswerInBody(usize, String),
}

impl Step {
    /// A complete answer.
    pub(crate) fn status(status: u16, headers: &[&str], body: &str) -> Self {
        let mut text = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        Self::Answer(format!(
            "{text}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub(crate) fn ok(body: &str) -> Self {
        Self::status(200, &[], body)
    }
}

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// Request line and headers, as sent.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    recorded: Arc<Mutex<Vec<Recorded>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn play(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::bind().await.play(steps)
    }

    /// A server whose address is known before its script.
    pub(crate) async fn bind() -> Bound {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Bound { listener }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        self.recorded.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Bound {
    listener: TcpListener,
}

impl Bound {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listener.local_addr().unwrap())
    }

    pub(crate) fn play(self, steps: impl IntoIterator<Item = Step>) -> Server {
        let steps: Vec<Step> = steps.into_iter().collect();
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let address = self.listener.local_addr().unwrap();
        let task = tokio::spawn(run(self.listener, steps, Arc::clone(&recorded)));
        Server {
            address,
            recorded,
            task,
        }
    }
}

async fn run(listener: TcpListener, steps: Vec<Step>, recorded: Arc<Mutex<Vec<Recorded>>>) {
    let mut stalled = Vec::new();
    for step in steps {
        let (mut stream, _) = listener.accept().await.unwrap();
        let limit = match &step {
            Step::HangUp => continue,
            Step::HangUpInBody(limit) | Step::AnswerInBody(limit, _) => *limit,
            _ => usize::MAX,
        };
        let answers = match &step {
            Step::Answer(text) | Step::AnswerInBody(_, text) => vec![text.clone()],
            Step::AnswerAll(texts) => texts.clone(),
            _ => vec![String::new()],
        };
        for answer in answers {
            let Some(request) = read_request(&mut stream, limit).await else {
                break;
            };
            recorded.lock().unwrap().push(request);
            // The client may have gone already.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        match step {
            Step::Answer(_) | Step::AnswerAll(_) | Step::AnswerInBody(..) => {
                let _ = stream.shutdown().await;
            }
            Step::Stall(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                stalled.push(stream);
            }
            Step::HangUp | Step::HangUpAfterRequest | Step::HangUpInBody(_) => {}
        }
    }
    // Keeps the address taken and the stalled connections open until the test ends.
    std::future::pending::<()>().await;
    drop((listener, stalled));
}

/// `None` if the client gave up in the middle.
async fn read_request(stream: &mut TcpStream, limit: usize) -> Option<Recorded> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut request = Recorded {
        head,
        body: Vec::new(),
    };
    if let Some(length) = request.header("content-length") {
        let length: usize = length.parse().unwrap();
        request.body = vec![0; length.min(limit)];
        stream.read_exact(&mut request.body).await.ok()?;
    } else if request.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&read_line(stream).await?, 16).unwrap();
            let mut chunk = vec![0; size];
            stream.read_exact(&mut chunk).await.ok()?;
            request.body.extend(chunk);
            read_line(stream).await?;
            if size == 0 {
                break;
            }
        }
    }
    Some(request)
}

async fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(line).unwrap().trim_end().to_owned())
}

/// A builder of clients that do not wait long between attempts.
pub(crate) fn quick() -> ClientBuilder {
    let moment = Duration::from_millis(1);
    Client::builder().retry(RetryPolicy::new().waits(moment, moment))
}
