//! What the tests with real peers need on this machine.
//!
//! Debian's `skopeo` and `docker-registry`, and the public Python client in a virtual environment of its own at
//! `target/peers/python`, which is where the tests look for it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Programs the tests run, each with the Debian package it comes from.
const PROGRAMS: [(&str, &str); 2] = [("skopeo", "skopeo"), ("docker-registry", "docker-registry")];

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

/// Installs what is missing, and says what is there.
pub(crate) fn up(workspace: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !runs(Command::new(program).arg("--version")))
        .map(|(_, package)| *package)
        .collect();
    install(&missing)?;
    for (program, _) in PROGRAMS {
        let version = output(Command::new(program).arg("--version"))?;
        writeln!(out, "{}", version.lines().next().unwrap_or(program))?;
    }

    let environment = workspace.join(ENVIRONMENT);
    let python = python_client(workspace, &environment)?;
    let version = output(Command::new(&python).args(["-m", "pip", "show", "peak-sdk"]))?;
    let version = version
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))
        .with_context(|| format!("peak-sdk is not in {}", environment.display()))?;
    writeln!(out, "peak-sdk {version} for {}", python.display())?;
    Ok(())
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

/// Installs Debian packages.
fn install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("install these by hand: {}", packages.join(" "));
    if !runs(Command::new("apt-get").arg("--version")) {
        bail!("there is no apt-get here; {by_hand}");
    }
    let root = output(Command::new("id").arg("-u"))?.trim() == "0";
    let apt_get = || {
        let mut command = if root {
            Command::new("apt-get")
        } else {
            let mut command = Command::new("sudo");
            command.arg("apt-get");
            command
        };
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        command
    };
    run(apt_get().args(["update", "-qq"])).with_context(|| by_hand.clone())?;
    run(apt_get()
        .args(["install", "--yes", "-qq", "--no-install-recommends"])
        .args(packages))
    .context(by_hand)
}

/// Whether a command can be started and succeeds.
fn runs(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
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
