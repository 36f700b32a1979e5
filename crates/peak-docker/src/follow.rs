//! Follows an operation by the progress that the Engine streams, to its end.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use peak_http::{Error, ErrorKind, Response};

use crate::error::EngineError;
use crate::patience::Patience;
use crate::progress::{EngineEvent, Message, ProgressError, ProgressParser};

/// Gives each event to `on_event` until the stream ends. It ends well only where the Engine ended it: an `error` in it,
/// a connection that breaks and a message that is cut off are errors of the operation.
pub(crate) async fn follow(
    what: &str,
    response: Response,
    patience: &Patience,
    mut on_event: impl FnMut(EngineEvent) + Send,
) -> Result<(), EngineError> {
    let mut body = response.into_body();
    let mut parser = ProgressParser::default();
    let mut messages = VecDeque::new();
    loop {
        let Some(bytes) = patience.wait(body.next()).await? else {
            break;
        };
        let bytes = bytes.map_err(|error| EngineError::of_transport(what, error))?;
        let read = parser.read(&bytes, &mut messages);
        // What came before something unreadable counts: it may be the error that explains it.
        for message in messages.drain(..) {
            match message {
                Message::Event(event) => on_event(event),
                Message::Error { code, message } => {
                    return Err(EngineError::in_stream(what, code, &message));
                }
            }
        }
        read.map_err(|error| unreadable(what, &error))?;
    }
    parser.finish().map_err(|error| unreadable(what, &error))
}

fn unreadable(what: &str, error: &ProgressError) -> EngineError {
    match error {
        ProgressError::Truncated => EngineError::Interrupted {
            what: what.to_owned(),
            source: Error::new(ErrorKind::Transport, error.to_string()),
        },
        _ => EngineError::Unexpected {
            what: what.to_owned(),
            message: error.to_string(),
        },
    }
}
