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
    /// What the digest is of, where that is not `bytes`.
    payload: Option<Bytes>,
    digest: Digest,
    value: T,
}

impl<T> Raw<T> {
    pub(crate) fn new(bytes: Bytes, value: T) -> Self {
        Self::signed(bytes, None, value)
    }

    /// A document that may carry its own signatures, and then what they are for.
    pub(crate) fn signed(bytes: Bytes, payload: Option<Bytes>, value: T) -> Self {
        Self {
            digest: Digest::sha256_of(payload.as_ref().unwrap_or(&bytes)),
            bytes,
            payload,
            value,
        }
    }

    /// The bytes as received or as written.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes that the digest is of: all of them, but for a signed schema 1 manifest only what was signed.
    pub fn payload(&self) -> &Bytes {
        self.payload.as_ref().unwrap_or(&self.bytes)
    }

    /// The digest of the [payload](Raw::payload): SHA-256, or after [`Raw::verify`] the one that was asked for.
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

    /// Checks the document against the digest by which it was asked for, and keeps that digest.
    ///
    /// That is the digest of the [payload](Raw::payload). For a signed schema 1 manifest that of all its bytes will do,
    /// too: some registries say that one, and it is no weaker.
    ///
    /// # Errors
    /// [`VerifyError::Digest`] when it has another one.
    pub fn verify(mut self, expected: &Digest) -> Result<Self, VerifyError> {
        if self.digest != *expected {
            let of = |bytes: &Bytes| Digest::of(expected.algorithm(), bytes);
            let actual = of(self.payload());
            if actual != *expected && of(&self.bytes) != *expected {
                return Err(VerifyError::Digest {
                    expected: expected.clone(),
                    actual,
                });
            }
            self.digest = expected.clone();
        }
        Ok(self)
    }
}

impl<T: fmt::Debug> fmt::Debug for Raw<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Raw")
            .field("digest", &self.digest)
            .field("size", &self.bytes.len())
            .field("payload", &self.payload.as_ref().map(Bytes::len))
            .field("value", &self.value)
            .finish()
    }
}
