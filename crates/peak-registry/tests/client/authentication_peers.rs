//! Other people's registry asks us who we are, and other people's tool reads the credentials that we keep.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use peak_oci::Reference;
use peak_registry::{Credentials, Keychain, Registry, RegistryError};
use url::Url;

use crate::script::{Request, Script, answer, registry_with, tag};

/// `robot:secret` as `htpasswd -B` writes it.
const HTPASSWD: &str = "robot:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// Whether a program can be used. Says why not, and fails where it must not be missing.
fn peer(program: &str) -> bool {
    if Command::new(program).arg("version").output().is_ok() {
        return true;
    }
    let required = std::env::var_os("PEAK_PEERS").is_some_and(|value| value == "required");
    assert!(!required, "{program} is required here and not installed");
    // Not by `eprintln!`, which the harness keeps to itself.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {program} is not installed; `apt-get install {program}` would run this test"
    );
    false
}

/// Debian's `docker-registry` on loopback. It ends when this is dropped.
struct DockerRegistry {
    process: Child,
    address: SocketAddr,
}

impl DockerRegistry {
    fn start(folder: &Path, auth: &serde_json::Value) -> Self {
        let config = serde_json::json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": folder.join("storage")}},
            "http": {"addr": "127.0.0.1:0"},
            "auth": auth,
        });
        // YAML reads JSON.
        let path = folder.join("config.yml");
        std::fs::write(&path, config.to_string()).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where it listens, and goes on to say this and that, which somebody has to take.
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log.find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("listening on ")?;
            let end = rest.find('"').unwrap_or(rest.len());
            rest.get(..end)?.parse().ok()
        });
        std::thread::spawn(move || log.count());
        Self {
            process,
            address: address.unwrap(),
        }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn docker_registry_takes_what_we_keep_and_skopeo_reads_and_writes_the_same_files() {
    if !peer("docker-registry") || !peer("skopeo") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let htpasswd = folder.path().join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    let auth = serde_json::json!({"htpasswd": {"realm": "here", "path": htpasswd}});
    let server = DockerRegistry::start(folder.path(), &auth);
    let host = server.address.to_string();
    let ours = folder.path().join("docker/config.json");
    let registry = registry_with(Keychain::builder().docker_config(&ours).build());
    let reference: Reference = format!("{host}/team/app:v1").parse().unwrap();
    let repository = registry.repository(&reference);
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );

    let wrong = Credentials::new("robot", "wrong".into());
    let error = registry.login(&host, wrong).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::LoginRefused { .. }),
        "{error}"
    );
    let right = Credentials::new("robot", "secret".into());
    assert!(registry.login(&host, right).await.unwrap().checked);
    // Whoever may look is told that there is nothing.
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let skopeo = |arguments: &[&str], file: &Path| {
        let output = Command::new("skopeo")
            .args(arguments)
            .arg("--authfile")
            .arg(file)
            .arg(&host)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        text
    };
    assert_eq!(skopeo(&["login", "--get-login"], &ours).trim(), "robot");

    let theirs = folder.path().join("auth.json");
    let login = ["login", "--tls-verify=false", "-u", "robot", "-p", "secret"];
    skopeo(&login, &theirs);
    let registry = registry_with(Keychain::builder().podman_auth(&theirs).build());
    let repository = registry.repository(&reference);
    let error = repository.get_manifest(&tag("v1")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

/// Signs tokens, as the token server of a `docker-registry`.
struct Issuer {
    key: PathBuf,
    certificate: PathBuf,
}

impl Issuer {
    fn new(folder: &Path) -> Self {
        let made = Self {
            key: folder.join("key.pem"),
            certificate: folder.join("certificate.pem"),
        };
        let request = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=tokens";
        let mut command = Command::new("openssl");
        command
            .args(request.split(' '))
            .arg("-keyout")
            .arg(&made.key);
        run(command.arg("-out").arg(&made.certificate), b"");
        made
    }

    /// A token for what `scopes` say, and for the next hour.
    fn token(&self, scopes: &[String]) -> String {
        let mut command = Command::new("openssl");
        command.args(["x509", "-outform", "DER", "-in"]);
        let certificate = run(command.arg(&self.certificate), b"");
        let access: Vec<serde_json::Value> = scopes
            .iter()
            .map(|scope| {
                let (kind, rest) = scope.split_once(':').unwrap();
                let (name, actions) = rest.rsplit_once(':').unwrap();
                let actions: Vec<&str> = actions.split(',').collect();
                serde_json::json!({"type": kind, "name": name, "actions": actions})
            })
            .collect();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap().as_secs();
        let header = serde_json::json!({
            "typ": "JWT", "alg": "RS256", "x5c": [STANDARD.encode(certificate)],
        });
        let claims = serde_json::json!({
            "iss": "tests", "sub": "robot", "aud": "registry of the tests", "jti": "1",
            "iat": now, "nbf": now - 60, "exp": now + 3600, "access": access,
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256", "-sign"]).arg(&self.key);
        let signature = run(&mut command, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

fn scopes_of(request: &Request) -> Vec<String> {
    let target = request.line().split(' ').nth(1).unwrap();
    let url = Url::parse("http://here").unwrap().join(target).unwrap();
    let pairs = url.query_pairs();
    pairs
        .filter(|(key, _)| key == "scope")
        .map(|(_, value)| value.into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_registry_takes_tokens_of_our_own_server_for_what_they_are_for() {
    if !peer("docker-registry") || !peer("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::new(folder.path());
    let certificate = issuer.certificate.clone();
    // Gives robot all but what is private.
    let tokens = Script::start(move |_, request| {
        if request.header("authorization") != Some("Basic cm9ib3Q6c2VjcmV0") {
            return answer("401 Unauthorized", &[], b"");
        }
        let mut scopes = scopes_of(request);
        scopes.retain(|scope| !scope.contains("private"));
        let body = serde_json::json!({"token": issuer.token(&scopes), "expires_in": 300});
        answer("200 OK", &[], body.to_string().as_bytes())
    })
    .await;
    let auth = serde_json::json!({"token": {
        "realm": format!("http://{}/token", tokens.address),
        "service": "registry of the tests",
        "issuer": "tests",
        "rootcertbundle": certificate,
    }});
    let server = DockerRegistry::start(folder.path(), &auth);
    let host = server.address.to_string();
    let registry = Registry::builder()
        .credentials(&host, Credentials::new("robot", "secret".into()))
        .build()
        .unwrap();
    let get = async |name: &str| {
        let reference: Reference = format!("{host}/{name}:v1").parse().unwrap();
        let repository = registry.repository(&reference);
        repository.get_manifest(&tag("v1")).await.unwrap_err()
    };
    for _ in 0..2 {
        let error = get("team/app").await;
        assert!(error.is_not_found(), "{error}");
    }
    assert_eq!(tokens.requests().len(), 1);
    assert_eq!(
        scopes_of(&tokens.requests()[0]),
        ["repository:team/app:pull"]
    );
    let error = get("private/app").await;
    assert!(
        matches!(error, RegistryError::Unauthorized { .. }),
        "{error}"
    );
    assert_eq!(error.codes(), ["UNAUTHORIZED"]);
    assert!(tokens.requests().len() <= 3, "{:?}", tokens.requests());
}
