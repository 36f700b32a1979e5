//! Typed views of [`Json`] values.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::{Json, JsonError, UnknownFields};
use crate::digest::Digest;
use crate::media_type::MediaType;

/// What can be read from a JSON value.
pub(crate) trait FromJson: Sized {
    fn from_json(value: Json) -> Result<Self, JsonError>;
}

/// What can be written as a JSON value.
pub(crate) trait ToJson {
    fn to_json(&self) -> Json;
}

/// Takes an object apart, member by member; what is left over is kept.
pub(crate) struct Fields {
    members: Vec<(String, Json)>,
    is_exact: bool,
}

impl Fields {
    pub(crate) fn of(value: Json) -> Result<Self, JsonError> {
        match value {
            Json::Object(members) => Ok(Self {
                members,
                is_exact: false,
            }),
            other => Err(JsonError::expected("an object", &other)),
        }
    }

    /// Refuses members that are spelled like known ones but for the case: readers written in Go take `Layers` for
    /// `layers`, and would see other content under the same digest.
    pub(crate) fn exact(value: Json) -> Result<Self, JsonError> {
        let mut fields = Self::of(value)?;
        fields.is_exact = true;
        Ok(fields)
    }

    fn refuse_other_spellings(&self, name: &str) -> Result<(), JsonError> {
        let other = self
            .members
            .iter()
            .find(|(key, _)| self.is_exact && key != name && key.eq_ignore_ascii_case(name));
        match other {
            Some((key, _)) => Err(JsonError::here(format!(
                "some readers would take this member for `{name}`; spell it so or leave it out"
            ))
            .below(key)),
            None => Ok(()),
        }
    }

    /// A member that has to be there.
    pub(crate) fn required<T: FromJson>(&mut self, name: &str) -> Result<T, JsonError> {
        match self.optional(name)? {
            Some(value) => Ok(value),
            None => Err(JsonError::here("this member is missing").below(name)),
        }
    }

    /// A member that may be absent or `null`, which many writers put where they mean nothing.
    pub(crate) fn optional<T: FromJson>(&mut self, name: &str) -> Result<Option<T>, JsonError> {
        self.refuse_other_spellings(name)?;
        let Some(index) = self.members.iter().position(|(key, _)| key == name) else {
            return Ok(None);
        };
        let (_, value) = self.members.remove(index);
        if value == Json::Null {
            return Ok(None);
        }
        T::from_json(value)
            .map(Some)
            .map_err(|error| error.below(name))
    }

    /// As [`optional`](Self::optional), where an empty text means none, too, as some registries write it.
    pub(crate) fn optional_text<T: FromJson>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, JsonError> {
        let is_empty = |(key, value): &(String, Json)| {
            key == name && matches!(value, Json::String(text) if text.is_empty())
        };
        if let Some(index) = self.members.iter().position(is_empty) {
            self.members.remove(index);
        }
        self.optional(name)
    }

    /// A list that has to be there, but may be `null`, which is how Go writes an empty one.
    pub(crate) fn list<T: FromJson>(&mut self, name: &str) -> Result<Vec<T>, JsonError> {
        if self
            .members
            .iter()
            .any(|(key, value)| key == name && *value == Json::Null)
        {
            self.or_default(name)
        } else {
            self.required(name)
        }
    }

    /// A member whose absence is the same as its empty value.
    pub(crate) fn or_default<T: FromJson + Default>(&mut self, name: &str) -> Result<T, JsonError> {
        Ok(self.optional(name)?.unwrap_or_default())
    }

    pub(crate) fn rest(self) -> UnknownFields {
        UnknownFields::new(self.members)
    }
}

