//! Images as archives: what `docker save` writes and `docker load` reads.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::{self, StreamExt as _};
use http::header::{CONTENT_TYPE, HeaderValue};
use peak_http::{Body, BoxError};

use crate::call::{Call, in_path};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::follow::follow;
use crate::progress::{EngineEvent, Message, ProgressParser};

pub(crate) const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// An archive as it comes from the Engine. Dropping it ends the connection.
///
/// The Engine writes the image to its own disk first, so the first bytes of a large one can take minutes. What goes wrong in
/// the Engine after them it writes behind them, where the archive should go on; that is taken for the error it is. An
/// archive is whole when the stream has ended without an error.
pub struct SavedImages {
    bytes: Pin<Box<dyn Stream<Item = Result<Bytes, EngineError>> + Send>>,
}

impl Stream for SavedImages {
    type Item = Result<Bytes, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.bytes.as_mut().poll_next(context)
    }
}

impl fmt::Debug for SavedImages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SavedImages")
            .finish_non_exhaustive()
    }
}

/// The end of what was read so far of an archive, where the Engine writes what went wrong.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// More than an error of the Engine has.
    const LENGTH: usize = 4096;
    const ERROR: &[u8] = b"{\"errorDetail\"";

    fn note(&mut self, bytes: &[u8]) {
        let (_, bytes) = bytes.split_at(bytes.len().saturating_sub(Self::LENGTH));
        let excess = (self.0.len() + bytes.len()).saturating_sub(Self::LENGTH);
        self.0.drain(..excess);
        self.0.extend_from_slice(bytes);
    }

    /// The error that it is. An archive ends with zeros, and never with an object of JSON.
    fn error(&self, what: &str) -> Option<EngineError> {
        let windows = self.0.windows(Self::ERROR.len());
        let start = windows
            .into_iter()
            .rposition(|window| window == Self::ERROR)?;
        let mut parser = ProgressParser::default();
        let mut messages = VecDeque::new();
        parser.read(self.0.get(start..)?, &mut messages).ok()?;
        parser.finish().ok()?;
        match (messages.pop_front()?, messages.is_empty()) {
            (Message::Error { code, message }, true) => {
                Some(EngineError::in_stream(what, code, &message))
            }
            _ => None,
        }
    }
}

/// An image that [`Engine::load`] brought into the Engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadedImage {
    /// By a name that the archive gave it.
    Name(String),
    /// Without a name; by its identifier.
    Id(String),
}

impl LoadedImage {
    /// The name or identifier, to ask the Engine for it with.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(text) | Self::Id(text) => text,
        }
    }

    /// What a line of a load's progress says was loaded.
    fn in_line(line: &str) -> Vec<Self> {
        if let Some(id) = line.strip_prefix("Loaded image ID: ") {
            return vec![Self::Id(id.trim().to_owned())];
        }
        let Some(names) = line
            .strip_prefix("Loaded image: ")
            .or_else(|| line.strip_prefix("Loaded image(s): "))
        else {
            return Vec::new();
        };
        // Podman puts several behind one another.
        names
            .split(',')
            .map(|name| Self::Name(name.trim().to_owned()))
            .collect()
    }
}

impl Engine {
    /// The images of these names or identifiers as one archive. An image asked for by its identifier has no name in it.
    ///
    /// Returns when the archive begins.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if there is no such image; [`EngineError::InvalidName`]. The stream fails with
    /// [`EngineError::Interrupted`] if the Engine goes away.
    pub async fn save(&self, names: &[&str]) -> Result<SavedImages, EngineError> {
        let what = format!("save of {}", names.join(", "));
        let mut call = Call::get("docker_save_images", what, "images/get");
        for name in names {
            // Only to check it: here it stands in the query.
            in_path(name)?;
            call = call.query("names", *name);
        }
        let connection = self.connection().await?;
        let patience = self.patience(&connection, &call.what);
        let response = Box::pin(self.begin(&connection, &call, Body::empty(), &patience)).await?;
        let state = Some((response.into_body(), Tail::default(), patience, call.what));
        let bytes = stream::unfold(state, |state| async {
            let (mut body, mut tail, patience, what) = state?;
            let error = match patience.wait(body.next()).await {
                Ok(Some(Ok(bytes))) => {
                    tail.note(&bytes);
                    return Some((Ok(bytes), Some((body, tail, patience, what))));
                }
                Ok(Some(Err(error))) => EngineError::of_transport(&what, error),
                Ok(None) => tail.error(&what)?,
                Err(error) => error,
            };
            Some((Err(error), None))
        });
        Ok(SavedImages {
            bytes: Box::pin(bytes),
        })
    }

    /// Brings the images of an archive into the Engine, which makes them visible when it has read all of it. Gives what it
    /// loaded.
    ///
    /// # Errors
    /// [`EngineError::Failed`] if the Engine does not take the archive; [`EngineError::Input`] if `archive` fails, with
    /// its error as the cause, and then nothing was loaded; [`EngineError::Interrupted`] if the Engine goes away.
    pub async fn load<S, E>(
        &self,
        archive: S,
        mut on_event: impl FnMut(EngineEvent) + Send,
    ) -> Result<Vec<LoadedImage>, EngineError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let call = Call::post("docker_load_images", "load of an archive", "images/load")
            .query("quiet", "0")
            .header(CONTENT_TYPE, TAR);
        let connection = self.connection().await?;
        let mut patience = self.patience(&connection, &call.what);
        let body = Body::stream(patience.observe(archive));
        let response = Box::pin(self.begin(&connection, &call, body, &patience)).await?;
        let mut loaded = Vec::new();
        let noted = |event: EngineEvent| {
            let lines = event.stream.iter().flat_map(|text| text.lines());
            loaded.extend(lines.flat_map(LoadedImage::in_line));
            on_event(event);
        };
        Box::pin(follow(&call.what, response, &patience, noted)).await?;
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_at_the_end_of_an_archive_is_found_however_it_comes() {
        let error =
            b"{\"errorDetail\":{\"message\":\"no space left\"},\"error\":\"no space left\"}\r\n";
        let archive = [&[7; 5000][..], error].concat();
        let found = |bytes: &[u8], size: usize| {
            let mut tail = Tail::default();
            bytes.chunks(size).for_each(|bytes| tail.note(bytes));
            assert!(tail.0.len() <= Tail::LENGTH);
            tail.error("save").map(|error| error.to_string())
        };
        for size in [1, 7, 4095, 4096, 4097, 10_000] {
            let said = found(&archive, size).unwrap();
            assert_eq!(said, "save: the Docker Engine failed: no space left");
            // The same text within the archive is a file's.
            let whole = [&archive[..], &[0; 1024]].concat();
            assert_eq!(found(&whole, size), None);
        }
        assert_eq!(found(b"", 1), None);
        assert_eq!(found(&error[..20], 1), None);
    }

    #[test]
    fn what_was_loaded_stands_in_the_progress() {
        let name = |name: &str| LoadedImage::Name(name.to_owned());
        for (line, loaded) in [
            ("Loaded image: h:1/a:v1", vec![name("h:1/a:v1")]),
            ("Loaded image: a:1,b:2", vec![name("a:1"), name("b:2")]),
            (
                "Loaded image ID: sha256:abc",
                vec![LoadedImage::Id("sha256:abc".to_owned())],
            ),
            ("Loading layer", vec![]),
            ("The image a:1 already exists, renaming the old one", vec![]),
        ] {
            assert_eq!(LoadedImage::in_line(line), loaded, "{line}");
        }
    }
}
