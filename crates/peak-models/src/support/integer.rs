//! Integers that may come as text, as ids do.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de};

/// Decodes an integer that must be there.
#[expect(
    dead_code,
    reason = "the generator emits it for required integers, of which there is none today"
)]
pub(crate) fn required<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    Integer::deserialize(deserializer).map(|integer| integer.0)
}

/// Decodes an integer that may be `null`.
pub(crate) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    let integer = Option::<Integer<T>>::deserialize(deserializer)?;
    Ok(integer.map(|integer| integer.0))
}

struct Integer<T>(T);

impl<'de, T: TryFrom<i128>> Deserialize<'de> for Integer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor(PhantomData))
    }
}

struct IntegerVisitor<T>(PhantomData<T>);

impl<T: TryFrom<i128>> de::Visitor<'_> for IntegerVisitor<T> {
    type Value = Integer<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an integer in range, or its text")
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<Integer<T>, E> {
        T::try_from(number).map(Integer).map_err(|_| {
            E::invalid_value(
                de::Unexpected::Other(&format!("the integer {number}")),
                &self,
            )
        })
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Integer<T>, E> {
        self.visit_i128(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Integer<T>, E> {
        self.visit_i128(number.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Integer<T>, E> {
        match text.trim().parse::<i128>() {
            Ok(number) => self.visit_i128(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::optional;

    fn decode(json: &str) -> Result<Option<u64>, serde_json::Error> {
        optional(&mut serde_json::Deserializer::from_str(json))
    }

    #[test]
    fn numbers_and_their_texts_are_taken() {
        assert_eq!(decode("25").unwrap(), Some(25));
        assert_eq!(decode(r#""25""#).unwrap(), Some(25));
        assert_eq!(decode("18446744073709551615").unwrap(), Some(u64::MAX));
        assert_eq!(decode("null").unwrap(), None);
    }

    #[test]
    fn everything_else_is_refused() {
        for json in ["-1", r#""-1""#, "1.5", "true", r#""many""#, "[]", "\"\""] {
            let error = decode(json).unwrap_err();
            assert!(error.to_string().contains("an integer"), "{json}: {error}");
        }
    }
}
