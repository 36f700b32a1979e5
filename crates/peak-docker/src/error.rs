//! What can go wrong with an Engine, by outcome.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::config::EngineConfigError;
use crate::version::ApiVersion;

/// Longest error body that is read, in bytes.
pub(crate) const MAX_ERROR_BODY: usize = 64 * 1024;
/// Longest message of the Engine that is kept, in characters.
const MAX_MESSAGE: usize = 2000;

/// An error of the Docker Engine or of the way to it.
///
/// `what` is the operation in short (`push of registry.example/app:v1`), `message` what the Engine said, without control
/// characters and bounded in length.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No Engine answers at any of the places where it may be.
    #[error(
        "no Docker Engine answers{}; start one, or say where it is with DOCKER_HOST or `docker context use`",
        Places(tried)
    )]
    Unreachable {
        /// Where it was looked for, in this order.
        tried: Vec<TriedEndpoint>,
    },
    /// The settings of the environment cannot be followed.
    #[error("the place of the Docker Engine is not known")]
    Config(#[from] EngineConfigError),
    /// The Engine is older than what is spoken here, or than what an option of the operation needs.
    #[error(
        "the Docker Engine at {endpoint} speaks version {offered} of its API, and at least {needed} is needed"
    )]
    TooOld {
        /// Where it is.
        endpoint: String,
        /// Its newest version.
        offered: ApiVersion,
        /// The oldest version that would do.
        needed: ApiVersion,
    },
    /// A name that cannot be asked for.
    #[error("`{name}` {why}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Credentials would be sent in the clear to another machine.
    #[error(
        "credentials would go unprotected to the Docker Engine at {endpoint}; have it speak TLS (DOCKER_TLS_VERIFY), or forward its socket by ssh"
    )]
    UnprotectedCredentials {
        /// Where it is.
        endpoint: String,
    },
    /// There is no such thing, in the Engine or in the registry that it asked.
    #[error("{what}: not found: {message}")]
    NotFound {
        /// The operation.
        what: String,
        /// What the Engine said.
        message: String,
    },
    /// The Engine, or the registry that it asked, knows who asks and refuses.
    #[error("{what}: access is denied: {message}")]
    Denied {
        /// The operation.
        what: String,
        /// What the Engine said.
        message: String,
    },
    /// The registry that the Engine asked wants credentials, or others.
    #[error("{what}: the registry asks for other credentials: {message}")]
    Unauthorized {
        /// The operation.
        what: String,
        /// What the Engine said.
        message: String,
    },
    /// It is in use, or already there.
    #[error("{what}: in conflict with what is there: {message}")]
    Conflict {
        /// The operation.
        what: String,
        /// What the Engine said.
        message: String,
    },
    /// The Engine could not do it.
    #[error("{what}: the Docker Engine failed: {message}")]
    Failed {
        /// The operation.
        what: String,
        /// The status of its answer. `None` where it began well, and the error came in the middle.
        status: Option<StatusCode>,
        /// What the Engine said.
        message: String,
    },
    /// The connection to the Engine broke before the operation was over, as when the Engine is stopped or killed.
    #[error(
        "{what}: the connection to the Docker Engine broke before it was done; is the Engine still running?"
    )]
    Interrupted {
        /// The operation.
        what: String,
        /// How it broke.
        source: peak_http::Error,
    },
    /// The Engine says nothing more, not even that it is alive.
    #[error("{what}: the Docker Engine stopped answering; is it still running?")]
    Unresponsive {
        /// The operation.
        what: String,
        /// What became of the question whether it is alive, where that is known.
        source: Option<peak_http::Error>,
    },
    /// The Engine is alive, but in this operation nothing happened for too long.
    #[error("{what}: nothing happened for {} seconds", silence.as_secs())]
    Silent {
        /// The operation.
        what: String,
        /// For how long.
        silence: Duration,
    },
    /// What the Engine said is not what its API promises.
    #[error("{what}: the answer is not one of a Docker Engine: {message}")]
    Unexpected {
        /// The operation.
        what: String,
        /// What is wrong with it.
        message: String,
    },
    /// What the caller gave to be sent (an archive, a build context) could not be read.
    #[error("{what}: what is to be sent could not be read")]
    Input {
        /// The operation.
        what: String,
        /// Why not.
        source: peak_http::Error,
    },
    /// The request failed otherwise.
    #[error("{what}: the request failed")]
    Http {
        /// The operation.
        what: String,
        /// How.
        source: peak_http::Error,
    },
}

/// A place where an Engine was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriedEndpoint {
    /// Who says that it may be there: `DOCKER_HOST`, `rootless Docker`.
    pub origin: String,
    /// The place; `None` where a setting names none that can be reached.
    pub endpoint: Option<String>,
    /// Why there is none.
    pub why: String,
}

