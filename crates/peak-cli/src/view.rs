//! What a person sees of an answer: parts of it, as text for a cell of a table.

use serde_json::Value;

use crate::output::{human_size, printable};

/// A part of an object: its heading, and where it stands, as names joined by dots.
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    path: &'static str,
    form: Form,
}

enum Form {
    Plain,
    /// A number of bytes
    Size,
    /// A time in RFC 3339
    Time,
}

impl Column {
    pub(crate) const fn new(heading: &'static str, path: &'static str) -> Self {
        Self {
            heading,
            path,
            form: Form::Plain,
        }
    }

    /// A column of sizes in bytes.
    pub(crate) const fn size(heading: &'static str, path: &'static str) -> Self {
        Self {
            heading,
            path,
            form: Form::Size,
        }
    }

    /// A column of times, whose heading says that they are in UTC.
    pub(crate) const fn time(heading: &'static str, path: &'static str) -> Self {
        Self {
            heading,
            path,
            form: Form::Time,
        }
    }

    /// The text of this part of the object; `-` where it has none.
    pub(crate) fn of(&self, object: &Value) -> String {
        let value = self
            .path
            .split('.')
            .try_fold(object, |value, name| value.get(name));
        match (value, &self.form) {
            (None, _) => "-".to_owned(),
            (Some(value), Form::Size) => value.as_u64().map_or_else(|| cell(value), human_size),
            (Some(value), Form::Time) => value.as_str().map_or_else(|| cell(value), to_the_second),
            (Some(value), Form::Plain) => cell(value),
        }
    }
}

/// A time in UTC as people write it, to the second; another text as it is.
fn to_the_second(text: &str) -> String {
    let in_utc = text.strip_suffix('Z').and_then(|time| time.split_once('T'));
    match in_utc {
        Some((date, time)) => {
            let seconds = time.split_once('.').map_or(time, |(seconds, _)| seconds);
            printable(&format!("{date} {seconds}"))
        }
        None => cell(&Value::from(text)),
    }
}

/// These parts of an object as rows of name and text.
pub(crate) fn rows_of(object: &Value, columns: &[Column]) -> Vec<(&'static str, String)> {
    columns
        .iter()
        .map(|column| (column.heading, column.of(object)))
        .collect()
}

/// A value as the text of a cell. Names stand for objects that have one, such as tags.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(named).collect::<Vec<_>>().join(", "),
        other => printable(&other.to_string()),
    }
}

fn named(item: &Value) -> String {
    match item.get("name") {
        Some(name) => cell(name),
        None => cell(item),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_find_their_part() {
        let object = json!({"id": 7, "latest": {"version": "1.0", "size": 1500}, "tags": [{"name": "a"}, {"name": "b"}], "none": null, "bad": "\u{1b}[2J"});
        let text = |path| Column::new("", path).of(&object);
        assert_eq!(text("id"), "7");
        assert_eq!(text("latest.version"), "1.0");
        assert_eq!(text("tags"), "a, b");
        assert_eq!(text("none"), "-");
        assert_eq!(text("gone.too"), "-");
        assert_eq!(text("bad"), "\u{fffd}[2J");
        assert_eq!(Column::size("", "latest.size").of(&object), "1.5 kB");
    }

    #[test]
    fn times_are_shown_to_the_second() {
        for (time, expected) in [
            ("2026-11-22T01:19:02.020Z", "2026-11-22 01:19:02"),
            ("2026-11-22T01:19:02Z", "2026-11-22 01:19:02"),
            ("2026-11-22T01:19:02+01:00", "2026-11-22T01:19:02+01:00"),
            ("yesterday", "yesterday"),
            ("", "-"),
        ] {
            let object = json!({"at": time});
            assert_eq!(Column::time("at (UTC)", "at").of(&object), expected);
        }
        assert_eq!(Column::time("", "at").of(&json!({"at": 7})), "7");
    }
}
