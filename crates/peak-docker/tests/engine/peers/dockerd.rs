//! A Docker Engine with everything of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peak_docker::Engine;
use tempfile::TempDir;

use crate::fake::engine_at;

/// Stopped when dropped.
pub(super) struct Dockerd {
    process: Child,
    directory: TempDir,
}

impl Dockerd {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let log = File::create(directory.path().join("log")).unwrap();
        // It ends with this test, also where that is killed; and what it has mounted ends with it.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .args(["unshare", "--mount", "--propagation", "private", "dockerd"])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid")])
            .args(["--host", &format!("unix://{}", path("docker.sock"))])
            .args(["--insecure-registry", "127.0.0.0/8"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut dockerd = Self { process, directory };
        let engine = dockerd.engine();
        let answers = async {
            while engine.ping().await.is_err() {
                if let Some(status) = dockerd.process.try_wait().unwrap() {
                    let log = std::fs::read_to_string(dockerd.directory.path().join("log"));
                    panic!("the Engine ended, {status}:\n{}", log.unwrap());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let answered = tokio::time::timeout(Duration::from_secs(60), answers).await;
        answered.expect("the Engine answers");
        dockerd
    }

    pub(super) fn engine(&self) -> Engine {
        engine_at(&self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// As the kernel does when memory runs out.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // It ends its containerd.
        let pid = self.process.id().to_string();
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = Command::new("kill").args(["-TERM", &pid]).status();
        }
        let _ = self.process.wait();
    }
}
