//! Repository names.

use std::str::FromStr;

use crate::text::{Excerpt, text_value};

/// Why a text is not a repository name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryNameError {
    /// The name has no characters.
    #[error("the repository name is empty")]
    Empty,
    /// The name is too long.
    #[error(
        "the repository name has {length} bytes; at most {} are allowed",
        RepositoryName::MAX_LENGTH
    )]
    TooLong {
        /// How long it is, in bytes.
        length: usize,
    },
    /// The name has an upper-case letter.
    #[error("the repository name {} must be in lower case", Excerpt(name))]
    Uppercase {
        /// The name as given.
        name: String,
    },
    /// A component of the name has not the right form.
    #[error(
        "the part {} of the repository name is not allowed; parts are lower-case letters and digits, \
         joined by one of `.`, `_`, `__` or dashes",
        Excerpt(component)
    )]
    Component {
        /// The component, without the slashes round it.
        component: String,
    },
}

/// The name of a repository in a registry, without the registry: `library/ubuntu`.
///
/// The grammar is that of distribution-spec: components of lower-case letters and digits, joined inside by `.`, `_`, `__`
/// or dashes, and separated by single slashes; at most 255 bytes. No component is empty, `.` or `..`, none begins with
/// a dot or a dash, so the name can stand in a path and stay below the directory it is joined to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Box<str>);

impl RepositoryName {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 255;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components between the slashes; at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

text_value!(RepositoryName);

impl FromStr for RepositoryName {
    type Err = RepositoryNameError;

    fn from_str(text: &str) -> Result<Self, RepositoryNameError> {
        if text.is_empty() {
            return Err(RepositoryNameError::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(RepositoryNameError::TooLong { length: text.len() });
        }
        match text.split('/').find(|component| !is_component(component)) {
            None => Ok(Self(text.into())),
            Some(component) if is_component(&component.to_ascii_lowercase()) => {
                Err(RepositoryNameError::Uppercase {
                    name: text.to_owned(),
                })
            }
            Some(component) => Err(RepositoryNameError::Component {
                component: component.to_owned(),
            }),
        }
    }
}

/// Runs of letters and digits with a separator between each two: one dot, one or two underscores, or any number of dashes.
fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| is_word(**byte)).count();
        if word == 0 {
            return false;
        }
        rest = rest.get(word..).unwrap_or_default();
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|byte| !is_word(**byte)).count();
        let (joint, after) = rest.split_at(separator);
        if !(matches!(joint, b"." | b"_" | b"__") || joint.iter().all(|byte| *byte == b'-')) {
            return false;
        }
        rest = after;
    }
}
