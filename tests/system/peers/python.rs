//! The public Python clients, in processes of their own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::missing;
use crate::support::{Finished, workspace};

/// A client in Python, and where a Python is that has it.
pub(super) struct Client {
    package: &'static str,
    module: &'static str,
    /// Where `cargo xtask peers up` puts it
    environment: &'static str,
    /// The variable that may name another
    variable: &'static str,
}

const PEAK: Client = Client {
    package: "peak-sdk",
    module: "peak",
    environment: "target/peers/python",
    variable: "PEAK_PYTHON",
};

pub(super) const APOLO: Client = Client {
    package: "apolo-sdk",
    module: "apolo_sdk",
    environment: "target/peers/apolo",
    variable: "PEAK_APOLO_PYTHON",
};

/// A Python that has the client of the Peak platform.
pub(super) fn interpreter() -> Option<PathBuf> {
    interpreter_with(&PEAK)
}

/// A Python that has a client: the one that its variable names, or that of `cargo xtask peers up`.
pub(super) fn interpreter_with(client: &Client) -> Option<PathBuf> {
    let python = std::env::var_os(client.variable).map_or_else(
        || workspace().join(client.environment).join("bin/python"),
        PathBuf::from,
    );
    let has_client = Command::new(&python)
        .arg("-c")
        .arg(format!("import {}", client.module))
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_client {
        missing(&format!(
            "no Python with {} at {} ({} may name another)",
            client.package,
            python.display(),
            client.variable
        ));
    }
    has_client.then_some(python)
}

/// A script beside this file, which leaves no compiled form of itself there.
pub(super) fn run_script(python: &Path, name: &str) -> Command {
    let script = workspace().join("tests/system/peers").join(name);
    let mut command = Command::new(python);
    command.arg("-B").arg(script);
    command
}

/// The client's command line: many command lines in one process, since Python takes long to start.
pub(super) struct CommandLine {
    child: Child,
    jobs: Option<ChildStdin>,
    results: BufReader<ChildStdout>,
    /// Of each command about artifacts and images, the spellings of each option.
    pub(super) options: BTreeMap<String, Vec<Vec<String>>>,
}

impl CommandLine {
    pub(super) fn start() -> Option<Self> {
        let mut child = run_script(&interpreter()?, "peak_sdk.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let jobs = child.stdin.take();
        let mut results = BufReader::new(child.stdout.take().unwrap());
        let mut options = String::new();
        results.read_line(&mut options).unwrap();
        Some(Self {
            child,
            jobs,
            results,
            options: serde_json::from_str(&options).unwrap(),
        })
    }

    pub(super) fn run(
        &mut self,
        endpoint: &str,
        directory: &Path,
        environment: &[(&str, &str)],
        arguments: &[String],
    ) -> Finished {
        let environment: Value = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        let job = json!({
            "endpoint": endpoint, "directory": directory, "environment": environment, "arguments": arguments,
        });
        writeln!(self.jobs.as_mut().unwrap(), "{job}").unwrap();
        let mut line = String::new();
        self.results.read_line(&mut line).unwrap();
        let result: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error} in {line:?}"));
        let text = |name: &str| result[name].as_str().unwrap().to_owned();
        Finished {
            code: result["code"]
                .as_i64()
                .and_then(|code| code.try_into().ok()),
            stdout: text("stdout"),
            stderr: text("stderr"),
        }
    }
}

impl Drop for CommandLine {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.jobs = None;
        let _ = self.child.wait();
    }
}
