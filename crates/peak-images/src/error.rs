//! What can go wrong with an operation on images.

/// Why an operation on images did not give what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The platform was not asked, did not answer, or refused.
    #[error(transparent)]
    Platform(#[from] peak_platform::Error),
    /// The platform answered, but what is needed to go on is not in the answer.
    #[error("the answer to {operation} has no `{field}`")]
    Incomplete {
        /// The operation, such as `create_image`.
        operation: &'static str,
        /// The field that is missing.
        field: &'static str,
    },
}

impl Error {
    /// The platform's error, if that is what this is.
    pub fn platform(&self) -> Option<&peak_platform::Error> {
        match self {
            Self::Platform(error) => Some(error),
            Self::Incomplete { .. } => None,
        }
    }
}
