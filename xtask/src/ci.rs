//! Every check that `main` has to pass, in the order in which they are made. `.ci/run` runs them all.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::{alone, toolchain};

/// Which checks are made.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The checks, by their names; all if none is named
    checks: Vec<String>,
    /// Say which checks there are, and make none
    #[arg(long)]
    list: bool,
}

/// A check.
struct Check {
    name: &'static str,
    about: &'static str,
    what: What,
}

enum What {
    /// Cargo with these arguments, one space between them, and variables.
    Cargo(&'static str, &'static [(&'static str, &'static str)]),
    Function(fn(&Path, &mut dyn Write) -> anyhow::Result<()>),
}
use What::{Cargo, Function};

/// README.md's first command.
const MAIN_JOB: &str =
    "run -p peak-cli -- ship examples/hello-web --local --to oci:target/hello-web";

/// `cargo test` comes early, since most mistakes show there, and before the real peers are installed, since it has to
/// pass without them.
const CHECKS: [Check; 17] = [
    Check {
        name: "lock-file",
        about: "the lock files are what the manifests ask for",
        what: Function(lock_files),
    },
    Check {
        name: "test",
        about: "all tests, doc tests too; README.md's second command",
        what: Cargo("test --workspace", &[]),
    },
    Check {
        name: "format",
        about: "rustfmt",
        what: Function(format),
    },
    Check {
        name: "clippy",
        about: "lints, with all features",
        what: Cargo(
            "clippy --workspace --all-targets --all-features -- -D warnings",
            &[],
        ),
    },
    Check {
        name: "codegen",
        about: "the generated models are what the schemas give",
        what: Cargo("xtask codegen --check", &[]),
    },
    Check {
        name: "deny",
        about: "licences and sources of dependencies",
        what: Cargo("deny check bans licenses sources", &[]),
    },
    Check {
        name: "docs",
        about: "the documentation of the crates has no warnings",
        what: Cargo(
            "doc --workspace --no-deps --all-features",
            &[("RUSTDOCFLAGS", "-D warnings")],
        ),
    },
    Check {
        name: "alone",
        about: "each crate builds by itself, with each of its features",
        what: Function(alone::run),
    },
    Check {
        name: "fuzz",
        about: "each fuzz target for three seconds, the same inputs in the same order each time; only our crates are built for it, and few others",
        what: Cargo("xtask fuzz --seconds 3 --repeatable", &[]),
    },
    Check {
        name: "peers",
        about: "install what the tests with real peers need",
        what: Cargo("xtask peers up", &[]),
    },
    Check {
        name: "main-job",
        about: "README.md's first command, twice, with the same result",
        what: Function(main_job),
    },
    Check {
        name: "book",
        about: "docs/ as a book: its links, and its commands by the help of what the main job has built",
        what: Function(book),
    },
    Check {
        name: "dist",
        about: "a release, and the archive of it",
        what: Cargo("xtask dist --without-static", &[]),
    },
    Check {
        name: "real-peers",
        about: "the tests with real peers, wherever they stand: none may be skipped",
        what: Cargo(
            "test --workspace --tests -- peers skopeo",
            &[("PEAK_PEERS", "required")],
        ),
    },
    Check {
        name: "conformance",
        about: "what the conformance suite of the distribution specification counted",
        what: Function(conformance_counts),
    },
    Check {
        name: "kill-9",
        about: "more rounds of killing than `test` has",
        what: Cargo(
            "test --workspace --test system -- --show-output kill::",
            &[
                ("PEAK_KILL_ROUNDS", "200"),
                ("PEAK_CLIENT_KILL_ROUNDS", "100"),
            ],
        ),
    },
    Check {
        name: "memory",
        about: "a larger image than `test` has",
        what: Cargo(
            "test --workspace --test system -- --show-output transfers::memory",
            &[("PEAK_TRANSFER_MIB", "1024")],
        ),
    },
];

