//! What the body of an answer says to a person, whatever form it has.

use serde_json::Value;

/// Most characters of a message that an error keeps.
const MAX_MESSAGE_LENGTH: usize = 2000;

/// Most characters of a page's title.
const MAX_TITLE_LENGTH: usize = 200;

/// What a body says: the platform's `{"detail": …}`, other JSON, plain text, or a proxy's page.
pub(crate) fn message(body: &[u8]) -> Option<String> {
    let text = if let Ok(value) = serde_json::from_slice::<Value>(body) {
        message_of_json(&value)?
    } else {
        let text = String::from_utf8_lossy(body);
        if is_html(&text) {
            web_page(&text)
        } else {
            text.into_owned()
        }
    };
    let text = one_line(&text, MAX_MESSAGE_LENGTH);
    (!text.is_empty()).then_some(text)
}

fn message_of_json(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => ["detail", "message", "error", "title"]
            .iter()
            .find_map(|key| message_of_json(fields.get(*key)?))
            .or_else(|| (!fields.is_empty()).then(|| value.to_string())),
        other => Some(other.to_string()),
    }
}

/// What a web page is called.
pub(crate) fn web_page(text: &str) -> String {
    let title = one_line(title(text).unwrap_or_default(), MAX_TITLE_LENGTH);
    if title.is_empty() {
        "a web page without a title".to_owned()
    } else {
        format!("a web page: {title}")
    }
}

fn is_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(15).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

fn title(page: &str) -> Option<&str> {
    // ASCII lower case keeps every byte where it is.
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title>")? + "<title>".len();
    let length = lower.get(start..)?.find("</title>")?;
    page.get(start..start + length)
}

/// The text with every run of white space and control characters as one space, cut at a length.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let words = text
        .split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty());
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if let Some((cut, _)) = line.char_indices().nth(limit) {
            line.truncate(cut);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_whatever_the_body_is() {
        let cases: [(&str, Option<&str>); 12] = [
            (r#"{"detail": "Image not found"}"#, Some("Image not found")),
            (r#"{"detail": null, "message": "no"}"#, Some("no")),
            (r#"{"error": {"message": "deep"}}"#, Some("deep")),
            (
                r#"{"detail": [{"loc": ["body"], "msg": "required"}]}"#,
                Some(r#"[{"loc":["body"],"msg":"required"}]"#),
            ),
            (r#"{"code": 7}"#, Some(r#"{"code":7}"#)),
            (r#""just text""#, Some("just text")),
            ("plain\r\n  text\u{1b}[2J\n", Some("plain text [2J")),
            (
                "<!DOCTYPE html><html><TITLE>502 Bad\nGateway</title>…",
                Some("a web page: 502 Bad Gateway"),
            ),
            ("<html>", Some("a web page without a title")),
            ("{}", None),
            ("null", None),
            ("", None),
        ];
        for (body, expected) in cases {
            assert_eq!(message(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!(message(b"\xff\xfe").as_deref(), Some("\u{fffd}\u{fffd}"));
    }

    #[test]
    fn messages_are_bounded() {
        let text = message("é".repeat(30_000).as_bytes()).unwrap();
        assert_eq!(text.chars().count(), MAX_MESSAGE_LENGTH + 1);
        let text = message("é ".repeat(30_000).as_bytes()).unwrap();
        assert_eq!(text.chars().count(), MAX_MESSAGE_LENGTH + 1);
    }
}
