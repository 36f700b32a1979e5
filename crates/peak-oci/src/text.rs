//! Helpers for values that are one piece of text.

use std::fmt;

/// The longest piece of foreign text that an error message repeats, in characters.
const EXCERPT_LENGTH: usize = 80;

/// Foreign text made fit for an error message: escaped, quoted and bounded.
#[derive(Clone, Copy)]
pub(crate) struct Excerpt<'a>(pub(crate) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        formatter.write_str("`")?;
        for character in characters.by_ref().take(EXCERPT_LENGTH) {
            if matches!(character, ' ' | '…')
                || character.is_ascii_graphic()
                || character.is_alphanumeric()
            {
                write!(formatter, "{character}")?;
            } else {
                write!(formatter, "{}", character.escape_default())?;
            }
        }
        if characters.next().is_some() {
            formatter.write_str("…")?;
        }
        formatter.write_str("`")
    }
}

/// Gives a type with `as_str` and `FromStr` its `Display`, `AsRef<str>` and serde form (a string).
macro_rules! text_value {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        crate::text::text_serde!($name);
    };
}

/// Serde as a string for a type with `Display` and `FromStr`.
macro_rules! text_serde {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use {text_serde, text_value};
