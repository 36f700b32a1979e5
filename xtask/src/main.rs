//! Maintenance commands of this workspace, run as `cargo xtask <command>`.

mod alone;
mod bench;
mod book;
mod ci;
mod codegen;
mod dist;
mod fuzz;
mod peers;
mod toolchain;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::codegen::{Layout, Outcome};

/// What the exit code is when a check found something; errors are [`EXIT_ERROR`].
const EXIT_DIFFERS: u8 = 1;

/// What the exit code is when a command could not do its work. It is clap's code for wrong usage too.
const EXIT_ERROR: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "Maintenance commands of this workspace",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Generate the types of `crates/peak-models` from `schemas/`
    ///
    /// The output is committed. schemas/README.md says what the schemas may use.
    Codegen {
        /// Write nothing; print a diff and exit with 1 when the committed output is not what the schemas give
        #[arg(long)]
        check: bool,
    },
    /// Measure how long our programs and others need for the same work
    ///
    /// docs/performance.md has the results and says how to read them.
    Bench(bench::Options),
    /// Run one program for `bench`, and print what it used
    #[command(name = bench::HELPER, hide = true)]
    BenchHelper {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Build docs/ as a book, and check its links and the commands on its pages
    ///
    /// Exits with 1 when something is wrong with them. mdbook has to be installed, or be left out by --no-build.
    Book(book::Options),
    /// Make every check that CI makes
    ///
    /// Some need `cargo-deny`; those from `peers` on install other programs.
    Ci(ci::Options),
    /// Make the release archives in target/dist, with completions and manual pages
    ///
    /// One holds the program for this machine, a second one a static program for any Linux where Rust's musl target is
    /// installed. docs/install.md says what is in them.
    Dist(dist::Options),
    /// Run the fuzz targets for a short while
    ///
    /// docs/fuzzing.md says what they are.
    Fuzz(fuzz::Options),
    /// What the tests with real peers need on this machine
    #[command(subcommand)]
    Peers(PeersCommand),
}

#[derive(Debug, Subcommand)]
enum PeersCommand {
    /// Install skopeo, docker-registry and Docker Engine (Debian packages), the public Python clients and programs in Go (target/peers)
    Up,
}

fn main() -> ExitCode {
    let result = fuzz::as_rustc().unwrap_or_else(|| make(Arguments::parse().command));
    match result {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed; then there is nobody to tell.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

fn make(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Codegen { check } => run_codegen(check),
        Command::Bench(options) => run_bench(&options),
        Command::BenchHelper { command } => {
            bench::run_as_helper(command.into_iter()).map(|()| ExitCode::SUCCESS)
        }
        Command::Book(options) => workspace_root()
            .and_then(|root| book::run(&root, &options))
            .map(|whole| ExitCode::from(if whole { 0 } else { EXIT_DIFFERS })),
        Command::Ci(options) => workspace_root()
            .and_then(|root| ci::run(&root, &options, &mut io::stdout().lock()))
            .map(|()| ExitCode::SUCCESS),
        Command::Dist(options) => workspace_root()
            .and_then(|root| dist::run(&root, &options, &mut io::stdout().lock()))
            .map(|()| ExitCode::SUCCESS),
        Command::Fuzz(options) => run_fuzz(&options),
        Command::Peers(PeersCommand::Up) => workspace_root()
            .and_then(|root| peers::up(&root, &mut io::stdout().lock()))
            .map(|()| ExitCode::SUCCESS),
    }
}

fn run_codegen(check: bool) -> anyhow::Result<ExitCode> {
    let layout = Layout::of_workspace(&workspace_root()?);
    let mut out = io::stdout().lock();
    if !check {
        let written = codegen::write(&layout)?;
        for path in &written {
            writeln!(out, "wrote {}", path.display())?;
        }
        if written.is_empty() {
            writeln!(out, "the generated types are up to date")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    match codegen::check(&layout)? {
        Outcome::Same => Ok(ExitCode::SUCCESS),
        Outcome::Differs { diff } => {
            write!(out, "{diff}")?;
            out.flush()?;
            writeln!(
                io::stderr(),
                "error: the generated types are not what schemas/ gives; run `cargo xtask codegen` and commit the result"
            )?;
            Ok(ExitCode::from(EXIT_DIFFERS))
        }
    }
}

fn run_bench(options: &bench::Options) -> anyhow::Result<ExitCode> {
    bench::run(&workspace_root()?, options)?;
    Ok(ExitCode::SUCCESS)
}

fn run_fuzz(options: &fuzz::Options) -> anyhow::Result<ExitCode> {
    let holds = fuzz::run(&workspace_root()?, options, &mut io::stdout().lock())?;
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_DIFFERS)
    })
}

/// The directory of the workspace: the parent of this package, as Cargo tells it when it runs us.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package
        .parent()
        .map(Path::to_path_buf)
        .with_context(|| format!("{} has no parent directory", package.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
