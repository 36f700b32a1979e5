//! `peak` without any shared library, for any Linux of its processor: built for musl.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::toolchain;

/// Cargo's name of the static kind of what this runs on.
pub(super) fn target(host: &str) -> String {
    format!("{}-unknown-linux-musl", architecture(host))
}

fn architecture(host: &str) -> &str {
    host.split('-').next().unwrap_or(host)
}

/// What is not there that the build needs, and how to get it.
pub(super) fn missing(host: &str) -> anyhow::Result<Option<String>> {
    if !host.contains("-linux-") {
        return Ok(Some(format!(
            "the static program; it is for Linux, and this is {host}"
        )));
    }
    let target = target(host);
    let library = toolchain::sysroot()?.join("lib/rustlib").join(&target);
    let mut needed = Vec::new();
    if !library.join("lib").is_dir() {
        needed.push(format!(
            "Rust's library for it (`rustup target add {target}`)"
        ));
    }
    if compiler(&target).is_none() {
        needed.push(format!(
            "a C compiler for musl (`apt-get install musl-tools` on Debian, or its name in {})",
            compiler_variable(&target)
        ));
    }
    if needed.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "the static program for {target}, which needs {}",
        needed.join(" and ")
    )))
}

/// The variable by which build scripts know the C compiler of a target.
fn compiler_variable(target: &str) -> String {
    format!("CC_{}", target.replace('-', "_"))
}

/// The C compiler for a target, if there is one.
fn compiler(target: &str) -> Option<String> {
    let usual = [
        "musl-gcc".to_owned(),
        format!("{}-linux-musl-gcc", architecture(target)),
    ];
    std::env::var(compiler_variable(target)).ok().or_else(|| {
        usual.into_iter().find(|name| {
            Command::new(name)
                .arg("--version")
                .output()
                .is_ok_and(|output| output.status.success())
        })
    })
}

/// Builds the program, and makes sure that it is static.
pub(super) fn build(
    workspace: &Path,
    target: &str,
    mut release_build: Command,
) -> anyhow::Result<PathBuf> {
    let compiler = compiler(target).context("there is no C compiler for musl")?;
    release_build
        .args(["--target", target])
        .env(compiler_variable(target), compiler);
    toolchain::run(&mut release_build)?;
    let directory = toolchain::target_directory(workspace)
        .join(target)
        .join("release");
    let program = super::released(&directory);
    is_static(&program)?;
    Ok(program)
}

/// That the program asks for no interpreter (the dynamic linker) and for no shared library.
fn is_static(program: &Path) -> anyhow::Result<()> {
    let said = toolchain::output(
        Command::new("readelf")
            .args(["--wide", "--program-headers", "--dynamic"])
            .arg(program)
            .env("LC_ALL", "C"),
    )
    .context("readelf (binutils) shows whether the program is static")?;
    let asks_for = |what: &str| said.split_whitespace().any(|word| word == what);
    ensure!(
        asks_for("LOAD"),
        "readelf does not say how {} is loaded",
        program.display()
    );
    ensure!(
        !asks_for("INTERP") && !asks_for("(NEEDED)"),
        "{} is not static:\n{said}",
        program.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_target_is_that_of_the_same_processor() {
        assert_eq!(
            target("aarch64-unknown-linux-gnu"),
            "aarch64-unknown-linux-musl"
        );
        let missing = missing("aarch64-apple-darwin").unwrap().unwrap();
        assert!(missing.contains("is for Linux"), "{missing}");
    }

    // Not where these tests are linked statically themselves.
    #[cfg(all(target_os = "linux", not(target_feature = "crt-static")))]
    #[test]
    fn a_program_with_shared_libraries_is_not_taken_for_a_static_one() {
        let error = is_static(&std::env::current_exe().unwrap()).unwrap_err();
        assert!(error.to_string().contains("is not static"), "{error}");
    }
}
