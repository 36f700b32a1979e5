//! What went wrong, in the one form that every command ends with: what happened, to what, and what to do.

use std::error::Error as StdError;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

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
}

impl CliError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            url: None,
            hint: None,
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

    pub(crate) fn with_status(mut self, status: Option<u16>) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_url(mut self, url: Option<String>) -> Self {
        self.url = url;
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
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
                "hint": self.hint,
            }})
            .to_string()
        } else {
            match &self.hint {
                Some(hint) => format!("error: {}; {hint}", single_line(&self.message)),
                None => format!("error: {}", single_line(&self.message)),
            }
        };
        // Standard error may be closed; the exit code still tells.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
        ExitCode::from(self.kind.exit_code())
    }
}

/// The messages of an error and its causes, joined; a cause that only repeats what was said is left out.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = cause.source();
    }
    text
}

/// A server's message may have line breaks and control characters; an error is one line.
fn single_line(text: &str) -> String {
    let words: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    words.trim().to_owned()
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
    }
}
