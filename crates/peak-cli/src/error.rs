//! What went wrong, in the one form that every command ends with: what happened, to what, and what to do.

use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use peak_sdk::docker::EngineError;
use peak_sdk::layout::LayoutError;
use peak_sdk::oci::ContentError;
use peak_sdk::registry::RegistryError;
use serde_json::json;

use crate::color::{self, Paint};
use crate::output::{moves_or_turns, printable};

/// The kinds of failure, each with its exit code. `spec/cli.md`, "Conventions".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Usage,
    Authentication,
    NotFound,
    Refused,
    Unavailable,
    Integrity,
    BuildFailed,
    Interrupted,
    /// Whoever read standard output has seen enough (`| head`): the end of the command, and no failure of it.
    OutputClosed,
    Other,
}

impl ErrorKind {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::Authentication => 3,
            Self::NotFound => 4,
            Self::Refused => 5,
            Self::Unavailable => 6,
            Self::Integrity => 7,
            Self::BuildFailed => 8,
            Self::Interrupted => 130,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Usage => "usage",
            Self::Authentication => "authentication",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Integrity => "integrity",
            Self::BuildFailed => "build_failed",
            Self::Interrupted => "interrupted",
            Self::OutputClosed => "output_closed",
        }
    }

    /// The kind of an HTTP status that a server answered with.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Authentication,
            404 => Self::NotFound,
            400 | 409 | 413 | 422 => Self::Refused,
            408 | 429 | 500..=599 => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

/// A failure as it is told to a person or a program.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) status: Option<u16>,
    pub(crate) url: Option<String>,
    pub(crate) hint: Option<String>,
    /// The `peak doctor …` that looks closer.
    pub(crate) doctor: Option<Box<str>>,
    /// What was not there, where names like it can be looked for.
    pub(crate) missing: Option<Box<Missing>>,
    /// The registry or repository that did not let us in, where it can be looked up as whom we asked.
    pub(crate) refused: Option<Box<str>>,
    /// Whether it is the platform that could not be reached, where it can be looked up which one is meant.
    pub(crate) is_of_platform: bool,
}

/// A tag that a repository does not have, or a repository that a registry does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Registry and repository, as `registry.example/team/app`.
    pub(crate) repository: String,
    /// The tag; `None` where the whole repository is missing.
    pub(crate) tag: Option<String>,
}

impl CliError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            url: None,
            hint: None,
            doctor: None,
            missing: None,
            refused: None,
            is_of_platform: false,
        }
    }

    /// A failure of a library: its message and those of its causes, each said once.
    pub(crate) fn from_chain(kind: ErrorKind, error: &(dyn StdError + 'static)) -> Self {
        Self::new(kind, chain(error))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, message)
    }

    /// A file that was named and cannot be read.
    pub(crate) fn unreadable(file: &Path, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => ErrorKind::Usage,
            _ => ErrorKind::Other,
        };
        let file = printable(&file.display().to_string());
        match error.kind() {
            io::ErrorKind::NotFound => Self::new(kind, format!("there is no file `{file}`"))
                .with_hint("check the path; it counts from the current directory"),
            io::ErrorKind::IsADirectory => {
                Self::new(kind, format!("`{file}` is a directory")).with_hint("name a file")
            }
            _ => Self::new(
                kind,
                format!("`{file}` cannot be read: {}", tidy(&error.to_string())),
            ),
        }
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted").with_hint(
            "nothing half-written is left here; a request that was sent may still be carried out",
        )
    }

    /// Says before the message what could not be done.
    pub(crate) fn with_context(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.message = message;
        self
    }

    pub(crate) fn with_status(mut self, status: Option<u16>) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_url(mut self, url: Option<String>) -> Self {
        self.url = url;
        self
    }

    /// About this URL, unless one is known already.
    pub(crate) fn or_url(mut self, url: Option<&str>) -> Self {
        if self.url.is_none() {
            self.url = url.map(str::to_owned);
        }
        self
    }

    pub(crate) fn with_missing(mut self, missing: Option<Missing>) -> Self {
        self.missing = missing.map(Box::new);
        self
    }

    pub(crate) fn of_platform(mut self) -> Self {
        self.is_of_platform = true;
        self
    }

    pub(crate) fn with_refused(mut self, repository: &str) -> Self {
        self.refused = Some(repository.into());
        self
    }

    /// With more to do, or to know, after what is said already.
    pub(crate) fn with_more_hint(mut self, hint: &str) -> Self {
        self.hint = Some(match self.hint.take() {
            Some(first) => format!("{first}; {hint}"),
            None => hint.to_owned(),
        });
        self
    }

    /// With this advice in place of what there was.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self.doctor = None;
        self
    }

    pub(crate) fn with_doctor(mut self, command: String) -> Self {
        self.doctor = Some(command.into());
        self
    }

    /// What to do, and which command looks closer.
    fn advice(&self) -> Option<String> {
        let Some(doctor) = &self.doctor else {
            return self.hint.clone();
        };
        let closer = format!("`{doctor}` looks closer");
        Some(match &self.hint {
            Some(hint) => format!("{hint}; {closer}"),
            None => closer,
        })
    }

    /// Writes the error to standard error, as one line or one JSON object, and gives its exit code.
    pub(crate) fn report(&self, as_json: bool) -> ExitCode {
        if self.kind == ErrorKind::OutputClosed {
            return ExitCode::from(self.kind.exit_code());
        }
        let text = if as_json {
            json!({"error": {
                "kind": self.kind.name(),
                "message": self.message,
                "status": self.status,
                "url": self.url,
                "hint": self.advice(),
            }})
            .to_string()
        } else {
            let label = color::painted("error:", Paint::Error, color::is_on(&io::stderr()));
            let message = single_line(&self.message);
            match self.advice() {
                Some(advice) => format!("{label} {message}; {}", single_line(&advice)),
                None => format!("{label} {message}"),
            }
        };
        // Standard error may be closed; the exit code still tells.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
        ExitCode::from(self.kind.exit_code())
    }
}

