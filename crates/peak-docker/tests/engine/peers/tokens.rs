//! A token server for `docker-registry`, as Docker's token authentication describes it. It signs with `openssl`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

/// Gives one user tokens for everything but what is private.
pub(super) struct TokenServer {
    address: SocketAddr,
    signer: Arc<Signer>,
}

impl TokenServer {
    /// Answers until the test process ends.
    pub(super) fn start(user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let signer = Arc::new(Signer::new());
        let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let signs = Arc::clone(&signer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head: Vec<String> = BufReader::new(stream.try_clone().unwrap())
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let Some(target) = head.first().and_then(|line| line.split(' ').nth(1)) else {
                    continue;
                };
                let is_known = head.iter().any(|line| {
                    let header = line.split_once(": ");
                    header.is_some_and(|(name, value)| {
                        name.eq_ignore_ascii_case("authorization") && value == expected
                    })
                });
                let (status, body) = if is_known {
                    ("200 OK", json!({"token": signs.token(target)}).to_string())
                } else {
                    ("401 Unauthorized", "{}".to_owned())
                };
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            }
        });
        Self { address, signer }
    }

    pub(super) fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// In PEM.
    pub(super) fn certificate(&self) -> String {
        std::fs::read_to_string(self.signer.path("certificate.pem")).unwrap()
    }
}

struct Signer {
    directory: TempDir,
}

impl Signer {
    fn new() -> Self {
        let signer = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let request = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=tokens -keyout key.pem -out certificate.pem";
        signer.openssl(request, b"");
        signer
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A token for the scopes of a request, and for the next hour.
    fn token(&self, target: &str) -> String {
        let url = Url::parse("http://here").unwrap().join(target).unwrap();
        let access: Vec<Value> = url
            .query_pairs()
            .filter(|(key, value)| key == "scope" && !value.contains("private"))
            .map(|(_, scope)| {
                let mut parts = scope.split(':');
                let mut part = || parts.next().unwrap().to_owned();
                let (kind, name, actions) = (part(), part(), part());
                let actions: Vec<&str> = actions.split(',').collect();
                json!({"type": kind, "name": name, "actions": actions})
            })
            .collect();
        let certificate = self.openssl("x509 -outform DER -in certificate.pem", b"");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap().as_secs();
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [STANDARD.encode(certificate)]});
        let claims = json!({
            "iss": "tests", "sub": "robot", "aud": "here", "jti": "1",
            "iat": now, "nbf": now - 60, "exp": now + 3600, "access": access,
        });
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.openssl("dgst -sha256 -sign key.pem", signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn openssl(&self, arguments: &str, input: &[u8]) -> Vec<u8> {
        let directory: &Path = self.directory.path();
        let mut child = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl {arguments}");
        output.stdout
    }
}
