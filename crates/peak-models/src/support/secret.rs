//! Texts that must not be shown.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A credential among the data, such as the token for a repository.
///
/// It does not print, and its memory is overwritten when it is dropped. Encoding it writes the text, for that is how
/// it reaches the platform: what holds the encoded form is as secret as this is.
///
/// ```
/// use peak_models::BuildDetails;
///
/// let details = BuildDetails::new().token("not-a-real-token");
/// assert!(!format!("{details:?}").contains("not-a-real-token"));
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The same as the type that other crates take secrets in.
    pub fn into_inner(self) -> SecretString {
        self.0
    }
}

impl From<SecretString> for Secret {
    fn from(secret: SecretString) -> Self {
        Self(secret)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret([redacted])")
    }
}

/// For comparing values that hold secrets, as tests do. It takes longer the more of the text is equal: do not check
/// credentials with it.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for a string, a format may refuse other things on its own, and quote them.
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Takes a text only. An error of serde's own would quote a number or a boolean that stands in its place.
struct SecretVisitor;

impl SecretVisitor {
    fn refuse<E: de::Error>() -> Result<Secret, E> {
        Err(E::custom("expected a string that is secret"))
    }
}

impl de::Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string that is secret")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::from(text))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret::from(text))
    }

    fn visit_bool<E: de::Error>(self, _value: bool) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_i64<E: de::Error>(self, _value: i64) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_u64<E: de::Error>(self, _value: u64) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_f64<E: de::Error>(self, _value: f64) -> Result<Secret, E> {
        Self::refuse()
    }
}

#[cfg(any(test, feature = "schema"))]
impl schemars::JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "x-peak-secret": true })
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn it_is_sent_but_not_shown() {
        let secret: Secret = serde_json::from_str(r#""hush""#).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret([redacted])");
        assert_eq!(secret.expose(), "hush");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""hush""#);
        assert_eq!(secret, Secret::from("hush".to_owned()));
        assert_ne!(secret, Secret::from("shh"));
    }

    #[test]
    fn an_error_about_a_secret_does_not_show_it() {
        for json in [
            "123456",
            "-123456",
            "12345.6",
            "true",
            "[123456]",
            r#"{"a": 123456}"#,
        ] {
            let error = serde_json::from_str::<Secret>(json)
                .unwrap_err()
                .to_string();
            assert!(error.contains("a string that is secret"), "{error}");
            assert!(
                !error.contains("12345") && !error.contains("true"),
                "{error}"
            );
        }
    }
}
