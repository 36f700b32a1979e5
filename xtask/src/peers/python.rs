//! The public Python clients, each in an environment of its own, which is where the tests look for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{install, output, run, runs};

/// The Python client refuses 3.13 and later; what it stands on needs 3.10 at least.
const INTERPRETERS: [&str; 6] = [
    "python3.12",
    "python3.11",
    "python3.10",
    "python3",
    "/usr/bin/python3",
    "python",
];
const FITTING_VERSION: &str = "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))";

/// A client, and where its environment is.
pub(super) struct Client {
    /// The package's name
    pub(super) package: &'static str,
    /// What programs import
    module: &'static str,
    /// The environment, from the top of the workspace
    environment: &'static str,
    /// What goes into it
    requirements: &'static str,
}

/// The client of the Peak platform.
pub(super) const PEAK: Client = Client {
    package: "peak-sdk",
    module: "peak",
    environment: "target/peers/python",
    requirements: "tests/system/peers/requirements.txt",
};

/// The client of the Apolo platform. Its requirements and those of the other do not go together.
pub(super) const APOLO: Client = Client {
    package: "apolo-sdk",
    module: "apolo_sdk",
    environment: "target/peers/apolo",
    requirements: "tests/system/peers/requirements-apolo.txt",
};

/// Written last into the environment: the requirements it was made from.
const STAMP: &str = "installed.txt";

/// Makes the environment if need be; gives the client's version and its interpreter.
pub(super) fn up(workspace: &Path, client: &Client) -> anyhow::Result<(String, PathBuf)> {
    let python = interpreter_with(workspace, client)?;
    let shown = output(Command::new(&python).args(["-m", "pip", "show", client.package]))?;
    let version = shown
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))
        .with_context(|| format!("{} is not in {}", client.package, client.environment))?;
    Ok((version.to_owned(), python))
}

/// Makes the virtual environment unless it is there and made from these requirements; gives its interpreter.
fn interpreter_with(workspace: &Path, client: &Client) -> anyhow::Result<PathBuf> {
    let environment = workspace.join(client.environment);
    let file = workspace.join(client.requirements);
    let requirements = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let python = environment.join("bin/python");
    let stamp = environment.join(STAMP);
    let made_from = std::fs::read_to_string(&stamp).unwrap_or_default();
    let import = format!("import {}", client.module);
    if made_from == requirements && runs(Command::new(&python).args(["-c", &import])) {
        return Ok(python);
    }
    let interpreter = interpreter()?;
    // What an interrupted run left, or an older version, goes first.
    run(Command::new(interpreter)
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .arg("--requirement")
        .arg(&file))?;
    std::fs::write(&stamp, requirements)
        .with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

/// A Python of a version that fits and that can make environments.
fn interpreter() -> anyhow::Result<&'static str> {
    let fitting = || {
        INTERPRETERS
            .into_iter()
            .filter(|name| runs(Command::new(name).args(["-c", FITTING_VERSION])))
    };
    // Debian's Python has no `ensurepip` without a package of its own, and then fails half-way through.
    let complete =
        || fitting().find(|name| runs(Command::new(name).args(["-c", "import venv, ensurepip"])));
    if let Some(name) = complete() {
        return Ok(name);
    }
    install(&["python3", "python3-venv"])?;
    complete().context(
        "no Python from 3.10 to 3.12 that has `venv`; install one, the Python client does not run on others",
    )
}

#[cfg(test)]
mod tests {
    use super::{APOLO, PEAK, STAMP, interpreter_with};

    #[test]
    fn every_requirement_is_pinned() {
        for (client, pin) in [(PEAK, "peak-sdk==1.29.0"), (APOLO, "apolo-sdk==26.9.0")] {
            let file = crate::workspace_root().unwrap().join(client.requirements);
            let requirements = std::fs::read_to_string(file).unwrap();
            let lines: Vec<_> = requirements
                .lines()
                .filter(|line| !line.starts_with('#'))
                .collect();
            assert!(lines.contains(&pin), "{lines:?}");
            for line in lines {
                assert!(line.contains("=="), "{line}");
            }
        }
    }

    #[test]
    fn an_environment_from_these_requirements_is_not_made_again() {
        let workspace = tempfile::tempdir().unwrap();
        let root = workspace.path();
        let environment = root.join(PEAK.environment);
        std::fs::create_dir_all(environment.join("bin")).unwrap();
        std::fs::create_dir_all(root.join("tests/system/peers")).unwrap();
        for file in [root.join(PEAK.requirements), environment.join(STAMP)] {
            std::fs::write(file, "peak-sdk==0\n").unwrap();
        }
        let python = environment.join("bin/python");
        std::os::unix::fs::symlink("/bin/true", &python).unwrap();
        assert_eq!(interpreter_with(root, &PEAK).unwrap(), python);
        assert!(environment.join(STAMP).exists());
    }
}
