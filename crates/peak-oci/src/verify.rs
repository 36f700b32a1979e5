//! Checks size and digest of content while it streams by.

use crate::descriptor::Descriptor;
use crate::digest::{Digest, Hasher};

/// How content differs from what its descriptor promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// More bytes came than the descriptor says.
    #[error("{digest} is longer than the {expected} bytes that its descriptor says")]
    TooLong {
        /// The digest of the content that was meant.
        digest: Digest,
        /// The size that was promised, in bytes.
        expected: u64,
    },
    /// The content ended early.
    #[error("{digest} ended after {actual} of {expected} bytes")]
    TooShort {
        /// The digest of the content that was meant.
        digest: Digest,
        /// The size that was promised, in bytes.
        expected: u64,
        /// How many bytes came.
        actual: u64,
    },
    /// The bytes are others than those that were meant.
    #[error("the content of {expected} has the digest {actual}")]
    Digest {
        /// The digest that was promised.
        expected: Digest,
        /// The digest of the bytes that came.
        actual: Digest,
    },
}

/// Checks size and digest while bytes stream by.
///
/// Too many bytes are an error at once, before they are kept anywhere; the rest is known by [`Verifier::finish`].
/// A clone continues on its own, for a resume from that point.
#[derive(Debug, Clone)]
pub struct Verifier {
    expected: Digest,
    size: Option<u64>,
    received: u64,
    hasher: Hasher,
}

impl Verifier {
    /// A verifier for content with this digest and, if known, this size in bytes.
    pub fn new(digest: &Digest, size: Option<u64>) -> Self {
        Self {
            expected: digest.clone(),
            size,
            received: 0,
            hasher: Hasher::new(digest.algorithm()),
        }
    }

    /// A verifier for the content of a descriptor.
    pub fn for_descriptor(descriptor: &Descriptor) -> Self {
        Self::new(&descriptor.digest, Some(descriptor.size))
    }

    /// Takes the next bytes in.
    ///
    /// # Errors
    /// [`VerifyError::TooLong`] as soon as the bytes go beyond the size; those bytes are then not taken in.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let received = self.received.saturating_add(bytes.len() as u64);
        if let Some(expected) = self.size.filter(|expected| received > *expected) {
            return Err(VerifyError::TooLong {
                digest: self.expected.clone(),
                expected,
            });
        }
        self.received = received;
        self.hasher.update(bytes);
        Ok(())
    }

    /// How many bytes were taken in so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Ends the check.
    ///
    /// # Errors
    /// [`VerifyError::TooShort`] or [`VerifyError::Digest`].
    pub fn finish(self) -> Result<(), VerifyError> {
        if let Some(expected) = self.size.filter(|expected| self.received < *expected) {
            return Err(VerifyError::TooShort {
                digest: self.expected,
                expected,
                actual: self.received,
            });
        }
        let actual = self.hasher.finish();
        if actual == self.expected {
            Ok(())
        } else {
            Err(VerifyError::Digest {
                expected: self.expected,
                actual,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_bytes_are_refused_at_once_and_not_taken_in() {
        let digest = Digest::sha256_of(b"four");
        let mut verifier = Verifier::new(&digest, Some(4));
        verifier.update(b"fou").unwrap();
        assert_eq!(
            verifier.update(b"rr"),
            Err(VerifyError::TooLong {
                digest,
                expected: 4
            })
        );
        assert_eq!(verifier.received(), 3);
        verifier.update(b"r").unwrap();
        assert_eq!(verifier.finish(), Ok(()));
    }

    #[test]
    fn an_early_end_and_other_bytes_are_different_errors() {
        let digest = Digest::sha256_of(b"four");
        let mut verifier = Verifier::new(&digest, Some(4));
        verifier.update(b"fou").unwrap();
        let expected = VerifyError::TooShort {
            digest: digest.clone(),
            expected: 4,
            actual: 3,
        };
        assert_eq!(verifier.clone().finish(), Err(expected));
        verifier.update(b"l").unwrap();
        let actual = Digest::sha256_of(b"foul");
        assert_eq!(
            verifier.finish(),
            Err(VerifyError::Digest {
                expected: digest,
                actual
            })
        );
    }

    #[test]
    fn without_a_size_the_digest_alone_decides() {
        let mut verifier = Verifier::new(&Digest::sha256_of(b"four"), None);
        verifier.update(b"four").unwrap();
        verifier.update(b"!").unwrap();
        assert!(matches!(verifier.finish(), Err(VerifyError::Digest { .. })));
    }
}
