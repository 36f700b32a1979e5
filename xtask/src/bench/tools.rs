//! The programs that jobs run: ours, built as users get them, and others, if they are there.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::bench::{Workplace, note};

/// The public Python client.
const PYTHON_CLIENT: &str = "peak-sdk==1.29.0";

/// Builds a program of ours as a release and returns where it is.
pub(crate) fn build(
    workplace: &Workplace,
    arguments: &[&str],
    name: &str,
) -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        target: Option<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }

    note(&format!("building {name}"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
        ])
        .args(arguments)
        .current_dir(&workplace.root)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo cannot build {name}");
    }
    for line in output.stdout.split(|byte| *byte == b'\n') {
        // There are messages of other forms as well.
        if let Ok(Message {
            executable: Some(executable),
            target: Some(target),
        }) = serde_json::from_slice(line)
            && target.name == name
        {
            return Ok(executable);
        }
    }
    bail!("cargo does not say where it built {name}")
}

/// The `peak` binary.
pub(crate) fn peak(workplace: &Workplace) -> anyhow::Result<PathBuf> {
    if let Some(built) = &workplace.peak {
        return built
            .canonicalize()
            .with_context(|| format!("cannot find {}", built.display()));
    }
    build(workplace, &["-p", "peak-cli", "--bin", "peak"], "peak")
}

/// Finds a program on the path, or says that it is missing.
pub(crate) fn find(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("`{program}` is not installed"))
}

/// Finds a program on the path or among those that `cargo xtask peers up` has built, or says that it is missing.
pub(crate) fn find_peer(root: &Path, program: &str) -> Result<PathBuf, String> {
    let built = root.join("target/peers/go/bin").join(program);
    if built.is_file() {
        return Ok(built);
    }
    find(program)
}

/// A virtual environment with the public Python client; made when it is first asked for.
pub(crate) fn python_client(workplace: &Workplace) -> Result<PathBuf, String> {
    let place = workplace.data.join("python");
    let bin = place.join("bin");
    // Written last, so that an installation that was broken off is done again.
    let installed = place.join(PYTHON_CLIENT);
    if installed.exists() {
        return Ok(bin);
    }
    let python = find("python3")?;
    note(&format!("installing {PYTHON_CLIENT} from PyPI"));
    let quiet = |program: &Path, arguments: &[&std::ffi::OsStr]| -> Result<(), String> {
        let output = Command::new(program).args(arguments).output();
        let output =
            output.map_err(|error| format!("`{}` does not start: {error}", program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim_end().lines().next_back().unwrap_or_default();
        Err(format!("{PYTHON_CLIENT} cannot be installed: {last}"))
    };
    quiet(
        &python,
        &[
            "-m".as_ref(),
            "venv".as_ref(),
            "--clear".as_ref(),
            place.as_os_str(),
        ],
    )?;
    quiet(
        &bin.join("python"),
        &[
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            PYTHON_CLIENT,
        ]
        .map(AsRef::as_ref),
    )?;
    fs::write(&installed, "")
        .map_err(|error| format!("cannot write {}: {error}", installed.display()))?;
    Ok(bin)
}

/// A program that runs beside the race and ends with it.
#[derive(Debug)]
pub(crate) struct Background(Child);

impl Background {
    /// Starts a server that prints one line when it is ready: where to find it.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> anyhow::Result<(Self, String)> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let out = child.stdout.take();
        let server = Self(child);
        let mut line = String::new();
        BufReader::new(out.context("the server has no standard output")?)
            .read_line(&mut line)
            .context("cannot read what the server says")?;
        let line = line.trim();
        if line.is_empty() {
            bail!("{} ended before it was ready", program.display());
        }
        Ok((server, line.to_owned()))
    }

    /// Starts a server that says nothing, and waits until it listens at `address`.
    pub(crate) fn start_at(
        program: &Path,
        arguments: &[&OsStr],
        address: &str,
    ) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self(child);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.0.try_wait()? {
                bail!("{} ended before it was ready: {status}", program.display());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
