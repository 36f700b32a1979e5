//! Debian's `docker-registry`, open or with authentication.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::TokenServer;

/// A registry on loopback, on a port of its own, that takes deletes and images of Docker's schema 1. It ends when this is
/// dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    settings: Value,
    address: SocketAddr,
    process: Child,
    folder: TempDir,
}

impl DockerRegistry {
    /// One that is open to everybody.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), None)
    }

    /// One that wants the password of one of these users.
    pub fn with_users(users: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines = users.iter().map(|(user, password)| {
            // The cheapest there is; only this registry ever sees it.
            let hash = bcrypt::hash_with_result(password, 4).unwrap();
            let hash = hash.format_for_version(bcrypt::Version::TwoY);
            format!("{user}:{hash}\n")
        });
        let path = folder.path().join("users");
        fs::write(&path, lines.collect::<String>()).unwrap();
        let auth = json!({"htpasswd": {"realm": "here", "path": path}});
        Self::start_in(folder, Some(auth))
    }

    /// One that wants tokens of this server.
    pub fn with_tokens(tokens: &TokenServer) -> Self {
        let auth = json!({"token": {
            "realm": tokens.realm(),
            "service": TokenServer::SERVICE,
            "issuer": TokenServer::ISSUER,
            "rootcertbundle": tokens.certificate(),
        }});
        Self::start_in(tempfile::tempdir().unwrap(), Some(auth))
    }

    fn start_in(folder: TempDir, auth: Option<Value>) -> Self {
        let mut settings = json!({
            "version": "0.1",
            "storage": {
                "filesystem": {"rootdirectory": folder.path().join("storage")},
                "delete": {"enabled": true},
            },
            "http": {"addr": "127.0.0.1:0"},
            "compatibility": {"schema1": {"enabled": true}},
        });
        if let (Some(auth), Some(settings)) = (auth, settings.as_object_mut()) {
            settings.insert("auth".to_owned(), auth);
        }
        let (process, address) = run(&folder, &settings);
        Self {
            settings,
            address,
            process,
            folder,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it, and starts it again in the same place with what it has stored.
    pub fn restart(&mut self) {
        self.end();
        if let Some(address) = self.settings.pointer_mut("/http/addr") {
            *address = json!(self.address);
        }
        (self.process, self.address) = run(&self.folder, &self.settings);
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(folder: &TempDir, settings: &Value) -> (Child, SocketAddr) {
    let path = folder.path().join("settings.yml");
    // YAML reads JSON.
    fs::write(&path, settings.to_string()).unwrap();
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
    let Some(address) = address else {
        panic!("docker-registry ended before it listened");
    };
    (process, address)
}