/// Makes the checks, and stops at the first that fails.
pub(crate) fn run(workspace: &Path, options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
    if options.list {
        for check in &CHECKS {
            writeln!(out, "{:<12}{}", check.name, check.about)?;
        }
        return Ok(());
    }
    let chosen = chosen(&options.checks)?;
    let begun = Instant::now();
    for check in chosen {
        let started = Instant::now();
        writeln!(out, "\n== {}: {}", check.name, check.about)?;
        out.flush()?;
        match check.what {
            Cargo(arguments, variables) => run_cargo(workspace, arguments, variables),
            Function(function) => function(workspace, out),
        }
        .with_context(|| {
            format!(
                "the check failed; `cargo xtask ci {}` makes it again",
                check.name
            )
        })?;
        writeln!(
            out,
            "== {}: done in {} s, {} s in all",
            check.name,
            started.elapsed().as_secs(),
            begun.elapsed().as_secs()
        )?;
    }
    writeln!(
        out,
        "\nall checks passed in {} s",
        begun.elapsed().as_secs()
    )?;
    Ok(())
}

/// The checks of these names, in their own order; all where there is no name.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Check>> {
    for name in names {
        ensure!(
            CHECKS.iter().any(|check| check.name == name),
            "there is no check {name}; `cargo xtask ci --list` has all"
        );
    }
    Ok(CHECKS
        .iter()
        .filter(|check| names.is_empty() || names.iter().any(|name| name == check.name))
        .collect())
}

fn run_cargo(workspace: &Path, arguments: &str, variables: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut command = toolchain::cargo(workspace);
    command
        .args(arguments.split(' '))
        .envs(variables.iter().copied());
    toolchain::run(&mut command)
}

fn format(workspace: &Path, _: &mut dyn Write) -> anyhow::Result<()> {
    run_cargo(workspace, "fmt --all --check", &[])?;
    run_cargo(
        workspace,
        "fmt --manifest-path fuzz/Cargo.toml --check",
        &[],
    )
}

fn lock_files(workspace: &Path, _: &mut dyn Write) -> anyhow::Result<()> {
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        toolchain::output(toolchain::cargo(workspace).args([
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--quiet",
            "--manifest-path",
            manifest,
        ]))?;
    }
    Ok(())
}

/// README.md's first command, and the same again: the result must be what another tool can read, the same twice.
fn main_job(workspace: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let state = workspace.join("target/ci-state");
    for directory in [&state, &workspace.join("target/hello-web")] {
        if directory.exists() {
            fs::remove_dir_all(directory)
                .with_context(|| format!("cannot remove {}", directory.display()))?;
        }
    }
    let mut digests = Vec::new();
    for _ in 0..2 {
        let state = state.to_str().context("the workspace's path is no UTF-8")?;
        run_cargo(workspace, MAIN_JOB, &[("XDG_STATE_HOME", state)])?;
        let digest = toolchain::output(
            Command::new("skopeo")
                .args(["inspect", "--format", "{{.Digest}}", "oci:target/hello-web"])
                .current_dir(workspace),
        )?;
        writeln!(out, "{digest}")?;
        ensure!(digest.starts_with("sha256:"), "that is no digest");
        digests.push(digest);
    }
    ensure!(
        digests.first() == digests.last(),
        "the second image is another one"
    );
    Ok(())
}

fn book(workspace: &Path, _: &mut dyn Write) -> anyhow::Result<()> {
    toolchain::run(
        toolchain::cargo(workspace)
            .args(["xtask", "book", "--peak"])
            .arg(toolchain::target_directory(workspace).join("debug/peak")),
    )
}

/// What the conformance suite of the distribution specification counted, and where its reports are.
fn conformance_counts(workspace: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    for run in ["everything", "defaults"] {
        let directory = Path::new("target/peers/conformance").join(run);
        let results = directory.join("junit.xml");
        let text = fs::read_to_string(workspace.join(&results))
            .with_context(|| format!("cannot read {}", results.display()))?;
        let mut counts = text
            .split('<')
            .filter(|tag| tag.starts_with("testsuite "))
            .filter_map(|tag| tag.split('>').next())
            .peekable();
        if counts.peek().is_none() {
            bail!("{} has no results", results.display());
        }
        writeln!(out, "{}", directory.join("report.html").display())?;
        for count in counts {
            writeln!(out, "  {count}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn checks_have_names_of_their_own_and_keep_their_order() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            chosen(&names).map(|checks| checks.iter().map(|check| check.name).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]).unwrap().len(), CHECKS.len());
        assert_eq!(of(&["format", "test"]).unwrap(), ["test", "format"]);
        let error = of(&["tests"]).unwrap_err().to_string();
        assert!(error.contains("no check tests"), "{error}");
    }
}
