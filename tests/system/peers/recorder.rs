//! A server that keeps every request as it came, and answers as the platform would.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use zip::ZipArchive;

/// What the platform holds, as far as the answers tell.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    /// The images that a search finds, page by page.
    pub(super) images: Vec<Vec<Value>>,
    /// The versions that a search finds, page by page.
    pub(super) versions: Vec<Vec<Value>>,
    /// The pages of a build's log.
    pub(super) logs: Vec<Value>,
}

/// A request in the form in which two clients can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// The values of each key in the order they came; the order of different keys means nothing.
    pub(super) query: BTreeMap<String, Vec<String>>,
    pub(super) authorization: Option<String>,
    pub(super) body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    None,
    /// In canonical form.
    Json(String),
    Form {
        /// JSON in canonical form, other text as it is.
        fields: BTreeMap<String, Vec<String>>,
        artifact: Option<Artifact>,
    },
    Unexpected(String),
}

/// The part that holds an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Artifact {
    pub(super) field: String,
    pub(super) file_name: String,
    pub(super) content_type: String,
    pub(super) entries: BTreeMap<String, String>,
}

/// Recording until it is dropped.
pub(super) struct Recorder {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    world: World,
    requests: Vec<Request>,
    log_pages_given: usize,
    stopped: bool,
}

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if ours.lock().unwrap().stopped {
                    return;
                }
                let shared = Arc::clone(&ours);
                let connection = connection.unwrap();
                std::thread::spawn(move || serve(connection, address, &shared));
            }
        });
        Self { address, shared }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets what came, and answers out of this world from now on.
    pub(super) fn begin(&self, world: World) {
        let mut shared = self.shared.lock().unwrap();
        *shared = Shared {
            world,
            ..Shared::default()
        };
    }

    /// What came since [`Self::begin`].
    pub(super) fn requests(&self) -> Vec<Request> {
        self.shared.lock().unwrap().requests.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.lock().unwrap().stopped = true;
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(connection: TcpStream, address: SocketAddr, shared: &Mutex<Shared>) {
    let mut connection = BufReader::new(connection);
    let Some(message) = Message::read(&mut connection) else {
        return;
    };
    let request = message.request();
    let mut shared = shared.lock().unwrap();
    let (kind, body) = shared.answer(&request, address);
    shared.requests.push(request);
    drop(shared);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The client may have gone; its test sees that.
    let _ = connection.get_mut().write_all(head.as_bytes());
    let _ = connection.get_mut().write_all(&body);
}

impl Shared {
    fn answer(&mut self, request: &Request, address: SocketAddr) -> (&'static str, Vec<u8>) {
        let segments: Vec<_> = request.path.trim_matches('/').split('/').collect();
        let answer = match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["signed", ..]) => return ("text/plain", b"the whole log\n".to_vec()),
            ("GET", ["artifacts", .., "download"]) => {
                return ("application/zip", b"an archive".to_vec());
            }
            ("GET", ["artifacts", "api", "v1", "artifacts"]) => {
                list("artifact", "artifacts", &[vec![artifact()]], request)
            }
            ("GET", ["artifacts", ..]) => artifact(),
            ("POST" | "PUT", ["artifacts", ..]) => {
                json!({"id": "5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b", "version": 1})
            }
            ("GET", [.., "images"]) => list("image", "images", &self.world.images, request),
            ("GET", [.., "images", _]) => image(9, "described"),
            ("GET", [.., "versions"]) => list("version", "versions", &self.world.versions, request),
            ("GET", [.., "versions", _]) => version(3, "1.0.0"),
            ("GET", [.., "builds"]) => list(
                "build",
                "builds",
                &[vec![json!({
                    "buildId": 7, "versionId": 3, "version": "1.0.0", "status": "success",
                    "startedAt": "2024-01-01T00:00:00.000Z", "finishedAt": "2024-01-01T00:01:00.000Z", "useCache": true,
                })]],
                request,
            ),
            ("GET", [.., "logs", "download"]) => {
                json!({"downloadUrl": format!("http://{address}/signed/log?signature=a%2Bb")})
            }
            ("GET", [.., "logs"]) => {
                let page = self.world.logs.get(self.log_pages_given).cloned();
                self.log_pages_given += 1;
                page.unwrap_or_else(|| log_page("success", &[], None))
            }
            ("POST" | "PATCH", [.., "images" | "versions"] | [.., "versions", _]) => {
                json!({"buildId": 7, "imageId": 9, "versionId": 3})
            }
            _ => json!({}),
        };
        ("application/json", answer.to_string().into_bytes())
    }
}

