//! A token server for `docker-registry`, as Docker's token authentication describes it. It signs with `openssl`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

/// Gives one user tokens for everything but repositories with `private` in their name, and where it is told so, anybody
/// tokens to pull. Needs `openssl`.
#[derive(Debug)]
pub struct TokenServer {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The header that the user comes with.
    user: String,
    anybody_may_pull: bool,
    /// The scopes of each request so far.
    asked: Mutex<Vec<Vec<String>>>,
    signer: Signer,
}

impl TokenServer {
    pub(crate) const SERVICE: &str = "registry of the tests";
    pub(crate) const ISSUER: &str = "tests";

    /// One that knows this user and nobody else. It answers until the process of the test ends.
    pub fn start(user: &str, password: &str) -> Self {
        Self::serve(user, password, false)
    }

    /// The same, and anybody may pull who comes without a name.
    pub fn start_with_anonymous_pulls(user: &str, password: &str) -> Self {
        Self::serve(user, password, true)
    }

    fn serve(user: &str, password: &str, anybody_may_pull: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            user: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            anybody_may_pull,
            asked: Mutex::default(),
            signer: Signer::new(),
        });
        let server = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                server.answer(stream.unwrap());
            }
        });
        Self { address, inner }
    }

    /// The scopes of each request so far.
    pub fn asked(&self) -> Vec<Vec<String>> {
        let asked = self.inner.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// The file with the certificate of whoever signs the tokens, in PEM.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.inner.signer.directory.path().join("certificate.pem")
    }
}

impl Inner {
    fn answer(&self, mut stream: TcpStream) {
        let head: Vec<String> = BufReader::new(stream.try_clone().unwrap())
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let Some(target) = head.first().and_then(|line| line.split(' ').nth(1)) else {
            return;
        };
        let scopes = scopes(target);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(scopes.clone());
        drop(asked);
        let who = head.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        let may = |action: &str| match who {
            None => self.anybody_may_pull && action == "pull",
            Some(_) => true,
        };
        let is_known = who.map_or(self.anybody_may_pull, |who| who == self.user);
        let (status, body) = if is_known {
            let token = self.signer.token(&scopes, may);
            ("200 OK", json!({"token": token, "expires_in": 300}))
        } else {
            ("401 Unauthorized", json!({}))
        };
        let body = body.to_string();
        let length = body.len();
        // The client may have gone; then there is nobody to tell.
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
    }
}

/// What is asked for, by the target of a request.
fn scopes(target: &str) -> Vec<String> {
    let url = Url::parse("http://here").unwrap().join(target).unwrap();
    url.query_pairs()
        .filter(|(key, _)| key == "scope")
        .flat_map(|(_, scopes)| scopes.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[derive(Debug)]
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

    /// A token for these scopes as far as they are allowed, for the next hour.
    fn token(&self, scopes: &[String], may: impl Fn(&str) -> bool) -> String {
        let access: Vec<Value> = scopes
            .iter()
            .filter(|scope| !scope.contains("private"))
            .map(|scope| {
                let (kind, rest) = scope.split_once(':').unwrap();
                let (name, actions) = rest.rsplit_once(':').unwrap();
                let actions: Vec<_> = actions.split(',').filter(|action| may(action)).collect();
                json!({"type": kind, "name": name, "actions": actions})
            })
            .collect();
        let certificate = self.openssl("x509 -outform DER -in certificate.pem", b"");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap().as_secs();
        let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [STANDARD.encode(certificate)]});
        let claims = json!({
            "iss": TokenServer::ISSUER, "sub": "robot", "aud": TokenServer::SERVICE, "jti": "1",
            "iat": now, "nbf": now - 60, "exp": now + 3600, "access": access,
        });
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.openssl("dgst -sha256 -sign key.pem", signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn openssl(&self, arguments: &str, input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(&self.directory)
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
