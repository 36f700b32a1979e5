//! An Engine that is none: it answers on a Unix socket as it is told, and writes down what it was asked.

use std::path::Path;
use std::sync::{Arc, Mutex};

use peak_docker::{Endpoint, Engine, EngineConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What is done with a request, in this order. Then the connection is closed, unless it is kept for more requests.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Takes so many bytes of the body. Without it, and before it, none is taken.
    TakeBody(usize),
    /// Takes the body to its end, or as far as it comes.
    TakeWholeBody,
    /// Writes this.
    Write(Vec<u8>),
    /// Says nothing more, until the client hangs up.
    WaitForHangUp,
}

/// A request as it came, and what became of its connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    /// Request line and headers.
    pub(crate) head: String,
    /// What was taken of the body, without its framing.
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end as HTTP marks it.
    pub(crate) is_whole: bool,
}

impl Recorded {
    pub(crate) fn line(&self) -> &str {
        let line = self.head.lines().next().unwrap();
        line.strip_suffix(" HTTP/1.1").unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

type Script = dyn Fn(&Recorded) -> Vec<Act> + Send + Sync;

pub(crate) struct FakeEngine {
    directory: TempDir,
    recorded: Arc<Mutex<Vec<Recorded>>>,
    hang_ups: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
    task: JoinHandle<()>,
}

/// An answer whose connection goes on.
pub(crate) fn answer(status: u16, body: &str) -> Vec<Act> {
    answer_with(status, &[], body)
}

pub(crate) fn answer_with(status: u16, headers: &[&str], body: &str) -> Vec<Act> {
    let length = body.len();
    let headers = [headers, &[""]].concat().join("\r\n");
    let text = format!(
        "HTTP/1.1 {status} Status\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    vec![Act::TakeWholeBody, Act::Write(text.into())]
}

/// The beginning of an answer that comes in pieces.
pub(crate) fn begin() -> Act {
    Act::Write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec())
}

pub(crate) fn chunk(text: impl AsRef<[u8]>) -> Act {
    let text = text.as_ref();
    let mut bytes = format!("{:x}\r\n", text.len()).into_bytes();
    bytes.extend(text);
    bytes.extend(b"\r\n");
    Act::Write(bytes)
}

/// The end of an answer that comes in pieces.
pub(crate) fn end() -> Act {
    Act::Write(b"0\r\n\r\n".to_vec())
}

/// An answer in pieces, from its beginning to its end.
pub(crate) fn stream(pieces: &[&str]) -> Vec<Act> {
    let mut acts = vec![Act::TakeWholeBody, begin()];
    acts.extend(pieces.iter().map(chunk));
    acts.push(end());
    acts
}

impl FakeEngine {
    /// Answers pings with the version of Docker 20.10, and everything else by `script`.
    pub(crate) fn start(script: impl Fn(&Recorded) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::with_ping(
            || answer_with(200, &["Api-Version: 1.41", "Ostype: linux"], "OK"),
            script,
        )
    }

    pub(crate) fn with_ping(
        ping: impl Fn() -> Vec<Act> + Send + Sync + 'static,
        script: impl Fn(&Recorded) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("engine.sock")).unwrap();
        let recorded = Arc::<Mutex<Vec<Recorded>>>::default();
        let (hung_up, hang_ups) = mpsc::unbounded_channel();
        let script: Arc<Script> = Arc::new(move |request: &Recorded| {
            if request.line() == "GET /_ping" {
                ping()
            } else {
                script(request)
            }
        });
        let all = Arc::clone(&recorded);
        let task = tokio::spawn(async move {
            // Ends with the task.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, all) = (Arc::clone(&script), Arc::clone(&all));
                let hung_up = hung_up.clone();
                connections.spawn(async move { serve(stream, &*script, &all, &hung_up).await });
            }
        });
        Self {
            directory,
            recorded,
            hang_ups: hang_ups.into(),
            task,
        }
    }

    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("engine.sock")
    }

    pub(crate) fn engine(&self) -> Engine {
        engine_at(&self.socket())
    }

    /// The requests so far that are not pings.
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        let all = self.recorded.lock().unwrap();
        let others = all.iter().filter(|request| request.line() != "GET /_ping");
        others.cloned().collect()
    }

    /// Waits until the client has hung up where it was waited for.
    pub(crate) async fn hung_up(&self) {
        self.hang_ups.lock().await.recv().await.unwrap();
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn engine_at(socket: &Path) -> Engine {
    Engine::new(EngineConfig::at(Endpoint::socket(socket)))
}

async fn serve(
    mut stream: UnixStream,
    script: &Script,
    all: &Mutex<Vec<Recorded>>,
    hung_up: &mpsc::UnboundedSender<()>,
) {
    while let Some(head) = read_head(&mut stream).await {
        let mut request = Recorded {
            head,
            ..Recorded::default()
        };
        let index = {
            let mut all = all.lock().unwrap();
            all.push(request.clone());
            all.len() - 1
        };
        let acts = script(&request);
        let goes_on = matches!(acts.first(), Some(Act::TakeWholeBody))
            && !acts.iter().any(|act| matches!(act, Act::WaitForHangUp))
            && is_complete(&acts);
        for act in acts {
            match act {
                Act::TakeBody(most) => take_body(&mut stream, &mut request, most).await,
                Act::TakeWholeBody => take_body(&mut stream, &mut request, usize::MAX).await,
                // The client may have gone.
                Act::Write(bytes) => drop(stream.write_all(&bytes).await),
                Act::WaitForHangUp => {
                    let mut rest = [0; 4096];
                    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                    let _ = hung_up.send(());
                }
            }
            all.lock().unwrap()[index] = request.clone();
        }
        if !goes_on {
            return;
        }
    }
}

/// Whether the client can tell where the answer ends.
fn is_complete(acts: &[Act]) -> bool {
    let written: Vec<u8> = acts
        .iter()
        .filter_map(|act| match act {
            Act::Write(bytes) => Some(bytes.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    let text = String::from_utf8_lossy(&written);
    text.contains("Content-Length") || text.ends_with("0\r\n\r\n")
}

async fn read_head(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn take_body(stream: &mut UnixStream, request: &mut Recorded, most: usize) {
    if let Some(length) = request.header("content-length") {
        let length: usize = length.parse().unwrap();
        let mut body = vec![0; length.min(most)];
        request.is_whole = stream.read_exact(&mut body).await.is_ok() && length <= most;
        request.body = body;
        return;
    }
    if request.header("transfer-encoding").is_none() {
        request.is_whole = true;
        return;
    }
    while request.body.len() < most {
        let Some(line) = read_line(stream).await else {
            return;
        };
        let size = usize::from_str_radix(&line, 16).unwrap();
        let mut chunk = vec![0; size];
        if stream.read_exact(&mut chunk).await.is_err() {
            return;
        }
        request.body.extend(chunk);
        if read_line(stream).await.is_none() {
            return;
        }
        if size == 0 {
            request.is_whole = true;
            return;
        }
    }
}

async fn read_line(stream: &mut UnixStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(line).unwrap().trim_end().to_owned())
}
