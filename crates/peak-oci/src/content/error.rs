//! The error of all ends.

use std::fmt;

use crate::manifest::ManifestError;
use crate::verify::VerifyError;

/// What an error of an end means for the one who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContentErrorKind {
    /// There is no such manifest or blob.
    NotFound,
    /// The end does not allow it.
    Denied,
    /// Bytes are not those that their digest or size promises.
    Integrity,
    /// The end, or this program, cannot do that.
    Unsupported,
    /// A stream broke off; opening it again at the offset reached may go on.
    Interrupted,
    /// A document is malformed or contradicts another.
    Invalid,
    /// Reading or writing the disk failed.
    Storage,
    /// The network or the other side failed.
    Network,
    /// Anything else.
    Other,
}

/// An error of a source or a sink: what it means, what happened, and the cause.
pub struct ContentError {
    kind: ContentErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ContentError {
    /// An error without a cause. The message says what failed at this layer, in lower case.
    pub fn new(kind: ContentErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What it means.
    pub fn kind(&self) -> ContentErrorKind {
        self.kind
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl fmt::Debug for ContentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ContentError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for ContentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<VerifyError> for ContentError {
    fn from(error: VerifyError) -> Self {
        Self::new(
            ContentErrorKind::Integrity,
            "the content is not what its descriptor says",
        )
        .with_source(error)
    }
}

impl From<ManifestError> for ContentError {
    fn from(error: ManifestError) -> Self {
        let kind = match &error {
            ManifestError::Unsupported { .. } => ContentErrorKind::Unsupported,
            _ => ContentErrorKind::Invalid,
        };
        Self::new(kind, "the manifest or config cannot be used").with_source(error)
    }
}
