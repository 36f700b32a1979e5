//! Members of an object that this version does not know.

use std::fmt;

use super::{Json, JsonError, parse};

/// The members of a JSON object that this crate does not know, kept through editing in the order they came.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UnknownFields {
    members: Vec<(String, Json)>,
}

impl UnknownFields {
    pub(super) fn new(members: Vec<(String, Json)>) -> Self {
        Self { members }
    }

    pub(super) fn members(&self) -> &[(String, Json)] {
        &self.members
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The names, in the order they came.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a member as compact JSON text.
    pub fn get(&self, name: &str) -> Option<String> {
        self.members
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.to_string())
    }

    /// Sets a member to a value given as JSON text.
    ///
    /// A name that the object does know is written as a field of the object instead; the member here is then ignored.
    ///
    /// # Errors
    /// [`JsonError`] when the text is not JSON.
    pub fn set(&mut self, name: &str, json: &str) -> Result<(), JsonError> {
        let value = parse(json.as_bytes())?;
        match self.members.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Removes a member; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|(key, _)| key != name);
        self.members.len() != before
    }
}

impl fmt::Debug for UnknownFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = formatter.debug_map();
        for (name, value) in &self.members {
            map.entry(name, &format_args!("{value}"));
        }
        map.finish()
    }
}