impl fmt::Display for TriedEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(formatter, "{endpoint} ({}): {}", self.origin, self.why),
            None => write!(formatter, "{}: {}", self.origin, self.why),
        }
    }
}

struct Places<'a>(&'a [TriedEndpoint]);

impl fmt::Display for Places<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str(": there is no place where one would be");
        }
        // On one line, as errors are shown and logged.
        for (number, tried) in self.0.iter().enumerate() {
            let before = if number == 0 { ": tried " } else { ", " };
            write!(formatter, "{before}{tried}")?;
        }
        Ok(())
    }
}

impl EngineError {
    /// There is no such image, tag or repository.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The Engine or the registry knows who asks and refuses (403).
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// The registry wants credentials, or others (401).
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized { .. })
    }

    /// There is no Engine to speak with. Nothing was asked of one.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// The Engine went away, or stopped answering, in the middle of the operation.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted { .. } | Self::Unresponsive { .. })
    }

    /// An answer with a status that is no success, and its body.
    pub(crate) fn of_status(what: &str, status: StatusCode, body: &[u8]) -> Self {
        let message = message_of(body, status);
        let kind = match status {
            // What a registry refused to a pull comes with this status too.
            StatusCode::NOT_FOUND if message.starts_with("pull access denied") => {
                Kind::of_message(&message)
            }
            StatusCode::NOT_FOUND => Kind::NotFound,
            StatusCode::FORBIDDEN => Kind::Denied,
            StatusCode::UNAUTHORIZED => Kind::Unauthorized,
            StatusCode::CONFLICT => Kind::Conflict,
            // Older Engines answer 500 to whatever a registry says.
            StatusCode::INTERNAL_SERVER_ERROR => Kind::of_message(&message),
            _ => Kind::Other,
        };
        Self::of_kind(kind, what, Some(status), message)
    }

    /// An `error` in the stream of an operation that began well. `code` is that of `errorDetail`.
    pub(crate) fn in_stream(what: &str, code: Option<i64>, message: &str) -> Self {
        let message = clean(message);
        let kind = match code {
            Some(401) => Kind::Unauthorized,
            Some(403) => Kind::Denied,
            Some(404) => Kind::NotFound,
            Some(409) => Kind::Conflict,
            _ => Kind::of_message(&message),
        };
        Self::of_kind(kind, what, None, message)
    }

    fn of_kind(kind: Kind, what: &str, status: Option<StatusCode>, message: String) -> Self {
        let what = what.to_owned();
        match kind {
            Kind::NotFound => Self::NotFound { what, message },
            Kind::Denied => Self::Denied { what, message },
            Kind::Unauthorized => Self::Unauthorized { what, message },
            Kind::Conflict => Self::Conflict { what, message },
            Kind::Other => Self::Failed {
                what,
                status,
                message,
            },
        }
    }

    /// Credentials that do not fit into a header.
    pub(crate) fn unsendable_credentials(what: &str) -> Self {
        Self::Http {
            what: what.to_owned(),
            source: peak_http::Error::new(
                peak_http::ErrorKind::Authentication,
                "the credentials cannot stand in a header",
            ),
        }
    }

    /// A request that brought no answer, or a body that broke.
    pub(crate) fn of_transport(what: &str, source: peak_http::Error) -> Self {
        use peak_http::ErrorKind;
        let what = what.to_owned();
        match source.kind() {
            ErrorKind::Connect | ErrorKind::Transport => Self::Interrupted { what, source },
            ErrorKind::Timeout | ErrorKind::Idle => Self::Unresponsive {
                what,
                source: Some(source),
            },
            ErrorKind::Body => Self::Input { what, source },
            ErrorKind::Decode | ErrorKind::TooLarge => Self::Unexpected {
                message: source.to_string(),
                what,
            },
            _ => Self::Http { what, source },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NotFound,
    Denied,
    Unauthorized,
    Conflict,
    Other,
}

impl Kind {
    /// What the text of an error says, where no code does: the Engine passes on what the registry said, with the code of
    /// the distribution specification in front (`denied: …`), and has a few texts of its own.
    fn of_message(message: &str) -> Self {
        let text = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        // "pull access denied …, repository does not exist or may require 'docker login'" comes with the registry's reason
        // behind it; so what names a reason is looked for first. With the space, since names of images end at the colon.
        if says(&[
            "unauthorized: ",
            "authentication required",
            "no basic auth credentials",
            "incorrect username or password",
            "401 unauthorized",
        ]) {
            Self::Unauthorized
        } else if says(&[
            "denied: ",
            "access denied",
            "access to the resource is denied",
            "403 forbidden",
        ]) {
            Self::Denied
        } else if says(&[
            "manifest unknown",
            "name unknown",
            "not found",
            "does not exist",
            "no such image",
        ]) {
            Self::NotFound
        } else {
            Self::Other
        }
    }
}

/// What an answer that is no success says.
fn message_of(body: &[u8], status: StatusCode) -> String {
    #[derive(Deserialize)]
    struct Body {
        message: String,
    }

    let text = match serde_json::from_slice(body) {
        Ok(Body { message }) => clean(&message),
        Err(_) => clean(&String::from_utf8_lossy(body)),
    };
    if text.is_empty() {
        format!("it answered {status}")
    } else {
        text
    }
}

/// One line of bounded length without control characters, which could write over a terminal.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    for (count, word) in text
        .split(|character: char| character.is_control() || character == ' ')
        .filter(|word| !word.is_empty())
        .enumerate()
    {
        if count > 0 {
            cleaned.push(' ');
        }
        cleaned.push_str(word);
        if cleaned.len() > MAX_MESSAGE * 4 {
            break;
        }
    }
    if let Some((end, _)) = cleaned.char_indices().nth(MAX_MESSAGE) {
        cleaned.truncate(end);
        cleaned.push('…');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_streams_are_sorted_by_their_code_or_by_their_text() {
        for (code, message, kind) in [
            (Some(401), "x", Kind::Unauthorized),
            (Some(403), "x", Kind::Denied),
            (Some(404), "x", Kind::NotFound),
            (Some(500), "denied: no", Kind::Denied),
            (
                None,
                "denied: requested access to the resource is denied",
                Kind::Denied,
            ),
            (
                None,
                "unauthorized: authentication required",
                Kind::Unauthorized,
            ),
            (None, "no basic auth credentials", Kind::Unauthorized),
            (
                None,
                "pull access denied for a/b, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Kind::Denied,
            ),
            (
                None,
                "manifest for h:1/a:v2 not found: manifest unknown: manifest unknown",
                Kind::NotFound,
            ),
            (
                None,
                "An image does not exist locally with the tag: h:1/a",
                Kind::NotFound,
            ),
            (None, "blob upload unknown", Kind::Other),
        ] {
            let error = EngineError::in_stream("push", code, message);
            let same = match kind {
                Kind::NotFound => error.is_not_found(),
                Kind::Denied => error.is_denied(),
                Kind::Unauthorized => error.is_unauthorized(),
                Kind::Conflict | Kind::Other => matches!(error, EngineError::Failed { .. }),
            };
            assert!(same, "{message}: {error:?}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn statuses_have_their_outcomes_and_messages_come_out_of_json() {
        let of = |status: u16, body: &str| {
            EngineError::of_status("x", StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        assert!(of(404, r#"{"message":"No such image: a"}"#).is_not_found());
        let denied = "pull access denied for h:1/a, repository does not exist or may require 'docker login': denied: requested access to the resource is denied";
        assert!(of(404, denied).is_denied());
        assert!(of(404, "No such image: denied:v1").is_not_found());
        assert!(of(500, "manifest for denied:v1 not found").is_not_found());
        assert!(of(403, "").is_denied());
        assert!(of(401, "").is_unauthorized());
        assert!(matches!(of(409, "{}"), EngineError::Conflict { .. }));
        assert!(of(500, r#"{"message":"manifest unknown"}"#).is_not_found());
        let error = of(500, "{\"message\":\"\\u001b[2Jbroken\\r\\n  disk\"}");
        assert_eq!(
            error.to_string(),
            "x: the Docker Engine failed: [2Jbroken disk"
        );
        assert!(of(502, "<html>").to_string().contains("<html>"));
        assert!(of(500, "").to_string().contains("500"));
    }

    #[test]
    fn messages_are_bounded() {
        for text in ["ä".repeat(100_000), "a ".repeat(100_000)] {
            assert!(clean(&text).chars().count() <= MAX_MESSAGE + 1);
        }
        assert_eq!(clean(" a\n\tb "), "a b");
    }

    #[test]
    fn the_error_of_no_engine_lists_what_was_tried() {
        let tried = |endpoint: Option<&str>, why: &str| TriedEndpoint {
            origin: "Podman".to_owned(),
            endpoint: endpoint.map(str::to_owned),
            why: why.to_owned(),
        };
        let error = EngineError::Unreachable {
            tried: vec![
                tried(Some("unix:///a"), "there is no such file"),
                tried(None, "ssh"),
            ],
        };
        assert_eq!(
            error.to_string(),
            "no Docker Engine answers: tried unix:///a (Podman): there is no such file, Podman: ssh; start one, or say where it is with DOCKER_HOST or `docker context use`"
        );
        assert!(error.is_unreachable());
    }
}
