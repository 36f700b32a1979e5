//! One thing that was looked at, and what was found.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::CliError;
use crate::output::moves_or_turns;

/// Longest text that is shown of what others say, in characters.
const MAX_TEXT: usize = 600;

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Group {
    Configuration,
    Credentials,
    Engine,
    Network,
    Platform,
    Registry,
}

impl Group {
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::Credentials => "Credentials",
            Self::Engine => "Docker Engine",
            Self::Network => "Network",
            Self::Platform => "Peak platform",
            Self::Registry => "Registry",
        }
    }
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// Something is missing that not every command needs.
    Warning,
    /// Something that is set, or that was asked for, does not work.
    Failed,
    /// It was not looked at.
    Skipped,
}

impl Status {
    /// The word that it is told by, so that no colour has to.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warn",
            Self::Failed => "FAIL",
            Self::Skipped => "skip",
        }
    }
}

/// One thing that was looked at. All texts are fit for a terminal.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) group: Group,
    pub(super) status: Status,
    pub(super) finding: String,
    /// What to do.
    pub(super) hint: Option<String>,
    /// The same in parts, for programs.
    pub(super) details: Map<String, Value>,
}

impl Check {
    fn new(group: Group, name: &'static str, status: Status, finding: &str) -> Self {
        Self {
            name,
            group,
            status,
            finding: shown(finding),
            hint: None,
            details: Map::new(),
        }
    }

    pub(super) fn ok(group: Group, name: &'static str, finding: impl AsRef<str>) -> Self {
        Self::new(group, name, Status::Ok, finding.as_ref())
    }

    pub(super) fn warning(group: Group, name: &'static str, finding: impl AsRef<str>) -> Self {
        Self::new(group, name, Status::Warning, finding.as_ref())
    }

    pub(super) fn failed(group: Group, name: &'static str, finding: impl AsRef<str>) -> Self {
        Self::new(group, name, Status::Failed, finding.as_ref())
    }

    pub(super) fn skipped(group: Group, name: &'static str, finding: impl AsRef<str>) -> Self {
        Self::new(group, name, Status::Skipped, finding.as_ref())
    }

    /// What failed, with what its error says to do.
    pub(super) fn error(group: Group, name: &'static str, error: &CliError) -> Self {
        let check = Self::failed(group, name, &error.message);
        // Where an error says to ask the doctor, this is what it says.
        match &error.hint {
            Some(hint) => check.hint(hint),
            None => check,
        }
    }

    pub(super) fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(shown(hint.as_ref()));
        self
    }

    pub(super) fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), cleaned(value.into()));
        self
    }
}

/// Text that may come from anywhere, on one line: without characters that move the cursor, change what stands around
/// them, or turn the direction of writing.
fn shown(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|character| {
            if moves_or_turns(character) {
                ' '
            } else {
                character
            }
        })
        .collect();
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = words.char_indices().nth(MAX_TEXT) {
        words.truncate(cut);
        words.push('…');
    }
    words
}

fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(shown(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(cleaned).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (shown(&name), cleaned(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_say_cannot_move_the_cursor_turn_the_text_or_fill_the_screen() {
        let check = Check::failed(Group::Registry, "tls", "a\u{1b}[2J\r\nb\u{202e}c")
            .hint("x".repeat(10_000))
            .detail("told", json!({"a\u{7}": ["\u{1b}]0;t\u{7}"]}));
        assert_eq!(check.finding, "a [2J b c");
        assert_eq!(check.hint.unwrap().chars().count(), MAX_TEXT + 1);
        let details = serde_json::to_string(&check.details).unwrap();
        assert_eq!(details, r#"{"told":{"a":["]0;t"]}}"#);
    }
}
