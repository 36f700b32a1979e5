//! YAML and JSON as people write it for the public Python tool, which reads YAML 1.1.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::NonFiniteFloatPolicy;

/// Why a text cannot be read. It says where.
#[derive(Debug)]
pub(crate) struct YamlError(String);

impl fmt::Display for YamlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Reads one document. Aliases, depth and size are bounded by the reader's own budget.
///
/// The reader takes more for numbers and booleans than the Python tool does: `y`, `08`, and `12e4567`, which
/// a short commit hash can be. So it reads twice: first what everything is, then how numbers and booleans are
/// written, which decides.
pub(crate) fn parse(text: &str) -> Result<Value, YamlError> {
    let options = || {
        serde_saphyr::options! {
            // `0755` is a file mode to YAML 1.1.
            legacy_octal_numbers: true,
            // What is too large for a number stands as `.inf` until its word is read.
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            with_snippet: false,
        }
    };
    let failed = |error: serde_saphyr::Error| YamlError(error.to_string());
    let taken: Value = serde_saphyr::from_str_with_options(text, options()).map_err(failed)?;
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |reader| {
        Written(&taken).deserialize(reader)
    })
    .map_err(failed)
}

/// Reads again what has been taken for this value.
struct Written<'a>(&'a Value);

impl<'de> DeserializeSeed<'de> for Written<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        match self.0 {
            Value::Array(items) => reader.deserialize_seq(WrittenItems(items)),
            Value::Object(fields) => reader.deserialize_map(WrittenFields(fields)),
            Value::Bool(taken) => {
                let word = String::deserialize(reader)?;
                Ok(if is_boolean(&word) {
                    Value::Bool(*taken)
                } else {
                    Value::String(word)
                })
            }
            Value::Number(taken) => {
                let word = String::deserialize(reader)?;
                Ok(if is_whole(&word) {
                    whole(word, taken)
                } else if is_fraction(&word) {
                    Value::Number(taken.clone())
                } else {
                    Value::String(word)
                })
            }
            Value::String(taken) if matches!(taken.as_str(), ".inf" | "-.inf" | ".nan") => {
                String::deserialize(reader).map(Value::String)
            }
            Value::String(_) | Value::Null => {
                IgnoredAny::deserialize(reader)?;
                Ok(self.0.clone())
            }
        }
    }
}

struct WrittenItems<'a>(&'a [Value]);

impl<'de> Visitor<'de> for WrittenItems<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(self.0.len());
        for taken in self.0 {
            items.extend(list.next_element_seed(Written(taken))?);
        }
        // An access wants to be asked until it is at its end.
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(items))
    }
}

struct WrittenFields<'a>(&'a Map<String, Value>);

impl<'de> Visitor<'de> for WrittenFields<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Written(self.0.get(&key).unwrap_or(&Value::Null)))?;
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

fn is_boolean(word: &str) -> bool {
    matches!(
        word.to_ascii_lowercase().as_str(),
        "yes" | "no" | "on" | "off" | "true" | "false"
    ) && (word.chars().all(char::is_lowercase)
        || word.chars().all(char::is_uppercase)
        || word.chars().skip(1).all(char::is_lowercase))
}

/// `12`, `-1_000`, `010`, `0x1F`, `0b11`; not `08`, not `0o10`.
fn is_whole(word: &str) -> bool {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    let all = |digits: &str, allowed: fn(char) -> bool| {
        !digits.is_empty() && digits.chars().all(|c| c == '_' || allowed(c))
    };
    if let Some(digits) = digits.strip_prefix("0x") {
        all(digits, |c| c.is_ascii_hexdigit())
    } else if let Some(digits) = digits.strip_prefix("0b") {
        all(digits, |c| matches!(c, '0' | '1'))
    } else if let Some(digits) = digits.strip_prefix('0') {
        digits.chars().all(|c| matches!(c, '0'..='7' | '_'))
    } else {
        digits.starts_with(|c: char| c.is_ascii_digit()) && all(digits, |c| c.is_ascii_digit())
    }
}

