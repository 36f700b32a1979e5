//! Builds the documentation in `docs/` as a book and checks what mdBook does not: that relative links and their
//! anchors lead somewhere, that every page is in the book, and that the commands on the pages are ours.
//!
//! Nothing of this uses the network. A link to another site is not followed.

mod commands;
mod links;
mod page;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;

use self::page::Page;

/// The version that `.ci/run` installs. Another one may do as well, so it is only told.
const MDBOOK_VERSION: &str = "0.5.4";

/// The directory of the pages, relative to the workspace.
const PAGES: &str = "docs";

/// What is read beside the pages, relative to the workspace.
const README: &str = "README.md";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A built `peak` whose help the commands on the pages are compared with [default: built for this]
    #[arg(long, value_name = "FILE")]
    peak: Option<PathBuf>,
    /// Check the pages, and build no book
    #[arg(long)]
    no_build: bool,
}

/// One thing that is wrong with the documentation.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// The page, relative to the workspace.
    page: PathBuf,
    /// The line on it, from 1.
    line: usize,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = self.page.display();
        write!(formatter, "{page}:{}: {}", self.line, self.message)
    }
}

/// Builds and checks; true where nothing is wrong. What is wrong goes to standard error.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    let pages = read_pages(root)?;
    let mut problems = links::check(root, &pages);
    problems.extend(links::check_summary(&pages));

    let peak = match &options.peak {
        Some(peak) => peak
            .canonicalize()
            .with_context(|| format!("cannot find {}", peak.display()))?,
        None => build_peak(root)?,
    };
    let (command_problems, checked) = commands::check(&pages, |path| help_of(&peak, path))?;
    problems.extend(command_problems);
    problems.sort();

    let mut whole = problems.is_empty();
    for problem in &problems {
        writeln!(io::stderr(), "error: {problem}")?;
    }
    writeln!(
        out,
        "{} pages, {} links, {checked} commands checked",
        pages.len(),
        pages.values().map(|page| page.links.len()).sum::<usize>()
    )?;
    if !options.no_build {
        whole &= build_book(root, &mut out)?;
    }
    Ok(whole)
}

/// All pages and the README by their paths relative to the workspace.
fn read_pages(root: &Path) -> anyhow::Result<BTreeMap<PathBuf, Page>> {
    let mut pages = BTreeMap::new();
    let mut directories = vec![PathBuf::from(PAGES)];
    let mut files = vec![PathBuf::from(README)];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(root.join(&directory))
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    for path in files {
        let text = fs::read_to_string(root.join(&path))
            .with_context(|| format!("cannot read {}", path.display()))?;
        pages.insert(path, Page::read(&text));
    }
    Ok(pages)
}

/// Builds `peak` without optimisation, and says where it is.
fn build_peak(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", "peak-cli", "--bin", "peak"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo cannot build peak");
    }
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .find(|message| {
            message
                .pointer("/target/name")
                .is_some_and(|name| name == "peak")
        })
        .and_then(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .context("cargo does not say where it built peak")
}

/// What `peak PATH… --help` prints, or nothing where it does not know that command.
fn help_of(peak: &Path, path: &[String]) -> anyhow::Result<Option<String>> {
    let output = Command::new(peak)
        .args(path)
        .arg("--help")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", peak.display()))?;
    if !output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8(output.stdout).context("the help of peak is no UTF-8")?;
    Ok(Some(text))
}

/// Builds the book into `target/book`; true where mdBook has nothing to complain of.
fn build_book(root: &Path, out: &mut impl io::Write) -> anyhow::Result<bool> {
    let version = match Command::new("mdbook").arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "mdbook is not installed; this installs it: \
             cargo install mdbook --locked --no-default-features --version {MDBOOK_VERSION}"
        ),
        Err(error) => return Err(error).context("cannot start mdbook"),
    };
    if !version.ends_with(MDBOOK_VERSION) {
        writeln!(
            out,
            "this is {version}; {MDBOOK_VERSION} is what .ci/run has"
        )?;
    }
    let destination = root.join("target/book");
    let output = Command::new("mdbook")
        .arg("build")
        .arg("--dest-dir")
        .arg(&destination)
        .arg(root)
        .env_remove("MDBOOK_LOG")
        .env_remove("RUST_LOG")
        .output()
        .context("cannot start mdbook")?;
    let told = String::from_utf8_lossy(&output.stderr);
    let warned = told
        .lines()
        .any(|line| line.contains("WARN") || line.contains("ERROR"));
    if warned || !output.status.success() {
        write!(io::stderr(), "{told}")?;
        writeln!(
            io::stderr(),
            "error: mdbook does not build the book without warnings"
        )?;
        return Ok(false);
    }
    writeln!(
        out,
        "the book is {}",
        destination.join("index.html").display()
    )?;
    Ok(true)
}
