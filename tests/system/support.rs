//! A place of its own for each test, and the `peak` binary run in it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// No run of `peak` in these tests may take longer; a hang is killed and fails its test.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// The top of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// `sha256:` and the hash, without any code of ours.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold("sha256:".to_owned(), |text, byte| {
            text + &format!("{byte:02x}")
        })
}

/// A directory that is gone when the test ends, with a state directory and a home inside it.
pub(crate) struct Sandbox {
    root: TempDir,
}

/// What a finished run left behind.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self {
            root: TempDir::new().unwrap(),
        };
        std::fs::create_dir(sandbox.path("tmp")).unwrap();
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes files, making their directories.
    pub(crate) fn files<'a>(
        &self,
        directory: &str,
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> PathBuf {
        let directory = self.path(directory);
        for (name, content) in files {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        directory
    }

    /// A small project with two COPY layers.
    pub(crate) fn project(&self) -> PathBuf {
        self.files(
            "project",
            [
                ("Dockerfile", b"FROM scratch\nCOPY assets /srv/assets\nCOPY page.html /srv/\nCMD [\"serve\"]\n".as_slice()),
                ("assets/style.css", b"body {}\n"),
                ("page.html", b"<p>one</p>\n"),
            ],
        )
    }

    /// The `peak` binary in this sandbox: no variable of the machine reaches it but `PATH`.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peak"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_STATE_HOME", self.path("state"))
            // The Engine of the machine, if it has one, is none of a test's business.
            .env("DOCKER_HOST", self.no_engine())
            .current_dir(self.root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Where no Docker Engine listens.
    pub(crate) fn no_engine(&self) -> String {
        format!("unix://{}", self.path("no-engine.socket").display())
    }

    /// Runs `peak` to its end.
    pub(crate) fn peak<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// Nothing that was only needed on the way is left behind.
    #[track_caller]
    pub(crate) fn assert_no_leftovers(&self) {
        let left: Vec<_> = std::fs::read_dir(self.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Runs `peak`, which must succeed, and gives its JSON result.
    pub(crate) fn peak_json<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Value {
        let finished = self.peak(arguments);
        finished.assert_code(0);
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error} in {}", finished.stdout))
    }

    /// Starts `peak local serve` on a free port.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn serve_with(&self, more: &[&str]) -> Server {
        let arguments = ["local", "serve", "--listen", "127.0.0.1:0"]
            .iter()
            .chain(more);
        started(self.command(arguments).spawn().unwrap())
    }
}

impl Finished {
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn assert_stderr(&self, part: &str) -> &Self {
        assert!(
            self.stderr.contains(part),
            "{part:?} is not in:\n{}",
            self.stderr
        );
        self
    }

    /// The last line of standard error, which is where an error stands.
    pub(crate) fn error(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

/// A running `peak local serve`, killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Server {
    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// Standard error to its end, which comes with that of the server.
    pub(crate) fn stderr(mut self) -> String {
        read_all(self.child.stderr.take()).join().unwrap()
    }

    /// As the kernel kills: no handler runs.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end that a signal asked for.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child, RUN_LIMIT)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server, once it says where it listens.
pub(crate) fn started(mut child: Child) -> Server {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = loop {
        let Some(line) = lines.next() else {
            panic!("`peak local serve` ended: {:?}", finish(child).stderr);
        };
        if let Some(url) = line.unwrap().strip_prefix("export PEAK_ENDPOINT_URL=") {
            break url.to_owned();
        }
    };
    Server { child, url }
}

/// Sends a signal by name, as `kill -NAME` does.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Reads both outputs to their end and waits.
pub(crate) fn finish(mut child: Child) -> Finished {
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let code = wait(&mut child, RUN_LIMIT);
    Finished {
        code,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut text).unwrap();
        }
        String::from_utf8(text).unwrap()
    })
}

fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > limit {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still running after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until something is so; the limit is there for a hang, not to measure.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(begun.elapsed() < RUN_LIMIT, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says what is not tested and why. Written past the test harness, which keeps what tests print to itself.
pub(crate) fn skipped(why: &str) {
    use std::io::Write as _;
    std::io::stderr()
        .write_all(format!("skipped: {why}\n").as_bytes())
        .unwrap();
}

/// The files under a directory, sorted, relative to it.
pub(crate) fn files_under(directory: &Path) -> Vec<String> {
    fn walk(directory: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_string_lossy()
                        .into_owned(),
                );
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, directory, &mut found);
    found.sort();
    found
}
