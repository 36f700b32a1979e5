//! Debian's `docker-registry`, with or without a password.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use peak_oci::Reference;
use tempfile::TempDir;

/// On a port of its own, killed when dropped.
pub(super) struct DockerRegistry {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl DockerRegistry {
    /// Wants the password of one of these users.
    pub(super) fn start(users: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            path("storage")
        );
        if !users.is_empty() {
            let lines = users.iter().map(|(user, password)| {
                // The cheapest there is; only this registry ever sees it.
                let hash = bcrypt::hash_with_result(password, 4).unwrap();
                format!(
                    "{user}:{}\n",
                    hash.format_for_version(bcrypt::Version::TwoY)
                )
            });
            std::fs::write(path("users"), lines.collect::<String>()).unwrap();
            let users = path("users");
            write!(
                config,
                "auth:\n  htpasswd:\n    realm: here\n    path: {users}\n"
            )
            .unwrap();
        }
        std::fs::write(path("config.yml"), config).unwrap();
        let mut process = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
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
            _directory: directory,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn image(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
