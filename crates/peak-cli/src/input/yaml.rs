//! YAML and JSON as people write it for the public Python tool, which reads YAML 1.1.

use std::fmt;

use serde_json::{Map, Value};
use serde_saphyr::Options;

/// Why a text cannot be read. It says where.
#[derive(Debug)]
pub(crate) struct YamlError(String);

impl fmt::Display for YamlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Reads one document. Aliases, depth and size are bounded by the reader's own budget.
pub(crate) fn parse(text: &str) -> Result<Value, YamlError> {
    let words = read(text, true)?;
    let booleans = read(text, false)?;
    Ok(resolve(words, booleans))
}

fn read(text: &str, strict_booleans: bool) -> Result<Value, YamlError> {
    let options: Options = serde_saphyr::options! {
        strict_booleans: strict_booleans,
        // `0755` is a file mode to YAML 1.1.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| YamlError(error.to_string()))
}

/// Where the strict reading has a word and the lenient one a boolean, a person wrote `yes`, `off` or the like
/// without quotes. The Python tool takes some of these spellings for booleans and some for words.
fn resolve(words: Value, booleans: Value) -> Value {
    match (words, booleans) {
        (Value::String(word), Value::Bool(boolean)) if is_boolean(&word) => Value::Bool(boolean),
        (Value::Array(words), Value::Array(booleans)) => Value::Array(
            words
                .into_iter()
                .zip(booleans)
                .map(|(w, b)| resolve(w, b))
                .collect(),
        ),
        (Value::Object(words), Value::Object(mut booleans)) => Value::Object(
            words
                .into_iter()
                .map(|(key, word)| {
                    let value = match booleans.remove(&key) {
                        Some(boolean) => resolve(word, boolean),
                        None => word,
                    };
                    (key, value)
                })
                .collect::<Map<_, _>>(),
        ),
        (word, _) => word,
    }
}

fn is_boolean(word: &str) -> bool {
    matches!(
        word,
        "yes" | "Yes" | "YES" | "no" | "No" | "NO" | "on" | "On" | "ON" | "off" | "Off" | "OFF"
    )
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
