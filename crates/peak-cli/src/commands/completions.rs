//! `peak completions`: what lets a shell complete a `peak` command line.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::arguments::CommandLine;
use crate::error::CliError;
use crate::output::write_out;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  peak completions bash > ~/.local/share/bash-completion/completions/peak
  peak completions zsh > ~/.local/share/zsh/site-functions/_peak
  peak completions fish > ~/.config/fish/completions/peak.fish")]
pub(crate) struct CompletionsArguments {
    /// The shell that reads the script
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script, whatever `--output` says: it is no result, and only a shell reads it.
pub(crate) fn run(arguments: &CompletionsArguments) -> Result<(), CliError> {
    let mut script = Vec::new();
    let mut command = CommandLine::command();
    let name = command.get_name().to_owned();
    generate(arguments.shell, &mut command, name, &mut script);
    write_out(script)
}
