//! `kill -9` of the embedded platform in the middle of a push: the store is valid and the push can be repeated.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::support::{Sandbox, digest};

/// A request by hand, so that no client of ours stands between the test and the server.
struct Connection(BufReader<TcpStream>);

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Connection {
    fn open(host: &str) -> Self {
        Self(BufReader::new(TcpStream::connect(host).unwrap()))
    }

    /// Sends a head that promises `length` bytes, and these bytes of the body.
    fn begin(&mut self, method: &str, target: &str, kind: &str, length: usize, body: &[u8]) {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        self.0.get_mut().write_all(body).unwrap();
        self.0.get_mut().flush().unwrap();
    }

    fn send(&mut self, method: &str, target: &str, kind: &str, body: &[u8]) -> Answer {
        self.begin(method, target, kind, body.len(), body);
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if method != "HEAD" {
            let length = answer
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            answer.body.resize(length, 0);
            self.0.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    /// Pushes a blob in one piece.
    fn push_blob(&mut self, repository: &str, content: &[u8]) -> String {
        let digest = digest(content);
        let begun = self.send(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            "text/plain",
            b"",
        );
        assert_eq!(begun.status, 202);
        let location = with_digest(begun.header("location").unwrap(), &digest);
        let done = self.send("PUT", &location, "application/octet-stream", content);
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
        digest
    }
}

/// The upload's location, relative to its host, with the digest it is to be finished under.
fn with_digest(location: &str, digest: &str) -> String {
    let path = location
        .split_once("://")
        .map_or(location, |(_, rest)| &rest[rest.find('/').unwrap()..]);
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}digest={digest}")
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(layer), "size": layer.len()}],
    }))
    .unwrap()
}

#[test]
fn kill_9_in_the_middle_of_a_push_loses_nothing_and_shows_nothing_half_made() {
    let sandbox = Sandbox::new();
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#
            .to_vec();
    let finished_layer = vec![1; 100_000];
    let broken_layer = vec![2; 4_000_000];
    let finished_manifest = manifest(&config, &finished_layer);
    let broken_manifest = manifest(&config, &broken_layer);

    let server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    connection.push_blob("app", &config);
    connection.push_blob("app", &finished_layer);
    let put = connection.send(
        "PUT",
        "/v2/app/manifests/finished",
        MANIFEST,
        &finished_manifest,
    );
    assert_eq!(put.status, 201);

    // One upload in the middle of its last PUT, one in the middle of a PATCH.
    let mut in_put = Connection::open(server.host());
    let begun = in_put.send("POST", "/v2/app/blobs/uploads/", "text/plain", b"");
    let location = with_digest(begun.header("location").unwrap(), &digest(&broken_layer));
    in_put.begin(
        "PUT",
        &location,
        "application/octet-stream",
        broken_layer.len(),
        &broken_layer[..3_000_000],
    );
    let mut in_patch = Connection::open(server.host());
    let begun = in_patch.send("POST", "/v2/app/blobs/uploads/", "text/plain", b"");
    let patch = with_digest(begun.header("location").unwrap(), "sha256:0")
        .split(['?', '&'])
        .next()
        .unwrap()
        .to_owned();
    in_patch.begin(
        "PATCH",
        &patch,
        "application/octet-stream",
        broken_layer.len(),
        &broken_layer[..1_000_000],
    );
    server.kill();

    let server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    let kept = connection.send("GET", "/v2/app/manifests/finished", "", b"");
    assert_eq!((kept.status, kept.body), (200, finished_manifest));
    let kept = connection.send(
        "GET",
        &format!("/v2/app/blobs/{}", digest(&finished_layer)),
        "",
        b"",
    );
    assert_eq!((kept.status, kept.body), (200, finished_layer));
    let absent = connection.send(
        "HEAD",
        &format!("/v2/app/blobs/{}", digest(&broken_layer)),
        "",
        b"",
    );
    assert_eq!(absent.status, 404);
    let refused = connection.send(
        "PUT",
        "/v2/app/manifests/broken",
        MANIFEST,
        &broken_manifest,
    );
    assert_eq!(
        refused.status, 400,
        "a manifest whose layer never arrived was taken"
    );
    let tags = connection.send("GET", "/v2/app/tags/list", "", b"");
    let tags: serde_json::Value = serde_json::from_slice(&tags.body).unwrap();
    assert_eq!(tags["tags"], serde_json::json!(["finished"]));

    connection.push_blob("app", &broken_layer);
    let put = connection.send(
        "PUT",
        "/v2/app/manifests/broken",
        MANIFEST,
        &broken_manifest,
    );
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    sandbox
        .peak([
            "registry",
            "pull",
            &format!("{}/app:broken", server.host()),
            "oci:pulled",
        ])
        .assert_code(0);
}
