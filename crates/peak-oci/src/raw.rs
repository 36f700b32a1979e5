//! Documents together with the bytes they came in.

use std::fmt;

use bytes::Bytes;

use crate::digest::Digest;
use crate::verify::VerifyError;

/// A parsed document and the very bytes it was parsed from.
///
/// A manifest is its bytes: the digest is theirs, they are what is passed on, and `value` is only a way to read them.
/// To change a document, clone the value, edit it and make a new `Raw` from it with its `to_raw`.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw<T> {
    bytes: Bytes,
    digest: Digest,
    value: T,
}

impl<T> Raw<T> {
    pub(crate) fn new(bytes: Bytes, value: T) -> Self {
        Self {
            digest: Digest::sha256_of(&bytes),
            bytes,
            value,
        }
    }

    /// The bytes as received or as written.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The digest of the bytes: SHA-256, or after [`Raw::verify`] of the algorithm that was asked for.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The typed view.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The typed view alone.
    pub fn into_value(self) -> T {
        self.value
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Checks the bytes against the digest by which they were asked for, and keeps that digest.
    ///
    /// # Errors
    /// [`VerifyError::Digest`] when the bytes have another one.
    pub fn verify(mut self, expected: &Digest) -> Result<Self, VerifyError> {
        if self.digest.algorithm() != expected.algorithm() {
            self.digest = Digest::of(expected.algorithm(), &self.bytes);
        }
        if self.digest == *expected {
            Ok(self)
        } else {
            Err(VerifyError::Digest {
                expected: expected.clone(),
                actual: self.digest,
            })
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Raw<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Raw")
            .field("digest", &self.digest)
            .field("size", &self.bytes.len())
            .field("value", &self.value)
            .finish()
    }
}
