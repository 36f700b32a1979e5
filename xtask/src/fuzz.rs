//! Builds the fuzz targets in `fuzz/` and runs each for a while.
//!
//! `libFuzzer` is linked in; what it needs from the compiler is stable, so any toolchain does. The targets are built as
//! `cargo fuzz --sanitizer none` would, but only our crates are instrumented: the parsers that are tried are there, and
//! all that they depend on is built as for tests. No `unsafe` is ours, so what a sanitizer looks for cannot be in them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, available_parallelism};

use anyhow::{Context as _, bail, ensure};

use crate::toolchain;

/// Which targets are run, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The targets, by the names of the directories in fuzz/seeds; all if none is named
    targets: Vec<String>,
    /// How long each runs
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u32,
    /// Try the same inputs in the same order each time, from the seeds on, as far as the time goes
    #[arg(long)]
    repeatable: bool,
}

/// Counters at every edge and what is compared with what: what `libFuzzer` steers by.
const INSTRUMENTATION: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The variable with which we are Cargo's `RUSTC_WRAPPER`: flags of Cargo would be for all crates.
const RUSTC_WRAPPER: &str = "PEAK_FUZZ_RUSTC";

/// What the names of our crates begin with, that of the fuzz targets too.
const OURS: &str = "peak_";

/// All targets, and the variable that says which of them it is.
const PROGRAM: &str = "peak-fuzz";
const CHOICE: &str = "PEAK_FUZZ_TARGET";

/// One input may take so long, in seconds; none of ours takes a tenth of one.
const TIMEOUT: u32 = 10;

/// So much memory a target may use, in MiB, and as much one allocation.
const MEMORY: u32 = 1024;

/// How many of the last lines of a target that failed are shown.
const LAST_LINES: usize = 40;

/// Runs the compiler if it is for that that Cargo has started us: for our crates with instrumentation.
pub(crate) fn as_rustc() -> Option<anyhow::Result<ExitCode>> {
    env::var_os(RUSTC_WRAPPER)?;
    let mut words = env::args_os().skip(1);
    let rustc = words.next()?;
    let arguments: Vec<OsString> = words.collect();
    let mut command = Command::new(&rustc);
    command.args(&arguments);
    if is_ours(&arguments) {
        command.args(INSTRUMENTATION);
    }
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", rustc.display()));
    Some(status.map(|status| {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        code.map_or(ExitCode::FAILURE, ExitCode::from)
    }))
}

/// Whether a compiler with these arguments compiles one of our crates.
fn is_ours(arguments: &[OsString]) -> bool {
    arguments
        .windows(2)
        .filter_map(|pair| match pair {
            [option, name] if option == "--crate-name" => name.to_str(),
            _ => None,
        })
        .any(|name| name.starts_with(OURS))
}

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
    let places = Places::new(workspace);
    places.build()?;
    let mut failed = Vec::new();
    for_each_at_once(
        chosen,
        |target| places.run(target, options),
        |target, tried| {
            let Tried { holds, report } = tried?;
            write!(out, "{report}")?;
            out.flush()?;
            if !holds {
                failed.push(target.clone());
            }
            Ok(())
        },
    )?;
    if !failed.is_empty() {
        writeln!(out, "failed: {}", failed.join(", "))?;
    }
    Ok(failed.is_empty())
}

/// How a target fared.
struct Tried {
    holds: bool,
    report: String,
}

/// Does the work for as many items at once as there are processors, and takes what comes of it as it comes.
fn for_each_at_once<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(&T, R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let workers = available_parallelism().map_or(1, NonZero::get);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (next, work, done) = (&next, &work, done.clone());
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if done.send((item, work(item))).is_err() {
                        // Nobody takes it any more: something has failed.
                        return;
                    }
                }
            });
        }
        drop(done);
        results
            .into_iter()
            .try_for_each(|(item, result)| take(item, result))
    })
}

/// The names of all targets, sorted.
fn targets(workspace: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = entries(&workspace.join("fuzz/seeds"))?
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
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
}

impl<'a> Places<'a> {
    fn new(workspace: &'a Path) -> Self {
        Self {
            workspace,
            target_dir: toolchain::target_directory(workspace),
        }
    }

    fn build(&self) -> anyhow::Result<()> {
        let wrapper = env::current_exe().context("our own program is not found")?;
        let mut command = toolchain::cargo(&self.workspace.join("fuzz"));
        command
            .env("RUSTC_WRAPPER", wrapper)
            .env(RUSTC_WRAPPER, "1")
            // What tests have built of other crates serves here too. Ours are not taken for theirs: Cargo names files
            // after where a crate lies in a workspace, and `fuzz` is another one.
            .args(["build", "--locked", "--target-dir"])
            .arg(&self.target_dir);
        toolchain::run(&mut command).context("the fuzz targets cannot be built")
    }

