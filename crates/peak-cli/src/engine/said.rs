//! What the Engine says, in a build's log and where a build fails.

use std::error::Error;

use peak_sdk::docker::{EngineError, EngineEvent};
use peak_sdk::local::{EngineFailure, EngineLog};

/// What an event says, without the progress of single layers.
pub(super) fn write(log: &EngineLog, event: &EngineEvent) {
    if let Some(text) = &event.stream {
        log.write(text);
    } else if let (None, Some(status)) = (&event.id, &event.status) {
        log.line(status);
    }
}

/// Why there is no image, in the words of whoever knows it best.
pub(super) fn not_built(error: &EngineError) -> EngineFailure {
    match error {
        EngineError::Failed { message, .. }
        | EngineError::NotFound { message, .. }
        | EngineError::Denied { message, .. }
        | EngineError::Unauthorized { message, .. } => {
            let hint = if message.contains("BuildKit") {
                "; it builds without BuildKit here, so that line has to do without it"
            } else {
                ""
            };
            EngineFailure::new(format!("{message}{hint}"))
        }
        other => failure(other),
    }
}

/// An error with its causes on one line.
pub(super) fn failure(error: &dyn Error) -> EngineFailure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    EngineFailure::new(lines.join("; "))
}
