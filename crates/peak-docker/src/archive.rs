//! Images as archives: what `docker save` writes and `docker load` reads.

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
use crate::progress::EngineEvent;

pub(crate) const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// An archive as it comes from the Engine. Dropping it ends the connection.
///
/// The Engine writes the image to its own disk first, so the first bytes of a large one can take minutes. What goes wrong
/// after them can end the archive in the middle, or leave a JSON object with an `error` where a tar entry should be: whoever
/// reads it has to see its end.
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
        let state = Some((response.into_body(), patience, call.what));
        let bytes = stream::unfold(state, |state| async {
            let (mut body, patience, what) = state?;
            let result = match patience.wait(body.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(bytes))) => return Some((Ok(bytes), Some((body, patience, what)))),
                Ok(Some(Err(error))) => Err(EngineError::of_transport(&what, error)),
                Err(error) => Err(error),
            };
            Some((result, None))
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
