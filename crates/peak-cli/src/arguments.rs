//! What may stand on the command line: the global options and the tree of commands.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    apolo, artifacts, completions, doctor, images, local, man, pack, registry, ship,
};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    anything not named below
  2    the command line cannot be understood
  3    not authenticated, or not allowed
  4    not found
  5    the request was refused (400, 409, 413, 422)
  6    the server or the network failed after all retries
  7    integrity: a digest or a size did not match
  8    a build ended without success
  130  interrupted

Example:
  peak ship examples/hello-web --local --to oci:target/hello-web";

/// Ships directories as container images, and works with what is in registries.
#[derive(Debug, Parser)]
#[command(name = "peak", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that may stand before or after the subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Stage of the Peak platform: prod, latest, dev, test, beta or parvati [default: prod]
    #[arg(long, global = true, value_name = "STAGE")]
    pub(crate) stage: Option<String>,

    /// Base URL of the platform, in place of the stage's [default: `PEAK_ENDPOINT_URL`]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,

    /// The file that names the platform, where neither option does.
    #[arg(skip)]
    pub(crate) platform_file: Option<PathBuf>,

    /// How results are printed: json, yaml or table [default: table on a terminal, json otherwise];
    /// where a command writes a file, the file's name
    #[arg(long, short, global = true, value_name = "FORMAT")]
    pub(crate) output: Vec<OutputTarget>,

    /// How progress is shown on standard error [default: auto]
    #[arg(long, global = true, value_enum, value_name = "MODE")]
    pub(crate) progress: Option<ProgressMode>,

    /// Print results and errors, nothing else
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// Show the requests that are sent, without secrets; repeat it for more of what happens
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Taken for the sake of scripts of the Python tool; results are never paged
    #[arg(long, global = true, hide = true)]
    paging: bool,

    /// When to use colour [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub(crate) color: Option<ColorMode>,

    /// YAML file with any of stage, endpoint-url, output, progress, quiet and color; the command line and the
    /// environment win over it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What `--output` can say: the form of a result, or the file that a command writes. A file that is called
/// `json` can be written as `./json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputTarget {
    /// The API's own object
    Json,
    /// The same as YAML
    Yaml,
    /// Aligned columns for a person
    Table,
    /// A file
    File(PathBuf),
}

impl FromStr for OutputTarget {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "table" => Self::Table,
            name => Self::File(PathBuf::from(name)),
        })
    }
}

/// The ways to show progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    #[default]
    /// Bars on a terminal, plain lines otherwise
    Auto,
    /// Bars
    Bar,
    /// One JSON object a line
    Json,
    /// Nothing
    None,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorMode {
    #[default]
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands of `peak`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pack a directory, build it into an image, follow the build, copy the verified image
    Ship(ship::ShipArguments),
    /// The embedded Peak platform and registry
    #[command(subcommand)]
    Local(local::LocalCommand),
    /// Images, their versions and builds on the platform
    #[command(subcommand)]
    Images(images::ImagesCommand),
    /// Artifacts and their versions on the platform
    #[command(subcommand)]
    Artifacts(artifacts::ArtifactsCommand),
    /// Manifests and images in any OCI or Docker registry
    Registry(registry::RegistryArguments),
    /// Images of the Apolo platform, through the Docker Engine or without one
    Apolo(apolo::ApoloArguments),
    /// Pack a directory into an artifact, or show what would go in
    Pack(pack::PackArguments),
    /// Check settings, credentials, Docker Engine, network, and what a registry can do
    Doctor(doctor::DoctorArguments),
    /// A script that lets a shell complete `peak` command lines, on standard output
    Completions(completions::CompletionsArguments),
    /// Manual pages of all commands
    Man(man::ManArguments),
}

/// Which files of a directory go into its artifact.
#[derive(Debug, Args)]
pub(crate) struct PackingOptions {
    /// Ignore file directly in the directory; may be repeated [default: .dockerignore if it exists]
    #[arg(long = "ignore-file", value_name = "FILE")]
    pub(crate) ignore_files: Vec<String>,
}

/// Where the embedded platform keeps its state.
#[derive(Debug, Args)]
pub(crate) struct StateOptions {
    /// Directory that the embedded platform keeps everything in [default: `$XDG_STATE_HOME/peak`, else
    /// `~/.local/state/peak`]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Reads a number that counts from one: a page, a version, seconds.
pub(crate) fn from_one(text: &str) -> Result<u64, &'static str> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write a whole number from 1 on"),
    }
}

impl Command {
    /// Whether `--output` may name a file.
    pub(crate) fn writes_a_file(&self) -> bool {
        match self {
            Self::Pack(_) => true,
            Self::Registry(registry) => registry.writes_a_file(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::from_one;

    #[test]
    fn what_counts_from_one_is_a_whole_number() {
        assert_eq!(from_one("1"), Ok(1));
        assert_eq!(from_one("18446744073709551615"), Ok(u64::MAX));
        for text in [
            "",
            "0",
            "-1",
            "1.5",
            "x",
            " 1",
            "1e3",
            "18446744073709551616",
        ] {
            assert!(from_one(text).is_err(), "{text:?}");
        }
    }
}
