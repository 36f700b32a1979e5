//! Other people's registry asks us who we are, and other people's tool reads the credentials that we keep.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peak_oci::Reference;
use peak_registry::{Credentials, Keychain, RegistryError};

use crate::script::{registry_with, tag};

/// `robot:secret` as `htpasswd -B` writes it.
const HTPASSWD: &str = "robot:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// Whether a program can be used. Says why not, and fails where it must not be missing.
fn peer(program: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
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

/// Debian's `docker-registry` with Basic authentication. It ends when this is dropped.
struct DockerRegistry {
    process: Child,
    address: SocketAddr,
}

impl DockerRegistry {
    fn start(folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let htpasswd = folder.join("htpasswd");
        std::fs::write(&htpasswd, HTPASSWD).unwrap();
        let config = serde_json::json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": folder.join("storage")}},
            "http": {"addr": address.to_string()},
            "auth": {"htpasswd": {"realm": "here", "path": htpasswd}},
        });
        // YAML reads JSON.
        let path = folder.join("config.yml");
        std::fs::write(&path, config.to_string()).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut started = Self { process, address };
        while TcpStream::connect(address).is_err() {
            let ended = started.process.try_wait().unwrap();
            assert!(ended.is_none(), "docker-registry ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        started
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
    let server = DockerRegistry::start(folder.path());
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
