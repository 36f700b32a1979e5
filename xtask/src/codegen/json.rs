//! JSON with the order of its keys kept, and a key said twice refused.
//!
//! The order of the properties in a schema is the order of the fields in the generated struct. The `preserve_order`
//! feature of `serde_json` would give that too, but Cargo would switch it on for every crate of the workspace.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    /// `null`, or a number with a fraction: nothing in the subset uses either.
    Other,
    /// `true` or `false`.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in the order of the file.
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E: de::Error>(self, _value: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Boolean(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Other, Json::Integer))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object: Vec<(String, Json)> = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.iter().any(|(known, _)| *known == key) {
                return Err(de::Error::custom(format_args!(
                    "the key `{key}` is there twice in one object"
                )));
            }
            object.push((key, entries.next_value()?));
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn keys_keep_their_order() {
        let json: Json = serde_json::from_str(r#"{"b": [1, null], "a": true}"#).unwrap();
        assert_eq!(
            json,
            Json::Object(vec![
                (
                    "b".to_owned(),
                    Json::List(vec![Json::Integer(1), Json::Other])
                ),
                ("a".to_owned(), Json::Boolean(true)),
            ])
        );
    }

    #[test]
    fn a_key_said_twice_is_refused_with_its_place() {
        let error = serde_json::from_str::<Json>("{\"Tag\": 1,\n\"Tag\": 2}").unwrap_err();
        assert!(
            error.to_string().contains("`Tag` is there twice"),
            "{error}"
        );
        assert_eq!(error.line(), 2);
    }
}
