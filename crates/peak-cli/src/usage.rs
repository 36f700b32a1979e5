//! A command line that cannot be understood, told in the form of every other error.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};
use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, ValueEnum as _};

use crate::arguments::{ColorMode, CommandLine};
use crate::color;
use crate::error::CliError;
use crate::output::write_out;

/// What `peak` alone says: where to begin, and where to go on. Nothing was done wrong, so it ends well, as `cargo`, `gh`
/// and `docker` do.
const FIRST_STEPS: &str = "\
peak ships directories as container images, and works with registries.

Build the Dockerfile of this directory, without an account or a network:
  peak ship . --local --to oci:image

Copy an image from a registry to a place on disk or to another registry:
  peak registry copy ubuntu:24.04 oci:ubuntu

Run the Peak platform and an OCI registry on this machine:
  peak local serve

All commands:           peak --help
Examples of a command:  peak COMMAND --help
Something is wrong:     peak doctor, or peak doctor HOST for a registry
";

/// Reads the command line. What `--color` says holds also for the help, and for what is wrong with the rest.
pub(crate) fn parse() -> Result<CommandLine, clap::Error> {
    let mut command = CommandLine::command();
    let asked = last_value(std::env::args_os(), &["--color"]);
    if let Some(mode) = asked.and_then(|text| ColorMode::from_str(&text, false).ok()) {
        color::choose(mode);
        command = command.color(match mode {
            ColorMode::Always => ColorChoice::Always,
            ColorMode::Never => ColorChoice::Never,
            ColorMode::Auto => ColorChoice::Auto,
        });
    }
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let matches = matches.map_err(with_the_likeliest_first)?;
    CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Clap gives the commands that may be meant in the order of likeness, the least like one first.
fn with_the_likeliest_first(mut error: clap::Error) -> clap::Error {
    let kind = ContextKind::SuggestedSubcommand;
    if let Some(ContextValue::Strings(names)) = error.get(kind) {
        let names = names.iter().rev().cloned().collect();
        error.insert(kind, ContextValue::Strings(names));
    }
    error
}

/// Prints first steps where nothing at all was asked, help and version as they are, and everything else as a usage error.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            if std::env::args_os().len() <= 1 =>
        {
            match write_out(FIRST_STEPS) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => error.report(false),
            }
        }
        ClapErrorKind::DisplayHelp
        | ClapErrorKind::DisplayVersion
        | ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Whoever asked for help and closed the pipe has seen enough of it.
            let _ = error.print();
            let code = if error.use_stderr() { 2 } else { 0 };
            ExitCode::from(code)
        }
        _ => usage_error(&error.render().to_string()).report(
            last_value(std::env::args_os(), &["--output", "-o"]).as_deref() == Some("json"),
        ),
    }
}

/// Takes clap's text apart: what is wrong stands before the first tip or usage.
fn usage_error(text: &str) -> CliError {
    let mut wrong = Vec::new();
    let mut tip = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        match line.strip_prefix("tip:") {
            Some(text) if tip.is_none() => tip = Some(text.trim().to_owned()),
            None if tip.is_none() && !line.is_empty() => wrong.push(line),
            _ => {}
        }
    }
    let wrong = wrong.join(" ");
    let wrong = wrong.strip_prefix("error:").unwrap_or(&wrong).trim();
    CliError::usage(wrong)
        .with_hint(tip.unwrap_or_else(|| "--help shows what is understood".to_owned()))
}

/// What stands last behind an option of one of these names; the arguments could not be parsed, so this only looks at them.
fn last_value(arguments: impl IntoIterator<Item = OsString>, names: &[&str]) -> Option<String> {
    let mut last = None;
    let mut value_follows = false;
    for argument in arguments {
        let Some(argument) = argument.to_str() else {
            value_follows = false;
            continue;
        };
        // What stands behind is for somebody else.
        if argument == "--" {
            break;
        }
        let joined = names.iter().find_map(|name| {
            let rest = argument.strip_prefix(name)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(value),
                None => Some(rest).filter(|rest| !name.starts_with("--") && !rest.is_empty()),
            }
        });
        let value = if value_follows {
            Some(argument)
        } else {
            joined
        };
        value_follows = !value_follows && names.contains(&argument);
        if let Some(value) = value {
            last = Some(value.to_owned());
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_in_each_way_to_write_it() {
        let asked = |text: &str| {
            let arguments = text.split(' ').map(OsString::from);
            last_value(arguments, &["--output", "-o"]).as_deref() == Some("json")
        };
        for text in [
            "peak -o json --bogus",
            "peak x -ojson",
            "peak --output=json",
            "peak -o table --output json",
        ] {
            assert!(asked(text), "{text}");
        }
        for text in [
            "peak json",
            "peak -o table",
            "peak -o json -o table",
            "peak --output=jsonl",
            "peak x -- -o json",
        ] {
            assert!(!asked(text), "{text}");
        }
    }

    #[test]
    fn of_several_commands_that_may_be_meant_the_likeliest_comes_first() {
        let asked = ["peak", "images", "lst"];
        let error = CommandLine::command().try_get_matches_from(asked);
        let error = with_the_likeliest_first(error.unwrap_err());
        let hint = usage_error(&error.render().to_string()).hint.unwrap();
        assert!(hint.contains("exist: 'list', "), "{hint}");
    }

    #[test]
    fn a_usage_error_is_one_line_with_one_thing_to_do() {
        let error = usage_error(
            "error: the following required arguments were not provided:\n  <DIR>\n\nUsage: peak ship <DIR>\n\nFor more information, try '--help'.\n",
        );
        assert_eq!(
            error.message,
            "the following required arguments were not provided: <DIR>"
        );
        assert_eq!(
            error.hint.as_deref(),
            Some("--help shows what is understood")
        );
        let error = usage_error(
            "error: unrecognized subcommand 'shop'\n\n  tip: a similar subcommand exists: 'ship'\n\nUsage: x\n",
        );
        assert_eq!(error.message, "unrecognized subcommand 'shop'");
        assert_eq!(
            error.hint.as_deref(),
            Some("a similar subcommand exists: 'ship'")
        );
    }
}
