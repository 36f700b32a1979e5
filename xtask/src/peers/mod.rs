//! What the tests with real peers need on this machine.
//!
//! Debian's `skopeo`, `docker-registry` and, where the tests can start it, Docker Engine; the public Python clients
//! of Peak and Apolo, each in a virtual environment of its own at `target/peers`; and programs in Go at
//! `target/peers/go`.

mod go;
mod python;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail};

/// Programs the tests run, each with the Debian package it comes from.
const PROGRAMS: [(&str, &str); 2] = [("skopeo", "skopeo"), ("docker-registry", "docker-registry")];

/// The same for root alone.
const ENGINE: (&str, &str) = ("dockerd", "docker.io");

/// Installs what is missing, and says what is there.
pub(crate) fn up(workspace: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut programs = PROGRAMS.to_vec();
    if is_here(ENGINE.0) || can_have_engine() {
        programs.push(ENGINE);
    } else {
        writeln!(
            out,
            "no Docker Engine: its tests start one as root, and where systemd runs its package would start another"
        )?;
    }
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !is_here(program))
        .map(|(_, package)| *package)
        .collect();
    install(&missing)?;
    for (program, _) in programs {
        let version = output(Command::new(program).arg("--version"))?;
        writeln!(out, "{}", version.lines().next().unwrap_or(program))?;
    }
    done(out, "Debian's packages", begun)?;

    let begun = Instant::now();
    for client in [python::PEAK, python::APOLO] {
        let (version, interpreter) = python::up(workspace, &client)?;
        let package = client.package;
        writeln!(out, "{package} {version} for {}", interpreter.display())?;
    }
    done(out, "the Python clients", begun)?;

    let begun = Instant::now();
    match go::up(workspace)? {
        Some(programs) => writeln!(
            out,
            "{} in {}",
            programs.names,
            programs.directory.display()
        )?,
        None => writeln!(
            out,
            "no Go: the tests with crane, oras and the conformance suite are skipped"
        )?,
    }
    done(out, "the programs in Go", begun)
}

fn done(out: &mut impl Write, what: &str, begun: Instant) -> anyhow::Result<()> {
    let seconds = begun.elapsed().as_secs_f64();
    Ok(writeln!(out, "({what}: {seconds:.1} s)")?)
}

fn is_here(program: &str) -> bool {
    runs(Command::new(program).arg("--version"))
}

/// Whether the Engine's package is any use here, and installs without starting a service.
fn can_have_engine() -> bool {
    is_root() && !Path::new("/run/systemd/system").exists()
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
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
    let root = is_root();
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
