//! A small strict JSON: duplicate keys refused, depth and number of values bounded, numbers kept as they were written,
//! errors that say where.
//!
//! `serde_json` cannot keep the text of numbers or report duplicate keys of ignored values without features that change
//! it for the whole process, so documents whose bytes are hashed are read and written here.

mod parse;
mod serde_form;
mod unknown;
mod view;
mod write;

use std::fmt;

pub use unknown::UnknownFields;

pub(crate) use parse::parse;
pub(crate) use serde_form::{Serialized, deserialize_through_json, json_serde};
pub(crate) use view::{Builder, Fields, FromJson, ToJson};

use crate::text::Excerpt;

/// How deep arrays and objects may be nested.
pub(crate) const MAX_DEPTH: usize = 32;
/// How many values a document may have; bounds the memory that parsing takes.
pub(crate) const MAX_VALUES: usize = 500_000;

/// One JSON value. Objects keep the order of their members, numbers their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Box<str>),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What kind of value it is, for error messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// A member of an object; `None` also for what is no object.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write::write(self, formatter)
    }
}

/// Where and why a JSON document cannot be read.
///
/// Where the text itself is broken the place is a line and a column (both from 1, the column in bytes); where a value is
/// not what it should be the place is a path such as `$.layers[3].size`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    place: String,
    reason: String,
}

impl JsonError {
    /// An error about the value that is being looked at; callers put the path before it with [`JsonError::below`].
    pub(crate) fn here(reason: impl Into<String>) -> Self {
        Self {
            place: String::new(),
            reason: reason.into(),
        }
    }

    pub(crate) fn at_position(line: usize, column: usize, reason: impl Into<String>) -> Self {
        Self {
            place: format!("line {line}, column {column}"),
            reason: reason.into(),
        }
    }

    pub(crate) fn expected(what: &str, found: &Json) -> Self {
        Self::here(format!("expected {what}, found {}", found.kind()))
    }

    /// The same error seen from the object that has the member `name`.
    pub(crate) fn below(mut self, name: &str) -> Self {
        let is_plain = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
        let step = if is_plain {
            format!(".{name}")
        } else {
            format!("[{}]", Excerpt(name))
        };
        self.place.insert_str(0, &step);
        self
    }

    /// The same error seen from the array that has the element `index`.
    pub(crate) fn below_index(mut self, index: usize) -> Self {
        self.place.insert_str(0, &format!("[{index}]"));
        self
    }

    /// The same error seen from the top of the document.
    pub(crate) fn at_top(mut self) -> Self {
        self.place.insert(0, '$');
        self
    }

    /// Where: `line 3, column 7` or a path from the top, `$.config.size`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Why, without the place.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            formatter.write_str(&self.reason)
        } else {
            write!(formatter, "{}: {}", self.place, self.reason)
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads a document of one type from its bytes.
pub(crate) fn from_bytes<T: FromJson>(bytes: &[u8]) -> Result<T, JsonError> {
    T::from_json(parse(bytes)?).map_err(JsonError::at_top)
}

/// The compact bytes of a value.
pub(crate) fn to_bytes(value: &impl ToJson) -> Vec<u8> {
    value.to_json().to_string().into_bytes()
}
