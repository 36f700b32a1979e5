//! Request bodies that can be produced again.

mod file;
mod progress;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body::{Frame, SizeHint};

pub(crate) use self::progress::Progress;
use crate::error::{BoxError, Error, ErrorKind};

/// A stream of the bytes of a body.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

type Factory = dyn Fn(u64) -> BodyStream + Send + Sync;

/// The body of a request.
///
/// Most bodies are *replayable*: they know how to produce their bytes again from the start, and only those are ever
/// sent a second time (retries, a renewed credential, redirects that keep the method). [`Body::stream`] is the one
/// that is not.
///
/// A body with a known length is checked while it is sent: one byte more or less is an [`ErrorKind::Body`] error and
/// the request is given up, so that a file that changed meanwhile never becomes a truncated upload.
pub struct Body {
    recipe: Option<Recipe>,
    length: Option<u64>,
    state: State,
    produced: u64,
    progress: Option<Arc<Progress>>,
}

/// How to produce the bytes, as often as needed.
#[derive(Clone)]
enum Recipe {
    Bytes(Bytes),
    File {
        path: Arc<Path>,
        length: u64,
    },
    Factory {
        factory: Arc<Factory>,
        length: Option<u64>,
    },
    Chain(Arc<[Recipe]>),
}

enum State {
    /// Nothing was produced yet; the recipe says what.
    Unopened,
    Open(BodyStream),
    Done,
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::of(Recipe::Bytes(Bytes::new()))
    }

    /// The first `length` bytes being all of the regular file at `path`. It is opened when an attempt is sent, and
    /// streamed. A file that is not exactly `length` bytes long by then is an error.
    pub fn file(path: impl Into<PathBuf>, length: u64) -> Self {
        Self::of(Recipe::File {
            path: path.into().into(),
            length,
        })
    }

    /// Bytes from a factory, which is asked for a new stream from the given offset on each attempt. `length` is that
    /// of the whole body, if known.
    pub fn replayable<F>(length: Option<u64>, factory: F) -> Self
    where
        F: Fn(u64) -> BodyStream + Send + Sync + 'static,
    {
        Self::of(Recipe::Factory {
            factory: Arc::new(factory),
            length,
        })
    }

    /// A stream of unknown length that can be sent only once: nothing ever repeats such a request.
    pub fn stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::once(None, Box::pin(stream.map_err(Into::into)))
    }

    /// Several bodies in a row. The length is known if all are, and it is replayable if all are.
    pub fn chain(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: VecDeque<Self> = parts.into_iter().collect();
        let fresh = |part: &Self| matches!(part.state, State::Unopened);
        let recipes: Option<Vec<Recipe>> = parts
            .iter()
            .map(|part| part.recipe.clone().filter(|_| fresh(part)))
            .collect();
        if let Some(recipes) = recipes {
            return Self::of(Recipe::Chain(recipes.into()));
        }
        let length = parts
            .iter()
            .map(Self::len)
            .try_fold(0_u64, |sum, length| sum.checked_add(length?));
        let bytes = stream::iter(parts).flat_map(Self::into_stream);
        Self::once(length, Box::pin(bytes))
    }

    /// The length in bytes, if it is known.
    pub fn len(&self) -> Option<u64> {
        self.length
    }

    /// Whether it is known that there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == Some(0)
    }

    /// The bytes, if that is all they are, and none was taken yet.
    pub(crate) fn as_bytes(&self) -> Option<&Bytes> {
        match (&self.recipe, &self.state) {
            (Some(Recipe::Bytes(bytes)), State::Unopened) => Some(bytes),
            _ => None,
        }
    }

    /// Whether [`try_clone`](Self::try_clone) would give a body.
    pub fn is_replayable(&self) -> bool {
        self.recipe.is_some()
    }

    /// The same body from its start, whatever was already taken of this one; `None` if it can be sent only once.
    pub fn try_clone(&self) -> Option<Self> {
        let mut body = Self::of(self.recipe.clone()?);
        body.progress.clone_from(&self.progress);
        Some(body)
    }

    /// The same body without its first `offset` bytes, for uploads that go on where another ended; `None` if it can
    /// be sent only once, or `offset` is behind its end.
    pub(crate) fn try_clone_from(&self, offset: u64) -> Option<Self> {
        let recipe = self.recipe.clone()?;
        let length = match recipe.length() {
            Some(length) => Some(length.checked_sub(offset)?),
            None => None,
        };
        Some(Self::of(Recipe::Factory {
            factory: Arc::new(move |further| recipe.open(offset.saturating_add(further))),
            length,
        }))
    }

    /// A body that was declared empty is never asked for its bytes by an HTTP connection, so it is asked here: a file
    /// that grew meanwhile must not be sent as an empty one.
    pub(crate) async fn check_if_declared_empty(&mut self) -> Result<(), Error> {
        if self.is_empty() {
            while let Some(next) = poll_fn(|context| self.poll_bytes(context)).await {
                next?;
            }
        }
        Ok(())
    }

    /// The bytes as a stream, with the checks of the length.
    fn into_stream(mut self) -> BodyStream {
        Box::pin(stream::poll_fn(move |context| {
            self.poll_bytes(context)
                .map(|next| next.map(|result| result.map_err(Into::into)))
        }))
    }

    /// Tells `progress` whenever bytes are taken.
    pub(crate) fn observe(&mut self, progress: Arc<Progress>) {
        self.progress = Some(progress);
    }

    fn of(recipe: Recipe) -> Self {
        Self {
            length: recipe.length(),
            recipe: Some(recipe),
            state: State::Unopened,
            produced: 0,
            progress: None,
        }
    }

    fn once(length: Option<u64>, stream: BodyStream) -> Self {
        Self {
            recipe: None,
            length,
            state: State::Open(stream),
            produced: 0,
            progress: None,
        }
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Unopened => {
                    // Bytes need no stream, and that is what most bodies are.
                    if let Some(Recipe::Bytes(bytes)) = &self.recipe {
                        let bytes = bytes.clone();
                        self.state = State::Done;
                        self.touch();
                        return Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)));
                    }
                    self.state = match &self.recipe {
                        Some(recipe) => State::Open(recipe.open(0)),
                        None => State::Done,
                    };
                }
                State::Open(stream) => {
                    let next = ready!(stream.as_mut().poll_next(context));
                    let result = match next {
                        Some(Ok(bytes)) if bytes.is_empty() => continue,
                        Some(Ok(bytes)) => self.count(&bytes).map(|()| bytes),
                        Some(Err(source)) => Err(as_body_error(source)),
                        None => match self.check_complete() {
                            Ok(()) => {
                                self.state = State::Done;
                                self.touch();
                                return Poll::Ready(None);
                            }
                            Err(error) => Err(error),
                        },
                    };
                    if result.is_err() {
                        self.state = State::Done;
                    }
                    self.touch();
                    return Poll::Ready(Some(result));
                }
            }
        }
    }

    fn touch(&self) {
        if let Some(progress) = &self.progress {
            progress.touch();
        }
    }

    fn count(&mut self, bytes: &Bytes) -> Result<(), Error> {
        self.produced = self
            .produced
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match self.length {
            Some(length) if self.produced > length => Err(Error::new(
                ErrorKind::Body,
                format!("the request body is longer than the {length} bytes it was declared with"),
            )),
            _ => Ok(()),
        }
    }

    fn check_complete(&self) -> Result<(), Error> {
        match self.length {
            Some(length) if self.produced < length => Err(Error::new(
                ErrorKind::Body,
                format!(
                    "the request body ended after {} of {length} bytes",
                    self.produced
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Recipe {
    fn length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).ok(),
            Self::File { length, .. } => Some(*length),
            Self::Factory { length, .. } => *length,
            Self::Chain(recipes) => recipes
                .iter()
                .map(Self::length)
                .try_fold(0_u64, |sum, length| sum.checked_add(length?)),
        }
    }

    /// The bytes from `offset` on, which is at most the length where that is known.
    fn open(&self, offset: u64) -> BodyStream {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let bytes = bytes.slice(start..);
                Box::pin(stream::once(async move { Ok(bytes) }))
            }
            Self::File { path, length } => {
                Box::pin(file::read(Arc::clone(path), *length, offset).map_err(Into::into))
            }
            Self::Factory { factory, .. } => factory(offset),
            Self::Chain(recipes) => {
                let recipes = Arc::clone(recipes);
                let mut skip = offset;
                let mut rest = Vec::with_capacity(recipes.len());
                for recipe in recipes.iter() {
                    match recipe.length() {
                        Some(length) if length <= skip => skip -= length,
                        _ => rest.push((recipe.clone(), std::mem::take(&mut skip))),
                    }
                }
                Box::pin(stream::iter(rest).flat_map(|(recipe, start)| {
                    let mut part = Body::of(recipe);
                    if start > 0 {
                        // Every part is checked for its own length, so that one that is too long cannot make
                        // up for one that is too short.
                        part = match part.try_clone_from(start) {
                            Some(part) => part,
                            None => part,
                        };
                    }
                    part.into_stream()
                }))
            }
        }
    }
}

