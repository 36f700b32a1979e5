//! Docker Engine with the registry that we serve.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{missing, peer, run, ship_into_layout};
use crate::support::{Sandbox, eventually, signal};

/// An Engine with everything of its own, stopped when dropped.
pub(super) struct Engine {
    child: Child,
    pub(super) socket: PathBuf,
    home: PathBuf,
    folder: PathBuf,
}

impl Engine {
    /// Starts one. Says why not where that cannot be, and fails where it must be.
    pub(super) fn start(sandbox: &Sandbox) -> Option<Self> {
        if !peer("dockerd") || !peer("docker") {
            return None;
        }
        let root = std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0);
        if !root && !missing("Docker Engine starts as root only") {
            return None;
        }
        let path = |name: &str| sandbox.path(name).display().to_string();
        let log = File::create(sandbox.path("engine.log")).unwrap();
        // Were this test killed, the Engine would stay: so it is told when who started it dies. What it has mounted ends
        // with it, too.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .args(["unshare", "--mount", "--propagation", "private", "dockerd"])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--data-root", &path("engine/data")])
            .args(["--exec-root", &path("engine/exec")])
            .args(["--pidfile", &path("engine.pid")])
            .args(["--host", &format!("unix://{}", path("engine.socket"))])
            .args(["--insecure-registry", "127.0.0.0/8"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut engine = Self {
            child,
            socket: sandbox.path("engine.socket"),
            home: sandbox.path("home"),
            folder: sandbox.path("engine"),
        };
        eventually("the Engine answers", || {
            if let Some(status) = engine.child.try_wait().unwrap() {
                let log = std::fs::read_to_string(sandbox.path("engine.log")).unwrap();
                panic!("the Engine ended, {status}:\n{log}");
            }
            let answer = engine.command(&["version"]).output().unwrap();
            answer.status.success().then_some(())
        });
        Some(engine)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket.display()))
            .args(arguments)
            .env("HOME", &self.home)
            .env_remove("DOCKER_CONFIG")
            .env_remove("DOCKER_CONTEXT");
        command
    }

    #[track_caller]
    pub(super) fn docker(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments)).trim().to_owned()
    }

    /// Where it listens, as `DOCKER_HOST` says it.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// As the kernel kills: no handler runs. What it has on disk stays for the next one.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Its containerd dies with it. Where nobody reaps orphans it stays as a zombie, which the next one would take for
        // a running one.
        let _ = std::fs::remove_file(self.folder.join("exec/containerd/containerd.pid"));
    }

    /// The identifier of an image, which is the digest of its configuration.
    #[track_caller]
    pub(super) fn id(&self, image: &str) -> String {
        self.docker(&["image", "inspect", "--format", "{{.Id}}", image])
    }

    /// Pulls an image that is not here, and gives the digest of the manifest that it says it got.
    #[track_caller]
    fn pull(&self, image: &str) -> String {
        let said = self.docker(&["pull", image]);
        said.lines()
            .find_map(|line| line.strip_prefix("Digest: "))
            .unwrap_or_else(|| panic!("no digest in {said}"))
            .to_owned()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It ends its containerd.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            signal(&self.child, "TERM");
            let _ = self.child.wait();
        }
    }
}

/// A tar archive of a small file system.
pub(super) fn file_system() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("etc/hostname", "engine\n"),
        ("srv/page.html", "<p>one</p>\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, content.as_bytes())
            .unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn docker_pushes_into_the_embedded_registry_and_pulls_the_same_image_again() {
    let sandbox = Sandbox::new();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    let server = sandbox.serve();
    let name = |name: &str| format!("{}/{name}", server.host());
    sandbox.files("", [("file-system.tar", file_system().as_slice())]);
    let archive = sandbox.path("file-system.tar").display().to_string();

    let image = name("engine/app:v1");
    let id = engine.docker(&["import", &archive, &image]);
    let pushed = engine.docker(&["push", &image]);
    let digest = sandbox.peak(["registry", "digest", &image]);
    let digest = digest.assert_code(0).stdout.trim();
    assert!(
        pushed.contains(&format!("v1: digest: {digest} ")),
        "{pushed}"
    );

    // The same layer into another repository of the same registry is mounted there.
    let other = name("engine/other:v1");
    engine.docker(&["tag", &image, &other]);
    let pushed = engine.docker(&["push", &other]);
    assert!(pushed.contains("Mounted from engine/app"), "{pushed}");

    engine.docker(&["rmi", "--force", &image, &other]);
    let absent = engine.command(&["image", "inspect", &image]).output();
    assert!(!absent.unwrap().status.success());
    for image in [&image, &other] {
        assert_eq!(engine.pull(image), digest);
        assert_eq!(engine.id(image), id);
    }
    let missing = engine
        .command(&["pull", &name("engine/app:absent")])
        .output();
    let said = String::from_utf8(missing.unwrap().stderr).unwrap();
    assert!(said.contains("engine/app:absent not found"), "{said}");

    // What it pushed is whole for others too.
    let pulled = sandbox.peak_json(["registry", "pull", &image, "oci:pulled", "-o", "json"]);
    assert_eq!(pulled["digest"], digest);
}

#[test]
fn docker_pulls_from_the_embedded_registry_what_others_put_there() {
    if !peer("skopeo") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    let shipped = ship_into_layout(&sandbox);
    let server = sandbox.serve();
    let name = |name: &str| format!("{}/{name}", server.host());
    let layout = format!("oci:{}", sandbox.path("layout").display());
    for (format, tag) in [("oci", "oci"), ("v2s2", "docker")] {
        run(Command::new("skopeo")
            .args([
                "copy",
                "--dest-tls-verify=false",
                "--format",
                format,
                &layout,
            ])
            .arg(format!("docker://{}", name(&format!("others/app:{tag}")))));
    }
    sandbox
        .peak([
            "registry",
            "index",
            "create",
            &name("others/app:all"),
            &name("others/app:oci"),
        ])
        .assert_code(0);

    let mut ids = Vec::new();
    for tag in ["oci", "docker", "all"] {
        let image = name(&format!("others/app:{tag}"));
        let digest = sandbox.peak(["registry", "digest", &image]);
        assert_eq!(engine.pull(&image), digest.assert_code(0).stdout.trim());
        ids.push(engine.id(&image));
        engine.docker(&["rmi", &image]);
    }
    assert_eq!(ids[0], ids[2]);
    let by_digest = name(&format!(
        "others/app@{}",
        shipped["digest"].as_str().unwrap()
    ));
    assert_eq!(engine.pull(&by_digest), shipped["digest"]);
    assert_eq!(engine.id(&by_digest), ids[0]);
}
