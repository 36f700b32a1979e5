//! JSON that a caller sends, read field by field, so that an error can name the field and repeats no value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::error::ApiError;

/// An object whose fields are taken one after the other. A field that is `null` counts as absent.
pub(super) struct Object {
    /// What errors call it.
    name: String,
    fields: Vec<(String, Value)>,
}

impl Object {
    /// Reads the object that `text` holds. `name` is what errors call it.
    pub(super) fn parse(name: &str, text: &[u8]) -> Result<Self, ApiError> {
        let Fields(fields) = serde_json::from_slice(text).map_err(|error| {
            // The error's own text could repeat a value, and a value could be a secret.
            ApiError::malformed(format!(
                "{name} is not a JSON object, at line {} column {}",
                error.line(),
                error.column()
            ))
        })?;
        Self::new(name.to_owned(), fields)
    }

    /// An object inside of another.
    fn of(name: String, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(fields) => Self::new(name, fields.into_iter().collect()),
            _ => Err(ApiError::malformed(format!("{name} must be an object"))),
        }
    }

    fn new(name: String, mut fields: Vec<(String, Value)>) -> Result<Self, ApiError> {
        for (position, (field, _)) in fields.iter().enumerate() {
            if fields
                .iter()
                .take(position)
                .any(|(other, _)| other == field)
            {
                return Err(ApiError::malformed(format!(
                    "{name} has the field `{field}` twice"
                )));
            }
        }
        fields.retain(|(_, value)| !value.is_null());
        Ok(Self { name, fields })
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        let position = self.fields.iter().position(|(name, _)| name == field)?;
        Some(self.fields.swap_remove(position).1)
    }

    fn wrong(&self, field: &str, expected: &str) -> ApiError {
        ApiError::malformed(format!("`{field}` of {} must be {expected}", self.name))
    }

    /// A field that is a text.
    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, ApiError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(field, "a text")),
        }
    }

    /// A field that is a text and must be there.
    pub(super) fn required_text(&mut self, field: &str) -> Result<String, ApiError> {
        self.text(field)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| ApiError::malformed(format!("`{field}` of {} is required", self.name)))
    }

    /// A field that is true or false.
    pub(super) fn flag(&mut self, field: &str) -> Result<Option<bool>, ApiError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(field, "true or false")),
        }
    }

    /// A field that is a list of texts.
    pub(super) fn texts(&mut self, field: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(values) = self.list(field)? else {
            return Ok(None);
        };
        let text = |value| match value {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong(field, "a list of texts")),
        };
        values
            .into_iter()
            .map(text)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A field that is a list of objects, each read by `read`.
    pub(super) fn objects<T>(
        &mut self,
        field: &str,
        read: impl Fn(&mut Object) -> Result<T, ApiError>,
    ) -> Result<Option<Vec<T>>, ApiError> {
        let Some(values) = self.list(field)? else {
            return Ok(None);
        };
        list_of(&format!("`{field}` of {}", self.name), values, read).map(Some)
    }

    fn list(&mut self, field: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(_) => Err(self.wrong(field, "a list")),
        }
    }

    /// A field that is an id: a number or a text.
    pub(super) fn required_id(&mut self, field: &str) -> Result<(), ApiError> {
        match self.take(field) {
            Some(Value::Number(_)) => Ok(()),
            Some(Value::String(text)) if !text.is_empty() => Ok(()),
            _ => Err(self.wrong(field, "an id")),
        }
    }

    /// The end: what has not been taken is known to nobody.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.fields.first() {
            None => Ok(()),
            Some((field, _)) => Err(ApiError::malformed(format!(
                "{} has a field `{}` that is not known there",
                self.name,
                shown(field)
            ))),
        }
    }
}

/// A list of objects, each read by `read` to its end. `name` is what errors call the list.
pub(super) fn list_of<T>(
    name: &str,
    values: Vec<Value>,
    read: impl Fn(&mut Object) -> Result<T, ApiError>,
) -> Result<Vec<T>, ApiError> {
    let item = |value| {
        let mut object = Object::of(format!("each entry of {name}"), value)?;
        let item = read(&mut object)?;
        object.finish()?;
        Ok(item)
    };
    values.into_iter().map(item).collect()
}

/// A name that a caller made up, short enough for an answer.
pub(super) fn shown(name: &str) -> String {
    const SHOWN: usize = 64;
    name.chars()
        .filter(|character| !character.is_control())
        .take(SHOWN)
        .collect()
}

/// The fields of an object as they came, those that came twice too.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                    if fields.len() > FIELDS {
                        return Err(serde::de::Error::custom("too many fields"));
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

/// The most fields of an object; every pair of names is compared.
const FIELDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::parse("the body", text.as_bytes()).unwrap()
    }

    fn detail<T>(result: Result<T, ApiError>) -> String {
        let Err(error) = result else { panic!("taken") };
        assert_eq!(error.status, 400);
        error.detail
    }

    #[test]
    fn fields_are_taken_and_what_is_left_is_unknown() {
        let mut body =
            object(r#"{"name": "a", "flag": true, "tags": ["x"], "none": null, "odd": 1}"#);
        assert_eq!(body.text("name").unwrap().as_deref(), Some("a"));
        assert_eq!(body.flag("flag").unwrap(), Some(true));
        assert_eq!(body.texts("tags").unwrap().unwrap(), ["x"]);
        assert_eq!(body.text("none").unwrap(), None);
        assert!(detail(body.finish()).contains("`odd`"));
    }

    #[test]
    fn errors_name_the_field_and_not_its_value() {
        for text in [
            r#"{"field": "s3cret"}"#,
            r#"{"field": ["s3cret", 1]}"#,
            r#"{"field": {"s3cret": 1}}"#,
        ] {
            let error = detail(object(text).flag("field"));
            assert!(
                error.contains("`field`") && !error.contains("s3cret"),
                "{error}"
            );
        }
        assert!(detail(object(r#"{"field": [1]}"#).texts("field")).contains("texts"));
        assert!(detail(object(r#"{"field": {}}"#).required_id("field")).contains("id"));
        assert!(detail(object("{}").required_text("field")).contains("required"));
        assert!(
            detail(object(r#"{"field": [{"a": 1}]}"#).objects("field", |_| Ok(()))).contains("`a`")
        );
    }

    #[test]
    fn what_is_no_object_or_has_a_field_twice_is_refused() {
        for text in ["", "[]", "1", "{", r#"{"a": 1, "a": 1}"#] {
            detail(Object::parse("the body", text.as_bytes()));
        }
        let many: Vec<_> = (0..100).map(|number| format!("\"{number}\": 1")).collect();
        detail(Object::parse(
            "the body",
            format!("{{{}}}", many.join(",")).as_bytes(),
        ));
    }
}
