//! Answers in JSON, decoded as what the platform means by them.

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Decodes an answer. Where it has fields, only an object will do: `serde` would take an array for one whose fields come
/// in their order, and so `[]` for one in which every field is absent.
pub(crate) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let answer = T::deserialize(FieldsByName(&mut deserializer))?;
    deserializer.end()?;
    Ok(answer)
}

/// Takes structs from objects only, and everything else as `D` does.
struct FieldsByName<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for FieldsByName<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    // What says of itself what it is, as JSON does, needs no more hints.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

#[cfg(test)]
mod tests {
    use peak_models::{Artifact, ListArtifactsResponse};
    use serde_json::{Value, json};

    use super::*;
    use crate::Done;

    #[test]
    fn only_an_object_is_an_answer_with_fields() {
        for body in ["[]", " [1]", "\n[{}]", "null", "1", "\"x\"", "{}x", ""] {
            let list: Result<ListArtifactsResponse, _> = decode(body.as_bytes());
            assert!(list.is_err(), "{body}");
            let artifact: Result<Artifact, _> = decode(body.as_bytes());
            assert!(artifact.is_err(), "{body}");
        }
        let artifact: Artifact = decode(br#" {"name": "a", "new": [1]} "#).unwrap();
        assert_eq!(artifact.name.as_deref(), Some("a"));
    }

    #[test]
    fn everything_else_is_decoded_as_ever() {
        for value in [
            json!([1, "a", null]),
            json!({"a": [{"b": 1.5}]}),
            json!("x"),
            json!(null),
        ] {
            let text = value.to_string();
            assert_eq!(decode::<Value>(text.as_bytes()).unwrap(), value);
            decode::<Done>(text.as_bytes()).unwrap();
        }
        assert_eq!(decode::<Vec<u8>>(b"[1, 2]").unwrap(), [1, 2]);
        assert_eq!(decode::<Option<u8>>(b"3").unwrap(), Some(3));
        assert_eq!(decode::<Option<u8>>(b"null").unwrap(), None);
        assert_eq!(decode::<(u8, String)>(br#"[1, "a"]"#).unwrap().1, "a");
    }
}