/// The messages of an error and its causes, joined; a cause that only repeats what was said is left out, and so is what
/// only sorts another error.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error).filter(|cause| !is_envelope(*cause)) {
        let message = tidy(&cause.to_string());
        if message.is_empty() || text.contains(&message) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&message);
    }
    text
}

/// An error and its causes, the deepest last; also what an `io::Error` was made from, which it hides.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let hidden = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match hidden {
        Some(hidden) => Some(hidden),
        None => error.source(),
    }
}

/// Whether an error says of its cause only what kind of thing it is.
fn is_envelope(error: &(dyn StdError + 'static)) -> bool {
    error.is::<ContentError>()
        && error.source().is_some_and(|source| {
            source.is::<RegistryError>() || source.is::<EngineError>() || source.is::<LayoutError>()
        })
}

/// The words of an error without those that are for programmers: the names that libraries give to their own layers, and
/// the numbers of the operating system's errors.
pub(crate) fn tidy(message: &str) -> String {
    const LAYERS: [&str; 4] = [
        "client error (Connect)",
        "client error (SendRequest)",
        "dns error",
        "tcp connect error",
    ];
    if LAYERS.contains(&message) {
        return String::new();
    }
    match message.rsplit_once(" (os error ") {
        Some((words, number)) if number.ends_with(')') => words.to_owned(),
        _ => message.to_owned(),
    }
}

/// Longest message or hint that is printed as text, in characters: names that are wrong may also be endless.
const MESSAGE_LIMIT: usize = 2000;

/// A server's message may have line breaks and control characters; an error is one line, of a length that can be read.
fn single_line(text: &str) -> String {
    let words: String = text
        .chars()
        .map(|c| if moves_or_turns(c) { ' ' } else { c })
        .collect();
    let words = words.trim();
    let count = words.chars().count();
    if count <= MESSAGE_LIMIT {
        return words.to_owned();
    }
    // Where it ends is where it says why.
    let half = MESSAGE_LIMIT / 2;
    let beginning: String = words.chars().take(half).collect();
    let end: String = words.chars().skip(count - half).collect();
    format!("{beginning}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_the_exit_code_of_the_specification() {
        for (status, code) in [
            (400, 5),
            (401, 3),
            (403, 3),
            (404, 4),
            (409, 5),
            (413, 5),
            (422, 5),
            (429, 6),
            (500, 6),
            (503, 6),
            (418, 1),
        ] {
            assert_eq!(ErrorKind::of_status(status).exit_code(), code, "{status}");
        }
    }

    #[test]
    fn a_chain_says_each_layer_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the request failed")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("connection reset"));
        assert_eq!(chain(&error), "the request failed: connection reset");
    }

    #[test]
    fn an_error_is_one_line_whatever_the_server_said() {
        assert_eq!(single_line("two\nlines\u{1b}[31m"), "two lines [31m");
        let long = single_line(&format!("{}: why", "é".repeat(100_000)));
        assert_eq!(long.chars().count(), MESSAGE_LIMIT + 1);
        assert!(long.ends_with("é: why"), "{long}");
    }
}