fn artifact() -> Value {
    json!({
        "id": "5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b", "name": "one", "description": "The first",
        "createdAt": "2024-01-01T00:00:00.000Z", "createdBy": "someone@example.com",
        "versions": [{"version": 1, "createdAt": "2024-01-01T00:00:00.000Z", "createdBy": "someone@example.com"}],
    })
}

/// An image as the platform tells it.
pub(super) fn image(id: u64, name: &str) -> Value {
    json!({"id": id, "name": name, "type": "workflow", "scope": "custom", "latestVersion": version(1, "0.0.1")})
}

/// A version as the platform tells it.
pub(super) fn version(id: u64, version: &str) -> Value {
    json!({
        "id": id, "version": version, "status": "ready", "lastBuildStatus": "success",
        "tags": [{"name": "latest", "color": "#fff"}], "buildDetails": {"source": "upload", "useCache": false},
    })
}

/// A page of a build's log.
pub(super) fn log_page(status: &str, messages: &[&str], next: Option<&str>) -> Value {
    let logs: Vec<_> = messages
        .iter()
        .map(|message| json!({"ingestionTime": 1_704_067_200_000_i64, "timestamp": 1_704_067_200_000_i64, "message": message}))
        .collect();
    let mut page =
        json!({"buildStatus": status, "logs": logs, "startTime": "2024-01-01T00:00:00.000Z"});
    if let Some(next) = next {
        page["nextToken"] = next.into();
    }
    page
}

fn list(count: &str, key: &str, pages: &[Vec<Value>], request: &Request) -> Value {
    let number = |name: &str| {
        request
            .query
            .get(name)
            .and_then(|values| values.first())
            .and_then(|value| value.parse::<usize>().ok())
    };
    let page = number("pageNumber").unwrap_or(1).max(1);
    json!({
        format!("{count}Count"): pages.iter().map(Vec::len).sum::<usize>(),
        key: pages.get(page - 1).cloned().unwrap_or_default(),
        "pageCount": pages.len(), "pageNumber": page, "pageSize": number("pageSize").unwrap_or(25),
    })
}

/// A request as bytes.
struct Message {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    /// `None` when the other side went away, or only knocked.
    fn read(connection: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        connection.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self {
            method,
            target,
            headers,
            body: Vec::new(),
        };
        // The platform wants a length, so neither client may send chunks.
        assert_eq!(message.header("transfer-encoding"), None, "{line}");
        let length = message
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        message.body.resize(length, 0);
        connection.read_exact(&mut message.body).ok()?;
        Some(message)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} came twice");
        value
    }

    fn request(&self) -> Request {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut values = BTreeMap::<_, Vec<_>>::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            values
                .entry(key.into_owned())
                .or_default()
                .push(value.into_owned());
        }
        Request {
            method: self.method.clone(),
            path: path.to_owned(),
            query: values,
            authorization: self.header("authorization").map(str::to_owned),
            body: self.body(),
        }
    }

    fn body(&self) -> Body {
        let kind = self.header("content-type").unwrap_or_default();
        if let Some(boundary) = kind.strip_prefix("multipart/form-data; boundary=") {
            return form(&self.body, boundary.trim_matches('"'));
        }
        if self.body.is_empty() {
            return Body::None;
        }
        let text = String::from_utf8_lossy(&self.body);
        match canonical(&text) {
            Some(json) if kind == "application/json" => Body::Json(json),
            _ => Body::Unexpected(format!("{kind}: {text}")),
        }
    }
}

fn form(body: &[u8], boundary: &str) -> Body {
    let mut fields = BTreeMap::<_, Vec<_>>::new();
    let mut artifact = None;
    let Some(parts) = parts(body, boundary) else {
        return Body::Unexpected(String::from_utf8_lossy(body).into_owned());
    };
    for (headers, content) in parts {
        let name = attribute(&headers, "name").unwrap_or_default();
        if let Some(file_name) = attribute(&headers, "filename") {
            assert_eq!(artifact, None, "two files in one form");
            artifact = Some(Artifact {
                field: name,
                file_name,
                content_type: headers
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .find(|(key, _)| key.eq_ignore_ascii_case("content-type"))
                    .map_or(String::new(), |(_, value)| value.trim().to_owned()),
                entries: entries(content),
            });
        } else {
            let text = String::from_utf8(content.to_vec()).unwrap();
            let is_compound = text.starts_with(['{', '[']);
            let value = canonical(&text).filter(|_| is_compound).unwrap_or(text);
            fields.entry(name).or_default().push(value);
        }
    }
    Body::Form { fields, artifact }
}

