//! Keyed hashes: what is signed with one cannot be made, and what is looked up by one cannot be guessed, without it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// A keyed hash.
pub(crate) type Tag = [u8; 32];

/// A random key for HMAC-SHA-256. It is never stored, so what it has signed ends with it.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    pub(crate) fn random() -> Self {
        // Each number has 122 bits from the operating system; the key needs 256 and gets 488.
        let mut key = [0; 64];
        for part in key.chunks_exact_mut(16) {
            part.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        Self(Hmac::new(&key.into()))
    }

    /// The hash of several texts. Where one ends and the next begins is part of it.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> Tag {
        self.hashing(parts).finalize().into_bytes().into()
    }

    /// Whether `tag` is the hash of `parts`. How long that takes does not depend on where they differ.
    pub(crate) fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.hashing(parts).verify_slice(tag).is_ok()
    }

    fn hashing(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(..)")
    }
}

/// A secret of which only a keyed hash is kept.
#[derive(Debug, Clone)]
pub(crate) struct HiddenSecret {
    key: Key,
    tag: Tag,
}

impl HiddenSecret {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let key = Key::random();
        let tag = key.tag(&[secret]);
        Self { key, tag }
    }

    /// Whether this is the secret, in a time that says nothing about it.
    pub(crate) fn is(&self, presented: &[u8]) -> bool {
        self.key.verifies(&[presented], &self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_good_for_its_parts_and_its_key_alone() {
        let key = Key::random();
        let tag = key.tag(&[b"ab", b"c"]);
        assert!(key.verifies(&[b"ab", b"c"], &tag));
        assert!(!key.verifies(&[b"a", b"bc"], &tag));
        assert!(!key.verifies(&[b"abc"], &tag));
        assert!(!key.verifies(&[b"ab", b"c"], &tag[..31]));
        assert!(!Key::random().verifies(&[b"ab", b"c"], &tag));
    }

    #[test]
    fn a_hidden_secret_is_known_again_and_not_shown() {
        let hidden = HiddenSecret::new(b"open-sesame");
        assert!(hidden.is(b"open-sesame"));
        assert!(!hidden.is(b"open-sesam") && !hidden.is(b""));
        assert!(!format!("{:?}", hidden.key).contains(|one: char| one.is_ascii_digit()));
    }
}