    /// Runs a target.
    fn run(&self, target: &str, options: &Options) -> anyhow::Result<Tried> {
        let program = self.target_dir.join("debug").join(PROGRAM);
        let seeds = self.workspace.join("fuzz/seeds").join(target);
        let fresh = tempfile::tempdir().context("cannot make a temporary directory")?;
        let (corpus, random) = if options.repeatable {
            (fresh.path().to_owned(), "-seed=1")
        } else {
            // 0 stands for the time.
            (self.target_dir.join("fuzz/corpus").join(target), "-seed=0")
        };
        let findings = self.target_dir.join("fuzz/findings").join(target);
        for directory in [&corpus, &findings] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let known = entries(&findings)?;
        let output = Command::new(&program)
            .env(CHOICE, target)
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(random)
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
        let mut report = String::new();
        writeln!(
            report,
            "{target}: {} inputs, {} a second, {} of them new, {} MiB",
            statistic("number_of_executed_units"),
            statistic("average_exec_per_sec"),
            statistic("new_units_added"),
            statistic("peak_rss_mb"),
        )?;
        if output.status.success() {
            return Ok(Tried {
                holds: true,
                report,
            });
        }
        let lines: Vec<&str> = said.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(LAST_LINES)) {
            writeln!(report, "    {line}")?;
        }
        let found: Vec<PathBuf> = entries(&findings)?
            .into_iter()
            .filter(|path| !known.contains(path))
            .collect();
        let [found] = found.as_slice() else {
            bail!("{report}{target} ended with {}", output.status);
        };
        let name = found.file_name().unwrap_or(OsStr::new("finding"));
        writeln!(report, "{target} failed ({}).", output.status)?;
        writeln!(
            report,
            "  once more:    {CHOICE}={target} {} {}",
            program.display(),
            found.display()
        )?;
        writeln!(
            report,
            "  make smaller: {CHOICE}={target} {} -minimize_crash=1 -runs=100000 {}",
            program.display(),
            found.display()
        )?;
        writeln!(
            report,
            "  keep it as {} with a telling name: `cargo test` then fails until it is fixed",
            seeds.join(name).display()
        )?;
        Ok(Tried {
            holds: false,
            report,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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
    fn our_crates_are_instrumented_and_no_others() {
        let ours = |line: &str| is_ours(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(ours("--crate-name peak_oci --edition=2024 src/lib.rs"));
        assert!(ours("--edition=2024 --crate-name peak_fuzz targets.rs"));
        assert!(!ours(
            "--crate-name serde --extern peak_oci=libpeak_oci.rlib"
        ));
        assert!(!ours(
            "--crate-name build_script_build --out-dir peak_oci build.rs"
        ));
        assert!(!ours("- --crate-name ___ --print=file-names"));
        assert!(!ours("-vV"));
        assert!(!ours("--crate-name"));
    }

    /// The lines of a section of a manifest.
    fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
        let lines = manifest.lines().skip_while(|line| *line != name).skip(1);
        lines
            .take_while(|line| !line.starts_with('['))
            .filter(|line| line.contains('=') && !line.starts_with('#'))
            .collect()
    }

    /// The versions of each package in a lock file.
    fn locked(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut packages: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for package in text.split("[[package]]").skip(1) {
            let mut values = package.lines().skip(1).map(|line| {
                let (_, value) = line.split_once(" = ").unwrap();
                value
            });
            let (name, version) = (values.next().unwrap(), values.next().unwrap());
            packages.entry(name).or_default().insert(version);
        }
        packages
    }

    #[test]
    fn what_the_targets_depend_on_is_built_as_for_tests_so_that_it_is_not_built_again() {
        let read = |path: &str| fs::read_to_string(workspace().join(path)).unwrap();
        let (root, fuzz) = (read("Cargo.toml"), read("fuzz/Cargo.toml"));
        for name in ["[profile.dev]", "[profile.dev.package]"] {
            assert!(!section(&root, name).is_empty(), "{name}");
            assert_eq!(section(&root, name), section(&fuzz, name), "{name}");
        }
        let (root, fuzz) = (read("Cargo.lock"), read("fuzz/Cargo.lock"));
        let root = locked(&root);
        for (package, versions) in locked(&fuzz) {
            if let Some(of_root) = root.get(package) {
                assert!(versions.is_subset(of_root), "{package}: {versions:?}");
            }
        }
    }

    #[test]
    fn every_item_is_worked_on_once_unless_one_fails() {
        let items: Vec<u32> = (0..100).collect();
        let mut taken = BTreeSet::new();
        for_each_at_once(
            &items,
            |item| item * 2,
            |item, twice| {
                assert_eq!(twice, item * 2);
                ensure!(taken.insert(*item), "{item} came twice");
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(taken.len(), items.len());
        let error = for_each_at_once(
            &items,
            |item| *item,
            |_, item| {
                ensure!(item < 50, "far enough");
                Ok(())
            },
        );
        assert_eq!(error.unwrap_err().to_string(), "far enough");
    }

    #[test]
    fn every_target_is_built_has_seeds_and_holds_for_them_in_ordinary_tests() {
        let workspace = workspace();
        let targets: BTreeSet<String> = targets(&workspace).unwrap().into_iter().collect();
        let program = fs::read_to_string(workspace.join("fuzz/targets.rs")).unwrap();
        let (_, list) = program.split_once("targets![").unwrap();
        let (list, _) = list.split_once("];").unwrap();
        let built: BTreeSet<String> = list
            .split(',')
            .filter_map(|path| Some(path.split_once("::")?.1.trim().to_owned()))
            .collect();
        assert_eq!(built, targets);
        for target in &targets {
            let seeds = workspace.join("fuzz/seeds").join(target);
            assert!(!entries(&seeds).unwrap().is_empty(), "{target}");
        }
        let tested: BTreeSet<String> = entries(&workspace.join("crates"))
            .unwrap()
            .iter()
            .filter_map(|path| fs::read_to_string(path.join("src/fuzzing.rs")).ok())
            .flat_map(|text| held(&text).collect::<Vec<_>>())
            .collect();
        assert_eq!(tested, targets);
    }
}
