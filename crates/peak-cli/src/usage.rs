//! A command line that cannot be understood, told in the form of every other error.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};
use clap::{Arg, ColorChoice, CommandFactory as _, FromArgMatches as _, ValueEnum as _};
use peak_sdk::oci::without_user;

use crate::arguments::{ColorMode, CommandLine};
use crate::color;
use crate::error::CliError;
use crate::output::{shown, write_out};
use crate::paths::in_shell;
use crate::suggest::nearest;

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
    let matches = matches.map_err(|error| {
        let arguments: Vec<_> = std::env::args_os().collect();
        with_fitting_tips(with_the_likeliest_first(error), &arguments)
    })?;
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

/// Takes out clap's tips that lead astray: that an unknown option could be a value behind `--`, and names that are hardly
/// like what was written. Of an option that has the name of an argument it says where that one stands.
fn with_fitting_tips(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let given = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(given)) if error.kind() == ClapErrorKind::UnknownArgument => {
            given.trim_start_matches('-').to_owned()
        }
        _ => return error,
    };
    let is_like = |option: &str| {
        let option = option.trim_start_matches('-');
        option == given || option.starts_with(&given) || !nearest(&given, [option]).is_empty()
    };
    let suggested = match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(option)) => Some(is_like(option)),
        _ => None,
    };
    if suggested == Some(false) {
        error.remove(ContextKind::SuggestedArg);
    }
    let mut tips: Vec<StyledStr> = match error.remove(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips,
        _ => Vec::new(),
    };
    // What is left says `'COMMAND --OPTION' exists`.
    tips.retain(|tip| {
        let tip = tip.to_string();
        let option = tip
            .split('\'')
            .nth(1)
            .and_then(|text| text.split(' ').next_back());
        !tip.contains("as a value") && option.is_some_and(&is_like)
    });
    if suggested != Some(true)
        && let Some(tip) = as_positional(&error, &given, arguments)
    {
        tips = vec![StyledStr::from(tip)];
    }
    if !tips.is_empty() {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// Where an argument stands that was written as an option of its name, and the command so.
fn as_positional(error: &clap::Error, given: &str, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return None;
    };
    let usage = usage.to_string();
    let mut words = usage.trim_start_matches("Usage:").split_whitespace();
    let mut line = words.next()?.to_owned();
    let root = CommandLine::command();
    let mut command = &root;
    for word in words {
        let Some(inner) = command.find_subcommand(word) else {
            break;
        };
        command = inner;
        line = format!("{line} {word}");
    }
    let meant = command
        .get_positionals()
        .find(|positional| option_names(positional).iter().any(|name| name == given))?;
    for positional in command.get_positionals() {
        let values = option_names(positional);
        let value = values.iter().find_map(|name| value_of(name, arguments));
        if let Some(value) = value {
            line = format!("{line} {}", in_shell(Path::new(&shown(&value))));
        } else if positional == meant || positional.is_required_set() {
            line = format!("{line} {}", value_name(positional));
        }
    }
    Some(format!(
        "{} stands without an option: `{line}`",
        value_name(meant)
    ))
}

/// The name of a positional argument in the help.
fn value_name(positional: &Arg) -> String {
    match positional.get_value_names().and_then(<[_]>::first) {
        Some(name) => name.to_string(),
        None => positional.get_id().as_str().to_uppercase(),
    }
}

/// The options that a positional argument might be taken for.
fn option_names(positional: &Arg) -> [String; 2] {
    [
        value_name(positional),
        positional.get_id().as_str().to_owned(),
    ]
    .map(|name| name.to_lowercase().replace('_', "-"))
}

/// What stands behind an option that there is none of.
fn value_of(option: &str, arguments: &[OsString]) -> Option<String> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            return None;
        }
        let Some(rest) = argument
            .strip_prefix("--")
            .and_then(|rest| rest.strip_prefix(option))
        else {
            continue;
        };
        if rest.is_empty() {
            let value = arguments.next()?;
            return (!value.starts_with('-')).then(|| value.into_owned());
        }
        if let Some(value) = rest.strip_prefix('=') {
            return Some(value.to_owned());
        }
    }
    None
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
    // Clap repeats what was written, between quotes; it may be a host with a password before it.
    let wrong: Vec<_> = wrong.split('\'').map(without_user).collect();
    CliError::usage(wrong.join("'"))
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

    fn told(line: &str) -> (String, String) {
        let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
        let error = CommandLine::command().try_get_matches_from(&arguments);
        let error = with_fitting_tips(error.unwrap_err(), &arguments);
        let error = usage_error(&error.render().to_string());
        (error.message, error.hint.unwrap())
    }

    #[test]
    fn an_option_that_is_an_argument_is_told_where_it_stands() {
        for (line, expected) in [
            (
                "peak images describe --image-id 1",
                "IMAGE_ID stands without an option: `peak images describe 1`",
            ),
            (
                "peak images list-builds --image-id=1",
                "IMAGE_ID stands without an option: `peak images list-builds 1`",
            ),
            (
                "peak images describe --image-id",
                "IMAGE_ID stands without an option: `peak images describe IMAGE_ID`",
            ),
            (
                "peak registry copy --src user:secret@a.example/b --dst oci:c",
                "SRC stands without an option: `peak registry copy '…@a.example/b' oci:c`",
            ),
        ] {
            let (message, hint) = told(line);
            assert!(message.starts_with("unexpected argument '--"), "{message}");
            assert_eq!(hint, expected);
        }
    }

    #[test]
    fn only_what_is_like_it_is_suggested_for_an_unknown_option() {
        for (line, expected) in [
            (
                "peak images list --bogus",
                "--help shows what is understood",
            ),
            (
                "peak images describe --bogus 1",
                "--help shows what is understood",
            ),
            (
                "peak images list --page-sise 1",
                "a similar argument exists: '--page-size'",
            ),
            (
                "peak registry login a.example --user me",
                "a similar argument exists: '--username'",
            ),
            (
                "peak ship . --quite",
                "a similar argument exists: '--quiet'",
            ),
        ] {
            assert_eq!(told(line).1, expected, "{line}");
        }
    }

    #[test]
    fn what_clap_repeats_has_no_password() {
        for line in [
            "peak registry user:secret@a.example",
            "peak registry logout a.example user:secret@a.example",
            "peak registry copy a b --concurrency user:secret@a.example",
        ] {
            let (message, hint) = told(line);
            assert!(message.contains("…@a.example"), "{message}");
            assert!(!format!("{message}{hint}").contains("secret"), "{message}");
        }
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
