//! The public Python client, in an environment of its own, which is where the tests look for it.

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

/// Where the environment is, from the top of the workspace.
const ENVIRONMENT: &str = "target/peers/python";

/// What goes into it.
const REQUIREMENTS: &str = "tests/system/peers/requirements.txt";

/// Written last into the environment: the requirements it was made from.
const STAMP: &str = "installed.txt";

/// Makes the environment if need be; gives the client's version and its interpreter.
pub(super) fn up(workspace: &Path) -> anyhow::Result<(String, PathBuf)> {
    let environment = workspace.join(ENVIRONMENT);
    let python = python_client(workspace, &environment)?;
    let shown = output(Command::new(&python).args(["-m", "pip", "show", "peak-sdk"]))?;
    let version = shown
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))
        .with_context(|| format!("peak-sdk is not in {}", environment.display()))?;
    Ok((version.to_owned(), python))
}

/// Makes the virtual environment unless it is there and made from these requirements; gives its interpreter.
fn python_client(workspace: &Path, environment: &Path) -> anyhow::Result<PathBuf> {
    let file = workspace.join(REQUIREMENTS);
    let requirements = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let python = environment.join("bin/python");
    let stamp = environment.join(STAMP);
    let made_from = std::fs::read_to_string(&stamp).unwrap_or_default();
    if made_from == requirements && runs(Command::new(&python).args(["-c", "import peak"])) {
        return Ok(python);
    }
    let interpreter = interpreter()?;
    // What an interrupted run left, or an older version, goes first.
    run(Command::new(interpreter)
        .args(["-m", "venv", "--clear"])
        .arg(environment))?;
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
    use super::{REQUIREMENTS, STAMP, python_client};

    #[test]
    fn every_requirement_is_pinned() {
        let file = crate::workspace_root().unwrap().join(REQUIREMENTS);
        let requirements = std::fs::read_to_string(file).unwrap();
        let lines: Vec<_> = requirements
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert!(lines.contains(&"peak-sdk==1.29.0"), "{lines:?}");
        for line in lines {
            assert!(line.contains("=="), "{line}");
        }
    }

    #[test]
    fn an_environment_from_these_requirements_is_not_made_again() {
        let workspace = tempfile::tempdir().unwrap();
        let root = workspace.path();
        let environment = root.join("python");
        std::fs::create_dir_all(environment.join("bin")).unwrap();
        std::fs::create_dir_all(root.join("tests/system/peers")).unwrap();
        for file in [root.join(REQUIREMENTS), environment.join(STAMP)] {
            std::fs::write(file, "peak-sdk==0\n").unwrap();
        }
        let python = environment.join("bin/python");
        std::os::unix::fs::symlink("/bin/true", &python).unwrap();
        assert_eq!(python_client(root, &environment).unwrap(), python);
        assert!(environment.join(STAMP).exists());
    }
}