/// The headers and the content of each part; `None` if the body is not whole.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<(String, &'a [u8])>> {
    let delimiter = format!("--{boundary}");
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let mut parts = Vec::new();
    while rest.get(..2)? == b"\r\n" {
        let end = find(rest, format!("\r\n{delimiter}").as_bytes(), 2)?;
        let part = &rest[2..end];
        let blank = find(part, b"\r\n\r\n", 0)?;
        let headers = String::from_utf8(part[..blank].to_vec()).ok()?;
        parts.push((headers, &part[blank + 4..]));
        rest = &rest[end + 2 + delimiter.len()..];
    }
    (rest.strip_suffix(b"\r\n").unwrap_or(rest) == b"--").then_some(parts)
}

fn find(text: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    text[from..]
        .windows(wanted.len())
        .position(|window| window == wanted)
        .map(|at| at + from)
}

/// An attribute of a part's `Content-Disposition`.
fn attribute(headers: &str, name: &str) -> Option<String> {
    let (_, rest) = headers.split_once(&format!("; {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// Each entry of an archive with its content.
fn entries(archive: &[u8]) -> BTreeMap<String, String> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (
                entry.name().unwrap().into_owned(),
                content.escape_ascii().to_string(),
            )
        })
        .collect()
}

/// JSON with its keys sorted, no space, no escapes that need not be, and numbers as they were written: whole ones
/// digit by digit, others by their value. `None` if it is not JSON.
pub(super) fn canonical(text: &str) -> Option<String> {
    // Numbers become text first, since `Value` would round the large ones.
    let mut marked = String::new();
    let mut characters = text.chars().peekable();
    let mut in_string = false;
    while let Some(character) = characters.next() {
        if in_string {
            marked.push(character);
            match character {
                '\\' => marked.extend(characters.next()),
                '"' => in_string = false,
                _ => {}
            }
        } else if character == '-' || character.is_ascii_digit() {
            let mut number = String::from(character);
            while let Some(next) =
                characters.next_if(|next| next.is_ascii_digit() || "+-.eE".contains(*next))
            {
                number.push(next);
            }
            if number.contains(['.', 'e', 'E']) {
                number = format!("{:?}", number.parse::<f64>().ok()?);
            }
            marked.extend(["\"number ", &number, "\""]);
        } else {
            in_string = character == '"';
            marked.push(character);
        }
    }
    let value: Value = serde_json::from_str(&marked).ok()?;
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_same_however_it_is_written_and_another_where_it_says_another_thing() {
        let same = |a, b| canonical(a).unwrap() == canonical(b).unwrap();
        assert!(same(r#"{"a": 1, "b": "\u00e9"}"#, r#"{"b":"é","a":1}"#));
        assert!(same("1e22", "1.0E+22"));
        assert!(same("1.50", "1.5"));
        assert!(!same("1", "1.0"));
        assert!(!same("1", "\"1\""));
        assert!(!same("12345678901234567890123", "12345678901234567890124"));
        assert!(!same("[1,2]", "[2,1]"));
        assert!(!same(r#"{"a":null}"#, "{}"));
        assert_eq!(canonical("{"), None);
    }

    #[test]
    fn forms_are_read_to_their_end_or_not_at_all() {
        let field =
            "--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\na--b\r\nx\r\n--b--\r\n";
        let Body::Form { fields, artifact } = form(field.as_bytes(), "b") else {
            panic!("not read");
        };
        assert_eq!(
            fields,
            BTreeMap::from([("n".to_owned(), vec!["a--b\r\nx".to_owned()])])
        );
        assert_eq!(artifact, None);
        assert!(matches!(form(b"--b--\r\n", "b"), Body::Form { fields, .. } if fields.is_empty()));
        for broken in ["", "--b", "--b\r\n", &field[..field.len() - 6]] {
            assert!(
                matches!(form(broken.as_bytes(), "b"), Body::Unexpected(_)),
                "{broken:?}"
            );
        }
    }
}
