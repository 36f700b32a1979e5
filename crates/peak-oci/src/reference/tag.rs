//! Tags.

use std::str::FromStr;

use crate::digest::Digest;
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

    /// The tag under which the list of what refers to a manifest is kept, where nobody else keeps it: `<alg>-<hex>`, each
    /// cut as distribution-spec 1.1 ("Referrers Tag Schema") has it.
    pub fn of_referrers(subject: &Digest) -> Option<Self> {
        let text = subject.to_string();
        let (algorithm, hex) = text.split_once(':')?;
        let cut = |part: &str, length: usize| part.chars().take(length).collect::<String>();
        format!(
            "{}-{}",
            cut(algorithm, ALGORITHM_LENGTH),
            cut(hex, HEX_LENGTH)
        )
        .parse()
        .ok()
    }

    /// Whether it is the form of [`of_referrers`](Self::of_referrers) for an algorithm that is known here.
    pub fn is_of_referrers(&self) -> bool {
        self.is_about_a_manifest() && !self.0.contains('.')
    }

    /// Whether it names no image of its own but something about one: [`of_referrers`](Self::of_referrers), or what cosign
    /// keeps under the same with an ending (`sha256-<hex>.sig`).
    pub fn is_about_a_manifest(&self) -> bool {
        let Some((algorithm, rest)) = self.0.split_once('-') else {
            return false;
        };
        let (hex, ending) = rest.split_at_checked(HEX_LENGTH).unwrap_or((rest, ""));
        matches!(algorithm, "sha256" | "sha512")
            && hex.len() == HEX_LENGTH
            && hex
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && (ending.is_empty() || ending.starts_with('.'))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// To which lengths the parts of a digest are cut in a tag.
const ALGORITHM_LENGTH: usize = 32;
const HEX_LENGTH: usize = 64;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_referrers_are_cut_as_the_specification_says() {
        let short = Digest::sha256_of(b"x");
        let tag = Tag::of_referrers(&short).unwrap();
        assert_eq!(tag.as_str(), short.to_string().replace(':', "-"));
        let long: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        let tag = Tag::of_referrers(&long).unwrap();
        assert_eq!(tag.as_str(), format!("sha512-{}", "ab".repeat(32)));
        assert!(tag.is_of_referrers() && tag.is_about_a_manifest());
    }

    #[test]
    fn tags_about_a_manifest_are_known_by_their_form() {
        let base = Tag::of_referrers(&Digest::sha256_of(b"x")).unwrap();
        let signature: Tag = format!("{base}.sig").parse().unwrap();
        assert!(signature.is_about_a_manifest() && !signature.is_of_referrers());
        for text in [
            "sha256-abc",
            "v1-rc",
            "latest",
            &format!("{base}0"),
            &format!("x{base}"),
        ] {
            let tag: Tag = text.parse().unwrap();
            assert!(
                !tag.is_about_a_manifest() && !tag.is_of_referrers(),
                "{text}"
            );
        }
    }
}
