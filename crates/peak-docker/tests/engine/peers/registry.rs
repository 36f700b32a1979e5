//! Debian's `docker-registry`, open or with authentication.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use peak_oci::Reference;
use tempfile::TempDir;

use super::tokens::TokenServer;

/// On a port of its own, killed when dropped.
pub(super) struct DockerRegistry {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl DockerRegistry {
    /// Open to everybody.
    pub(super) fn start() -> Self {
        Self::start_with("", |_| String::new())
    }

    /// Wants the password of one of these users.
    pub(super) fn with_users(users: &[(&str, &str)]) -> Self {
        let lines = users.iter().map(|(user, password)| {
            // The cheapest there is; only this registry ever sees it.
            let hash = bcrypt::hash_with_result(password, 4).unwrap();
            [
                user,
                ":",
                &hash.format_for_version(bcrypt::Version::TwoY),
                "\n",
            ]
            .concat()
        });
        Self::start_with(&lines.collect::<String>(), |path| {
            format!("auth:\n  htpasswd:\n    realm: here\n    path: {path}\n")
        })
    }

    /// Wants tokens of that server.
    pub(super) fn with_tokens(tokens: &TokenServer) -> Self {
        let realm = tokens.realm();
        Self::start_with(&tokens.certificate(), |path| {
            format!(
                "auth:\n  token:\n    realm: {realm}\n    service: here\n    issuer: tests\n    rootcertbundle: {path}\n"
            )
        })
    }

    /// With a file of this content, and the settings that name its path.
    fn start_with(content: &str, settings: impl FnOnce(&str) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("file"), content).unwrap();
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n{}",
            path("storage"),
            settings(&path("file"))
        );
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