/// Puts an object together in a fixed order: the known members first, then the unknown ones.
pub(crate) struct Builder {
    members: Vec<(String, Json)>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            members: Vec::new(),
        }
    }

    pub(crate) fn member(mut self, name: &str, value: &impl ToJson) -> Self {
        self.members.push((name.to_owned(), value.to_json()));
        self
    }

    pub(crate) fn optional(self, name: &str, value: Option<&impl ToJson>) -> Self {
        match value {
            Some(value) => self.member(name, value),
            None => self,
        }
    }

    /// Leaves the member out when it is the default: an empty list, an empty map, `false`.
    pub(crate) fn unless_default<T: ToJson + Default + PartialEq>(
        self,
        name: &str,
        value: &T,
    ) -> Self {
        if *value == T::default() {
            self
        } else {
            self.member(name, value)
        }
    }

    pub(crate) fn finish(mut self, unknown: &UnknownFields) -> Json {
        for (name, value) in unknown.members() {
            if !self.members.iter().any(|(known, _)| known == name) {
                self.members.push((name.clone(), value.clone()));
            }
        }
        Json::Object(self.members)
    }
}

impl FromJson for String {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match value {
            Json::String(text) => Ok(text),
            other => Err(JsonError::expected("a string", &other)),
        }
    }
}

impl ToJson for String {
    fn to_json(&self) -> Json {
        Json::String(self.clone())
    }
}

impl FromJson for bool {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match value {
            Json::Bool(value) => Ok(value),
            other => Err(JsonError::expected("a boolean", &other)),
        }
    }
}

impl ToJson for bool {
    fn to_json(&self) -> Json {
        Json::Bool(*self)
    }
}

impl FromJson for u64 {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match value {
            Json::Number(text) => text.parse().map_err(|_| {
                let shown: String = text.chars().take(40).collect();
                JsonError::here(format!(
                    "expected a whole number from 0 to {}, found {shown}",
                    u64::MAX
                ))
            }),
            other => Err(JsonError::expected("a number", &other)),
        }
    }
}

impl ToJson for u64 {
    fn to_json(&self) -> Json {
        Json::Number(self.to_string().into_boxed_str())
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match value {
            Json::Array(elements) => elements
                .into_iter()
                .enumerate()
                .map(|(index, element)| {
                    T::from_json(element).map_err(|error| error.below_index(index))
                })
                .collect(),
            other => Err(JsonError::expected("an array", &other)),
        }
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self) -> Json {
        Json::Array(self.iter().map(ToJson::to_json).collect())
    }
}

impl<T: FromJson> FromJson for BTreeMap<String, T> {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match value {
            Json::Object(members) => members
                .into_iter()
                .map(|(name, member)| match T::from_json(member) {
                    Ok(value) => Ok((name, value)),
                    Err(error) => Err(error.below(&name)),
                })
                .collect(),
            other => Err(JsonError::expected("an object", &other)),
        }
    }
}

impl<T: ToJson> ToJson for BTreeMap<String, T> {
    fn to_json(&self) -> Json {
        Json::Object(
            self.iter()
                .map(|(name, value)| (name.clone(), value.to_json()))
                .collect(),
        )
    }
}

/// A set written as an object with empty objects: `{"80/tcp": {}}`.
impl FromJson for BTreeSet<String> {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        match value {
            Json::Object(members) => members
                .into_iter()
                .map(|(name, member)| match member {
                    Json::Null | Json::Object(_) => Ok(name),
                    other => Err(JsonError::expected("an empty object", &other).below(&name)),
                })
                .collect(),
            other => Err(JsonError::expected("an object", &other)),
        }
    }
}

impl ToJson for BTreeSet<String> {
    fn to_json(&self) -> Json {
        Json::Object(
            self.iter()
                .map(|name| (name.clone(), Json::Object(Vec::new())))
                .collect(),
        )
    }
}

/// Reads a string and parses it; the error says what the type says, causes included.
fn parse_text<T: FromStr<Err: std::error::Error>>(value: Json) -> Result<T, JsonError> {
    String::from_json(value)?
        .parse()
        .map_err(|error: T::Err| JsonError::here(error.to_string()))
}

impl FromJson for Digest {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        parse_text(value)
    }
}

impl ToJson for Digest {
    fn to_json(&self) -> Json {
        Json::String(self.as_str().to_owned())
    }
}

impl FromJson for MediaType {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        parse_text(value)
    }
}

impl ToJson for MediaType {
    fn to_json(&self) -> Json {
        Json::String(self.as_str().to_owned())
    }
}
