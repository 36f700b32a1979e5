//! Requests by hand, and what most tests need.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use peak_local::Platform;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const API: &str = "/image-management/api/v2";
pub(crate) const ARTIFACTS: &str = "/artifacts/api/v1/artifacts/";
pub(crate) const BOUNDARY: &str = "------boundary7f3a";

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{error}: {}\n{}",
                self.head,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// Checks that this is a refusal with this status, and gives its detail.
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(
            self.status,
            status,
            "{}\n{}",
            self.head,
            String::from_utf8_lossy(&self.body)
        );
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

/// Sends a request on a connection of its own; the connection is closed behind the answer.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    let end = received
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("no end of the head");
    let head = String::from_utf8(received[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head,
        body: received[end + 4..].to_vec(),
    }
}

pub(crate) async fn get(platform: &Platform, path: &str) -> Answer {
    send(platform.address(), "GET", &format!("{API}{path}"), &[], b"").await
}

/// A form, part by part.
#[derive(Default)]
pub(crate) struct Form(pub(crate) Vec<u8>);

impl Form {
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        let part = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        self.0.extend_from_slice(part.as_bytes());
        self
    }

    pub(crate) fn json(self, name: &str, value: &Value) -> Self {
        self.text(name, &value.to_string())
    }

    pub(crate) fn artifact(mut self, content: &[u8]) -> Self {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"artifact\"; filename=\"artifact.zip\"\r\n\
             Content-Type: application/zip\r\n\r\n"
        );
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0
            .extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.0
    }
}

pub(crate) async fn submit(platform: &Platform, method: &str, path: &str, form: Form) -> Answer {
    submit_to(platform, method, &format!("{API}{path}"), form).await
}

/// The same, with the whole path.
pub(crate) async fn submit_to(platform: &Platform, method: &str, path: &str, form: Form) -> Answer {
    let body = form.finish();
    let length = body.len().to_string();
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let headers = [("Content-Type", kind.as_str()), ("Content-Length", &length)];
    send(platform.address(), method, path, &headers, &body).await
}

pub(crate) fn archive<const N: usize>(files: [(&str, &[u8]); N]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A form for a new image that is built from the text of a Dockerfile.
pub(crate) fn from_text(name: &str, dockerfile: &str) -> Form {
    Form::default()
        .text("name", name)
        .text("type", "workflow")
        .json(
            "buildDetails",
            &json!({"source": "dockerfile", "dockerfile": dockerfile}),
        )
}

pub(crate) async fn start(state: &Path) -> Platform {
    Platform::builder().state_dir(state).start().await.unwrap()
}

/// Follows a build's log to its end: the last page's answer and all lines.
pub(crate) async fn follow(
    platform: &Platform,
    image: &Value,
    build: &Value,
) -> (Value, Vec<String>) {
    let mut lines = Vec::new();
    let mut token = String::new();
    loop {
        let page = get(
            platform,
            &format!("/images/{image}/builds/{build}/logs?nextToken={token}"),
        )
        .await
        .json();
        lines.extend(
            page["logs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line["message"].as_str().unwrap().to_owned()),
        );
        // As the public client does it: there is always a token, and the end is where nothing comes any more.
        let is_over = page["buildStatus"] != "building";
        if is_over && page["logs"].as_array().unwrap().is_empty() {
            return (page, lines);
        }
        page["nextToken"].as_str().unwrap().clone_into(&mut token);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn files_in(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// A platform with a small limit of artifacts and one image, named `web`.
pub(crate) async fn with_one_image(state: &Path) -> (Platform, Value) {
    let platform = Platform::builder()
        .state_dir(state)
        .artifact_limit(LIMIT)
        .start()
        .await
        .unwrap();
    let made = submit(
        &platform,
        "POST",
        "/images/",
        from_text("web", "FROM scratch\n"),
    )
    .await
    .json();
    follow(&platform, &made["imageId"], &made["buildId"]).await;
    (platform, made)
}

pub(crate) const LIMIT: u64 = 64 * 1024;

/// Ends the platform of refused requests: none of them left anything.
pub(crate) async fn assert_nothing_left(platform: Platform, state: &Path) {
    assert_eq!(get(&platform, "/images/").await.json()["imageCount"], 1);
    platform.shutdown().await;
    assert_eq!(files_in(&state.join("artifacts")), 0);
    assert_eq!(files_in(&state.join("builds")), 0);
}

pub(crate) async fn delete(platform: &Platform, path: &str) -> Answer {
    send(
        platform.address(),
        "DELETE",
        &format!("{API}{path}"),
        &[],
        b"",
    )
    .await
}

/// Waits until what is being deleted is gone; until then it must say that it goes.
pub(crate) async fn gone(platform: &Platform, path: &str) {
    eventually(async || {
        let answer = get(platform, path).await;
        if answer.status == 200 {
            let answer = answer.json();
            assert_eq!(answer["status"], "deleting", "{answer}");
            return None;
        }
        answer.refused(404);
        Some(())
    })
    .await;
}

/// The body of an answer that may have come in chunks.
pub(crate) fn unchunked(answer: &Answer) -> Vec<u8> {
    if !answer
        .head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return answer.body.clone();
    }
    let mut body = Vec::new();
    let mut rest = answer.body.as_slice();
    loop {
        let end = rest.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

/// Waits for something that happens soon after, in a test that hangs where it never does.
pub(crate) async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The status of a manifest in the registry.
pub(crate) async fn manifest_status(platform: &Platform, name: &str, reference: &str) -> u16 {
    let target = format!("/v2/{name}/manifests/{reference}");
    send(platform.address(), "GET", &target, &[], b"")
        .await
        .status
}