fn as_body_error(source: BoxError) -> Error {
    match source.downcast::<Error>() {
        Ok(own) => *own,
        Err(source) => {
            Error::new(ErrorKind::Body, "the request body could not be read").with_source(source)
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::of(Recipe::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

/// Never the content.
impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Body")
            .field("length", &self.length)
            .field("replayable", &self.is_replayable())
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

/// So that a body can go through any HTTP service, such as an in-process server in a test.
impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.poll_bytes(context)
            .map(|next| next.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match (&self.state, &self.recipe) {
            (State::Done, _) => true,
            (State::Unopened, Some(Recipe::Bytes(bytes))) => bytes.is_empty(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.produced)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    async fn collect(body: Body) -> Result<Vec<u8>, Error> {
        let mut stream = body.into_stream();
        let mut all = Vec::new();
        while let Some(next) = stream.next().await {
            all.extend_from_slice(&next.map_err(as_body_error)?);
        }
        Ok(all)
    }

    fn chunks(parts: Vec<&'static str>) -> BodyStream {
        Box::pin(stream::iter(
            parts
                .into_iter()
                .map(|part| Ok(Bytes::from_static(part.as_bytes()))),
        ))
    }

    fn counting(text: &'static str, length: Option<u64>) -> Body {
        Body::replayable(length, move |offset| {
            chunks(vec![&text[usize::try_from(offset).unwrap()..]])
        })
    }

    #[tokio::test]
    async fn every_replayable_kind_gives_the_same_bytes_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "hello").unwrap();
        let bodies = [
            Body::empty(),
            Body::from("hello"),
            Body::file(&path, 5),
            counting("hello", Some(5)),
            counting("hello", None),
            Body::chain([Body::from("he"), Body::empty(), counting("llo", Some(3))]),
        ];
        for body in bodies {
            let again = body.try_clone().unwrap();
            assert_eq!(again.len(), body.len());
            let first = collect(body).await.unwrap();
            assert_eq!(collect(again).await.unwrap(), first);
            assert!(first.is_empty() || first == b"hello");
        }
    }

    #[tokio::test]
    async fn a_clone_starts_at_the_start_also_when_the_original_is_half_read() {
        let mut body = Body::chain([Body::from("ab"), Body::from("cd")]);
        let first = poll_fn(|context| body.poll_bytes(context))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(first, "ab");
        assert_eq!(collect(body.try_clone().unwrap()).await.unwrap(), b"abcd");
    }

    #[tokio::test]
    async fn every_replayable_kind_can_start_at_an_offset() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "hello").unwrap();
        let bodies = [
            Body::from("hello"),
            Body::file(&path, 5),
            counting("hello", Some(5)),
            Body::chain([Body::from("he"), Body::file(&path, 5)]),
        ];
        for body in bodies {
            let whole = collect(body.try_clone().unwrap()).await.unwrap();
            for offset in 0..=whole.len() {
                let rest = body.try_clone_from(offset as u64).unwrap();
                assert_eq!(rest.len(), Some((whole.len() - offset) as u64));
                let again = rest.try_clone().unwrap();
                assert_eq!(collect(rest).await.unwrap(), &whole[offset..]);
                assert_eq!(collect(again).await.unwrap(), &whole[offset..]);
            }
            assert!(body.try_clone_from(whole.len() as u64 + 1).is_none());
        }
    }

    #[tokio::test]
    async fn a_stream_is_sent_once_and_makes_a_chain_so() {
        let body = Body::stream(chunks(vec!["a", "", "b"]));
        assert!(body.try_clone().is_none() && body.try_clone_from(0).is_none());
        let chain = Body::chain([Body::from("x"), body]);
        assert!(chain.try_clone().is_none());
        assert_eq!(chain.len(), None);
        assert_eq!(collect(chain).await.unwrap(), b"xab");
    }

    #[tokio::test]
    async fn a_body_of_another_length_than_declared_is_an_error() {
        for length in [4, 6] {
            let error = collect(counting("hello", Some(length))).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Body, "{error}");
        }
        // Not even when the lengths of the parts add up.
        let chain = Body::chain([counting("abc", Some(2)), counting("d", Some(2))]);
        assert_eq!(collect(chain).await.unwrap_err().kind(), ErrorKind::Body);
    }

    #[tokio::test]
    async fn the_cause_of_a_failed_stream_is_kept() {
        let body = Body::stream(stream::iter([
            Ok(Bytes::from_static(b"a")),
            Err(io::Error::other("disk on fire")),
        ]));
        let error = collect(body).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Body);
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "disk on fire"
        );
    }

    #[test]
    fn debug_does_not_show_the_content() {
        assert!(!format!("{:?}", Body::from("secret")).contains("secret"));
    }
}
