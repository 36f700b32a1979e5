//! Results on standard output, as JSON or as a table.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use peak_sdk::oci::without_user;
use serde::Serialize;

use crate::arguments::OutputTarget;
use crate::error::{CliError, ErrorKind};
pub(crate) use crate::table::table;

/// The form in which results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Json,
    Yaml,
    Table,
}

impl Output {
    /// The form that was asked for last, if any was.
    pub(crate) fn asked(targets: &[OutputTarget]) -> Option<Self> {
        targets.iter().rev().find_map(|target| match target {
            OutputTarget::Json => Some(Self::Json),
            OutputTarget::Yaml => Some(Self::Yaml),
            OutputTarget::Table => Some(Self::Table),
            OutputTarget::File(_) => None,
        })
    }

    /// Where none was asked for: a table on a terminal, and JSON for whatever reads a pipe.
    pub(crate) fn usual() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Table
        } else {
            Self::Json
        }
    }

    /// Prints a value as it is, or as what a person reads in its place.
    pub(crate) fn value<T: Serialize>(
        self,
        value: &T,
        for_a_person: impl FnOnce() -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        match self {
            Self::Json => write_json(value),
            Self::Yaml => write_yaml(value),
            Self::Table => write_out(for_a_person()?),
        }
    }

    /// Prints one object: as it is, or its rows of name and value.
    pub(crate) fn object<T: Serialize>(
        self,
        value: &T,
        rows: &[(&str, String)],
    ) -> Result<(), CliError> {
        self.value(value, || Ok(aligned(rows)))
    }

    /// Prints a page of a log: as it is, or its lines.
    pub(crate) fn log<'a, T: Serialize>(
        self,
        page: &T,
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), CliError> {
        self.value(page, || {
            let lines = lines.into_iter();
            Ok(lines.fold(String::new(), |text, line| text + &printable(line) + "\n"))
        })
    }
}

/// Rows of name and value, the values below each other.
pub(crate) fn aligned(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |text, (name, value)| {
        text + &format!("{:<width$}  {}\n", printable(name), printable(value))
    })
}

/// Prints a value as YAML.
fn write_yaml<T: Serialize>(value: &T) -> Result<(), CliError> {
    write_out(to_yaml(value)?)
}

/// A value as a YAML document. It goes through JSON, so that keys and numbers are those of the API.
pub(crate) fn to_yaml<T: Serialize>(value: &T) -> Result<String, CliError> {
    let value = serde_json::to_value(value).map_err(|error| not_json(&error))?;
    let mut text = serde_saphyr::to_string(&value).map_err(|error| {
        CliError::other(format!("the result cannot be written as YAML: {error}"))
    })?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Prints a value as JSON.
pub(crate) fn write_json<T: Serialize>(value: &T) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| not_json(&error))?;
    text.push('\n');
    write_out(text)
}

/// Prints a value as one line of JSON, for lists that come bit by bit.
pub(crate) fn write_json_line<T: Serialize>(value: &T) -> Result<(), CliError> {
    let text = serde_json::to_string(value).map_err(|error| not_json(&error))?;
    write_out(format!("{text}\n"))
}

fn not_json(error: &serde_json::Error) -> CliError {
    CliError::other(format!("the result cannot be written as JSON: {error}"))
}

/// Prints a line of a log. It may hold anything, so control characters do not reach a terminal.
pub(crate) fn write_log_line(line: &str) -> Result<(), CliError> {
    write_out(format!("{}\n", printable(line)))
}

/// Writes to standard output as it is. A reader that closed the pipe early (`| head`) ends the command by
/// [`ErrorKind::OutputClosed`], which is not told as an error.
pub(crate) fn write_out(text: impl AsRef<[u8]>) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush())
        .map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::BrokenPipe => ErrorKind::OutputClosed,
                _ => ErrorKind::Other,
            };
            CliError::new(kind, format!("standard output cannot be written: {error}"))
        })
}

/// Whether a character moves the cursor or changes what stands around it, or turns the direction of writing, so that a
/// terminal would show another text than is there.
pub(crate) fn moves_or_turns(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text that came from elsewhere, without what could rewrite what the terminal shows.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if moves_or_turns(c) && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The name of an image, a registry or a place as somebody has written it, fit to be shown: without a user and a password
/// before a host.
pub(crate) fn shown(name: &str) -> String {
    printable(&without_user(name))
}

/// A number of things: `1 layer`, `2 layers`.
pub(crate) fn counted<N: Copy + Display + From<u8> + PartialEq>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A size for a person: decimal units, as registries and `docker images` give them.
pub(crate) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut whole = bytes;
    let mut rest = 0;
    let mut unit = "B";
    for name in UNITS {
        if whole < 1000 {
            break;
        }
        rest = whole % 1000;
        whole /= 1000;
        unit = name;
    }
    format!("{whole}.{} {unit}", rest / 100)
}

#[cfg(test)]
mod tests {
    use super::{counted, human_size, printable};

    #[test]
    fn control_characters_of_a_log_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\tc\r"), "a\u{fffd}[2Jb\tc\u{fffd}");
        assert_eq!(printable("exe.\u{202e}gpj"), "exe.\u{fffd}gpj");
    }

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!(counted(0_usize, "layer"), "0 layers");
        assert_eq!(counted(1_u64, "layer"), "1 layer");
        assert_eq!(counted(2_u64, "layer"), "2 layers");
    }

    #[test]
    fn sizes_read_as_decimal_units() {
        assert_eq!(human_size(0), "0 B");
        assert_eq!(human_size(999), "999 B");
        assert_eq!(human_size(1000), "1.0 kB");
        assert_eq!(human_size(1_234_567), "1.2 MB");
        assert_eq!(human_size(u64::MAX), "18446.7 PB");
    }
}
