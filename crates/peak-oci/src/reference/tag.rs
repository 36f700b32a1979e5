//! Tags.

use std::str::FromStr;

use crate::text::{Excerpt, text_value};

/// A text that is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a tag; a tag is a letter, digit or underscore and then up to 127 letters, digits, `_`, `.` or `-`",
    Excerpt(text)
)]
pub struct TagError {
    text: String,
}

/// A tag: `latest`, `v1.2`.
///
/// Letters, digits and `_`, then also `.` and `-`; 1 to 128 bytes. It never begins with a dot and has no slash, so it can
/// be a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The longest tag, in bytes.
    pub const MAX_LENGTH: usize = 128;

    /// The tag `latest`.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_value!(Tag);

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let is_word = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
        let begins_well = text.bytes().next().is_some_and(is_word);
        let goes_on_well = text
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
        if begins_well && goes_on_well && text.len() <= Self::MAX_LENGTH {
            Ok(Self(text.into()))
        } else {
            Err(TagError {
                text: text.chars().take(200).collect(),
            })
        }
    }
}
