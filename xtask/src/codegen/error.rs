//! What can be wrong with a schema, and where.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A place in a schema: the file's name and a JSON pointer into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    file: Arc<str>,
    pointer: String,
}

impl Location {
    /// The root of a file.
    pub(crate) fn root(file: &str) -> Self {
        Self {
            file: file.into(),
            pointer: String::new(),
        }
    }

    /// The file's name, without a directory.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// The place of the value under a key, or of an item by its number.
    pub(crate) fn child(&self, key: &str) -> Self {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        Self {
            file: Arc::clone(&self.file),
            pointer: format!("{}/{escaped}", self.pointer),
        }
    }

    /// An error about this place.
    pub(crate) fn error(&self, problem: Problem) -> SchemaError {
        SchemaError {
            location: self.clone(),
            problem,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}#{}", self.file, self.pointer)
    }
}

/// An error in a schema.
#[derive(Debug, Error)]
#[error("{location}: {problem}")]
pub(crate) struct SchemaError {
    /// Where.
    pub(crate) location: Location,
    /// What.
    pub(crate) problem: Problem,
}

/// What is wrong at a place of a schema.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    #[error("not JSON as we read it: {0}")]
    Syntax(String),
    #[error("unknown keyword `{keyword}`; the subset knows here: {}", allowed.join(", "))]
    UnknownKeyword {
        keyword: String,
        allowed: &'static [&'static str],
    },
    #[error("the keyword `{0}` is missing")]
    MissingKeyword(&'static str),
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("`{0}` is required but is not a property")]
    RequiredWithoutProperty(String),
    #[error("`$ref` to `{0}`, which is not there")]
    UnresolvedReference(String),
    #[error("the type `{name}` is there twice, also at {other}")]
    DuplicateType { name: String, other: Location },
    #[error("`{name}` and `{other}` would both be named `{rust}` in Rust")]
    NameClash {
        name: String,
        other: String,
        rust: String,
    },
    #[error("`{0}` cannot be made into a Rust name")]
    UnusableName(String),
}