/// `1.5`, `.5`, `1.`, `1.5e+3`; not `1e3`, not `1.5e3`.
fn is_fraction(word: &str) -> bool {
    let number = word.strip_prefix(['-', '+']).unwrap_or(word);
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (number, None),
    };
    let Some((whole, part)) = number.split_once('.') else {
        return false;
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '_');
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    digits(whole)
        && digits(part)
        && (begins(whole) || (whole.is_empty() && begins(part)))
        && exponent.is_none_or(|exponent| {
            exponent.starts_with(['-', '+'])
                && exponent.len() > 1
                && exponent.chars().skip(1).all(|c| c.is_ascii_digit())
        })
}

/// A whole number that is too large for a number here keeps its digits, as text.
fn whole(word: String, taken: &Number) -> Value {
    if taken.is_f64() {
        Value::String(word)
    } else {
        Value::Number(taken.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_what_the_python_tool_takes_them_for() {
        let text = "a: yes\nb: Off\nc: \"yes\"\nd: y\ne: 1.10\nf: 1.0.0\ng: 010\nh: 0x1F\ni: ~\nj: 'no'\nk: [on, n]\nl: true\nm: |\n  FROM x\n  RUN y\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "a": true, "b": false, "c": "yes", "d": "y", "e": 1.1, "f": "1.0.0", "g": 8,
                "h": 31, "i": null, "j": "no", "k": [true, "n"], "l": true, "m": "FROM x\nRUN y\n"
            })
        );
    }

    #[test]
    fn what_only_looks_like_a_number_stays_text() {
        for word in [
            "12e4567",
            "1e3",
            "1.5e3",
            "08",
            "0o10",
            "tRue",
            "y",
            "N",
            "1.0.0",
            "1-2",
            "12345678901234567890123",
        ] {
            let text = format!("a: {word}\nb: [{word}]\nc: {{d: {word}}}\n");
            let expected = json!({"a": word, "b": [word], "c": {"d": word}});
            assert_eq!(parse(&text).unwrap(), expected, "{word}");
        }
        for (word, number) in [
            ("+1", json!(1)),
            ("-0x1F", json!(-31)),
            ("1_000", json!(1000)),
            ("0b11", json!(3)),
            (".5", json!(0.5)),
            ("1.", json!(1.0)),
            ("-1.5e+3", json!(-1500.0)),
            ("TRUE", json!(true)),
            ("Off", json!(false)),
        ] {
            assert_eq!(
                parse(&format!("a: {word}\n")).unwrap(),
                json!({"a": number}),
                "{word}"
            );
        }
        let twice = "a: &x {n: 1e3, m: 0}\nb: *x\nc:\n  <<: *x\n  m: 08\n";
        assert_eq!(
            parse(twice).unwrap(),
            json!({"a": {"n": "1e3", "m": 0}, "b": {"n": "1e3", "m": 0}, "c": {"n": "1e3", "m": "08"}})
        );
    }

    #[test]
    fn json_is_read_as_it_is() {
        assert_eq!(
            parse("{\"a\": [1, \"x\", null], \"b\": {\"c\": false}}").unwrap(),
            json!({"a": [1, "x", null], "b": {"c": false}})
        );
    }

    #[test]
    fn aliases_and_merge_keys_work() {
        assert_eq!(
            parse("base: &b {x: 1}\nmore:\n  <<: *b\n  y: 2\n").unwrap(),
            json!({"base": {"x": 1}, "more": {"x": 1, "y": 2}})
        );
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let below = format!("*a{}", level - 1);
            let items = vec![below; 10].join(", ");
            text.extend([format!("a{level}: &a{level} [{items}]\n")]);
        }
        assert!(parse(&text).is_err());
    }

    #[test]
    fn errors_say_where() {
        let error = parse("a: 1\nb: [1,\n").unwrap_err().to_string();
        assert!(error.contains("line"), "{error}");
        assert!(parse("a: 1\na: 2\n").is_err());
    }
}
