//! Why a registry refuses something, by what it says itself.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use url::Url;

/// Longest error body that is read, in bytes.
pub(crate) const MAX_ERROR_BODY: u64 = 64 * 1024;
/// Most errors of one body that are kept.
const MAX_ERRORS: usize = 8;
/// Most characters of a code or a message that are kept.
const MAX_TEXT: usize = 300;

/// What a registry's error body says: its codes and messages, cut to a readable length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    list: Vec<Reason>,
    /// For how long the registry wants to be left alone, where it says that.
    wait: Option<Duration>,
    /// The answer that this is from.
    answer: Option<Box<Answer>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Without secrets.
    pub(crate) url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reason {
    code: String,
    message: String,
}

impl Reasons {
    /// Reads the JSON error body of the distribution specification; anything else is no reason.
    pub(crate) fn parse(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            errors: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            code: Option<String>,
            #[serde(default)]
            message: Option<String>,
        }
        let Ok(body) = serde_json::from_slice::<Body>(body) else {
            return Self::default();
        };
        let entries = body.errors.into_iter().take(MAX_ERRORS);
        let list = entries.map(|entry| Reason {
            code: printable(entry.code.as_deref().unwrap_or("UNKNOWN")),
            message: printable(entry.message.as_deref().unwrap_or_default()),
        });
        Self {
            list: list.collect(),
            ..Self::default()
        }
    }

    /// With the answer that they are from.
    pub(crate) fn of_answer(mut self, status: StatusCode, url: &Url) -> Self {
        let url = peak_http::redact::url(url);
        self.answer = Some(Box::new(Answer { status, url }));
        self
    }

    pub(crate) fn answer(&self) -> Option<&Answer> {
        self.answer.as_deref()
    }

    /// With the time that the answer's headers say.
    pub(crate) fn waiting(mut self, wait: Option<Duration>) -> Self {
        self.wait = wait;
        self
    }

    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// What the registry calls them.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|reason| reason.code.as_str())
    }

    /// Whether one of these codes is among them.
    pub(crate) fn has_any(&self, codes: &[&str]) -> bool {
        self.codes().any(|code| codes.contains(&code))
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, reason) in self.list.iter().enumerate() {
            let separator = if position == 0 { ": " } else { "; " };
            write!(formatter, "{separator}{}", reason.code)?;
            if !reason.message.is_empty() {
                write!(formatter, " ({})", reason.message)?;
            }
        }
        Ok(())
    }
}

/// Text from a server, fit for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(MAX_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_body_becomes_readable_reasons() {
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"no\u001b[31m such","detail":{}},{"code":"X"},{"detail":null}]}"#;
        assert_eq!(
            Reasons::parse(body).to_string(),
            ": NAME_UNKNOWN (no [31m such); X; UNKNOWN"
        );
    }

    #[test]
    fn other_bodies_give_no_reasons() {
        for body in ["", "<html>404</html>", "[]", "{}", r#"{"errors":7}"#] {
            assert_eq!(
                Reasons::parse(body.as_bytes()),
                Reasons::default(),
                "{body}"
            );
        }
        let many = format!(
            r#"{{"errors":[{}]}}"#,
            vec![format!(r#"{{"message":"{}"}}"#, "x".repeat(5000)); 50].join(",")
        );
        assert!(Reasons::parse(many.as_bytes()).to_string().len() < 3000);
    }
}
