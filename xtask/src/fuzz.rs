//! Builds the fuzz targets in `fuzz/` and runs each for a while.
//!
//! `libFuzzer` is linked in; what it needs from the compiler is stable, so any toolchain does. The targets are built as
//! `cargo fuzz --sanitizer none` would: no `unsafe` is ours, so what a sanitizer looks for cannot be in what they try.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// Which targets are run, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The targets, by the names of the files in fuzz/targets; all if none is named
    targets: Vec<String>,
    /// How long each runs
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u32,
}

/// Counters at every edge and what is compared with what: what `libFuzzer` steers by.
const INSTRUMENTATION: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// One input may take so long, in seconds; none of ours takes a tenth of one.
const TIMEOUT: u32 = 10;

/// So much memory a target may use, in MiB, and as much one allocation.
const MEMORY: u32 = 1024;

/// How many of the last lines of a target that failed are shown.
const LAST_LINES: usize = 40;

/// Builds and runs the targets. Whether nothing was found.
pub(crate) fn run(
    workspace: &Path,
    options: &Options,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let all = targets(workspace)?;
    for target in &options.targets {
        ensure!(
            all.contains(target),
            "there is no fuzz target {target}; there are {}",
            all.join(", ")
        );
    }
    let chosen = if options.targets.is_empty() {
        &all
    } else {
        &options.targets
    };
    let places = Places::new(workspace)?;
    places.build(chosen)?;
    let mut failed = Vec::new();
    for target in chosen {
        if !places.run(target, options.seconds, out)? {
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        writeln!(out, "failed: {}", failed.join(", "))?;
    }
    Ok(failed.is_empty())
}

/// The names of all targets, sorted.
fn targets(workspace: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = entries(&workspace.join("fuzz/targets"))?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect::<Vec<_>>();
    names.sort();
    Ok(names)
}

fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("cannot read {}", directory.display()))
}

struct Places<'a> {
    workspace: &'a Path,
    target_dir: PathBuf,
    host: String,
}

impl<'a> Places<'a> {
    fn new(workspace: &'a Path) -> anyhow::Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = Command::new(&rustc)
            .arg("-vV")
            .output()
            .with_context(|| format!("cannot run {}", rustc.display()))?;
        let host = String::from_utf8_lossy(&version.stdout)
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc does not say what it runs on")?
            .to_owned();
        let target_dir = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace.join("target"), |dir| workspace.join(dir));
        Ok(Self {
            workspace,
            target_dir,
            host,
        })
    }

    fn build(&self, targets: &[String]) -> anyhow::Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(self.workspace.join("fuzz"))
            .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"))
            .env_remove("RUSTFLAGS")
            // With a target named, programs that run while it is built are not instrumented.
            .args(["build", "--release", "--locked", "--target", &self.host])
            .arg("--target-dir")
            .arg(&self.target_dir);
        for target in targets {
            command.args(["--bin", target]);
        }
        let status = command.status().context("cannot run cargo")?;
        ensure!(status.success(), "the fuzz targets cannot be built");
        Ok(())
    }

    /// Runs a target. Whether it found nothing.
    fn run(&self, target: &str, seconds: u32, out: &mut impl Write) -> anyhow::Result<bool> {
        let program = self
            .target_dir
            .join(&self.host)
            .join("release")
            .join(target);
        let seeds = self.workspace.join("fuzz/seeds").join(target);
        let corpus = self.target_dir.join("fuzz/corpus").join(target);
        let findings = self.target_dir.join("fuzz/findings").join(target);
        for directory in [&corpus, &findings] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let known = entries(&findings)?;
        let output = Command::new(&program)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={TIMEOUT}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .arg("-print_final_stats=1")
            // What is found goes to the first directory, what it starts from is in both.
            .args([&corpus, &seeds])
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let statistic = |name: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))
                .map_or("?", |rest| rest.trim_start_matches(':').trim())
                .to_owned()
        };
        writeln!(
            out,
            "{target}: {} inputs, {} a second, {} of them new, {} MiB",
            statistic("number_of_executed_units"),
            statistic("average_exec_per_sec"),
            statistic("new_units_added"),
            statistic("peak_rss_mb"),
        )?;
        if output.status.success() {
            return Ok(true);
        }
        let lines: Vec<&str> = said.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(LAST_LINES)) {
            writeln!(out, "    {line}")?;
        }
        let found: Vec<PathBuf> = entries(&findings)?
            .into_iter()
            .filter(|path| !known.contains(path))
            .collect();
        let [found] = found.as_slice() else {
            bail!("{target} ended with {}; see above", output.status);
        };
        let name = found.file_name().unwrap_or(OsStr::new("finding"));
        writeln!(out, "{target} failed ({}).", output.status)?;
        writeln!(
            out,
            "  once more:    {} {}",
            program.display(),
            found.display()
        )?;
        writeln!(
            out,
            "  make smaller: {} -minimize_crash=1 -runs=100000 {}",
            program.display(),
            found.display()
        )?;
        writeln!(
            out,
            "  keep it as {} with a telling name: `cargo test` then fails until it is fixed",
            seeds.join(name).display()
        )?;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn workspace() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .to_path_buf()
    }

    /// The names in `hold("NAME", ..)`: what each crate's tests run without a fuzzer.
    fn held(text: &str) -> impl Iterator<Item = String> {
        text.split("hold(\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned())
    }

    #[test]
    fn every_target_is_built_has_seeds_and_holds_for_them_in_ordinary_tests() {
        let workspace = workspace();
        let targets: BTreeSet<String> = targets(&workspace).unwrap().into_iter().collect();
        let manifest = fs::read_to_string(workspace.join("fuzz/Cargo.toml")).unwrap();
        let built: BTreeSet<String> = manifest
            .split("[[bin]]\nname = \"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect();
        assert_eq!(built, targets);
        let seeded: BTreeSet<String> = entries(&workspace.join("fuzz/seeds"))
            .unwrap()
            .iter()
            .filter(|path| !entries(path).unwrap().is_empty())
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(seeded, targets);
        let tested: BTreeSet<String> = entries(&workspace.join("crates"))
            .unwrap()
            .iter()
            .filter_map(|path| fs::read_to_string(path.join("src/fuzzing.rs")).ok())
            .flat_map(|text| held(&text).collect::<Vec<_>>())
            .collect();
        assert_eq!(tested, targets);
    }
}
