//! Makes the release archives: `peak`, its completions and manual pages, README and licence; and the list of their
//! SHA-256 sums. From the same program and the same commit come the same bytes.

mod archive;
mod static_program;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};

use self::archive::{EXECUTABLE, Entries, PLAIN};
use crate::toolchain;

/// What goes into the archives.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A built `peak` to take [default: a release build of this tree]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Make no archive with a static program
    #[arg(long)]
    without_static: bool,
    /// Fail where the static program cannot be built, instead of leaving it out
    #[arg(long, conflicts_with = "without_static")]
    require_static: bool,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where in the target directory the archives are.
const DIRECTORY: &str = "dist";

/// The shells, and the file that each one looks for.
const COMPLETIONS: [(&str, &str); 5] = [
    ("bash", "peak.bash"),
    ("elvish", "peak.elv"),
    ("fish", "peak.fish"),
    ("powershell", "_peak.ps1"),
    ("zsh", "_peak"),
];

/// What README.md ships first.
const EXAMPLE: &str = "examples/hello-web";

/// Makes the archives. They take the place of earlier ones when all are complete.
pub(crate) fn run(workspace: &Path, options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
    let host = toolchain::host()?;
    let target_directory = toolchain::target_directory(workspace);
    // Before the long work: what is wrong with these shows at once.
    let time = commit_time(workspace)?;
    let program = if let Some(file) = &options.binary {
        file.canonicalize()
            .with_context(|| format!("cannot find {}", file.display()))?
    } else {
        toolchain::run(&mut release_build(workspace))?;
        released(&target_directory.join("release"))
    };
    let mut programs = vec![(host.clone(), program.clone())];
    if !options.without_static {
        match static_program::missing(&host)? {
            None => {
                let target = static_program::target(&host);
                let program = static_program::build(workspace, &target, release_build(workspace))?;
                programs.push((target, program));
            }
            Some(missing) => {
                ensure!(!options.require_static, "{missing}");
                writeln!(out, "left out: {missing}")?;
            }
        }
    }

    fs::create_dir_all(&target_directory)
        .with_context(|| format!("cannot make {}", target_directory.display()))?;
    let scratch = tempfile::Builder::new()
        .prefix("dist-")
        .tempdir_in(&target_directory)
        .with_context(|| format!("cannot write to {}", target_directory.display()))?;
    let texts = texts(workspace, &program, scratch.path())?;
    let complete = scratch.path().join(DIRECTORY);
    fs::create_dir(&complete)?;
    let mut sums = BTreeMap::new();
    for (target, program) in &programs {
        ships_the_example(workspace, program)?;
        let name = format!("peak-{VERSION}-{target}");
        let content =
            fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        let mut entries = texts.clone();
        let program_name = format!("peak{}", std::env::consts::EXE_SUFFIX);
        entries.insert(program_name, (EXECUTABLE, content));
        let file = format!("{name}.tar.gz");
        let bytes = archive::of(&name, &entries, time)?;
        fs::write(complete.join(&file), &bytes)?;
        writeln!(
            out,
            "{}: {} bytes; peak in it: {} bytes",
            target_directory.join(DIRECTORY).join(&file).display(),
            bytes.len(),
            entries
                .values()
                .map(|(_, content)| content.len())
                .max()
                .unwrap_or(0)
        )?;
        sums.insert(file, Sha256::digest(&bytes));
    }
    fs::write(complete.join("SHA256SUMS"), list_of_sums(&sums)?)?;

    let directory = target_directory.join(DIRECTORY);
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::rename(&complete, &directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(())
}

/// The build that docs/install.md names.
fn release_build(workspace: &Path) -> Command {
    let mut command = toolchain::cargo(workspace);
    command.args(["build", "--release", "--locked", "--package", "peak-cli"]);
    command
}

/// The program in a directory that Cargo builds into.
fn released(directory: &Path) -> PathBuf {
    directory.join(format!("peak{}", std::env::consts::EXE_SUFFIX))
}

/// The time of everything in the archives, in seconds since 1970: `SOURCE_DATE_EPOCH`, else that of the commit.
fn commit_time(workspace: &Path) -> anyhow::Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => toolchain::output(
            Command::new("git")
                .args(["log", "-1", "--format=%ct"])
                .current_dir(workspace),
        )
        .context("no commit to take the time from; SOURCE_DATE_EPOCH may name it")?,
    };
    text.trim()
        .parse()
        .with_context(|| format!("`{text}` is no time in seconds since 1970 (SOURCE_DATE_EPOCH)"))
}

/// Everything in an archive but the program: it is the same on every machine, so one program writes it for all.
fn texts(workspace: &Path, program: &Path, scratch: &Path) -> anyhow::Result<Entries> {
    let version = toolchain::output(Command::new(program).arg("--version"))?;
    ensure!(
        version == format!("peak {VERSION}"),
        "{} is `{version}`, and not of this tree's version {VERSION}",
        program.display()
    );
    let mut entries = Entries::new();
    for name in ["README.md", "LICENSE"] {
        let path = workspace.join(name);
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        entries.insert(name.to_owned(), (PLAIN, content));
    }
    for (shell, file) in COMPLETIONS {
        let script = toolchain::output(Command::new(program).args(["completions", shell]))?;
        ensure!(!script.is_empty(), "there is no completion for {shell}");
        entries.insert(
            format!("completions/{file}"),
            (PLAIN, (script + "\n").into_bytes()),
        );
    }
    let pages = scratch.join("man1");
    toolchain::output(Command::new(program).arg("man").arg(&pages))?;
    for page in fs::read_dir(&pages).with_context(|| format!("cannot read {}", pages.display()))? {
        let page = page?;
        let name = page.file_name().into_string().ok();
        let name = name.context("a manual page has a name that is no UTF-8")?;
        entries.insert(format!("man/man1/{name}"), (PLAIN, fs::read(page.path())?));
    }
    Ok(entries)
}

/// That the program does its main job, with nothing of this machine's state and settings.
fn ships_the_example(workspace: &Path, program: &Path) -> anyhow::Result<()> {
    let sandbox = tempfile::tempdir().context("there is no place for temporary files")?;
    let image = sandbox.path().join("image");
    toolchain::output(
        Command::new(program)
            .args(["ship", EXAMPLE, "--local", "--to"])
            .arg(format!("oci:{}", image.display()))
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", sandbox.path())
            .env("XDG_STATE_HOME", sandbox.path().join("state"))
            .current_dir(workspace),
    )
    .with_context(|| format!("{} cannot ship {EXAMPLE}", program.display()))?;
    ensure!(
        image.join("index.json").is_file(),
        "{} shipped {EXAMPLE} and left no image",
        program.display()
    );
    Ok(())
}

/// As `sha256sum --check` reads it.
fn list_of_sums<D: AsRef<[u8]>>(sums: &BTreeMap<String, D>) -> anyhow::Result<String> {
    let mut text = String::new();
    for (file, sum) in sums {
        for byte in sum.as_ref() {
            write!(text, "{byte:02x}")?;
        }
        writeln!(text, "  {file}")?;
    }
    Ok(text)
}
