//! JSON as it may be logged. What is harmless cannot be listed here as for headers and URLs, since it is what a service
//! says; so what is known to be secret is hidden, by its name or its form.

use std::borrow::Cow;

use serde_json::{Map, Value};
use url::Url;

use super::HIDDEN;

/// Parts of the names of secrets, as they are without case, `_` and `-`.
const SECRET_NAMES: &[&str] = &[
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "signature",
    "token",
];

/// Most bytes of a text that is shown.
const LONGEST: usize = 4096;

/// The JSON in one line of bounded length without secrets: the values of what is named like one (also as `name` beside a
/// `value`, in JSON inside a text, and as `NAME=value`), what follows `Bearer` and `Basic`, and what [`super::url`] hides of
/// URLs. `None` if it is no JSON.
pub(crate) fn json(bytes: &[u8]) -> Option<String> {
    let mut value = serde_json::from_slice(bytes).ok()?;
    hide(&mut value, true);
    let mut shown = value.to_string();
    if shown.len() > LONGEST {
        let end = (0..=LONGEST).rfind(|end| shown.is_char_boundary(*end));
        shown.truncate(end.unwrap_or_default());
        shown.push('…');
    }
    Some(shown)
}

fn hide(value: &mut Value, texts_may_hold_json: bool) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::Array(values) => {
            for value in values {
                hide(value, texts_may_hold_json);
            }
        }
        Value::Object(fields) => hide_fields(fields, texts_may_hold_json),
        Value::String(text) => {
            let inner = texts_may_hold_json
                .then(|| serde_json::from_str::<Value>(text).ok())
                .flatten()
                .filter(|inner| inner.is_object() || inner.is_array());
            *text = match inner {
                // Only once, so that what is nested without end in this way costs no stack.
                Some(mut inner) => {
                    hide(&mut inner, false);
                    inner.to_string()
                }
                None => without_secrets(text),
            };
        }
    }
}

fn hide_fields(fields: &mut Map<String, Value>, texts_may_hold_json: bool) {
    let named_beside = ["name", "key"].iter().any(|key| {
        let name = fields.get(*key).and_then(Value::as_str);
        name.is_some_and(is_secret)
    });
    for (key, value) in fields {
        if is_secret(key) || (named_beside && key == "value") {
            if !matches!(value, Value::Null | Value::Bool(_)) {
                *value = HIDDEN.into();
            }
        } else {
            hide(value, texts_may_hold_json);
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(|character| !matches!(character, '_' | '-'))
        .map(|character| character.to_ascii_lowercase())
        .collect();
    name == "auth" || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// A text without what looks like a secret in it, word by word.
fn without_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut after_scheme = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        // Several spaces are several pieces, of which all but the first are without a word.
        if !word.is_empty() {
            shown.push_str(&if after_scheme {
                HIDDEN.into()
            } else {
                shown_word(word)
            });
            let bytes = word.as_bytes();
            after_scheme = [b"bearer".as_slice(), b"basic"].iter().any(|scheme| {
                let end = bytes.len().checked_sub(scheme.len());
                end.and_then(|start| bytes.get(start..))
                    .is_some_and(|end| end.eq_ignore_ascii_case(scheme))
            });
        }
        shown.push_str(piece.get(word.len()..).unwrap_or_default());
    }
    shown
}

fn shown_word(word: &str) -> Cow<'_, str> {
    let start = ["https://", "http://"]
        .iter()
        .filter_map(|scheme| word.find(scheme))
        .min();
    if let Some((before, address)) = start.and_then(|start| word.split_at_checked(start)) {
        let address =
            Url::parse(address).map_or_else(|_| HIDDEN.to_owned(), |address| super::url(&address));
        return format!("{before}{address}").into();
    }
    match word.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}").into(),
        _ => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(value: &Value) -> Value {
        let text = json(value.to_string().as_bytes()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_named_like_a_secret_is_hidden_wherever_it_is() {
        for name in [
            "token",
            "access_token",
            "refreshToken",
            "identitytoken",
            "Authorization",
            "PASSWORD",
            "client-secret",
            "secrets",
            "apiKey",
            "X-Amz-Signature",
            "auth",
        ] {
            for secret in [json!("s3cret"), json!(["s3cret"]), json!({"a": "s3cret"})] {
                let value = json!({"a": [{ name: secret }]});
                assert_eq!(shown(&value), json!({"a": [{ name: HIDDEN }]}));
            }
        }
        let harmless = json!({"name": "web", "author": "me", "token": null, "size": 5, "ok": true});
        assert_eq!(shown(&harmless), harmless);
    }

    #[test]
    fn what_holds_a_secret_inside_shows_the_rest() {
        for (given, expected) in [
            (
                json!({"name": "NPM_TOKEN", "value": "s3cret"}),
                json!({"name": "NPM_TOKEN", "value": HIDDEN}),
            ),
            (
                json!({"name": "GREETING", "value": "hello"}),
                json!({"name": "GREETING", "value": "hello"}),
            ),
            (
                json!({"buildDetails": "{\"branch\":\"main\",\"token\":\"s3cret\"}"}),
                json!({"buildDetails": "{\"branch\":\"main\",\"token\":\"REDACTED\"}"}),
            ),
            (
                json!({"downloadUrl": "https://u:s3cret@h/p?signature=s3cret&n=1"}),
                json!({"downloadUrl": "https://h/p?signature=REDACTED&n=1"}),
            ),
            (
                json!("cloning (https://s3cret@h/p) with  API_KEY=s3cret ok=1"),
                json!("cloning (https://h/p) with  API_KEY=REDACTED ok=1"),
            ),
            (
                json!("Authorization: Bearer  s3cret, then"),
                json!("Authorization: Bearer  REDACTED then"),
            ),
        ] {
            assert_eq!(shown(&given), expected);
        }
    }

    #[test]
    fn what_is_no_json_is_not_shown_and_what_is_long_is_cut() {
        assert_eq!(json(b"token=s3cret"), None);
        assert_eq!(json(b""), None);
        let long = json!("é".repeat(5000)).to_string();
        let shown = json(long.as_bytes()).unwrap();
        assert!((LONGEST - 1..LONGEST + 4).contains(&shown.len()));
        assert!(shown.ends_with('…'));
    }

    #[test]
    fn texts_that_hold_json_in_json_end() {
        let mut value = json!({"token": "s3cret"});
        for _ in 0..8 {
            value = json!([value.to_string()]);
        }
        assert!(json(value.to_string().as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail(text in ".*") {
            let value = json!([text]);
            prop_assert!(json(value.to_string().as_bytes()).is_some());
        }
    }
}
