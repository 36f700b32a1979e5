//! One run of one program, as the operating system accounts for it.
//!
//! The system tells what the children of a process used only as a sum, and their memory as the largest of
//! them. So each run gets a process of its own to be the child of: this program, started again as a helper.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{self, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// The first argument that makes this program a helper.
pub(crate) const HELPER: &str = "bench-helper";

/// How many of the last lines of a failed program are shown.
const LINES_SHOWN: usize = 10;

/// What one run used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// From before the start to after the end.
    pub(crate) wall: Duration,
    /// User and system time, with that of its own children.
    pub(crate) cpu: Duration,
    /// The most memory of the largest process, in bytes.
    pub(crate) memory: u64,
}

/// A program to run, without a shell.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
}

impl Command {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            directory: None,
        }
    }

    pub(crate) fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let arguments = arguments.into_iter();
        self.arguments
            .extend(arguments.map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub(crate) fn arg(self, argument: impl AsRef<OsStr>) -> Self {
        self.args([argument])
    }

    pub(crate) fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Runs it once. What it prints is thrown away, unless it fails.
    pub(crate) fn measure(&self) -> anyhow::Result<Sample> {
        let helper = std::env::current_exe().context("cannot find this program's own path")?;
        let mut command = process::Command::new(helper);
        command.arg(HELPER).arg(&self.program).args(&self.arguments);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let output = command
            .output()
            .context("cannot start the helper that measures")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = said.lines().rev().take(LINES_SHOWN).collect();
            let last: Vec<&str> = lines.into_iter().rev().collect();
            bail!("{self} failed: {}", last.join("\n"));
        }
        serde_json::from_slice(&output.stdout)
            .context("the helper that measures said something else")
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "`{}", self.program.display())?;
        for argument in &self.arguments {
            write!(formatter, " {}", argument.display())?;
        }
        formatter.write_str("`")
    }
}

/// What the helper does: runs the command that its arguments give and prints a [`Sample`] as JSON.
#[cfg(unix)]
pub(crate) fn run_as_helper(mut arguments: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::time::Instant;

    use nix::sys::resource::{UsageWho, getrusage};

    let program = arguments
        .next()
        .context("the helper needs a program to run")?;
    let mut command = process::Command::new(&program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let begin = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let wall = begin.elapsed();
    if !status.success() {
        bail!("it ended with {status}");
    }
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).context("the system does not say what was used")?;
    let micros = [usage.user_time(), usage.system_time()].map(|time| {
        time.tv_sec()
            .saturating_mul(1_000_000)
            .saturating_add(time.tv_usec())
    });
    let micros = micros
        .iter()
        .fold(0_i64, |sum, part| sum.saturating_add(*part));
    // Kibibytes, but bytes on Apple's systems.
    let unit = if cfg!(target_vendor = "apple") {
        1
    } else {
        1024
    };
    let sample = Sample {
        wall,
        cpu: Duration::from_micros(u64::try_from(micros).unwrap_or(0)),
        memory: u64::try_from(usage.max_rss())
            .unwrap_or(0)
            .saturating_mul(unit),
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &sample)?;
    out.flush()?;
    Ok(())
}

/// What the helper would do on Unix.
#[cfg(not(unix))]
pub(crate) fn run_as_helper(_: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    bail!("measuring needs a Unix system")
}
