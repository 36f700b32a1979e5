//! Identifiers.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The identifier of something on the platform.
///
/// The platform answers ids as numbers, as numeric text (`"101"`) and as other text (`build-image-mock:2198c71e`), not
/// always the same for one thing. An id keeps the form it came in and is sent back in it; two ids are equal where their
/// texts are.
///
/// ```
/// use peak_models::Id;
///
/// let id: Id = serde_json::from_str("101")?;
/// assert_eq!(id, Id::from("101"));
/// assert_eq!(id.to_string(), "101");
/// assert_eq!(serde_json::to_string(&id)?, "101");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct Id {
    text: String,
    form: Form,
}

/// How an id is written in JSON.
#[derive(Debug, Clone, Copy)]
enum Form {
    Unsigned(u64),
    Signed(i64),
    Text,
}

impl Id {
    /// The text of the id, as it stands in a path or a query. It is not checked: escape it there.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self {
            text: number.to_string(),
            form: Form::Unsigned(number),
        }
    }
}

impl From<String> for Id {
    fn from(text: String) -> Self {
        Self {
            text,
            form: Form::Text,
        }
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<&Id> for Id {
    fn from(id: &Id) -> Self {
        id.clone()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            Form::Unsigned(_) | Form::Signed(_) => write!(formatter, "Id({})", self.text),
            Form::Text => write!(formatter, "Id({:?})", self.text),
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// By text, as equality is: `10` comes before `9`. The order is for maps and sets, not for people.
impl Ord for Id {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.form {
            Form::Unsigned(number) => serializer.serialize_u64(number),
            Form::Signed(number) => serializer.serialize_i64(number),
            Form::Text => serializer.serialize_str(&self.text),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl de::Visitor<'_> for IdVisitor {
    type Value = Id;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an id: an integer or a string")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Id, E> {
        Ok(Id::from(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Id, E> {
        Ok(Id {
            text: number.to_string(),
            form: Form::Signed(number),
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
        Ok(Id::from(text))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Id, E> {
        Ok(Id::from(text))
    }
}

#[cfg(any(test, feature = "schema"))]
impl schemars::JsonSchema for Id {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"] })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::Id;

    #[test]
    fn the_form_is_kept() {
        for json in [
            "101",
            "-1",
            "18446744073709551615",
            r#""101""#,
            r#""007""#,
            r#""build-image-mock:2198c71e""#,
        ] {
            let id: Id = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
            assert_eq!(id.to_string(), json.trim_matches('"'));
        }
    }

    #[test]
    fn equality_hash_and_order_are_those_of_the_text() {
        assert_eq!(Id::from(101), Id::from("101"));
        assert_ne!(Id::from("7"), Id::from("007"));
        assert!(Id::from("10") < Id::from(9));
        let set: HashSet<Id> = [Id::from(101), Id::from("101")].into();
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn debug_shows_the_form() {
        assert_eq!(
            format!("{:?} {:?}", Id::from(1), Id::from("1")),
            r#"Id(1) Id("1")"#
        );
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for json in ["true", "1.5", "[]", "{}"] {
            let error = serde_json::from_str::<Id>(json).unwrap_err();
            assert!(error.to_string().contains("an id"), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_the_round_trip(text in any::<String>()) {
            let id = Id::from(text.as_str());
            let json = serde_json::to_string(&id).unwrap();
            let back: Id = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back.as_str(), text);
        }
    }
}
